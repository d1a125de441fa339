"""The steps of ``evaluate``: score on the hold-out, the gate, HPO below it, and the challenger's
registration.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from prefect import get_run_logger, task
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from blocks.clients.registry import CHALLENGER
from blocks.registry import ModelVersion
from tasks.ledger.outcomes import Outcome, against_gate, below_the_gate
from tasks.measures import plots
from tasks.messages.announcements import metric_name, number, training_finished, tuning_finished
from tasks.models import modelling, settings
from tasks.models.executors import core_threads
from tasks.models.fingerprint import TAG, recipes_of
from tasks.models.importance import permutation_importance
from tasks.models.selection import Recipe, best_of, best_trial, first_trials
from tasks.models.tuning import Tuned, inner_split, tune
from tasks.outside.blocks_of_run import RESUMED, artifact_key, registry, tell
from tasks.packages.judging import package_challenger, score_holdout
from tasks.packages.packaging import Origin
from tasks.steps.plan import Plan, holdout_rows, training_rows
from tasks.steps.rematch import REMATCH
from tasks.steps.train import Fitted, kept_of, plan_tags, run_tags
from usecases.definition import UseCase, load
from usecases.definition.columns import Frozen

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Scored(Frozen):
    """A fitted recipe and its scores on the hold-out of ``rows`` rows, by metric name. ``passed``
    is the gate's answer."""

    fitted: Fitted
    scores: dict[str, float]
    passed: bool
    rows: int = 0


@task(task_run_name="score {fitted.recipe.candidate}", **RESUMED)
def score_candidate(plan: Plan, fitted: Fitted) -> Scored:
    """Score one candidate on the hold-out and add that to its MLflow run."""
    case = load(plan.use_case)
    rows = holdout_rows(case, plan)
    scores = score_holdout(case, registry().load_model(fitted.run_id), rows)
    registry().add_to_run(
        fitted.run_id,
        {f"holdout_{name}": value for name, value in scores.items()},
        {"laurel.holdout": plan.holdout},
    )
    return Scored(
        fitted=fitted,
        scores=scores,
        passed=case.gate.passes(scores[case.gate.metric.name]),
        rows=len(rows),
    )


def below(plan: Plan, best: Scored) -> Outcome:
    """Describe that not even the ``best`` passes the gate."""
    case, recipe = load(plan.use_case), best.fitted.recipe
    tuned = any(candidate.search for candidate in case.candidates)
    return below_the_gate(
        case, recipe.candidate, best.scores[case.gate.metric.name], best.rows, plan.holdout, tuned
    )


def judged_well(plan: Plan, best: Scored) -> str:
    """Say what the challenger scored on the hold-out, in a sentence."""
    gate = load(plan.use_case).gate
    score = best.scores[gate.metric.name]
    reached = (
        f"{best.fitted.recipe.candidate} scores {metric_name(gate.metric.name)} {number(score)}"
    )
    return f"{reached} on {best.rows:,} rows of {plan.holdout}, {against_gate(gate, score)}."


@task(**RESUMED)
def report_scores(plan: Plan, scored: list[Scored]) -> Scored:
    """Write the table of scores and the message about the gate. Returns the best by the gate's
    metric."""
    case = load(plan.use_case)
    metric = case.gate.metric
    best = best_of(metric, scored, lambda candidate: candidate.scores[metric.name])
    table = [
        {"candidate": s.fitted.recipe.candidate, **_rounded(s.scores), "passes the gate": s.passed}
        for s in scored
    ]
    message = f"Scores on {plan.holdout}; the gate is {metric.name} {case.gate.threshold:g}"
    create_table_artifact(table, key=artifact_key(plan.use_case, "scores"), description=message)
    tell(
        training_finished(
            plan.use_case,
            metric=metric.name,
            scores={s.fitted.recipe.candidate: s.scores[metric.name] for s in scored},
            best=best.fitted.recipe.candidate,
            gate=case.gate.threshold,
            passed=best.passed,
            holdout=plan.holdout,
            rows=best.rows,
            hpo=any(c.search for c in case.candidates),
            outcome="" if best.passed else below(plan, best).message,
            links={"MLflow run": registry().run_url(best.fitted.run_id)},
        )
    )
    return best


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}


@task(name="tune", **RESUMED)
def tune_candidates(plan: Plan) -> Recipe | None:
    """Tune every candidate with a search space, inside the training window: the best trial becomes
    a recipe.

    The champion's parameters and the candidate's own are tried first. None if no candidate has a
    search space."""
    case = load(plan.use_case)
    _, rows = training_rows(case, plan)
    fit_rows, check_rows = inner_split(case, plan.periods, rows)
    metric, searches = case.gate.metric, list[Tuned]()
    for candidate in (c for c in case.candidates if c.search):
        bar = create_progress_artifact(
            0.0,
            key=artifact_key(case.name, "tuning"),
            description=f"HPO of {candidate.name} for {plan.id}",
        )

        def progress(finished: int, trials: int, best: float, bar: Any = bar) -> None:
            get_run_logger().info(
                "tuning use_case=%s trials=%d of %d best_%s=%.4f",
                case.name,
                finished,
                trials,
                metric.name,
                best,
            )
            update_progress_artifact(bar, 100.0 * finished / trials)

        first = first_trials(candidate, plan.competed)
        with core_threads() as threads:
            searches.append(
                tune(case, candidate, fit_rows, check_rows, plan.seed, threads, first, progress)
            )
        _report_trials(case, searches[-1])
    return best_trial(metric, searches)


def _report_trials(case: UseCase, tuned: Tuned) -> None:
    table = [
        {
            "trial": t.number,
            case.gate.metric.name: round(t.score, 4),
            "pruned": t.pruned,
            **{k: _short(v) for k, v in t.params.items()},
        }
        for t in sorted(tuned.trials, key=lambda t: t.number)
    ]
    create_table_artifact(
        table,
        key=artifact_key(case.name, "trials"),
        description=f"Trials of {tuned.candidate} on the inner split",
    )


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


@task(**RESUMED)
def fit_and_score_tuned(plan: Plan, recipe: Recipe, before: Scored) -> Scored:
    """Refit the best trial on the whole training window, score it on the hold-out, and tell what
    HPO brought."""
    case = load(plan.use_case)
    dataset, rows = training_rows(case, plan)
    start = time.monotonic()
    fitted = modelling.fit(case, case.candidate(recipe.candidate), recipe.params, rows, plan.seed)
    seconds = time.monotonic() - start
    holdout = holdout_rows(case, plan)
    scores = score_holdout(case, fitted, holdout)
    run_id = registry().log_run(
        plan.use_case,
        f"{recipe.candidate} tuned {plan.periods[-1]}",
        params={"candidate": recipe.candidate, "seed": plan.seed, **recipe.params},
        metrics={
            "fit_seconds": seconds,
            "training_rows": len(rows),
            **{f"holdout_{k}": v for k, v in scores.items()},
        },
        tags={
            **run_tags(dataset, plan.periods),
            **plan_tags(plan, recipe),
            "laurel.holdout": plan.holdout,
        },
        model=kept_of(plan, recipe, fitted, dataset, rows),
        example=modelling.inputs(case, rows.head(5)),
    )
    name = case.gate.metric.name
    candidate_run = Fitted(recipe=recipe, run_id=run_id, rows=len(rows), fit_seconds=seconds)
    best = Scored(
        fitted=candidate_run,
        scores=scores,
        passed=case.gate.passes(scores[name]),
        rows=len(holdout),
    )
    tell(
        tuning_finished(
            plan.use_case,
            metric=name,
            candidate=recipe.candidate,
            before=before.scores[name],
            after=scores[name],
            gate=case.gate.threshold,
            passed=best.passed,
            why=recipe.why,
            params=recipe.params,
            outcome="" if best.passed else below(plan, best).message,
            links={"MLflow run": registry().run_url(run_id)},
        )
    )
    return best


@task(**RESUMED)
def register_challenger(plan: Plan, best: Scored, rivals: Sequence[str] = ()) -> ModelVersion:
    """Make the package, prove it on the whole hold-out, and register it with its plots under the
    alias ``challenger``.

    ``rivals`` are the MLflow runs of candidates that it was chosen from on the hold-out itself, be
    it by the gate that they missed: the contest has to know them."""
    case, store, recipe = load(plan.use_case), registry(), best.fitted.recipe
    dataset, rows = training_rows(case, plan)
    proof = holdout_rows(case, plan)
    fitted = store.load_model(best.fitted.run_id)
    origin = Origin(
        recipe.candidate, recipe.params, dataset.version, dataset.digests(plan.periods), best.scores
    )
    with tempfile.TemporaryDirectory() as folder:
        package = package_challenger(
            Path(folder), case, fitted, origin, rows, plan.holdout, proof, plan.seed
        )
        store.log_package(best.fitted.run_id, package.folder, draw(case, fitted, proof, plan.seed))
    parity = package.manifest.parity
    proven = {
        "parity_rows": float(parity.rows),
        "parity_largest_difference": parity.largest_difference,
        "parity_changed_decisions": float(parity.changed_decisions),
    }
    store.add_to_run(best.fitted.run_id, proven, {})
    version = store.register(
        plan.use_case,
        best.fitted.run_id,
        package.sha256,
        {
            "laurel.holdout": plan.holdout,
            "laurel.training": plan.id,
            "laurel.recipe": recipe.candidate,
            **({"laurel.rivals": " ".join(rivals)} if rivals else {}),
            TAG: recipes_of(case),
            settings.TAG: settings.settings_of(case),
            **({REMATCH: plan.rematch.champion} if plan.rematch else {}),
        },
        f"{recipe.candidate}, trained on {plan.window}, {case.gate.metric.name} "
        f"{best.scores[case.gate.metric.name]:.4f} on {plan.holdout}",
        about=f"{case.title}. {case.question}",
    )
    store.set_alias(version, CHALLENGER)
    get_run_logger().info(
        "challenger use_case=%s version=%s parity=%s",
        plan.use_case,
        version.number,
        package.manifest.parity,
    )
    return version


def draw(case: UseCase, fitted: "Pipeline", rows: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Return the plots of a registered model, by artifact path."""
    truth, predicted = modelling.labels(case, rows), modelling.predict(fitted, case, rows)
    losses = permutation_importance(
        fitted.named_steps["model"],
        modelling.encode(fitted, case, rows),
        truth,
        modelling.owners(case, fitted),
        case.gate.metric,
        seed,
    )
    names = [column.name for column in case.matrix_columns]
    return {
        **plots.of_target(case.target, truth, predicted),
        "plots/importance.png": plots.importance(names, losses, case.gate.metric),
    }
