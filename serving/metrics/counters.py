"""Figures that Prometheus scrapes at ``/metrics``. One ``Metrics`` for each process.

Requests are counted in plain integers on the event loop's thread: a prediction takes some 25 µs,
and the client library's locks alone would add a tenth to it. Worker processes share their
``snapshot``, and each answers for all of them."""

from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# 50 µs to 10 s, in steps of about 1, 2, 5: seconds.
LATENCY_BOUNDS = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64)


class Histogram:
    """Counts of observations at or below each bound, and above all; not cumulative."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class RouteStats:
    """Requests of one use case (empty: none) to one route, by status, and their latency."""

    __slots__ = ("latency", "statuses")

    def __init__(self) -> None:
        self.statuses: Tally[int] = Tally()
        self.latency = Histogram(LATENCY_BOUNDS)

    def count(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.latency.observe(seconds)


class Metrics:
    """Counters of the service. ``use_case`` is empty for a request without one."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second series for each counter, which nobody plots
        self.routes: dict[tuple[str, str], RouteStats] = defaultdict(RouteStats)
        self.rows: Tally[str] = Tally()
        self.unknown_categories: Tally[tuple[str, str]] = Tally()
        self.ignored_columns: Tally[str] = Tally()
        self.batches = Histogram(BATCH_BOUNDS)
        self.registry = CollectorRegistry()
        self.model = Gauge(
            "laurel_model_info",
            "The champion that serves",
            ["use_case", "version", "recipe"],
            registry=self.registry,
        )
        self.swaps = Counter(
            "laurel_swaps",
            "A champion took over from another",
            ["use_case"],
            registry=self.registry,
        )
        failures = "Failed checks of the alias"
        self.swap_failures = Counter(
            "laurel_swap_failures", failures, ["use_case", "reason"], registry=self.registry
        )
        self.registry.register(_Collector(self._hot_families))
        ProcessCollector(registry=self.registry)

    def crowned(self, use_case: str, version: str, recipe: str, *, swapped: bool) -> None:
        """A champion begins to serve; ``swapped`` if another served until now."""
        self.model.remove_by_labels({"use_case": use_case})
        self.model.labels(use_case, version, recipe).set(1)
        if swapped:
            self.swaps.labels(use_case).inc()

    def watch(self, families: Callable[[], Iterable[Metric]]) -> None:
        """Collect more figures at each scrape: of the queue, of the prediction log."""
        self.registry.register(_Collector(families))

    def snapshot(self) -> list[Any]:
        """Every figure of this process, fit for JSON: ``[name, labels, value]``."""
        return [
            [sample.name, sample.labels, sample.value]
            for family in self.registry.collect()
            for sample in family.samples
        ]

    def text(self, others: Iterable[Sequence[Any]] = ()) -> bytes:
        """In Prometheus's format, with the snapshots of other workers added."""
        more: dict[tuple[str, frozenset[tuple[str, str]]], list[float]] = defaultdict(list)
        for snapshot in others:
            for name, labels, value in snapshot:
                more[name, frozenset(labels.items())].append(value)
        families = {family.name: family for family in self.registry.collect()}
        for family in families.values():
            names = {sample.name for sample in family.samples} | {
                family.name + end for end in ("", "_total", "_bucket", "_count", "_sum")
            }
            own = {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for sample in family.samples
            }
            other_values = {key: values for key, values in more.items() if key[0] in names}
            combine = (
                max
                if family.name.endswith(
                    ("_info", "_start_time_seconds", "_max_fds", "_lag_seconds", "_guard_evidence")
                )
                else sum
            )
            family.samples = []
            for key in dict.fromkeys([*own, *other_values]):
                family.add_sample(
                    key[0],
                    dict(key[1]),
                    combine([*other_values.get(key, []), *([own[key]] if key in own else [])]),
                )
        merged = CollectorRegistry()
        merged.register(_Collector(families.values))
        return generate_latest(merged)

    def _hot_families(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "laurel_requests", "Requests answered", labels=["use_case", "route", "status"]
        )
        latency = HistogramMetricFamily(
            "laurel_request_seconds",
            "From the request's first byte to its answer",
            labels=["use_case", "route"],
        )
        rows = CounterMetricFamily("laurel_rows", "Rows scored", labels=["use_case"])
        batches = HistogramMetricFamily(
            "laurel_batch_requests", "Requests that were scored together"
        )
        for (use_case, route), stats in list(self.routes.items()):
            for status, count in list(stats.statuses.items()):
                requests.add_metric([use_case, route, str(status)], count)
            latency.add_metric([use_case, route], *buckets(stats.latency))
        for use_case, count in list(self.rows.items()):
            rows.add_metric([use_case], count)
        help_text = (
            "Values outside a closed set of categories, or with other case or blanks, "
            "scored as unknown"
        )
        unknown = CounterMetricFamily(
            "laurel_unknown_categories", help_text, labels=["use_case", "field"]
        )
        for (use_case, field), count in list(self.unknown_categories.items()):
            unknown.add_metric([use_case, field], count)
        help_text = "Requests with columns that are not fields and were left out"
        ignored = CounterMetricFamily(
            "laurel_ignored_columns_requests", help_text, labels=["use_case"]
        )
        for use_case, count in list(self.ignored_columns.items()):
            ignored.add_metric([use_case], count)
        batches.add_metric([], *buckets(self.batches))
        return [requests, latency, rows, batches, unknown, ignored]


class _Collector(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._families()


def buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Cumulative, as Prometheus has them, and the sum."""
    total, buckets = 0, []
    for bound, count in zip(
        [*map(str, map(float, histogram.bounds)), "+Inf"], histogram.counts, strict=True
    ):
        total += count
        buckets.append((bound, float(total)))
    return buckets, histogram.total
