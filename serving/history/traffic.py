"""What all processes of a use case's services answered in a time, from their files in the lake."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from serving.metrics.counters import LATENCY_BOUNDS
from serving.metrics.traffic import quantile
from serving.records.traffic import Hour, TrafficMonth

_BUCKETS = len(LATENCY_BOUNDS) + 1
# Made now, by one thread: msgspec ends the process if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_DECODER = msgspec.json.Decoder(TrafficMonth)


class Served(msgspec.Struct, frozen=True):
    """Requests, those refused or failed, and latencies in seconds (``None``: no request, or counted
    by other bounds)."""

    requests: int
    errors: int
    p50: float | None
    p99: float | None


class Month:
    """The hours of all processes in a month, added, so that a stretch of them is one subtraction.
    A text stands for an unreadable file."""

    def __init__(self, files: Iterable[TrafficMonth | str]) -> None:
        self.is_readable = True
        hours: dict[str, list[tuple[Hour, bool]]] = {}
        for content in files:
            if isinstance(content, str):
                self.is_readable = False
                continue
            own_bounds = tuple(content.bounds) == LATENCY_BOUNDS
            for name, hour in content.hours.items():
                is_counted = own_bounds and len(hour.latency) == _BUCKETS
                hours.setdefault(name, []).append((hour, is_counted))
        self.names = sorted(hours)
        self._until = [_NOTHING]
        for name in self.names:
            self._until.append(_add(self._until[-1], *(_of_hour(*each) for each in hours[name])))

    def between(self, first: str, last: str) -> "_Sums":
        """The sums of the hours from ``first`` to before ``last``."""
        begin, end = bisect_left(self.names, first), bisect_left(self.names, last)
        early, late = self._until[begin], self._until[end]
        return tuple(after - before for before, after in zip(early, late, strict=True))


# Requests, errors, hours counted by other bounds, and the latency's buckets.
_Sums = tuple[int, ...]
_NOTHING: _Sums = (0,) * (3 + _BUCKETS)


def _of_hour(hour: Hour, is_counted: bool) -> _Sums:
    latency = hour.latency if is_counted else [0] * _BUCKETS
    return hour.requests, hour.errors, not is_counted, *latency


def _add(*sums: _Sums) -> _Sums:
    return tuple(map(sum, zip(*sums, strict=True)))


class Hours:
    """The months by their names. ``since`` is the first hour; ``None``: there is none."""

    def __init__(self, months: Mapping[str, Month]) -> None:
        self.months = months
        self.since = min((month.names[0] for month in months.values() if month.names), default=None)

    def within(self, begin: datetime, end: datetime) -> Served | None:
        """The sum of the hours from ``begin`` to before ``end`` (UTC, without a zone); ``None`` if
        all of that time is before the first hour, or if a file of it is unreadable."""
        first, last = f"{begin:%Y-%m-%dT%H}", f"{end:%Y-%m-%dT%H}"
        if self.since is None or last <= self.since:
            return None
        months = [month for name, month in self.months.items() if first[:7] <= name <= last[:7]]
        if not all(month.is_readable for month in months):
            return None
        parts = [month.between(first, last) for month in months]
        requests, errors, others, *counts = _add(_NOTHING, *parts)
        latency = [] if others else counts
        return Served(requests, errors, quantile(latency, 0.50), quantile(latency, 0.99))


def read_month(data: bytes) -> TrafficMonth:
    """Raises ``msgspec.DecodeError``, ``UnicodeDecodeError``."""
    return _DECODER.decode(data)
