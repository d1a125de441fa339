"""Let retrains start by themselves again."""

from prefect import flow
from prefect.states import Completed, State

from flows.runs import TOLD, named
from tasks.retraining import close


@flow(name="close_breaker", flow_run_name=named("by", before="by "), **TOLD)
async def close_breaker(use_case: str, by: str, why: str) -> State[None]:
    """Close the governor's breaker, which opened after challengers in a row that were not promoted.

    Who closes it and why goes to the ledger. Where it is not open there is *Nothing to do*.
    """
    rejections = close(use_case, by, why)
    if rejections == 0:
        return Completed(name="Nothing to do", message=f"The breaker of {use_case} is closed.")
    return Completed(message=f"{by} closed the breaker of {use_case} after {rejections} rejected challengers.")
