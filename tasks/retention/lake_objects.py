"""Objects of the lake that are older than they are kept: results of steps, pages of drift reports,
and days of the prediction log."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from blocks.clients.objects import Stored
from blocks.lake import Lake
from blocks.results import PREFIX
from serving.records.drift import Checked
from serving.records.record import decode
from tasks.log.compacted import Kind as LogKind
from tasks.log.compacted import (
    LogDamaged,
    as_date,
    day_of,
    folder_of,
    latest,
    number_of,
    read_manifest,
)
from tasks.retention.removable import Removable

# Verdicts that a retrain or a person acted on: their pages stay.
ACTED_ON = ("drifted", "broken")
_PAGE = re.compile(r"reports/[^/]+/([^/]+)/champion-[^/]+\.html")
_FAR_DAYS = 366


def old_results(store: Lake, days: int, now: datetime) -> Removable:
    """Results of steps of any flow run: a run that is started again repeats such a step."""
    old = [stored for stored in store.stored(PREFIX) if now - stored.modified > timedelta(days)]
    return Removable("results", days, len(old), _size(old), lambda: _remove(store, old))


def old_pages(store: Lake, use_case: str, days: int, now: datetime) -> Removable:
    """Evidently's pages of windows, whose verdicts and distances stay as JSON."""
    listed = store.stored(f"reports/{use_case}")
    pages = [(match[1], stored) for stored in listed if (match := _PAGE.fullmatch(stored.key))]
    old = [
        stored
        for window, stored in pages
        if now - stored.modified > timedelta(days) and not _acted_on(store, use_case, window)
    ]
    return Removable("report_pages", days, len(old), _size(old), lambda: _remove(store, old))


def _acted_on(store: Lake, use_case: str, window: str) -> bool:
    """Whether the page explains a decision; one whose verdict cannot be read stays too."""
    try:
        text = store.read(f"reports/{use_case}/{window}/verdict.json")
        return decode(Checked, text).verdict.outcome in ACTED_ON
    except (FileNotFoundError, ValueError):
        return True


def old_predictions(store: Lake, use_case: str, days: int, now: datetime) -> Removable:
    return _old_days(store, "predictions", use_case, days, now)


def old_feedback(store: Lake, use_case: str, days: int, now: datetime) -> Removable:
    return _old_days(store, "feedback", use_case, days, now)


def _old_days(store: Lake, kind: LogKind, use_case: str, days: int, now: datetime) -> Removable:
    """Days of the log that are older, and for which nothing came since: a replay of old events is
    as young as its answers.
    """
    start = now - timedelta(days)
    listed = store.stored(f"{kind}/{use_case}")
    made = store.stored(folder_of(kind, use_case))
    manifests = latest(made)
    arrived: dict[str, datetime] = {}
    for stored in [*listed, *(one for one in made if day_of(one.key) not in manifests)]:
        day = day_of(stored.key)
        arrived[day] = max(arrived.get(day, stored.modified), stored.modified)
    old = {
        day
        for day in {*arrived, *manifests}
        if _is_over(day, start, now)
        and (day not in arrived or arrived[day] < start)
        and (day not in manifests or _arrival(store, manifests[day], now) < start)
    }
    segments = [stored for stored in listed if day_of(stored.key) in old]
    compacted = sorted(
        (stored for stored in made if day_of(stored.key) in old),
        # The newest manifest is the last one: as long as it is there its files count.
        key=lambda stored: (number_of(stored.key) is None, number_of(stored.key) or 0, stored.key),
    )
    whole = [*segments, *compacted]
    return Removable(kind, days, len(old), _size(whole), lambda: _remove(store, whole))


def _arrival(store: Lake, manifest: Stored, now: datetime) -> datetime:
    """When the last of what the manifest names came."""
    try:
        return max(file.newest for file in read_manifest(store, manifest.key).files)
    except (LogDamaged, FileNotFoundError):
        return now  # a person has to look at it first


def _is_over(day: str, start: datetime, now: datetime) -> bool:
    """Whether the day itself is older too; of days that no event can have, the arrival counts."""
    named: date | None = as_date(day)
    return named is None or named < start.date() or named > (now + timedelta(days=_FAR_DAYS)).date()


def _size(objects: Sequence[Stored]) -> int:
    return sum(stored.size for stored in objects)


def _remove(store: Lake, objects: Sequence[Stored]) -> None:
    store.remove([stored.key for stored in objects])
