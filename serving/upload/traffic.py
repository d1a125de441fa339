"""What this process answers, by hour, on its way to the lake (``serving/records/traffic.py``).

Each process has a file of its own for each month, which it writes again as it grows: files of
workers and of replicas add up. A process that is killed loses what it answered since the last
write."""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from serving.metrics.counters import LATENCY_BOUNDS
from serving.metrics.traffic import Flow
from serving.records.traffic import Hour, TrafficMonth


class KeptTraffic:
    """For one thread. ``count`` returns the counts of this process so far, by use case."""

    def __init__(self, count: Callable[[], Mapping[str, Flow]]) -> None:
        self._count = count
        self._process = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._before: dict[str, Flow] = {}
        self._months: dict[str, dict[str, Hour]] = {}
        self._changed: set[str] = set()

    def files(self) -> dict[str, bytes]:
        """What has changed since it was written, by its key in the lake. A request counts in the
        hour in which this is called next."""
        for use_case, flow in self._count().items():
            before = self._before.get(use_case)
            if flow.requests == (before.requests if before else 0):
                continue
            at = datetime.fromtimestamp(flow.at, UTC)
            key = f"traffic/{use_case}/{at:%Y-%m}/{self._process}.json"
            hours = self._months.setdefault(key, {})
            name = f"{at:%Y-%m-%dT%H}"
            hours[name] = _grown(hours.get(name), before, flow)
            self._before[use_case] = flow
            self._changed.add(key)
        return {key: _encoded(self._months[key]) for key in sorted(self._changed)}

    def written(self, key: str) -> None:
        """The lake has the file."""
        self._changed.discard(key)


def _grown(hour: Hour | None, before: Flow | None, now: Flow) -> Hour:
    hour = hour or Hour(latency=[0] * len(now.latency))
    earlier = before or Flow(now.at, 0, 0, 0, [0] * len(now.latency))
    latency = zip(hour.latency, earlier.latency, now.latency, strict=True)
    return Hour(
        requests=hour.requests + now.requests - earlier.requests,
        errors=hour.errors + now.errors - earlier.errors,
        rows=hour.rows + now.rows - earlier.rows,
        latency=[kept + after - until for kept, until, after in latency],
    )


def _encoded(hours: dict[str, Hour]) -> bytes:
    return msgspec.json.encode(TrafficMonth(bounds=list(LATENCY_BOUNDS), hours=hours))
