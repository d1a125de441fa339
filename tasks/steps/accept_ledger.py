"""A ledger that somebody changed, accepted by a person."""

from prefect import get_run_logger, task

from tasks.ledger.accepting import accept
from tasks.ledger.entries import stamp
from tasks.messages.announcements import ledger_accepted
from tasks.outside.blocks_of_run import PATIENT, lake, registry, tell
from usecases.definition import load


@task(**PATIENT)
def accept_as_it_stands(use_case: str, by: str, why: str) -> list[str]:
    """Record the acceptance, and tell people. Returns the faults that were accepted; none if there
    is nothing to accept.

    Raises ``UseCaseError`` that names the known use cases, ``LedgerBroken`` if the last entry
    cannot be read."""
    case = load(use_case)
    entry = accept(lake(), registry(), case.name, by, why, stamp())
    if entry is None:
        return []
    faults = entry.reasons[1:]
    get_run_logger().warning(
        "ledger use_case=%s accepted by=%s: %s", use_case, by, "; ".join(faults)
    )
    tell(ledger_accepted(use_case, by=by, why=why, faults=faults))
    return faults
