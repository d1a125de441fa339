"""Bound the event times of a use case: the time that a caller states decides the lake's folders.

The package's manifest states a window around now (``EventTimePolicy`` of the use case). In any
case, one request has events on at most ``MOST_DAYS`` days: each day costs a file of the lake for
each segment of the prediction log."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Any

import numpy as np

from serving.errors import InputError
from serving.package.row_columns import RowColumns

MOST_DAYS = 400
LABEL_DAYS = 731  # a label may come this much later than its prediction
_VALID_SECONDS = 60.0
_ZONE = timedelta(hours=14)  # event times are local times, and now is UTC


class EventWindow:
    """The window of one use case. ``field`` is its event time; ``None`` days: unbounded on that
    side.
    """

    def __init__(
        self,
        field: str = "event_time",
        past_days: float | None = None,
        future_days: float | None = None,
    ) -> None:
        self._field = field
        self._past_days = past_days
        self._future_days = future_days
        self._earliest, self._latest, self._valid_until = datetime.max, datetime.min, 0.0

    def check_rows(self, rows: Sequence[tuple[Any, ...]], days: set[date] | None = None) -> None:
        """Check rows of ``RowReader``, which have the event time last. Raises ``InputError`` naming
        the row.

        ``days`` are the days of the request's earlier rows; the days of these rows are added.
        """
        if len(rows) == 1 and days is None:  # the hot path
            time = rows[0][-1]
            if time is None or (
                self._earliest <= time <= self._latest and monotonic() < self._valid_until
            ):
                return
            self._earliest, self._latest = _around_now(self._past_days, self._future_days)
            self._valid_until = monotonic() + _VALID_SECONDS
        if isinstance(rows, RowColumns):
            if self._fit(rows.times, days):
                return
            times = rows.event_times()
        else:
            times = [row[-1] for row in rows]
        self.check(times, self._field, self._past_days, days)

    def _fit(self, times: np.ndarray, days: set[date] | None) -> bool:
        """Whether ``check`` has nothing to say, without a Python object for each time."""
        known = times[~np.isnat(times)]
        if not len(known):
            return True
        earliest, latest = _around_now(self._past_days, self._future_days)
        if known.min().item() < earliest or known.max().item() > latest:
            return False
        if days is None and len(known) <= MOST_DAYS:
            return True
        found = set(np.unique(known.astype("M8[D]")).tolist()) | (days or set())
        if len(found) > MOST_DAYS:
            return False
        if days is not None:
            days |= found
        return True

    def check_feedback(self, times: Sequence[datetime | None]) -> None:
        """Check event times of labels, which may be ``LABEL_DAYS`` older than those of predictions.
        Raises ``InputError`` naming the row.
        """
        self.check(
            times, "event_time", None if self._past_days is None else self._past_days + LABEL_DAYS
        )

    def check(
        self,
        times: Sequence[datetime | None],
        field: str,
        past_days: float | None,
        before: set[date] | None = None,
    ) -> None:
        """Raises ``InputError`` naming the row and ``field``."""
        event_times = [time for time in times if time is not None]
        if not event_times:
            return
        earliest, latest = _around_now(past_days, self._future_days)
        first, last = min(event_times), max(event_times)
        if first < earliest or last > latest:
            outside = first if first < earliest else last
            row = times.index(outside)
            expected = (
                f"expected a time from {earliest.date()} to {latest.date()}, as the use case states"
            )
            raise InputError(
                f"Row {row}, field {field!r}: {expected}, got {outside.isoformat()}.", row, field
            )
        days = set() if before is None else before
        if before is not None or len(event_times) > MOST_DAYS:
            days |= {time.date() for time in event_times}
        if len(days) > MOST_DAYS:
            span = f"the rows fall on {len(days):,} days, from {min(days)} to {max(days)}"
            raise InputError(
                f"Field {field!r}: {span}; send rows of at most {MOST_DAYS} days in one request.",
                field=field,
            )


def _around_now(past_days: float | None, future_days: float | None) -> tuple[datetime, datetime]:
    now = datetime.now(UTC).replace(tzinfo=None)
    return (
        datetime.min if past_days is None else _moved(now, -timedelta(days=past_days) - _ZONE),
        datetime.max if future_days is None else _moved(now, timedelta(days=future_days) + _ZONE),
    )


def _moved(now: datetime, distance: timedelta) -> datetime:
    """``now`` moved by ``distance``, within the calendar."""
    try:
        return now + distance
    except OverflowError:
        return datetime.min if distance < timedelta(0) else datetime.max
