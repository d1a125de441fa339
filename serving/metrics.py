"""What Prometheus scrapes at ``/metrics``. One registry for each app, so that two apps in one process do not clash."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.prediction_log import LogState

_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters of the service. ``use_case`` is empty where a request concerns none."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second series for each counter, that nobody plots
        self.registry = CollectorRegistry()
        self.requests = Counter("laurel_requests", "Requests answered", ["use_case", "route", "status"], registry=self.registry)
        self.latency = Histogram(
            "laurel_request_seconds",
            "From the request's head to the last byte of its answer",
            ["use_case", "route"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.rows = Counter("laurel_rows", "Rows scored", ["use_case"], registry=self.registry)
        self.model = Gauge("laurel_model_info", "The champion that serves", ["use_case", "version", "recipe"], registry=self.registry)
        self.swaps = Counter("laurel_swaps", "A champion took over from another", ["use_case"], registry=self.registry)
        failures = "Looks at the alias that failed"
        self.swap_failures = Counter("laurel_swap_failures", failures, ["use_case", "reason"], registry=self.registry)
        ProcessCollector(registry=self.registry)

    def crowned(self, use_case: str, version: str, recipe: str, *, swapped: bool) -> None:
        """A champion begins to serve; ``swapped`` where another did until now."""
        self.model.remove_by_labels({"use_case": use_case})
        self.model.labels(use_case, version, recipe).set(1)
        if swapped:
            self.swaps.labels(use_case).inc()

    def answered(self, use_case: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(use_case, route, str(status)).inc()
        self.latency.labels(use_case, route).observe(seconds)

    def traffic(self, use_case: str) -> dict[str, int]:
        """Requests to predict and to take feedback since the start, those refused or failed, and rows scored."""
        counted = {"requests": 0, "errors": 0, "rows": 0}
        for sample in next(iter(self.requests.collect())).samples:
            if (
                sample.name.endswith("_total")
                and sample.labels["use_case"] == use_case
                and sample.labels["route"].startswith("/v1/{use_case}/")
            ):
                counted["requests"] += int(sample.value)
                counted["errors"] += int(sample.value) if sample.labels["status"] >= "400" else 0
        counted["rows"] = int(self.registry.get_sample_value("laurel_rows_total", {"use_case": use_case}) or 0)
        return counted

    def watch_log(self, states: "Callable[[], dict[str, LogState]]") -> None:
        """Read the prediction log's own counts at each scrape."""
        self.registry.register(_LogCollector(states))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _LogCollector(Collector):
    def __init__(self, states: "Callable[[], dict[str, LogState]]") -> None:
        self._states = states

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily("laurel_log_rows_waiting", "Rows on this disk that are not in the lake yet", labels=["use_case"])
        uploaded = CounterMetricFamily("laurel_log_rows_uploaded", "Rows that reached the lake", labels=["use_case"])
        dropped = CounterMetricFamily("laurel_log_rows_dropped", "Rows answered and not logged: backlog or disk full", labels=["use_case"])
        torn = CounterMetricFamily("laurel_log_lines_torn", "Lines of the log that a crash left unreadable", labels=["use_case"])
        for use_case, state in self._states().items():
            waiting.add_metric([use_case], state.rows_waiting)
            uploaded.add_metric([use_case], state.rows_uploaded)
            dropped.add_metric([use_case], state.rows_dropped)
            torn.add_metric([use_case], state.lines_torn)
        return [waiting, uploaded, dropped, torn]
