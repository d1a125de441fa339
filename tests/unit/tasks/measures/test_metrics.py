import itertools

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from tasks.measures.metrics import reweighted, score
from usecases.definition import BRIER, CALIBRATION_ERROR, LOG_LOSS, ROC_AUC, Metric

ROWS, BLOCKS = 3000, 12


def sample(decimals: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and blocks of unequal sizes; few ``decimals`` make many ties."""
    chance = np.random.default_rng(seed)
    truth = chance.random(ROWS) < 0.3
    predicted = np.clip(0.2 * truth + chance.random(ROWS) * 0.7 + 0.05, 0, 1).round(decimals)
    return (
        truth.astype(int),
        predicted,
        chance.choice(BLOCKS, ROWS, p=np.arange(1, BLOCKS + 1) / 78),
    )


def by_scikit_learn(
    metric: Metric, truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None = None
) -> float:
    if metric == ROC_AUC:
        return float(roc_auc_score(truth, predicted, sample_weight=weight))
    if metric == LOG_LOSS:
        return float(log_loss(truth, predicted, sample_weight=weight))
    return float(brier_score_loss(truth, predicted, sample_weight=weight))


@pytest.mark.parametrize("decimals", [1, 2, 12], ids=["many ties", "some ties", "no ties"])
@pytest.mark.parametrize("metric", [ROC_AUC, LOG_LOSS, BRIER], ids=lambda metric: metric.name)
def test_scores_are_those_of_scikit_learn(metric: Metric, decimals: int) -> None:
    truth, predicted, _ = sample(decimals)
    assert score(metric, truth, predicted) == pytest.approx(
        by_scikit_learn(metric, truth, predicted), abs=1e-12
    )


@pytest.mark.parametrize("decimals", [1, 12], ids=["many ties", "no ties"])
@pytest.mark.parametrize("metric", [ROC_AUC, LOG_LOSS, BRIER], ids=lambda metric: metric.name)
def test_block_counts_are_the_sample_weights_of_scikit_learn(metric: Metric, decimals: int) -> None:
    truth, predicted, block = sample(decimals)
    counts = np.random.default_rng(1).multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), size=20)
    assert (counts == 0).any()
    assert counts.max() > 1
    expected = [by_scikit_learn(metric, truth, predicted, times[block]) for times in counts]
    np.testing.assert_allclose(
        reweighted(metric, truth, predicted, block, BLOCKS)(counts), expected, rtol=0, atol=1e-12
    )


def test_a_block_without_rows_changes_nothing() -> None:
    truth, predicted, block = sample(12)
    counts = np.ones((1, BLOCKS + 1))
    for metric in (ROC_AUC, LOG_LOSS, BRIER):
        assert reweighted(metric, truth, predicted, block, BLOCKS + 1)(counts)[0] == pytest.approx(
            score(metric, truth, predicted)
        )


def test_probabilities_of_zero_and_one_that_are_wrong_cost_what_they_cost_in_scikit_learn() -> None:
    truth, predicted = np.array([0, 1, 1, 0]), np.array([1.0, 0.0, 1.0, 0.0])
    assert score(LOG_LOSS, truth, predicted) == pytest.approx(log_loss(truth, predicted))


def test_a_score_that_only_ties_is_worth_a_half() -> None:
    assert score(ROC_AUC, np.array([0, 1, 1]), np.array([0.4, 0.4, 0.4])) == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_roc_auc_of_a_single_class_does_not_exist(label: int) -> None:
    truth, predicted = np.full(5, label), np.linspace(0.1, 0.9, 5)
    assert np.isnan(score(ROC_AUC, truth, predicted))
    assert score(BRIER, truth, predicted) == pytest.approx(np.mean((predicted - label) ** 2))


def test_roc_auc_does_not_exist_where_the_blocks_drawn_have_a_single_class() -> None:
    truth, block = np.array([0, 1, 0, 0]), np.array([0, 0, 1, 1])
    scores = reweighted(ROC_AUC, truth, np.array([0.1, 0.9, 0.2, 0.3]), block, 2)(
        np.array([[1, 1], [0, 2], [2, 0]])
    )
    assert scores[0] == scores[2] == 1
    assert np.isnan(scores[1])


@pytest.mark.parametrize("metric", [ROC_AUC, LOG_LOSS, BRIER], ids=lambda metric: metric.name)
def test_a_prediction_that_is_no_number_leaves_no_score(metric: Metric) -> None:
    """A NaN sorts as the largest score: among positives it would win every pair."""
    truth = np.array([0, 1, 1, 0])
    for wrong in (np.nan, np.inf):
        assert np.isnan(score(metric, truth, np.array([0.1, wrong, 0.3, 0.2])))


@pytest.mark.parametrize("metric", [ROC_AUC, LOG_LOSS, BRIER], ids=lambda metric: metric.name)
def test_no_rows_have_no_score(metric: Metric) -> None:
    assert np.isnan(score(metric, np.array([], dtype=int), np.array([])))


def test_single_precision_scores_are_taken_as_they_are() -> None:
    truth, predicted, _ = sample(12)
    single = predicted.astype(np.float32)
    assert score(ROC_AUC, truth, single) == pytest.approx(roc_auc_score(truth, single), abs=1e-12)
    assert score(LOG_LOSS, truth, single) == pytest.approx(
        log_loss(truth, single.astype(float)), abs=1e-12
    )


def test_calibration_error_is_the_gap_between_score_and_share_on_the_average_row() -> None:
    truth = np.array([0, 0, 0, 1] * 500)
    assert score(CALIBRATION_ERROR, truth, np.full(2000, 0.25)) == pytest.approx(0)
    assert score(CALIBRATION_ERROR, truth, np.full(2000, 0.45)) == pytest.approx(0.2)
    low_and_high = np.repeat([0.1, 0.9], 1000)
    assert score(CALIBRATION_ERROR, np.tile([0, 1], 1000), low_and_high) == pytest.approx(0.4), (
        "errors of two bins do not cancel"
    )


def test_calibration_error_of_reweighted_blocks_is_that_of_the_repeated_rows() -> None:
    chance = np.random.default_rng(5)
    truth, predicted, block = (
        chance.integers(0, 2, 3000),
        chance.random(3000),
        chance.integers(0, 6, 3000),
    )
    counts = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 1, 3, 0]])
    edges = np.quantile(predicted, np.linspace(0, 1, 11))
    scores = reweighted(CALIBRATION_ERROR, truth, predicted, block, 6)(counts)
    for times, value in zip(counts, scores, strict=True):
        rows = np.repeat(np.arange(3000), times[block])
        parts = [
            rows[(predicted[rows] >= low) & (predicted[rows] < high)]
            for low, high in itertools.pairwise([-1, *edges[1:-1], 2])
        ]
        assert value == pytest.approx(
            sum(len(p) * abs(predicted[p].mean() - truth[p].mean()) for p in parts) / len(rows)
        )
