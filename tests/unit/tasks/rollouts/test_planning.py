"""How long a rollout takes is said before it begins."""

import numpy as np
import pytest

from tasks.rollouts.planning import FOUND, Spread, plan, spread_of
from tasks.rollouts.sequential import MOST_BLOCKS, first_finding

SPREAD = Spread(deviation=0.01, correlation=0.0)


@pytest.mark.parametrize("gain", [0.008, 0.012])
def test_the_planned_blocks_find_the_gain_in_most_rollouts(gain: float) -> None:
    blocks = plan(gain, SPREAD, planned=True).blocks
    assert blocks is not None
    chance = np.random.default_rng(5)
    found = [
        first_finding(chance.normal(gain, 0.01, blocks), blocks).finding == "better"
        for _ in range(200)
    ]
    assert np.mean(found) >= FOUND - 0.09


def test_smaller_gains_hanging_days_and_no_horizon_take_longer() -> None:
    shortest = plan(0.01, SPREAD, planned=True).blocks
    longer = [
        plan(0.008, SPREAD, planned=True).blocks,
        plan(0.01, Spread(0.01, 0.3), planned=True).blocks,
        plan(0.01, SPREAD, planned=False).blocks,
    ]
    assert shortest is not None and all(blocks and blocks > shortest for blocks in longer)


def test_a_gain_that_no_rollout_finds_is_told_with_the_one_that_it_finds() -> None:
    hopeless = plan(0.001, SPREAD, planned=True)
    assert hopeless.blocks is None and hopeless.decidable > 0.001
    possible = plan(hopeless.decidable * 1.01, SPREAD, planned=True)
    assert possible.blocks is not None and possible.blocks <= MOST_BLOCKS


@pytest.mark.parametrize("gain", [0.0, -0.1, float("nan")])
def test_a_gain_that_is_not_positive_is_refused(gain: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        plan(gain, SPREAD, planned=True)


def test_the_spread_is_the_median_pair_of_those_that_tell_one() -> None:
    chance = np.random.default_rng(0)
    pairs = [chance.normal(0, deviation, 14) for deviation in (0.01, 0.02, 0.3)]
    spread = spread_of([*pairs, np.zeros(14), np.ones(2)])
    assert spread is not None and spread.deviation == pytest.approx(pairs[1].std(ddof=1))
    assert spread_of([np.zeros(14)]) is None
