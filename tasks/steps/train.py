"""The steps of ``train`` after its plan: the recipes are compared, and the best is fitted."""

import math
import time
from typing import TYPE_CHECKING

import polars as pl
from prefect import get_run_logger, task

from blocks.registry import ModelRegistry, Run
from tasks.data.dataset import DatasetVersion, read_version
from tasks.data.sampling import even_rows
from tasks.measures.metrics import score
from tasks.messages.announcements import training_started
from tasks.models import modelling
from tasks.models.selection import (
    Recipe,
    Tried,
    best_of,
    can_compare,
    comparison_rows,
)
from tasks.models.tuning import inner_split
from tasks.outside.artifacts import show_table
from tasks.outside.blocks_of_run import RESUMED, lake, registry, tell
from tasks.packages.keeping import keep
from tasks.packages.packaging import Origin
from tasks.packages.rehearsal import rehearse
from tasks.steps.plan import Plan, holdout_rows, training_rows
from tasks.steps.provenance import page_of, run_dataset, run_tags
from usecases.definition import holdout_named, last_of, load
from usecases.definition.columns import Frozen

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


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


@task(task_run_name="rehearse", **RESUMED)
def rehearse_candidates(plan: Plan) -> list[str]:
    """Take each recipe, and each candidate that HPO may reach, through fit and packaging on a few
    rows. Returns their names.

    Raises ``UseCaseFailed`` or ``NotConvertible``: a model that cannot be served is reported before
    it trains for minutes."""
    case = load(plan.use_case)
    rows = training_rows(case, plan)[1].rows
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
    sample = load(plan.use_case).sample
    rows = min(rows, sample.rows) if sample else rows
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
    """Return the plan with the recipe that is best on the last training periods, as many as a
    hold-out has, fitted on rows of those before them. The hold-out stays closed.

    A single recipe need not be compared. Without an earlier period, or with too few rows or one
    class, all recipes stay, and the contest knows that the challenger was chosen on its rows."""
    case = load(plan.use_case)
    if len(plan.recipes) < 2 or len(plan.periods) < 2:
        return plan
    rows = training_rows(case, plan)[1].rows
    earlier, period = inner_split(case, plan.periods, rows)
    period, _ = even_rows(period, plan.seed)
    if not can_compare(case, earlier, period):
        return plan
    earlier = comparison_rows(case, earlier, plan.seed)
    metric, truth, tried = case.gate.metric, modelling.labels(case, period), list[Tried]()
    chosen_on = holdout_named(last_of(plan.periods, case.promotion.holdout_periods))
    for recipe in plan.recipes:
        candidate = case.candidate(recipe.candidate)
        fitted = modelling.fit(case, candidate, recipe.params, earlier, plan.seed)
        reached = score(metric, truth, modelling.predict(fitted, case, period))
        tried.append(Tried(recipe=recipe, score=reached if math.isfinite(reached) else None))
        get_run_logger().info(
            "compared use_case=%s candidate=%s on=%s %s=%.4f",
            case.name,
            recipe.candidate,
            chosen_on,
            metric.name,
            reached,
        )
    best = best_of(metric, tried, lambda trial: math.nan if trial.score is None else trial.score)
    return plan.model_copy(
        update={
            "recipes": (best.recipe,),
            "chosen_on": chosen_on,
            "tried": tuple(tried),
        }
    )


@task(task_run_name="fit {recipe.candidate}", **RESUMED)
def fit_candidate(plan: Plan, recipe: Recipe) -> Fitted:
    """Fit one recipe on the training window and log it as an MLflow run."""
    case = load(plan.use_case)
    dataset, drawn = training_rows(case, plan)
    rows, start = drawn.rows, time.monotonic()
    fitted = modelling.fit(case, case.candidate(recipe.candidate), recipe.params, rows, plan.seed)
    seconds = time.monotonic() - start
    run_id = registry().log_run(
        plan.use_case,
        f"{recipe.candidate} {plan.periods[-1]}",
        params={"candidate": recipe.candidate, "seed": plan.seed, **recipe.params},
        metrics={"fit_seconds": seconds, "training_rows": len(rows)},
        tags={**run_tags(dataset, plan.periods, drawn.how), **plan_tags(plan, recipe)},
        model=kept_of(plan, recipe, fitted, dataset, rows),
        example=modelling.inputs(case, rows.head(5)),
        datasets=[run_dataset(dataset, plan.periods, len(rows), "training")],
        note=page_of(
            case,
            f"{recipe.candidate}, fitted on {plan.window}",
            f"To be judged on {plan.holdout}, which it has not seen.",
        ),
    )
    get_run_logger().info(
        "fitted use_case=%s candidate=%s rows=%d seconds=%.2f",
        case.name,
        recipe.candidate,
        len(rows),
        seconds,
    )
    return Fitted(recipe=recipe, run_id=run_id, rows=len(rows), fit_seconds=seconds)


def kept_of(
    plan: Plan, recipe: Recipe, fitted: "Pipeline", dataset: DatasetVersion, rows: pl.DataFrame
) -> "Pipeline":
    """Return what MLflow keeps of a pipeline that was ``fitted`` on ``rows``.

    The ONNX of a model of the use case's own is compared with it here, on the inputs of the
    hold-out, since only this process has the model; their labels are not looked at."""
    case = load(plan.use_case)
    digests = dataset.digests(plan.periods)
    origin = Origin(recipe.candidate, recipe.params, dataset.version, digests, {})
    return keep(case, fitted, origin, rows, lambda: holdout_rows(case, plan), plan.seed)


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
                "run": f"[MLflow run]({store.run_url(fit.run_id)})",
            }
        table.append(row)
    show_table(
        plan.use_case,
        "candidates",
        table,
        f"candidates of training {plan.id}",
        f"To be judged on {plan.holdout}.",
    )
    return Training(plan=plan, fitted=tuple(fitted))
