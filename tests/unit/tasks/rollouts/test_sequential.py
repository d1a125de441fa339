"""A gain is looked at after each block, and no look takes the test's promise away."""

import numpy as np
import pytest

from tasks.rollouts.sequential import (
    ERROR,
    FIRST_BLOCK,
    MOST_BLOCKS,
    correlation,
    first_finding,
    look,
)

HORIZONS = [pytest.param(14, id="planned"), pytest.param(None, id="open")]


def shares(horizon: int | None, gain: float, worlds: int = 400, rho: float = 0.0, blocks: int = 14):
    """How often each finding ends a rollout."""
    chance = np.random.default_rng(3)
    findings = []
    for _ in range(worlds):
        noise = chance.normal(size=blocks + 20)
        for place in range(1, len(noise)):
            noise[place] = rho * noise[place - 1] + (1 - rho**2) ** 0.5 * noise[place]
        findings.append(first_finding(noise[20:] + gain, horizon).finding)
    return {name: findings.count(name) / worlds for name in set(findings)}


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_equal_challengers_are_rarely_found_better_or_worse(horizon, rho) -> None:
    found = shares(horizon, 0.0, rho=rho)
    allowed = ERROR + 3 * (ERROR / 400) ** 0.5
    assert found.get("better", 0) <= allowed and found.get("worse", 0) <= allowed


@pytest.mark.parametrize("horizon", HORIZONS)
def test_large_gains_and_losses_are_found(horizon) -> None:
    assert shares(horizon, 1.5, worlds=60)["better"] > 0.9
    assert shares(horizon, -1.5, worlds=60).get("worse", 0) > (0 if horizon else 0.9)


def test_a_hopeless_rollout_ends_before_its_horizon() -> None:
    ends = [first_finding(np.random.default_rng(seed).normal(size=14), 14) for seed in range(100)]
    assert np.median([each.blocks for each in ends]) < 10
    assert {each.finding for each in ends if each.blocks < 14} >= {"no_difference"}


def test_a_margin_asks_for_no_worse_than_that() -> None:
    equal = np.random.default_rng(1).normal(0, 0.3, 14)
    assert first_finding(equal, 14).finding != "better"
    assert first_finding(equal, 14, margin=1.0).finding == "better"
    assert first_finding(equal - 2, None, margin=1.0).finding == "worse"


@pytest.mark.parametrize("horizon", HORIZONS)
def test_the_interval_holds_the_gain_at_all_looks_together(horizon) -> None:
    chance, missed = np.random.default_rng(4), 0
    for _ in range(200):
        gains = chance.normal(0.4, 1, 14)
        looks = [look(gains[:blocks], horizon) for blocks in range(FIRST_BLOCK, 15)]
        missed += any(each.low is not None and each.low > 0.4 for each in looks)
    assert missed / 200 <= ERROR + 3 * (ERROR / 200) ** 0.5


def test_few_blocks_decide_nothing() -> None:
    assert look(np.array([]), 14).gain is None
    assert look(np.full(3, 9.0), 14).finding == "undecided"
    assert look(np.array([9.0, 9.1, 9.2]), None).low is None


def test_what_comes_after_the_horizon_changes_no_verdict() -> None:
    gains = np.concatenate([np.random.default_rng(0).normal(0, 1, 14), np.full(10, 50.0)])
    assert look(gains, 14) == look(gains[:14], 14)


def test_equal_predictions_end_without_a_difference() -> None:
    assert look(np.zeros(14), 14).finding == "no_difference"
    assert look(np.zeros(MOST_BLOCKS), None).finding == "no_difference"
    assert look(np.zeros(5), 14).finding == "undecided"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gain_that_is_no_number_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="1 blocks are no numbers"):
        look(np.array([1.0, bad, 2.0, 3.0]), 14)


@pytest.mark.parametrize("horizon", [0, 3, 29])
def test_an_impossible_horizon_is_refused(horizon) -> None:
    with pytest.raises(ValueError, match=f"The horizon is {horizon} blocks"):
        look(np.zeros(4), horizon)


def test_blocks_that_hang_together_are_seen() -> None:
    steps = np.repeat([1.0, -1.0, 1.0, -1.0], 7)
    assert correlation(steps) > 0.5
    assert correlation(np.tile([1.0, -1.0], 14)) < 0.1
