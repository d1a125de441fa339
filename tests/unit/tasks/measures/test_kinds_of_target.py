"""The measures of classes and of numbers: against scikit-learn, and exact whatever blocks count."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.measures.estimate import estimate
from tasks.measures.influence import influence
from tasks.measures.metrics import MEASURES, reweighted, score
from usecases.definition import (
    ACCURACY,
    BALANCED_ACCURACY,
    BRIER,
    CALIBRATION_ERROR,
    LOG_LOSS,
    MACRO_F1,
    MAE,
    MAPE,
    MEDIAN_ABSOLUTE_ERROR,
    METRICS,
    POISSON_DEVIANCE,
    R2,
    RMSE,
    ROC_AUC,
    Metric,
)

ROWS, CLASSES, BLOCKS = 900, 4, 30
Arrays = tuple[np.ndarray, np.ndarray]


def classes() -> Arrays:
    """Labels, of which one class is rare, and probabilities with ties."""
    chance = np.random.default_rng(0)
    truth = chance.choice(CLASSES, ROWS, p=[0.4, 0.35, 0.2, 0.05])
    likelihood = chance.dirichlet(np.ones(CLASSES), ROWS)
    likelihood[np.arange(ROWS), truth] += 0.3
    return truth, (likelihood / likelihood.sum(axis=1, keepdims=True)).round(2)


def counts() -> Arrays:
    """Counts, many of them 0, and skewed predictions."""
    chance = np.random.default_rng(1)
    mean = chance.gamma(2, 1.5, ROWS)
    return chance.poisson(mean).astype(float), mean * chance.uniform(0.6, 1.5, ROWS)


def numbers() -> Arrays:
    """Far from zero, so that sums of squares lose digits."""
    chance = np.random.default_rng(2)
    truth = 1e6 + chance.normal(0, 3, ROWS)
    return truth, truth + chance.normal(0, 1, ROWS)


def of_classes(name: str, **options: Any) -> Callable[[np.ndarray, np.ndarray], float]:
    import sklearn.metrics

    measure = getattr(sklearn.metrics, name)
    return lambda truth, predicted: measure(truth, predicted.argmax(axis=1), **options)


def of_numbers(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    import sklearn.metrics

    return getattr(sklearn.metrics, name)


def multi_auc(truth: np.ndarray, predicted: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(
        np.mean([roc_auc_score(truth == place, predicted[:, place]) for place in range(CLASSES)])
    )


def half_brier(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(((predicted - np.eye(CLASSES)[truth]) ** 2).sum(axis=1).mean() / 2)


def mean_log(truth: np.ndarray, predicted: np.ndarray) -> float:
    least = np.finfo(float).eps
    return float(-np.log(np.clip(predicted[np.arange(len(truth)), truth], least, 1)).mean())


@pytest.mark.parametrize(
    ("metric", "arrays", "by_hand"),
    [
        (ROC_AUC, classes, multi_auc),
        (LOG_LOSS, classes, mean_log),
        (BRIER, classes, half_brier),
        (ACCURACY, classes, of_classes("accuracy_score")),
        (BALANCED_ACCURACY, classes, of_classes("balanced_accuracy_score")),
        (MACRO_F1, classes, of_classes("f1_score", average="macro")),
        (RMSE, numbers, of_numbers("root_mean_squared_error")),
        (MAE, numbers, of_numbers("mean_absolute_error")),
        (R2, numbers, of_numbers("r2_score")),
        (MAPE, numbers, of_numbers("mean_absolute_percentage_error")),
        (MEDIAN_ABSOLUTE_ERROR, counts, of_numbers("median_absolute_error")),
        (POISSON_DEVIANCE, counts, of_numbers("mean_poisson_deviance")),
    ],
    ids=lambda part: part.name if isinstance(part, Metric) else "",
)
def test_score_is_scikit_learn_s(
    metric: Metric, arrays: Callable[[], Arrays], by_hand: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    truth, predicted = arrays()
    assert score(metric, truth, predicted) == pytest.approx(by_hand(truth, predicted), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        *((name, classes) for name in MEASURES["classes"]),
        *((name, counts) for name in MEASURES["number"]),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_reweighted_score_is_that_of_the_repeated_rows(
    name: str, arrays: Callable[[], Arrays]
) -> None:
    metric, (truth, predicted) = METRICS[name], arrays()
    block = np.random.default_rng(3).integers(0, BLOCKS, ROWS)
    times = np.random.default_rng(4).integers(0, 3, (5, BLOCKS))
    scores = reweighted(metric, truth, predicted, block, BLOCKS)(times.astype(float))
    if metric == CALIBRATION_ERROR:  # its bins are those of all rows
        assert np.isfinite(scores).all()
        return
    for counted, reached in zip(times, scores, strict=True):
        rows = np.repeat(np.arange(ROWS), counted[block])
        assert reached == pytest.approx(score(metric, truth[rows], predicted[rows]), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        *((name, classes) for name in MEASURES["classes"]),
        *((name, counts) for name in MEASURES["number"]),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_block_counted_a_little_more_moves_the_score_by_its_influence(
    name: str, arrays: Callable[[], Arrays]
) -> None:
    metric, (truth, predicted) = METRICS[name], arrays()
    block = np.random.default_rng(3).integers(0, BLOCKS, ROWS)
    measured = influence(metric, truth, predicted, block, BLOCKS)
    assert measured.is_known and measured.by_block.sum() == pytest.approx(0, abs=1e-9)
    if metric in (MEDIAN_ABSOLUTE_ERROR, CALIBRATION_ERROR):  # they have steps and corners
        return
    little = 1e-4
    scores = reweighted(metric, truth, predicted, block, BLOCKS)(
        np.vstack([np.ones(BLOCKS), 1 + little * np.eye(BLOCKS)])
    )
    slope = (scores[1:] - scores[0]) / little
    assert np.abs(measured.by_block - slope).max() < 0.15 * np.abs(slope).max()


def test_class_that_is_missing_has_no_auc_and_no_balanced_accuracy() -> None:
    truth, predicted = classes()
    some = truth != 3
    for metric in (ROC_AUC, BALANCED_ACCURACY):
        assert np.isnan(score(metric, truth[some], predicted[some]))
    assert np.isfinite(score(LOG_LOSS, truth[some], predicted[some]))


def test_number_that_does_not_vary_has_no_r2_and_a_zero_has_no_percentage() -> None:
    same = np.full(10, 3.0)
    assert np.isnan(score(R2, same, same + 1))
    truth = np.array([0.0, 2.0])
    assert score(MAPE, truth, np.array([5.0, 3.0])) == pytest.approx(0.5)
    assert np.isnan(score(MAPE, np.zeros(3), np.ones(3)))


@pytest.mark.parametrize("metric", [RMSE, MEDIAN_ABSOLUTE_ERROR, R2, MAPE])
def test_no_rows_and_no_number_have_no_score(metric: Metric) -> None:
    assert np.isnan(score(metric, np.array([]), np.array([])))
    assert np.isnan(score(metric, np.array([1.0, 2.0]), np.array([1.0, np.inf])))


def test_classes_have_an_expected_score_before_labels_come() -> None:
    chance = np.random.default_rng(5)
    chances = chance.dirichlet(np.ones(CLASSES), 100_000)
    truth = (chance.random((100_000, 1)) > np.cumsum(chances, axis=1)).sum(axis=1)
    for metric in (LOG_LOSS, BRIER, ACCURACY):
        expected = score(metric, truth, chances)
        assert estimate(metric, chances, chances) == pytest.approx(expected, abs=0.01)
