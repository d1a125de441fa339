"""Missing predictions. Nobody calls, the service is down, or its log does not reach the lake: none
of it is *stable*.

A drift check that finds predictions of the last day in the lake emits ``laurel.predictions.seen``.
The automation of deployments/apply/automations.py waits for that event, and starts ``drift_check``
with ``silent_for_hours`` if it did not come."""

from datetime import UTC, datetime, timedelta

from prefect import task

from serving.records.reasons import Reason, because
from tasks.log.compacted import last_arrival as log_arrival
from tasks.log.files import logged_windows
from tasks.outside.blocks_of_run import PATIENT, lake
from tasks.outside.events import emit
from usecases.definition import load, period_named

SEEN = "laurel.predictions.seen"
SEEN_WITHIN = timedelta(days=1)
_LISTED = 12


def last_arrival(use_case: str) -> datetime | None:
    """Return when the lake last got predictions of the use case, by the lake's own clock; None if
    there are none."""
    return log_arrival(lake(), "predictions", use_case)


@task(**PATIENT)
def emit_seen(use_case: str) -> bool:
    """Emit that predictions of the last day are in the lake. Returns whether there are."""
    last = last_arrival(use_case)
    if last is None or datetime.now(UTC) - last > SEEN_WITHIN:
        return False
    emit(SEEN, use_case, {"last": last.isoformat(timespec="seconds")})
    return True


@task(**PATIENT)
def find_silence(
    use_case: str, window: str | None, silent_for_hours: float | None
) -> Reason | None:
    """Return why there is nothing to check: no predictions at all, none of ``window``, or none that
    arrived within ``silent_for_hours``.

    None if there are predictions."""
    windows = logged_windows(lake(), load(use_case))
    if not windows:
        return because("log_empty", use_case=use_case)
    if window is not None and not any(map(period_named(window).overlaps, windows)):
        known = _listed([window.name for window in windows])
        return because("log_lacks_window", use_case=use_case, window=window, windows=known)
    last = last_arrival(use_case)
    if (
        silent_for_hours is not None
        and last is not None
        and datetime.now(UTC) - last > timedelta(hours=silent_for_hours)
    ):
        return because("log_silent", use_case=use_case, hours=silent_for_hours, last=last)
    return None


def _listed(names: list[str]) -> Reason | list[str]:
    few = len(names) <= _LISTED
    return names if few else because("from_to", first=names[0], last=names[-1])
