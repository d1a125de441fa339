"""The measures of probabilities of classes ``(n_rows, n_classes)`` against labels, which are the
places of the classes ``(n_rows,)``."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tasks.measures.binary import (
    average_precision,
    calibration_error,
    expected_auc,
    expected_average_precision,
    roc_auc,
    roc_auc_influence,
)
from tasks.measures.measure import Measure, Reweighted, measure_rows
from usecases.definition import (
    ACCURACY,
    AVERAGE_PRECISION,
    BALANCED_ACCURACY,
    BRIER,
    CALIBRATION_ERROR,
    LOG_LOSS,
    MACRO_F1,
    ROC_AUC,
    Metric,
)


def _of_truth(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return predicted[np.arange(len(truth)), truth.astype(np.int64)]


def _log_loss(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(_of_truth(truth, predicted), np.finfo(float).eps, 1))


def _brier(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Half of the sum of squares (Brier 1950), so that it lies in 0-1 as that of two classes."""
    return ((predicted**2).sum(axis=1) - 2 * _of_truth(truth, predicted) + 1) / 2


def _hit(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return (predicted.argmax(axis=1) == truth).astype(float)


def _rows(
    metric: Metric, row_score: Callable[[np.ndarray, np.ndarray], np.ndarray], always: bool = False
) -> Measure:
    """The mean of ``row_score`` over the rows; each class counts in the expectation by its
    chance."""

    def expect(scores: np.ndarray, chances: np.ndarray) -> float:
        if_class = [
            row_score(np.full(len(scores), place), scores) for place in range(scores.shape[1])
        ]
        return float(np.mean((chances * np.column_stack(if_class)).sum(axis=1)))

    return replace(measure_rows(metric, row_score, always), expect=expect)


def _counts(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, predictions and hits of each class by block ``(n_blocks, n_classes)``."""
    classes = predicted.shape[1]
    truth, answer = truth.astype(np.int64), predicted.argmax(axis=1)

    def table(place: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        cell = block[rows] * classes + place[rows]
        return np.bincount(cell, minlength=blocks * classes).reshape(blocks, classes)

    return table(truth), table(answer), table(truth, truth == answer)


def _balanced_accuracy(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    """The mean over the classes of the share of their rows that is hit (Brodersen et al. 2010)."""
    rows, _, hits = _counts(truth, predicted, block, blocks)

    def at(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return ((counts @ hits) / (counts @ rows)).mean(axis=1)

    return at


def _expected_balanced_accuracy(scores: np.ndarray, chances: np.ndarray) -> float:
    """The expected hits of each class by its expected rows."""
    rows, hits, _ = _expected_counts(scores, chances)
    return float(np.mean(hits / rows)) if (rows > 0).all() else float("nan")


def _expected_macro_f1(scores: np.ndarray, chances: np.ndarray) -> float:
    rows, hits, answers = _expected_counts(scores, chances)
    sides = rows + answers
    return float(np.mean(np.where(sides > 0, 2 * hits / np.maximum(sides, 1e-300), 0.0)))


def _expected_counts(
    scores: np.ndarray, chances: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected rows and hits, and answers, of each class ``(n_classes,)``."""
    answer = scores.argmax(axis=1)
    classes = scores.shape[1]
    sure = chances[np.arange(len(scores)), answer]
    hits = np.bincount(answer, weights=sure, minlength=classes)
    return chances.sum(axis=0), hits, np.bincount(answer, minlength=classes)


def _macro_f1(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    """The mean F1 of the classes; 0 for one that is neither there nor predicted."""
    rows, answers, hits = _counts(truth, predicted, block, blocks)

    def at(counts: np.ndarray) -> np.ndarray:
        sides = counts @ rows + counts @ answers
        f1 = np.where(sides > 0, 2 * (counts @ hits) / np.maximum(sides, 1e-300), 0.0)
        return np.where((counts @ rows).sum(axis=1) > 0, f1.mean(axis=1), np.nan)

    return at


def _mean_of_classes(
    one: Callable[[np.ndarray, np.ndarray, np.ndarray, int], Reweighted],
) -> Callable[[np.ndarray, np.ndarray, np.ndarray, int], Reweighted]:
    """The mean over the classes of a measure of each against the rest."""

    def reweight(
        truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
    ) -> Reweighted:
        parts = [
            one((truth == place).astype(np.int64), predicted[:, place], block, blocks)
            for place in range(predicted.shape[1])
        ]
        return lambda counts: np.mean([part(counts) for part in parts], axis=0)

    return reweight


def _expected_mean_of_classes(
    one: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[[np.ndarray, np.ndarray], float]:
    def expect(scores: np.ndarray, chances: np.ndarray) -> float:
        places = range(scores.shape[1])
        return float(np.mean([one(scores[:, place], chances[:, place]) for place in places]))

    return expect


def _roc_auc_influence(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> tuple[float, np.ndarray, int]:
    parts = [
        roc_auc_influence((truth == place).astype(np.int64), predicted[:, place], block, blocks)
        for place in range(predicted.shape[1])
    ]
    areas, influences, rests_on = zip(*parts, strict=True)
    return float(np.mean(areas)), np.mean(influences, axis=0), min(rests_on)


CLASSES = (
    # One class against the rest, all weighing the same (Hand & Till 2001 compare the variants).
    Measure(
        ROC_AUC,
        _mean_of_classes(roc_auc),
        _expected_mean_of_classes(expected_auc),
        influence=_roc_auc_influence,
    ),
    Measure(
        AVERAGE_PRECISION,
        _mean_of_classes(average_precision),
        _expected_mean_of_classes(expected_average_precision),
    ),
    _rows(LOG_LOSS, _log_loss, always=True),
    _rows(BRIER, _brier),
    _rows(ACCURACY, _hit, always=True),
    Measure(BALANCED_ACCURACY, _balanced_accuracy, _expected_balanced_accuracy),
    Measure(MACRO_F1, _macro_f1, _expected_macro_f1),
    # Classwise calibration error (Kull et al. 2019).
    Measure(CALIBRATION_ERROR, _mean_of_classes(calibration_error)),
)
