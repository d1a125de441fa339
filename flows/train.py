"""Fit the candidates on everything before the latest labelled period."""

from prefect import flow, get_run_logger
from prefect.states import State

from flows.runs import OPTIONS, completed, ended, run_name
from tasks.ledger.outcomes import Outcome
from tasks.steps.plan import NothingToDo, plan_training
from tasks.steps.train import (
    Training,
    announce_training,
    compare_recipes,
    fit_candidate,
    rehearse_candidates,
    report_training,
)


@flow(name="train", flow_run_name=run_name("holdout", "dataset_version"), **OPTIONS)
async def train(
    use_case: str,
    dataset_version: str | None = None,
    holdout: str | None = None,
    seed: int = 0,
    again: bool = False,
) -> State[Training]:
    """Fit the baseline candidates, and the champion's recipe, on the window that ends before
    ``holdout``. Of several, the one that is best on the last period of that window.

    ``holdout`` is by default the latest labelled period. If the champion has already learned it,
    the run completes as *Nothing to do*, unless the columns, recipes or searches have changed
    since, or a contest is wanted ``again``."""
    plan = plan_training(use_case, dataset_version, holdout, seed, again)
    if isinstance(plan, NothingToDo):
        get_run_logger().info(plan.reason)
        return ended(Outcome("Nothing to do", plan.reason))
    rehearse_candidates(plan)
    announce_training(plan)
    plan = compare_recipes(plan)
    fitted = [fit_candidate(plan, recipe) for recipe in plan.recipes]
    training = report_training(plan, fitted)
    return completed(training.in_short, training)
