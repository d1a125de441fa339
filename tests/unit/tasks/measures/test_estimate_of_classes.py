"""What is expected of several classes before a label comes, against labels drawn by the chances."""

import numpy as np
import pytest

from tasks.measures.estimate import (
    calibrate_classes,
    estimate,
    fit_calibrations,
)
from tasks.measures.metrics import score
from usecases.definition import (
    ACCURACY,
    AVERAGE_PRECISION,
    BALANCED_ACCURACY,
    BRIER,
    LOG_LOSS,
    MACRO_F1,
    ROC_AUC,
    Metric,
)

ROWS, CLASSES = 4000, 4
METRICS = (ROC_AUC, AVERAGE_PRECISION, LOG_LOSS, BRIER, ACCURACY, BALANCED_ACCURACY, MACRO_F1)


def draw(chances: np.ndarray, seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed).random(len(chances))[:, None]
    return (chance > np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)


@pytest.fixture(scope="module")
def chances() -> np.ndarray:
    logits = np.random.default_rng(0).normal(0, 1.5, (ROWS, CLASSES)) + np.array([1.0, 0, 0, -1])
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_expectation_is_the_mean_over_labels_drawn_by_the_chances(
    chances: np.ndarray, metric: Metric
) -> None:
    drawn = [score(metric, draw(chances, seed), chances) for seed in range(40)]
    spread = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(estimate(metric, chances, chances) - np.mean(drawn)) < 4 * spread + 5e-4


def test_curves_mend_scores_that_are_too_sure(chances: np.ndarray) -> None:
    truth = draw(chances, seed=1)
    sharp = chances**3 / (chances**3).sum(axis=1, keepdims=True)
    days = np.arange(ROWS) % 30
    curves = fit_calibrations(sharp, truth, days)
    assert len(curves) == CLASSES
    mended = calibrate_classes(curves, sharp)
    np.testing.assert_allclose(mended.sum(axis=1), 1)
    realised = score(LOG_LOSS, truth, sharp)
    before = abs(estimate(LOG_LOSS, sharp, sharp) - realised)
    assert abs(estimate(LOG_LOSS, sharp, mended) - realised) < before / 4


def test_class_that_the_holdout_lacks_proves_nothing(chances: np.ndarray) -> None:
    truth = np.minimum(draw(chances, seed=2), CLASSES - 2)
    assert fit_calibrations(chances, truth, np.arange(ROWS) % 30) == []


def test_no_rows_and_no_finite_score_have_no_estimate(chances: np.ndarray) -> None:
    assert np.isnan(estimate(LOG_LOSS, chances[:0], chances[:0]))
    broken = chances.copy()
    broken[0, 0] = np.nan
    assert np.isnan(estimate(LOG_LOSS, broken, chances))
