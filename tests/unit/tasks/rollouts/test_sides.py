"""What both sides' answers say without labels, in worlds that are hard for it."""

import numpy as np
import polars as pl
import pytest

from serving.records.rollout import PLACES
from tasks.rollouts.sides import Ratio, ratio_of, shift_of_pairs, shift_of_sides


def places(chance: np.random.Generator, callers: int) -> np.ndarray:
    return chance.integers(0, PLACES, callers)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_a_split_as_planned_is_not_doubted_and_a_lost_half_is(share: float) -> None:
    chance = np.random.default_rng(1)
    for real, doubted in ((share, False), (share / 2, True)):
        challenger = chance.binomial(1000, real, 100).cumsum().tolist()
        looks = [Ratio(share, 1000 * k - n, n) for k, n in enumerate(challenger, 1)]
        assert any(look.is_off() for look in looks) == doubted


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_that_splits_nothing_has_no_ratio(share: float) -> None:
    with pytest.raises(ValueError, match="a split has one between 0 and 1"):
        Ratio(share)
    assert ratio_of(pl.Series([1, 2], dtype=pl.UInt32), share) is None


def test_callers_count_and_not_their_requests() -> None:
    """One caller in fifty sends nine of ten requests, all on one side: no share is off by that."""
    chance = np.random.default_rng(2)
    callers = places(chance, 3000)
    requests = np.where(callers < PLACES // 50, 450, 1)
    ratio = ratio_of(pl.Series(np.repeat(callers, requests)), 0.3)
    assert ratio is not None and ratio.champion + ratio.challenger == len(set(callers.tolist()))
    assert not ratio.is_off()
    with_unknown = pl.Series([*callers.tolist(), *[None] * 50_000])
    assert ratio_of(with_unknown, 0.3) == ratio


def test_one_caller_alone_is_no_evidence() -> None:
    ratio = ratio_of(pl.Series([7] * 100_000), 0.5)
    assert ratio == Ratio(0.5, 0, 1) and not ratio.is_off()
    assert ratio_of(pl.Series([], dtype=pl.UInt32), 0.5) == Ratio(0.5)


@pytest.mark.parametrize("requests", [1, 50])
def test_a_shift_is_found_and_callers_who_differ_are_none(requests: int) -> None:
    """Callers differ among each other far more than their own rows do."""
    beyond = {0.0: 0, 1.0: 0}
    for world in range(100):
        chance = np.random.default_rng([3, world])
        callers, level = places(chance, 400), chance.normal(size=400)
        rows = np.repeat(np.arange(400), requests)
        is_challenger = callers[rows] < PLACES // 2
        own = level[rows] + 0.1 * chance.normal(size=len(rows))
        for moved in beyond:
            answers = own + moved * is_challenger
            shift = shift_of_sides(answers, pl.Series(callers[rows]), is_challenger, [0.0])
            assert shift is not None
            beyond[moved] += shift.is_beyond(0.3)
    assert beyond[0.0] == 0 and beyond[1.0] > 80


def test_classes_are_judged_by_the_one_that_moved_most_from_the_contest() -> None:
    chance = np.random.default_rng(4)
    champion = chance.dirichlet([2, 2, 2], 1000)
    challenger = champion + np.array([0.2, -0.2, 0.0])
    same = shift_of_pairs(champion, challenger, [0.2, -0.2, 0.0])
    assert same is not None and abs(same.size) < 1e-9 and not same.is_beyond(0.01)
    moved = shift_of_pairs(champion, challenger, [0.1, -0.2, 0.0])
    assert moved is not None and moved.is_beyond(0.3) and moved.size > 0


def test_few_rows_alike_answers_and_an_unknown_contest_tell_nothing() -> None:
    one = np.ones(1000)
    assert shift_of_pairs(one, 2 * one, [0.0]) is None
    noise = np.random.default_rng(5).normal(size=1000)
    assert shift_of_pairs(noise[:99], noise[:99], [0.0]) is None
    assert shift_of_pairs(noise, noise, []) is None
    few = np.arange(1000) < 99
    assert shift_of_sides(noise, pl.Series([None] * 1000), few, [0.0]) is None
    # a caller with a thousand rows is one
    assert shift_of_sides(noise, pl.Series([5] * 1000), np.arange(1000) < 500, [0.0]) is None
