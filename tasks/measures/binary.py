"""The measures of probabilities against labels in {0, 1}."""

import numpy as np

from tasks.measures.measure import Measure, Reweighted, measure_rows
from usecases.definition import AVERAGE_PRECISION, BRIER, CALIBRATION_ERROR, LOG_LOSS, ROC_AUC

_BINS = 10


def _squared_error(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return (predicted - truth) ** 2


def _log_loss(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    least = np.finfo(float).eps
    sure = np.clip(predicted, least, 1 - least)
    return -np.where(truth > 0, np.log(sure), np.log1p(-sure))


def calibration_error(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    """Expected calibration error (Naeini et al. 2015) over ``_BINS`` bins of equally many rows
    (Nixon et al. 2019).

    By how much the mean score of a bin is off from its share of positives, on the average row. The
    bins are those of all rows, whatever the counts."""
    truth, predicted = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    inner = (
        np.quantile(predicted, np.linspace(0, 1, _BINS + 1)[1:-1])
        if len(predicted)
        else np.zeros(_BINS - 1)
    )
    cell = block * _BINS + np.searchsorted(inner, predicted, side="right")
    off = np.bincount(cell, weights=predicted - truth, minlength=blocks * _BINS).reshape(
        blocks, _BINS
    )
    rows = np.bincount(block, minlength=blocks)

    def at(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.abs(counts @ off).sum(axis=1) / (counts @ rows)

    return at


def roc_auc(truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int) -> Reweighted:
    """By the matrix ``wins[b, c]``: how many (positive of block b, negative of block c) pairs are
    ranked rightly, ties counted half (Mann-Whitney, Hanley & McNeil 1982).

    With block counts ``w``, AUC = wᵀ wins w / ((w·positives) (w·negatives)): exact."""
    truth = np.asarray(truth, dtype=bool)
    order = np.argsort(predicted, kind="stable")
    ranked, positive, home = predicted[order], truth[order], block[order]
    first = np.searchsorted(ranked, ranked[positive], side="left")
    last = np.searchsorted(ranked, ranked[positive], side="right")
    wins = np.empty((blocks, blocks))
    for other in range(blocks):
        below = np.concatenate(([0], np.cumsum(~positive & (home == other))))
        wins[:, other] = np.bincount(
            home[positive], weights=(below[first] + below[last]) / 2, minlength=blocks
        )
    positives = np.bincount(home[positive], minlength=blocks)
    negatives = np.bincount(home[~positive], minlength=blocks)

    def at(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.einsum("rb,bc,rc->r", counts, wins, counts, optimize=True) / (
                (counts @ positives) * (counts @ negatives)
            )

    return at


def roc_auc_influence(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> tuple[float, np.ndarray, int]:
    """By placements (DeLong, DeLong & Clarke-Pearson 1988), summed by block: of each positive the
    share of negatives below it, of each negative the share of positives above it. Ties count half.

    A class that only one block has says nothing of how it differs by block: that is not known."""
    positive = np.asarray(truth, dtype=bool)
    rests_on = min(len(np.unique(block[rows])) for rows in (positive, ~positive))
    if not rests_on:
        return np.nan, np.full(blocks, np.nan), 0
    values, code = np.unique(predicted, return_inverse=True)
    positives = np.bincount(code[positive], minlength=len(values))
    negatives = np.bincount(code[~positive], minlength=len(values))
    below = (np.cumsum(negatives) - negatives / 2) / negatives.sum()
    above = 1 - (np.cumsum(positives) - positives / 2) / positives.sum()
    placement = np.where(positive, below[code], above[code])
    area = float(placement[positive].mean())
    share = (placement - area) / np.where(positive, positives.sum(), negatives.sum())
    by_block = np.bincount(block, weights=share, minlength=blocks)
    return area, by_block if rests_on > 1 else by_block + np.nan, rests_on


def expected_auc(scores: np.ndarray, chances: np.ndarray) -> float:
    """The expected count of pairs that are ranked rightly, by the expected count of pairs; ties
    count half.

    Sums over all pairs of two different rows, by one sort; a row is never paired with itself."""
    order = np.argsort(scores, kind="stable")
    ranked, positive = np.asarray(scores)[order], np.asarray(chances, dtype=float)[order]
    negative = 1 - positive
    below = np.concatenate(([0.0], np.cumsum(negative)))
    first, last = (
        np.searchsorted(ranked, ranked, side="left"),
        np.searchsorted(ranked, ranked, side="right"),
    )
    itself = positive @ negative
    right = positive @ ((below[first] + below[last]) / 2) - itself / 2
    pairs = positive.sum() * negative.sum() - itself
    return float(right / pairs) if pairs > 0 else float("nan")


def average_precision(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    """The mean precision over the positives, each at its own score (as scikit-learn's): the area
    under the steps of precision by recall. Rows of one score are one step.
    """
    positive = np.asarray(truth, dtype=float)
    order = np.argsort(-np.asarray(predicted, dtype=float), kind="stable")
    ranked, hits, home = np.asarray(predicted)[order], positive[order], block[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if len(ranked) else order

    def once(times: np.ndarray) -> float:
        weight = times[home]
        found, seen = np.cumsum(weight * hits)[last], np.cumsum(weight)[last]
        if not len(found) or not found[-1] > 0:
            return float("nan")
        precision = np.divide(found, seen, out=np.zeros(len(seen)), where=seen > 0)
        return float(np.diff(found, prepend=0) @ precision / found[-1])

    return lambda counts: np.array([once(times) for times in counts])


def expected_average_precision(scores: np.ndarray, chances: np.ndarray) -> float:
    """Of labels that are shares: near to the mean over all possible labels, where there are many
    rows.
    """
    rows = np.zeros(len(scores), dtype=np.int64)
    return float(average_precision(chances, scores, rows, 1)(np.ones((1, 1)))[0])


BINARY = (
    Measure(ROC_AUC, roc_auc, expected_auc, influence=roc_auc_influence),
    Measure(AVERAGE_PRECISION, average_precision, expected_average_precision),
    measure_rows(LOG_LOSS, _log_loss, always=True),
    measure_rows(BRIER, _squared_error),
    Measure(CALIBRATION_ERROR, calibration_error),
)
