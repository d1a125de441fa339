"""What all processes of a use case's services answered in a time, from their files in the lake."""

from collections.abc import Iterable
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


class Hours:
    """The hours of all processes, added. ``files`` are each process's months, by the name of the
    month; a text stands for an unreadable one. ``since`` is the first hour; ``None``: there is
    none."""

    def __init__(self, files: Iterable[tuple[str, TrafficMonth | str]]) -> None:
        self._hours: dict[str, list[Hour]] = {}
        self._unreadable: set[str] = set()
        self._other_bounds: set[str] = set()
        for month, content in files:
            if isinstance(content, str):
                self._unreadable.add(month)
                continue
            for name, hour in content.hours.items():
                if tuple(content.bounds) != LATENCY_BOUNDS or len(hour.latency) != _BUCKETS:
                    self._other_bounds.add(name)
                self._hours.setdefault(name, []).append(hour)
        self.since = min(self._hours, default=None)

    def within(self, begin: datetime, end: datetime) -> Served | None:
        """The sum of the hours from ``begin`` to before ``end`` (UTC, without a zone); ``None`` if
        all of that time is before the first hour, or if a file of it is unreadable."""
        first, last = f"{begin:%Y-%m-%dT%H}", f"{end:%Y-%m-%dT%H}"
        if self.since is None or last <= self.since:
            return None
        if any(first[:7] <= month <= last[:7] for month in self._unreadable):
            return None
        names = [name for name in self._hours if first <= name < last]
        hours = [hour for name in names for hour in self._hours[name]]
        counts: list[int] = []
        if not self._other_bounds.intersection(names):
            counts = [sum(column) for column in zip(*(hour.latency for hour in hours), strict=True)]
        return Served(
            requests=sum(hour.requests for hour in hours),
            errors=sum(hour.errors for hour in hours),
            p50=quantile(counts, 0.50),
            p99=quantile(counts, 0.99),
        )


def read_month(data: bytes) -> TrafficMonth:
    """Raises ``msgspec.DecodeError``, ``UnicodeDecodeError``."""
    return _DECODER.decode(data)
