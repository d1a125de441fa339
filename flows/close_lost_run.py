"""The end of a run that could not report it itself."""

from prefect import flow
from prefect.states import Completed, State

from flows.runs import OPTIONS, run_name
from tasks.ledger.lost_runs import close_run, take_crown_back


@flow(name="close_lost_run", flow_run_name=run_name("run", before="run "), **OPTIONS)
async def close_lost_run(use_case: str, run: str) -> State[None]:
    """Report that ``run`` (a flow run's id) crashed or was cancelled, and write its end to the
    ledger.

    An automation starts this on Prefect's event. A run that is still alive gets its state back, and
    there is *Nothing to do*. A crown that a lost run was about to give goes back."""
    outcome = close_run(use_case, run)
    if outcome is None:
        return Completed(name="Nothing to do", message=f"Run {run} goes on, or never started.")
    take_crown_back(use_case)
    return Completed(message=f"Run {run} {outcome}")
