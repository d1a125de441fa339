"""Accept a ledger that somebody changed."""

from typing import Annotated

from prefect import flow
from prefect.states import State
from pydantic import Field

from flows.runs import OPTIONS, completed, run_name
from tasks.steps.accept_ledger import accept_as_it_stands

Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S")]


@flow(name="accept_ledger", flow_run_name=run_name("by", before="by "), **OPTIONS)
async def accept_ledger(use_case: str, by: Words, why: Words) -> State[None]:
    """Accept the ledger as it stands in the lake, if it is not the one that MLflow vouches for.

    No flow adds to such a ledger. Restore what was changed, if you can: this is for what cannot be
    restored. The ledger records who accepted it, why, and what was wrong. If nothing is wrong there
    is *Nothing to do*.
    """
    faults = accept_as_it_stands(use_case, by, why)
    if not faults:
        return completed(f"The ledger of {use_case} needs no acceptance.", name="Nothing to do")
    return completed(f"{by} accepted the ledger of {use_case} as it stands: {'; '.join(faults)}.")
