"""Keeps what is needed and removes what is not."""

from prefect import flow
from prefect.states import State

from flows.runs import OPTIONS, completed, run_name
from tasks.steps.tidy import Tidied, compact_log, in_short, remove_old, report_tidied


@flow(name="tidy", flow_run_name=run_name(otherwise="daily"), **OPTIONS)
async def tidy(use_case: str, dry_run: bool = False, at_once: bool = False) -> State[Tidied]:
    """Remove what is older than it is kept (``LAUREL_KEEP_*_DAYS``, and ``keep_days`` of the use
    case), and make few files of the closed days of the prediction log.

    A kind is announced a day before the first of it goes, and again if it is kept for fewer days
    than before. ``at_once``: a person wants it without that; ``dry_run``: only list it."""
    tidied = remove_old(use_case, dry_run, at_once)
    report_tidied(use_case, tidied, quiet=dry_run or not (tidied.announced or at_once))
    compacted = compact_log(use_case)
    return completed(in_short(tidied, compacted), tidied)
