"""The steps of ``evaluate``: score on the hold-out, the gate, and HPO below it. The challenger's
registration: ``tasks/steps/challenger.py``."""

import math
import time
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from blocks.run_datasets import RunDataset
from blocks.settings import Settings
from tasks.data.dataset import DatasetVersion, read_version
from tasks.ledger.outcomes import Outcome, against_gate, below_the_gate
from tasks.messages.announcements import metric_name, number, training_finished, tuning_finished
from tasks.models import modelling
from tasks.models.selection import Recipe, best_of, best_trial, first_trials
from tasks.models.studies import open_record, study_name
from tasks.models.trial_workers import trial_workers
from tasks.models.tuning import Tuned, inner_split, tune
from tasks.outside.artifacts import about, artifact_key, show_table
from tasks.outside.blocks_of_run import RESUMED, lake, registry, tell
from tasks.packages.judging import score_holdout
from tasks.steps.plan import Plan, holdout_rows, training_rows
from tasks.steps.provenance import page_of, run_dataset, run_tags
from tasks.steps.train import Fitted, kept_of, plan_tags
from usecases.definition import UseCase, load, periods_of
from usecases.definition.columns import Frozen


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
    dataset = read_version(lake(), case.name, plan.dataset_version)
    registry().log_datasets(fitted.run_id, judged_on(plan, dataset, len(rows)))
    return Scored(
        fitted=fitted,
        scores=scores,
        passed=case.gate.passes(scores[case.gate.metric.name]),
        rows=len(rows),
    )


def judged_on(plan: Plan, dataset: DatasetVersion, rows: int) -> RunDataset:
    """Return the hold-out as a dataset of a run."""
    return run_dataset(dataset, periods_of(plan.holdout), rows, "evaluation")


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
        {
            "candidate": s.fitted.recipe.candidate,
            **_rounded(s.scores),
            "passes the gate": s.passed,
            "run": f"[MLflow run]({registry().run_url(s.fitted.run_id)})",
        }
        for s in scored
    ]
    show_table(
        plan.use_case,
        "scores",
        table,
        f"scores on {plan.holdout}",
        f"{best.rows:,} rows; the gate is {metric.name} {case.gate.threshold:g}.",
    )
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
    rows = training_rows(case, plan)[1].rows
    fit_rows, check_rows = inner_split(case, plan.periods, rows)
    metric, searches = case.gate.metric, list[Tuned]()
    for candidate in case.candidates:
        if candidate.search is None:
            continue
        bar = create_progress_artifact(
            0.0,
            key=artifact_key(case.name, "tuning"),
            description=about(case.name, f"HPO of {candidate.name} for training {plan.id}"),
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
        name = study_name(
            case, candidate, plan.dataset_version, plan.periods, plan.seed, [*map(dict, first)]
        )
        warn, settings = get_run_logger().warning, Settings.read()
        address = settings.dask_address
        with (
            trial_workers(address, case.name, candidate.search.at_once, warn) as workers,
            open_record(
                settings.studies_url, name, metric.higher_is_better, warn, counts_kills=not address
            ) as record,
        ):
            if record.size:
                get_run_logger().info("the search goes on: %d trials are known", record.size)
            searches.append(
                tune(
                    case,
                    candidate,
                    fit_rows,
                    check_rows,
                    plan.seed,
                    workers,
                    first,
                    progress,
                    record,
                )
            )
        _report_trials(case, searches[-1])
    return best_trial(metric, searches)


def _report_trials(case: UseCase, tuned: Tuned) -> None:
    """Show the trials; warn of those that failed."""
    failed = [trial.failed for trial in tuned.trials if trial.failed]
    for reason in failed:
        get_run_logger().warning("a trial of %s failed: %s", case.name, reason)
    table = [
        {
            "trial": t.number,
            case.gate.metric.name: None if math.isnan(t.score) else round(t.score, 4),
            "pruned": t.pruned,
            **({"failed": t.failed} if failed else {}),
            **{k: _short(v) for k, v in t.params.items()},
        }
        for t in sorted(tuned.trials, key=lambda t: t.number)
    ]
    show_table(
        case.name,
        "trials",
        table,
        f"trials of {tuned.candidate}",
        "Scored within the training window; the hold-out stays closed.",
    )


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


@task(**RESUMED)
def fit_and_score_tuned(plan: Plan, recipe: Recipe, before: Scored) -> Scored:
    """Refit the best trial on the whole training window, score it on the hold-out, and tell what
    HPO brought."""
    case = load(plan.use_case)
    dataset, drawn = training_rows(case, plan)
    rows, start = drawn.rows, time.monotonic()
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
            **run_tags(dataset, plan.periods, drawn.how),
            **plan_tags(plan, recipe),
            "laurel.holdout": plan.holdout,
        },
        model=kept_of(plan, recipe, fitted, dataset, rows),
        example=modelling.inputs(case, rows.head(5)),
        datasets=[
            run_dataset(dataset, plan.periods, len(rows), "training"),
            judged_on(plan, dataset, len(holdout)),
        ],
        note=page_of(
            case,
            f"{recipe.candidate}, tuned and fitted on {plan.window}",
            f"{recipe.why[:1].upper()}{recipe.why[1:]}. Judged on {plan.holdout}.",
        ),
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
