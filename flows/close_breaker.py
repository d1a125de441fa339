"""Let retrains start by themselves again."""

from prefect import flow
from prefect.states import State

from flows.runs import OPTIONS, completed, run_name
from tasks.steps.retrain import close


@flow(name="close_breaker", flow_run_name=run_name("by", before="by "), **OPTIONS)
async def close_breaker(use_case: str, by: str, why: str) -> State[None]:
    """Close the governor's breaker, which opened after several rejected challengers in a row.

    The ledger records who closed it and why. If it is not open there is *Nothing to do*.
    """
    rejections = close(use_case, by, why)
    if rejections == 0:
        return completed(f"The breaker of {use_case} was not open.", name="Nothing to do")
    return completed(
        f"{by} closed the breaker of {use_case} after {rejections} rejected challengers."
    )
