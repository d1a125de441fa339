"""Intervals and sets hold the promised share of labels that they have not seen, as crepes' do."""

import math

import numpy as np
import pytest

from tasks.measures.conformal import (
    conformal_offsets,
    interval_scores,
    least_chance,
    least_rows,
    share_held,
)

CLOSE = 1e-4  # the room for single precision


def offsets(truth: np.ndarray, predicted: np.ndarray, coverage: float) -> tuple[float, float]:
    return conformal_offsets(truth, predicted, predicted, coverage)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("rows", [40, 500])
def test_interval_holds_the_promised_share_of_skewed_errors(coverage: float, rows: int) -> None:
    """On average over many hold-outs, as conformal prediction promises; by at most 2 / (n + 1)
    more."""
    chance = np.random.default_rng(0)
    held = []
    for _ in range(800):
        seen, later = chance.gamma(1.5, 2, rows), chance.gamma(1.5, 2, 400)
        low, high = offsets(seen, np.full(rows, 3.0), coverage)
        held.append(np.mean((later >= 3 + low) & (later <= 3 + high)))
    error = np.std(held) / np.sqrt(len(held))
    assert coverage - 3 * error < np.mean(held) < coverage + 2 / (rows + 1) + 3 * error


def test_interval_holds_the_promised_share_of_errors_without_a_mean() -> None:
    """Cauchy's: one row in a thousand is a hundred times as far off as most."""
    chance = np.random.default_rng(0)
    held = []
    for _ in range(300):
        seen, later = chance.standard_cauchy(1000), chance.standard_cauchy(1000)
        low, high = offsets(seen, np.zeros(1000), 0.99)
        held.append(np.mean((later >= low) & (later <= high)))
    assert np.mean(held) == pytest.approx(0.99, abs=0.002)


def test_ends_are_moved_apart_from_each_other() -> None:
    """The low quantile lies too low by 2, the high one too low by 5 for the farthest label."""
    truth = np.arange(100.0)
    low, high = conformal_offsets(truth, truth - 2, truth - 5, 0.9)
    assert (low, high) == (pytest.approx(2, abs=CLOSE), pytest.approx(5, abs=CLOSE))


def test_interval_is_skewed_as_the_errors_are() -> None:
    low, high = offsets(np.random.default_rng(0).exponential(1, 5000), np.zeros(5000), 0.9)
    assert (low, high) == (pytest.approx(0.05, abs=0.01), pytest.approx(-np.log(0.05), abs=0.2))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_least_rows_are_the_fewest_whose_farthest_errors_need_not_be_the_ends(
    coverage: float,
) -> None:
    """One row fewer would have to reach farther than any error that was seen."""
    for rows, is_enough in ((least_rows(coverage, 2), True), (least_rows(coverage, 2) - 1, False)):
        place = math.ceil(round((rows + 1) * (1 + coverage) / 2, 6))
        assert (place <= rows) is is_enough


def test_least_rows_of_the_usual_promises() -> None:
    assert [least_rows(coverage, 2) for coverage in (0.8, 0.9, 0.95, 0.99)] == [9, 19, 39, 199]
    assert [least_rows(coverage, 1) for coverage in (0.8, 0.9, 0.95, 0.99)] == [4, 9, 19, 99]


def test_too_few_rows_reach_as_far_as_the_farthest_error() -> None:
    assert offsets(np.array([1.0, -2.0, 5.0]), np.zeros(3), 0.9) == (-2.0, 5.0)


def test_label_on_the_end_is_inside_in_single_precision() -> None:
    """A model that has one answer, and whole labels: the ends are labels."""
    truth = np.tile(np.arange(11.0), 100)
    answer = np.full(len(truth), 3.3)
    low, high = offsets(truth, answer, 0.99)
    served = answer.astype(np.float32).astype(float)
    assert np.all((served + low <= truth) & (truth <= served + high))


def test_sets_hold_the_promised_share_and_know_sure_rows() -> None:
    chance = np.random.default_rng(0)
    held, sizes = [], []
    for _ in range(200):
        chances = chance.dirichlet([0.5, 0.5, 0.5, 0.5], 2000)
        truth = (chances.cumsum(axis=1) > chance.random((2000, 1))).argmax(axis=1)
        least = least_chance(truth[:500], chances[:500], 0.9)
        sets = chances[500:] >= least
        held.append(sets[np.arange(1500), truth[500:]].mean())
        sizes.append(sets.sum(axis=1).mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.005)
    assert 1 < np.mean(sizes) < 2.5


def test_equal_chances_are_all_in_the_set_in_single_precision() -> None:
    chances = np.full((50, 3), 1 / 3)
    least = least_chance(np.zeros(50, dtype=int), chances, 0.9)
    assert np.all(chances.astype(np.float32) >= least) and np.all(chances >= least)


def test_offsets_and_sets_are_those_of_crepes() -> None:
    """An implementation of its own: crepes 0.9 (Boström 2022), with its p-values' two tails."""
    crepes = pytest.importorskip("crepes")
    chance = np.random.default_rng(3)
    truth, predicted = chance.gamma(2, 3, 777), chance.normal(5, 1, 777)
    for coverage in (0.8, 0.9, 0.95):
        half = crepes.ConformalRegressor().fit(np.abs(truth - predicted))
        ((low, high),) = half.predict_int(np.array([0.0]), confidence=coverage)
        errors = np.abs(truth - predicted)
        # A symmetric interval is that of the errors and of their mirror images.
        both = np.concatenate([errors, -errors])
        ours = offsets(both, np.zeros(len(both)), coverage)
        place = np.searchsorted(np.sort(errors), [high, ours[1] - CLOSE])
        assert abs(place[0] - place[1]) <= 1 and low == -high
        lower, upper = _of_crepes(crepes, truth - predicted, coverage)
        assert offsets(truth, predicted, coverage) == (
            pytest.approx(lower, abs=CLOSE),
            pytest.approx(upper, abs=CLOSE),
        )
    chances = chance.dirichlet([1, 1, 1], 777)
    places = chance.integers(0, 3, 777)
    classifier = crepes.ConformalClassifier().fit(1 - chances[np.arange(777), places])
    new = chance.dirichlet([1, 1, 1], 200)
    theirs = classifier.predict_set(1 - new, confidence=0.9, smoothing=False)
    ours_of_classes = new >= least_chance(places, chances, 0.9)
    assert np.array_equal(np.array(theirs, dtype=bool), ours_of_classes)


def _of_crepes(crepes, errors: np.ndarray, coverage: float) -> tuple[float, float]:  # noqa: ANN001
    """crepes' predictive system takes signed errors, and has their two percentiles."""
    system = crepes.ConformalPredictiveSystem().fit(errors)
    tail = (1 - coverage) / 2 * 100
    ((low, high),) = system.predict_int(np.array([0.0]), confidence=coverage)
    percentiles = system.predict_percentiles(
        np.array([0.0]), lower_percentiles=[tail], higher_percentiles=[100 - tail]
    )
    assert (low, high) == tuple(percentiles[0])
    return low, high


def test_score_of_an_interval_is_its_width_and_what_lies_outside_weighed() -> None:
    scores = interval_scores(
        np.array([5.0, 12.0, -1.0]), np.zeros(3), np.full(3, 10.0), coverage=0.9
    )
    assert scores == pytest.approx([10, 50, 30])


def test_share_held_has_no_bounds_beyond_one_and_none_of_a_single_day() -> None:
    days = np.repeat(np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]"), 20)
    inside = np.arange(200) % 40 != 0
    whole = share_held(inside, days, 0)
    assert whole.value == 0.975 and whole.bounds is not None and whole.bounds[1] <= 1
    assert share_held(inside[:20], days[:20], 0).bounds is None
