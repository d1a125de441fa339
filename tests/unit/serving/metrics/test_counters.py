import json

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics.counters import LATENCY_BOUNDS, Metrics
from serving.metrics.traffic import Flow, Traffic, flow_of, quantile

PREDICT = "/v1/{use_case}/predict"


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def metrics_of(requests: int, seconds: float, status: int = 200) -> Metrics:
    metrics = Metrics()
    for _ in range(requests):
        metrics.routes["toy", PREDICT].count(status, seconds)
        metrics.rows["toy"] += 2
        metrics.batches.observe(1)
    metrics.crowned("toy", "3", "logistic", swapped=True)
    return metrics


def test_prometheus_reads_what_was_counted() -> None:
    figures = read(metrics_of(3, 0.003).text())
    assert (
        figures[
            "laurel_requests_total", (("route", PREDICT), ("status", "200"), ("use_case", "toy"))
        ]
        == 3
    )
    assert figures["laurel_rows_total", (("use_case", "toy"),)] == 6
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in figures.items()
        if name == "laurel_request_seconds_bucket"
    }
    assert (buckets["0.002"], buckets["0.005"], buckets["+Inf"]) == (0, 3, 3)
    assert figures[
        "laurel_request_seconds_sum", (("route", PREDICT), ("use_case", "toy"))
    ] == pytest.approx(0.009)
    assert figures["laurel_batch_requests_count", ()] == 3


def test_counts_of_other_workers_are_added_and_the_model_is_not() -> None:
    first, second = metrics_of(3, 0.003), metrics_of(2, 0.3, status=503)
    second.swap_failures.labels("toy", "package").inc()
    second.watch(lambda: [GaugeMetricFamily("laurel_log_lag_seconds", "lag", value=7.0)])
    first.watch(lambda: [GaugeMetricFamily("laurel_log_lag_seconds", "lag", value=5.0)])
    figures = read(first.text([json.loads(json.dumps(second.snapshot()))]))
    key = (("route", PREDICT), ("status", "503"), ("use_case", "toy"))
    assert figures["laurel_requests_total", key] == 2
    assert figures["laurel_rows_total", (("use_case", "toy"),)] == 10
    assert figures["laurel_swaps_total", (("use_case", "toy"),)] == 2
    assert figures["laurel_swap_failures_total", (("reason", "package"), ("use_case", "toy"))] == 1
    assert (
        figures[
            "laurel_model_info", (("recipe", "logistic"), ("use_case", "toy"), ("version", "3"))
        ]
        == 1
    )
    assert figures["laurel_log_lag_seconds", ()] == 7.0, "the longest lag is the service's"
    assert figures["laurel_request_seconds_count", (("route", PREDICT), ("use_case", "toy"))] == 5
    assert figures["process_resident_memory_bytes", ()] > 10e6


def test_a_new_champion_replaces_the_old_one_s_label() -> None:
    metrics = metrics_of(1, 0.1)
    metrics.crowned("toy", "4", "trees", swapped=True)
    assert [labels for (name, labels) in read(metrics.text()) if name == "laurel_model_info"] == [
        (("recipe", "trees"), ("use_case", "toy"), ("version", "4"))
    ]


def test_traffic_is_that_of_predictions_and_feedback() -> None:
    metrics = metrics_of(3, 0.003)
    metrics.routes["toy", "/v1/{use_case}/feedback"].count(422, 0.001)
    metrics.routes["toy", "/invocations"].count(200, 0.001)
    metrics.routes["toy", "/v2/models/{model}/infer"].count(200, 0.001)
    metrics.routes["toy", "/v1/{use_case}"].count(200, 0.001)
    metrics.routes["other", PREDICT].count(200, 0.001)
    flow = flow_of(metrics, "toy")
    assert (flow.requests, flow.errors, flow.rows, sum(flow.latency)) == (6, 1, 6, 6)


def test_rates_are_those_of_the_last_ten_seconds_over_all_workers() -> None:
    def flow(at: float, requests: int, place: int) -> Flow:
        latency = [0] * (len(LATENCY_BOUNDS) + 1)
        latency[place] = requests
        return Flow(at, requests, 0, requests * 2, latency)

    traffic = Traffic()
    for second in range(100):
        traffic.add(
            "toy",
            [
                flow(float(second), 1000 if second < 90 else 1000 + (second - 89) * 50, 3),
                flow(float(second), 7, 5),
            ],
        )
    description = traffic.describe("toy", [flow(100.0, 1500, 3), flow(100.0, 7, 5)])
    assert (description["requests"], description["rows"]) == (1507, 3014)
    assert description["requests_per_second"] == pytest.approx(500 / 11, rel=0.1)
    assert (
        LATENCY_BOUNDS[2]
        < description["seconds_p50"]
        < description["seconds_p99"]
        <= LATENCY_BOUNDS[3]
    )


def test_latency_of_no_request_is_unknown() -> None:
    assert Traffic().describe("toy", [flow_of(Metrics(), "toy")])["seconds_p99"] is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.00015), (0.99, 0.000199), (1.0, 0.0002)])
def test_quantiles_lie_within_their_bucket(share: float, expected: float) -> None:
    counts = [0] * (len(LATENCY_BOUNDS) + 1)
    counts[2] = 100
    assert quantile(counts, share) == pytest.approx(expected)


def test_what_takes_longer_than_the_last_bound_is_told_as_that_bound() -> None:
    assert quantile([0] * len(LATENCY_BOUNDS) + [5], 0.5) == LATENCY_BOUNDS[-1]
