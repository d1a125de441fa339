"""Give the crown back."""

from prefect import flow
from prefect.states import State

from blocks.registry import ModelVersion
from flows.runs import OPTIONS, completed, run_name
from tasks.steps.crown import Crowning, crown
from tasks.steps.requests import why_asked
from tasks.steps.rollback import find_predecessor
from tasks.steps.rollout import end_for_crown


@flow(
    name="rollback",
    flow_run_name=run_name("version", before="to version ", otherwise="to the previous"),
    **OPTIONS,
)
async def rollback(
    use_case: str, version: str | None = None, reason: str = "asked for"
) -> State[ModelVersion]:
    """Make the previous champion (or ``version``) champion again, once its package is proven to
    load and answer. A running rollout ends first.
    """
    end_for_crown(use_case, "rollback")
    step = find_predecessor(use_case, version)
    seconds = crown(
        step.target, Crowning(step.champion, [why_asked(reason)], "rollback", step.holder)
    )
    message = (
        f"Version {step.target.number} serves {use_case} again after {seconds:.1f} s, "
        f"instead of version {step.champion}: {reason}"
    )
    return completed(message, step.target)
