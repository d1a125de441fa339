"""A sick challenger is seen within few requests, and a healthy one is left alone."""

import math

import numpy as np
import pytest

from serving.rollouts.guards import (
    TOLERATED_FAILURES,
    Guards,
    LatencyGuard,
    PaceGuard,
    RateGuard,
    failure_guard,
)


def until_breached(failing: float, seed: int, most: int = 20_000) -> int | None:
    guard = failure_guard()
    for request, fails in enumerate(np.random.default_rng(seed).random(most) < failing, 1):
        guard.add(int(fails), 1)
        if guard.is_breached:
            return request
    return None


def test_healthy_challengers_stay() -> None:
    assert all(until_breached(TOLERATED_FAILURES, seed) is None for seed in range(20))


@pytest.mark.parametrize(("failing", "requests"), [(1.0, 2), (0.2, 15), (0.05, 90), (0.011, 900)])
def test_the_more_fail_the_sooner_it_is_seen(failing: float, requests: int) -> None:
    seen = [until_breached(failing, seed) or math.inf for seed in range(60)]
    assert np.median(seen) <= requests


def test_trials_may_be_counted_together() -> None:
    one, many = failure_guard(), failure_guard()
    for _ in range(10):
        one.add(1, 50)
    many.add(10, 500)
    assert one.log_evidence == pytest.approx(many.log_evidence) and many.is_breached


def test_evidence_is_a_bet_that_a_healthy_challenger_loses() -> None:
    guard = RateGuard(0.2, (0.3, 0.5))
    assert guard.log_evidence == pytest.approx(0)
    # One trial's evidence has the mean 1 under the tolerated rate.
    after = []
    for bad in (0, 1):
        guard = RateGuard(0.2, (0.3, 0.5))
        guard.add(bad, 1)
        after.append(math.exp(guard.log_evidence))
    assert 0.8 * after[0] + 0.2 * after[1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("times", "breached"), [(1.0, False), (1.5, False), (3.0, True), (30, True)]
)
def test_a_slow_challenger_is_seen_and_one_that_is_as_fast_is_not(
    times: float, breached: bool
) -> None:
    guard = LatencyGuard()
    for champion, challenger in np.exp(np.random.default_rng(0).normal(0, 0.4, (1000, 2))):
        guard.add_champion(champion)
        guard.add_challenger(times * challenger)
    assert guard.is_breached == breached


def test_a_machine_that_slows_down_slows_both() -> None:
    guard = LatencyGuard()
    speeds = np.repeat([1.0, 10.0, 1.0, 40.0], 300)
    for speed, (champion, challenger) in zip(
        speeds, np.exp(np.random.default_rng(0).normal(0, 0.4, (1200, 2))), strict=True
    ):
        guard.add_champion(speed * champion)
        guard.add_challenger(speed * challenger)
    assert not guard.is_breached


def test_latency_is_not_judged_before_the_champion_is_known() -> None:
    guard = LatencyGuard()
    for _ in range(500):
        guard.add_challenger(99.0)
    assert not guard.is_breached


def test_latency_is_not_judged_by_a_median_of_long_ago() -> None:
    guard = LatencyGuard()
    for _ in range(100):
        guard.add_champion(1.0)
        guard.add_challenger(1.0)
    for _ in range(1000):  # the machine has slowed down, and the champion answers nobody
        guard.add_challenger(1.9)
    trials = guard.rate.trials
    for _ in range(1000):
        guard.add_challenger(9.0)
    assert guard.rate.trials == trials and not guard.is_breached


@pytest.mark.parametrize(("times", "breached"), [(1.0, False), (10.0, True)])
def test_whoever_scores_larger_batches_is_not_slower(times: float, breached: bool) -> None:
    guard, chance = PaceGuard(), np.random.default_rng(0)
    for batch in range(3000):
        challenger = batch % 3 == 0
        rows = int(chance.integers(1, 4 if challenger else 20))
        seconds = (10 + rows) * math.exp(chance.normal(0, 0.1)) * (times if challenger else 1.0)
        guard.add(rows, seconds, challenger=challenger)
    for _ in range(100):
        guard.add(1000, 1e6, challenger=True)  # of a size that the champion never had
    assert guard.is_breached == breached


def test_a_breach_says_what_was_seen() -> None:
    guards = Guards()
    assert guards.breach == ""
    guards.failures.add(3, 3)
    assert guards.breach == "failed 3 of 3 requests that the champion answers"
    guards = Guards()
    for _ in range(40):
        guards.pace.add(1, 1.0, challenger=False)
        guards.pace.add(1, 5.0, challenger=True)
    assert "more than 2 times the champion's median time for 21 of 21 batches" in guards.breach
