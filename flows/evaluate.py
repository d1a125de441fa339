"""Score on unseen rows; below the gate, search; register the best as challenger."""

from prefect import flow
from prefect.states import State

from blocks.registry import ModelVersion
from flows.runs import OPTIONS, completed, ended, run_name
from tasks.steps.challenger import register_challenger
from tasks.steps.evaluate import (
    below,
    fit_and_score_tuned,
    judged_well,
    report_scores,
    score_candidate,
    tune_candidates,
)
from tasks.steps.train import find_training


@flow(name="evaluate", flow_run_name=run_name("training"), **OPTIONS)
async def evaluate(use_case: str, training: str | None = None) -> State[ModelVersion]:
    """Judge the candidates of ``training`` (default: the latest) on its hold-out and register the
    best as challenger.

    If none passes the gate, or the champion was made by another search, HPO searches inside the
    training window and its best trial is judged.
    If that does not pass either, nothing is registered and the run completes as *Below the
    gate*. The contest knows all candidates that the hold-out was opened for."""
    trained = find_training(use_case, training)
    candidates = [score_candidate(trained.plan, fitted) for fitted in trained.fitted]
    best = report_scores(trained.plan, candidates)
    if not best.passed or trained.plan.new_search:
        recipe = tune_candidates(trained.plan)
        if recipe is not None:
            tuned = fit_and_score_tuned(trained.plan, recipe, best)
            candidates.append(tuned)
            if tuned.passed or not best.passed:
                best = tuned
    if not best.passed:
        return ended(below(trained.plan, best))
    rivals = [rival.fitted.run_id for rival in candidates if rival != best]
    challenger = register_challenger(trained.plan, best, rivals)
    return completed(
        f"Challenger {challenger.number}: {judged_well(trained.plan, best)}", challenger
    )
