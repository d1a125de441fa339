"""Each block's influence on a score, and the bounds that follow from the influences."""

import numpy as np
import pytest

from tasks.measures.bounds import (
    correlation,
    critical_value,
    critical_value_of_last,
    standard_error,
)
from tasks.measures.influence import influence
from tasks.measures.intervals import intervals
from tasks.measures.metrics import MEASURES, reweighted, score
from usecases.definition import BRIER, CALIBRATION_ERROR, LOG_LOSS, ROC_AUC, Metric

ROWS, BLOCKS = 6000, 24
ALL = pytest.mark.parametrize(
    "metric", [ROC_AUC, LOG_LOSS, BRIER, CALIBRATION_ERROR], ids=lambda metric: metric.name
)


def sample(decimals: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities (with ties, for few ``decimals``), and blocks of unequal sizes."""
    chance = np.random.default_rng(2)
    truth = (chance.random(ROWS) < 0.3).astype(int)
    predicted = np.clip(0.2 * truth + 0.7 * chance.random(ROWS) + 0.05, 0, 1).round(decimals)
    weight = np.arange(10, 10 + BLOCKS)
    return truth, predicted, chance.choice(BLOCKS, ROWS, p=weight / weight.sum())


@ALL
@pytest.mark.parametrize("decimals", [1, 12], ids=["ties", "no ties"])
def test_a_block_counted_a_little_more_moves_the_score_by_its_influence(
    metric: Metric, decimals: int
) -> None:
    truth, predicted, block = sample(decimals)
    measured = influence(metric, truth, predicted, block, BLOCKS)
    assert measured.score == pytest.approx(score(metric, truth, predicted), abs=1e-12)
    assert measured.by_block.sum() == pytest.approx(0, abs=1e-12)
    little = 1e-4
    counts = np.vstack([np.ones(BLOCKS), 1 + little * np.eye(BLOCKS)])
    scores = reweighted(metric, truth, predicted, block, BLOCKS)(counts)
    slope = (scores[1:] - scores[0]) / little
    off = np.abs(measured.by_block - slope).max()
    # Without a closed form it is a jackknife, which leaves out a whole block.
    assert (
        off
        < (0.05 if MEASURES["binary"][metric.name].influence is None else 0.001)
        * np.abs(slope).max()
    )


def test_a_class_of_one_block_has_a_score_and_no_influence() -> None:
    truth, predicted, block = sample()
    truth = np.where(block == 3, truth, 0)
    measured = influence(ROC_AUC, truth, predicted, block, BLOCKS)
    assert np.isfinite(measured.score) and not measured.is_known
    assert influence(LOG_LOSS, truth, predicted, block, BLOCKS).is_known
    interval = intervals([ROC_AUC], truth, predicted, block, 0)["roc_auc"]
    assert (interval.value, interval.bounds) == (measured.score, None)


@ALL
def test_nothing_has_no_influence(metric: Metric) -> None:
    for truth, predicted in (([], []), ([0, 1], [0.5, np.nan])):
        measured = influence(
            metric, np.array(truth), np.array(predicted), np.zeros(len(truth), int), 2
        )
        assert np.isnan(measured.score) and not measured.is_known


def test_a_block_without_rows_has_no_influence() -> None:
    truth, predicted, block = sample()
    for metric in (ROC_AUC, CALIBRATION_ERROR):
        measured = influence(metric, truth, predicted, block, BLOCKS + 1)
        assert measured.by_block[-1] == 0
        assert measured.blocks == BLOCKS


def test_few_blocks_have_students_t() -> None:
    """Of five independent blocks the 95 % quantile of t with four degrees of freedom is 2.13."""
    assert critical_value(np.eye(1), 5, 0.95) == pytest.approx(2.132, abs=0.03)
    assert standard_error(np.array([1.0, -1.0])) == pytest.approx(2.0)


def test_the_standard_error_grows_where_neighbours_are_alike() -> None:
    shocks = np.random.default_rng(4).normal(size=(200, 30))
    alike = np.repeat(shocks[:, :6], 5, axis=1)
    assert np.median(standard_error(alike)) > 1.7 * np.median(standard_error(shocks))


def test_bounds_that_hold_together_need_more_and_copies_need_no_more() -> None:
    alone = critical_value(np.eye(1), 30, 0.95)
    four = critical_value(np.eye(4), 30, 0.95)
    copies = critical_value(np.ones((4, 4)), 30, 0.95)
    assert four > 1.3 * alone
    assert copies == pytest.approx(alone, rel=0.03)


def test_a_later_try_needs_more_and_less_so_where_it_is_like_the_earlier_ones() -> None:
    def last(same: float, tries: int) -> float:
        levels = [0.05 / (number * (number + 1)) for number in range(1, tries + 1)]
        matrix = same + (1 - same) * np.eye(tries)
        return critical_value_of_last(matrix, [1] * tries, 30, levels)

    assert last(0, 1) < last(0, 2) < last(0, 5)
    assert last(0.9, 5) < last(0.5, 5) < last(0, 5)


def test_tries_together_win_by_luck_no_more_often_than_allowed() -> None:
    """Normal days without any gain, whose five tries are alike by a half."""
    chance, same = np.random.default_rng(9), 0.5 + 0.5 * np.eye(5)
    root = np.linalg.cholesky(same)
    levels = [0.05 / (number * (number + 1)) for number in range(1, 6)]
    limits = [
        critical_value_of_last(same[:tries, :tries], [1] * tries, 30, levels[:tries])
        for tries in range(1, 6)
    ]
    days = root @ chance.normal(size=(4000, 5, 30))
    won = (days.sum(axis=-1) / standard_error(days) > limits).any(axis=1).mean()
    assert won < 0.05


def test_the_correlation_of_no_influence_is_zero() -> None:
    same = correlation(np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 1.0], [2.0, -4.0, 2.0]]))
    np.testing.assert_allclose(same, [[1, 0, 0], [0, 1, 1], [0, 1, 1]])
