"""Does the world still match the champion's training data?"""

from prefect import flow
from prefect.states import State

from flows.runs import OPTIONS, completed, run_name
from tasks.drift.drivers import starts_retrain
from tasks.steps.drift_check.judge import (
    Checked,
    check_window,
    find_champion,
    latest_window,
    unseen,
)
from tasks.steps.drift_check.record import emit_drift, in_short, record_check, report_check
from tasks.steps.drift_check.silence import emit_seen, find_silence


@flow(name="drift_check", flow_run_name=run_name("window"), **OPTIONS)
async def drift_check(
    use_case: str,
    window: str | None = None,
    seed: int = 0,
    silent_for_hours: float | None = None,
    report: bool = False,
) -> State[Checked]:
    """Compare a window of the prediction log (``2013-04``; default: the latest) with the champion's
    reference.

    A window beyond the limit gets Evidently's report, any other one if ``report`` asks for it.
    Drift emits ``laurel.drift.detected``, on which an automation starts a retrain, unless only
    categories vanished or came; broken data go into quarantine and only raise an alert. Without
    predictions, or without any within ``silent_for_hours`` (set by the dead man's switch), the
    verdict is *silent*."""
    champion = find_champion(use_case)
    silence = find_silence(use_case, window, silent_for_hours)
    if silence is None:
        emit_seen(use_case)
        checked = check_window(champion, window or latest_window(use_case), seed, report)
    else:
        checked = unseen(champion, window, silence)
    report_check(checked, record_check(checked))
    if starts_retrain(checked.verdict):
        emit_drift(checked)
    return completed(in_short(checked), checked)
