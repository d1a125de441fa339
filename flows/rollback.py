"""Give the crown back."""

from prefect import flow
from prefect.states import State

from blocks.registry import ModelVersion
from flows.runs import TOLD, completed, named
from tasks.steps.crown import Crowning, crown
from tasks.steps.rollback import find_predecessor


@flow(
    name="rollback",
    flow_run_name=named("version", before="to version ", otherwise="to the previous"),
    **TOLD,
)
async def rollback(
    use_case: str, version: str | None = None, reason: str = "asked for"
) -> State[ModelVersion]:
    """Make the previous champion (or ``version``) champion again, once its package is proven to
    load and answer.
    """
    back = find_predecessor(use_case, version)
    seconds = crown(back.target, Crowning(back.champion, [reason], "rollback", back.holder))
    message = (
        f"Version {back.target.number} serves {use_case} again after {seconds:.1f} s, "
        f"instead of version {back.champion}: {reason}"
    )
    return completed(message, back.target)
