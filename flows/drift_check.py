"""Is the world still the one that the champion learned?"""

from prefect import flow

from flows.runs import TOLD, named
from tasks.drift_checks import Checked, check_window, choose_window, emit_drift, find_champion, report_check


@flow(name="drift_check", flow_run_name=named("window"), **TOLD)
async def drift_check(use_case: str, window: str | None = None, seed: int = 0) -> Checked:
    """Hold a month of the prediction log (``2013-04``; default: the latest) against the champion's reference.

    Drift emits ``laurel.drift.detected``, which an automation turns into a retrain; broken data only alert.
    """
    champion = find_champion(use_case)
    checked = check_window(champion, choose_window(use_case, window), seed)
    report_check(checked)
    if checked.verdict.outcome == "drifted":
        emit_drift(checked)
    return checked
