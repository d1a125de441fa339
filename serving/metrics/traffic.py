"""The live figures of the page: how many requests come in and how fast they are answered, over all
workers and the last ten seconds.
"""

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from serving.metrics.counters import LATENCY_BOUNDS, Metrics

_WINDOW_SECONDS = 10.0
_STEP_SECONDS = 300.0
_STEPS = 288  # a day
_ROUTES = ("/predict", "/feedback", "/invocations", "/infer")


class Flow(NamedTuple):
    """Requests, refused or failed ones, rows, and the latency's counts, of one use case at one time
    (seconds since 1970).
    """

    at: float
    requests: int
    errors: int
    rows: int
    latency: list[int]


class Traffic:
    """The live figures of a use case, over all workers: since their start, and of the last ten
    seconds.
    """

    def __init__(self) -> None:
        self._history: dict[str, deque[Flow]] = defaultdict(deque)
        self._steps: dict[str, deque[Flow]] = defaultdict(lambda: deque(maxlen=_STEPS + 1))

    def add(self, use_case: str, flows: Sequence[Flow]) -> None:
        """Called each second with the counts of every worker so far."""
        past = self._history[use_case]
        past.append(sum_flows(flows))
        while len(past) > 1 and past[-1].at - past[0].at > _WINDOW_SECONDS:
            past.popleft()
        steps = self._steps[use_case]
        if not steps or past[-1].at - steps[-1].at >= _STEP_SECONDS:
            steps.append(past[-1])

    def day(self, use_case: str) -> list[dict[str, Any]]:
        """Steps of five minutes of the last day, as far as this process remembers: from and to
        (seconds since 1970), requests, refused or failed ones, rows, and p99 (seconds; null without
        a request).
        """
        return [
            {
                "from": before.at,
                "to": after.at,
                "requests": max(after.requests - before.requests, 0),
                "errors": max(after.errors - before.errors, 0),
                "rows": max(after.rows - before.rows, 0),
                "p99": quantile(_increase(before.latency, after.latency), 0.99),
            }
            for before, after in pairwise(self._steps.get(use_case, ()))
        ]

    def describe(self, use_case: str, flows: Sequence[Flow]) -> dict[str, Any]:
        """Counts since the start, and rates and latency (seconds; null without a request) of the
        last ten seconds.
        """
        now = sum_flows(flows)
        past = self._history[use_case]
        first = past[0] if past else now._replace(at=now.at - 1.0)
        seconds = max(now.at - first.at, 1e-3)
        recent = [b - a for a, b in zip(first.latency, now.latency, strict=True)]
        return {
            "requests": now.requests,
            "errors": now.errors,
            "rows": now.rows,
            "requests_per_second": (now.requests - first.requests) / seconds,
            "rows_per_second": (now.rows - first.rows) / seconds,
            "seconds_p50": quantile(recent, 0.50),
            "seconds_p99": quantile(recent, 0.99),
        }


def _increase(before: Sequence[int], after: Sequence[int]) -> list[int]:
    return [max(b - a, 0) for a, b in zip(before, after, strict=True)]


def sum_flows(flows: Sequence[Flow]) -> Flow:
    """The sum over all workers."""
    return Flow(
        max(flow.at for flow in flows),
        sum(flow.requests for flow in flows),
        sum(flow.errors for flow in flows),
        sum(flow.rows for flow in flows),
        [sum(counts) for counts in zip(*(flow.latency for flow in flows), strict=True)],
    )


def flow_of(metrics: Metrics, use_case: str) -> Flow:
    """This process's counts of predictions and feedback so far; from any thread."""
    requests = errors = 0
    latency = [0] * (len(LATENCY_BOUNDS) + 1)
    for (name, route), stats in list(metrics.routes.items()):
        if name == use_case and route.endswith(_ROUTES):
            statuses = list(stats.statuses.items())
            requests += sum(count for _, count in statuses)
            errors += sum(count for status, count in statuses if status >= 400)
            latency = [sum(pair) for pair in zip(latency, stats.latency.counts, strict=True)]
    return Flow(time.time(), requests, errors, metrics.rows[use_case], latency)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The ``share`` quantile in seconds of counts by ``LATENCY_BOUNDS``, straight within a bucket;
    ``None`` without any.
    """
    total = sum(counts)
    if not total:
        return None
    target, below = share * total, 0
    for place, count in enumerate(counts):
        if count and below + count >= target:
            low = LATENCY_BOUNDS[place - 1] if place else 0.0
            high = LATENCY_BOUNDS[min(place, len(LATENCY_BOUNDS) - 1)]
            return low + (high - low) * (target - below) / count
        below += count
    return LATENCY_BOUNDS[-1]
