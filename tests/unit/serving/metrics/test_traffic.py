import pytest

from serving.metrics.counters import LATENCY_BOUNDS
from serving.metrics.traffic import Flow, Traffic


def flow(at: float, requests: int, slow: int = 0) -> Flow:
    """``slow`` of the requests took as long as the second bucket."""
    latency = [requests - slow, slow, *[0] * (len(LATENCY_BOUNDS) - 1)]
    return Flow(at, requests, 0, 2 * requests, latency)


def test_a_day_is_told_in_steps_of_five_minutes() -> None:
    traffic = Traffic()
    for second in range(0, 901):
        traffic.add("toy", [flow(1000.0 + second, 10 * second, slow=second)])
    steps = traffic.day("toy")
    assert [(step["from"], step["to"]) for step in steps] == [
        (1000.0, 1300.0),
        (1300.0, 1600.0),
        (1600.0, 1900.0),
    ]
    assert [(step["requests"], step["rows"]) for step in steps] == [(3000, 6000)] * 3
    # A tenth took up to the second bound: so did the 99th hundredth.
    assert steps[0]["p99"] == pytest.approx(
        LATENCY_BOUNDS[0] + 0.9 * (LATENCY_BOUNDS[1] - LATENCY_BOUNDS[0])
    )


def test_no_more_than_a_day_is_kept_and_nothing_is_no_traffic() -> None:
    traffic = Traffic()
    assert traffic.day("toy") == []
    for step in range(400):
        traffic.add("toy", [flow(300.0 * step, 5)])
    steps = traffic.day("toy")
    assert len(steps) == 288 and steps[-1]["to"] == 300.0 * 399
    assert {(step["requests"], step["p99"]) for step in steps} == {(0, None)}
