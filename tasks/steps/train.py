"""The steps of ``train``: the training rows and the hold-out, then a fit for each recipe."""

import math
import subprocess
import time
from uuid import uuid4

import polars as pl
from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run

from blocks.registry import ModelRegistry, ModelVersion, Run
from blocks.settings import Settings
from serving.package.manifest import Manifest
from tasks.data.dataset import DatasetMissing, DatasetVersion, read_periods, read_version
from tasks.ledger.reign import find_champion
from tasks.measures.metrics import score
from tasks.messages.announcements import training_started
from tasks.models import modelling
from tasks.models.fingerprint import has_new_search
from tasks.models.selection import (
    Recipe,
    Tried,
    best_of,
    can_compare,
    choose_recipes,
    is_candidate,
)
from tasks.models.tuning import inner_split
from tasks.outside.blocks_of_run import RESUMED, artifact_key, lake, registry, tell
from tasks.packages.registered import read_manifest
from tasks.packages.rehearsal import rehearse
from tasks.steps.rematch import Rematch, plan_rematch
from usecases.definition import UseCase, load, names_before, period_named
from usecases.definition.columns import Frozen


class Plan(Frozen):
    """What is trained on which periods: ``periods`` end strictly before ``holdout``, the latest
    labelled period. ``rematch``: the champion has learned that one already.

    ``recipes`` are fitted on all of them: one that was chosen on ``chosen_on``, the last, from the
    recipes ``tried``, or all if they could not be compared there."""

    id: str
    use_case: str
    dataset_version: str
    periods: tuple[str, ...]
    holdout: str
    recipes: tuple[Recipe, ...]
    seed: int
    chosen_on: str = ""
    tried: tuple[Tried, ...] = ()
    rematch: Rematch | None = None

    @property
    def competed(self) -> tuple[Recipe, ...]:
        return tuple(trial.recipe for trial in self.tried) or self.recipes

    @property
    def new_search(self) -> bool:
        """Whether HPO runs even if a candidate passes the gate."""
        return self.rematch is not None and has_new_search(self.rematch.changes)

    @property
    def window(self) -> str:
        return f"{self.periods[0]}..{self.periods[-1]}"


class Fitted(Frozen):
    """A recipe, fitted: the pipeline lies in the MLflow run ``run_id``."""

    recipe: Recipe
    run_id: str
    rows: int
    fit_seconds: float


class Training(Frozen):
    """All that ``evaluate`` needs to know of a training."""

    plan: Plan
    fitted: tuple[Fitted, ...]

    @property
    def in_short(self) -> str:
        """Say what was fitted on what, in a sentence."""
        recipes, rows = ", ".join(fit.recipe.candidate for fit in self.fitted), self.fitted[0].rows
        others = f" (chosen from {len(self.plan.tried)} on {self.plan.chosen_on})"
        recipes += others if self.plan.tried else ""
        sentence = (
            f"Training {self.plan.id}: {recipes} fitted on {rows:,} rows of {self.plan.window}, "
            f"to be judged on {self.plan.holdout}."
        )
        return f"{sentence} {self.plan.rematch.in_short}" if self.plan.rematch else sentence


class HoldoutOfOneClass(ValueError):
    """The hold-out has only positive or only negative rows. The message says what to do."""


class NothingToDo(Frozen):
    """There is nothing to train for, and why: an outcome, not a failure."""

    reason: str


@task(**RESUMED)
def plan_training(
    use_case: str,
    dataset_version: str | None,
    holdout: str | None,
    seed: int,
    again: bool = False,
) -> Plan | NothingToDo:
    """Choose windows and recipes. Windows expand; the hold-out is the latest labelled period,
    unless one is named.

    The champion's recipe always competes, refitted on the longer window. If no labelled period is
    newer than the champion, there is ``NothingToDo``, unless the definition has changed since or
    somebody asks for a contest ``again``. Raises ``DatasetMissing`` for a window without rows,
    ``HoldoutOfOneClass``, and ``CrownUnclear``."""
    case, dataset = load(use_case), read_version(lake(), use_case, dataset_version)
    labelled = dataset.labelled_periods
    period = holdout or (labelled[-1] if labelled else "")
    periods = names_before(period, labelled) if period in labelled else ()
    if not periods:
        raise DatasetMissing(
            f"Dataset {dataset.version} of {use_case!r} has labelled periods {labelled}: a "
            f"hold-out{f' {holdout}' if holdout else ''} and at least one period before it are "
            f"needed. Ingest more: prefect deployment run 'ingest/{use_case}'."
        )
    champion, reigning, rematch = find_champion(use_case), None, None
    if champion is not None:
        manifest = read_manifest(registry(), champion)
        if period_named(manifest.trained_through) >= period_named(period):
            answer = plan_rematch(case, champion, manifest, period, again)
            if isinstance(answer, str):
                learned = (
                    f"Champion {champion.number} of {use_case!r} has learned "
                    f"{manifest.trained_through}; the latest labelled period is {period}."
                )
                return NothingToDo(reason=f"{learned} {answer}")
            rematch = answer
        reigning = _recipe_of(case, champion, manifest)
    _check_classes(case, dataset, period)
    return Plan(
        id=f"{period}-{uuid4().hex[:8]}",
        use_case=use_case,
        dataset_version=dataset.version,
        periods=periods,
        holdout=period,
        recipes=choose_recipes(case, reigning),
        seed=seed,
        rematch=rematch,
    )


def _recipe_of(case: UseCase, champion: ModelVersion, manifest: Manifest) -> Recipe:
    """Return the champion's recipe, and warn if the use case no longer has it."""
    if not is_candidate(case, manifest.recipe):
        warning = (
            "champion %s of %s came from %r, which is no longer a candidate of the use case: "
            "it does not compete again"
        )
        get_run_logger().warning(warning, champion.number, case.name, manifest.recipe)
    return Recipe(
        candidate=manifest.recipe, params=manifest.params, why=f"champion {champion.number}"
    )


def _check_classes(case: UseCase, dataset: DatasetVersion, holdout: str) -> None:
    """Raises ``HoldoutOfOneClass`` before anything is fitted that could not be judged."""
    labels = read_periods(lake(), dataset, [holdout], case.label)[case.label]
    if labels.n_unique() < 2:
        others = names_before(holdout, dataset.labelled_periods)[1:]
        way = (
            f"prefect deployment run 'train/{case.name}' --param holdout={others[-1]}"
            if others
            else f"'ingest/{case.name}'"
        )
        raise HoldoutOfOneClass(
            f"The hold-out {holdout} of {case.name!r} has {len(labels):,} labelled rows, and "
            f"{case.label!r} is {labels[0]} in all of them: nothing can be judged on one class. "
            "Check whether all of its labels have arrived; ingest more, or name another "
            f"hold-out: {way}."
        )


@task(task_run_name="rehearse", **RESUMED)
def rehearse_candidates(plan: Plan) -> list[str]:
    """Take each recipe, and each candidate that HPO may reach, through fit and packaging on a few
    rows. Returns their names.

    Raises ``UseCaseFailed`` or ``NotConvertible``: a model that cannot be served is reported before
    it trains for minutes."""
    case = load(plan.use_case)
    _, rows = training_rows(case, plan)
    params = {
        candidate.name: dict(candidate.params) for candidate in case.candidates if candidate.search
    }
    params |= {recipe.candidate: recipe.params for recipe in plan.recipes}
    for name, values in params.items():
        rehearse(case, case.candidate(name), values, rows, plan.seed)
    return list(params)


@task(**RESUMED)
def announce_training(plan: Plan) -> None:
    dataset = read_version(lake(), plan.use_case, plan.dataset_version)
    rows = sum(
        period_file.labelled
        for period_file in dataset.periods
        if period_file.period in plan.periods
    )
    tell(
        training_started(
            plan.use_case,
            candidates=[recipe.candidate for recipe in plan.recipes],
            window=plan.window,
            holdout=plan.holdout,
            rows=rows,
            dataset_version=plan.dataset_version,
        )
    )


@task(**RESUMED)
def compare_recipes(plan: Plan) -> Plan:
    """Return the plan with the recipe that is best on the last training period, fitted on those
    before it. The hold-out stays closed.

    A single recipe need not be compared. Without an earlier period, or with too few rows or one
    class, all recipes stay, and the contest knows that the challenger was chosen on its rows."""
    case = load(plan.use_case)
    if len(plan.recipes) < 2 or len(plan.periods) < 2:
        return plan
    _, rows = training_rows(case, plan)
    earlier, period = inner_split(case, plan.periods, rows)
    if not can_compare(case, earlier, period):
        return plan
    metric, truth, tried = case.gate.metric, modelling.labels(case, period), list[Tried]()
    for recipe in plan.recipes:
        candidate = case.candidate(recipe.candidate)
        fitted = modelling.fit(case, candidate, recipe.params, earlier, plan.seed)
        reached = score(metric, truth, modelling.predict(fitted, case, period))
        tried.append(Tried(recipe=recipe, score=reached if math.isfinite(reached) else None))
        get_run_logger().info(
            "compared use_case=%s candidate=%s on=%s %s=%.4f",
            case.name,
            recipe.candidate,
            plan.periods[-1],
            metric.name,
            reached,
        )
    best = best_of(metric, tried, lambda trial: math.nan if trial.score is None else trial.score)
    return plan.model_copy(
        update={
            "recipes": (best.recipe,),
            "chosen_on": plan.periods[-1],
            "tried": tuple(tried),
        }
    )


@task(task_run_name="fit {recipe.candidate}", **RESUMED)
def fit_candidate(plan: Plan, recipe: Recipe) -> Fitted:
    """Fit one recipe on the training window and log it as an MLflow run."""
    case = load(plan.use_case)
    dataset, rows = training_rows(case, plan)
    start = time.monotonic()
    fitted = modelling.fit(case, case.candidate(recipe.candidate), recipe.params, rows, plan.seed)
    seconds = time.monotonic() - start
    run_id = registry().log_run(
        plan.use_case,
        f"{recipe.candidate} {plan.periods[-1]}",
        params={"candidate": recipe.candidate, "seed": plan.seed, **recipe.params},
        metrics={"fit_seconds": seconds, "training_rows": len(rows)},
        tags={**run_tags(dataset, plan.periods), **plan_tags(plan, recipe)},
        model=fitted,
        example=modelling.inputs(case, rows.head(5)),
    )
    get_run_logger().info(
        "fitted use_case=%s candidate=%s rows=%d seconds=%.2f",
        case.name,
        recipe.candidate,
        len(rows),
        seconds,
    )
    return Fitted(recipe=recipe, run_id=run_id, rows=len(rows), fit_seconds=seconds)


def training_rows(case: UseCase, plan: Plan) -> tuple[DatasetVersion, pl.DataFrame]:
    """Return the dataset version of the plan, and the labelled rows of its training window."""
    dataset = read_version(lake(), plan.use_case, plan.dataset_version)
    return dataset, read_periods(lake(), dataset, plan.periods, case.label)


def run_tags(dataset: DatasetVersion, periods: tuple[str, ...]) -> dict[str, str]:
    """Return where a run's model comes from: data, code, and the flow run that made it."""
    digests = dataset.digests(periods)
    tags = {
        "laurel.dataset_version": dataset.version,
        "laurel.data_digest": " ".join(digest[:12] for digest in digests.values()),
        "laurel.trained_through": max(digests, key=period_named),
        "laurel.flow_run": flow_run.ui_url or "",
    }
    commit = _git_commit()
    return {**tags, "mlflow.source.git.commit": commit} if commit else tags


def _git_commit() -> str | None:
    """Return the commit of the running code: what the settings say, else the checkout; None if
    neither knows."""
    settings = Settings.read()
    if settings.commit:
        return settings.commit
    line = ["git", "-C", str(settings.home), "rev-parse", "HEAD"]
    try:
        return (
            subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip() or None
        )
    except FileNotFoundError:  # no git, as in a container
        return None


def plan_tags(plan: Plan, recipe: Recipe) -> dict[str, str]:
    """Return the tags that ``find_training`` reads back."""
    return {
        "laurel.training": plan.id,
        "laurel.plan": plan.model_dump_json(),
        "laurel.recipe": recipe.model_dump_json(),
    }


@task(**RESUMED)
def find_training(use_case: str, training: str | None) -> Training:
    """Return the training of that id, or the latest one, from its MLflow runs. Raises
    ``LookupError`` if there is none.

    A training whose run was killed before all of its recipes were fitted is skipped."""
    runs = registry().runs(load(use_case).name, {"laurel.training": training} if training else {})
    named = [run for run in runs if "laurel.training" in run.tags]
    for name in dict.fromkeys(run.tags["laurel.training"] for run in named):
        training_run = _training([run for run in named if run.tags["laurel.training"] == name])
        if all(
            recipe in [fit.recipe for fit in training_run.fitted]
            for recipe in training_run.plan.recipes
        ):
            return training_run
    which = f" {training!r}" if training else ""
    raise LookupError(
        f"{use_case!r} has no finished training{which} in MLflow. Start one: prefect "
        f"deployment run 'train/{use_case}'."
    )


def _training(runs: list[Run]) -> Training:
    fitted = [
        Fitted(
            recipe=Recipe.model_validate_json(run.tags["laurel.recipe"]),
            run_id=run.id,
            rows=int(run.metrics["training_rows"]),
            fit_seconds=run.metrics["fit_seconds"],
        )
        for run in reversed(runs)
    ]
    return Training(
        plan=Plan.model_validate_json(runs[0].tags["laurel.plan"]), fitted=tuple(fitted)
    )


@task(**RESUMED)
def report_training(plan: Plan, fitted: list[Fitted]) -> Training:
    """Write the table of candidates as an artifact. Returns the record that ``evaluate`` takes."""
    store: ModelRegistry = registry()
    fits = {fit.recipe.candidate: fit for fit in fitted}
    scores = {tried.recipe.candidate: tried.score for tried in plan.tried}
    table = []
    for recipe in plan.competed:
        row: dict[str, object] = {"candidate": recipe.candidate, "because": recipe.why}
        if plan.tried:
            row[f"on {plan.chosen_on}"] = scores[recipe.candidate]
        if fit := fits.get(recipe.candidate):
            row |= {
                "rows": fit.rows,
                "window": plan.window,
                "fit seconds": round(fit.fit_seconds, 2),
                "run": store.run_url(fit.run_id),
            }
        table.append(row)
    create_table_artifact(
        table,
        key=artifact_key(plan.use_case, "candidates"),
        description=f"Candidates of training {plan.id}, to be judged on {plan.holdout}",
    )
    return Training(plan=plan, fitted=tuple(fitted))
