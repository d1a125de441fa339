"""Scores of binary predictions, and their exact value under any reweighting of blocks.

A paired block bootstrap asks for the same score hundreds of times, with whole days counted 0, 1, 2…
times. Instead of scoring the repeated rows again, each score is reduced once to per-block
statistics; a replicate then costs a few multiplications. For ROC AUC the statistic is the matrix
``wins[b, c]``: how many (positive of block b, negative of block c) pairs are ranked rightly, ties
counted half (Mann-Whitney, Hanley & McNeil 1982). With block counts ``w``, AUC = wᵀ wins w /
((w·positives) (w·negatives)). Exact, not an approximation: the tests compare it with scikit-learn.
"""

from collections.abc import Callable

import numpy as np

from usecases.definition import LOG_LOSS, Metric, UseCase

_BINS = 10
Reweighted = Callable[[np.ndarray], np.ndarray]
"""Takes counts ``(n_replicates, n_blocks)``, gives scores ``(n_replicates,)``; NaN where a score
does not exist.
"""


def metrics_of(case: UseCase) -> list[Metric]:
    """The gate's metric, the guards', and log loss: what is always measured."""
    wanted = [case.gate.metric, *(guard.metric for guard in case.promotion.guards), LOG_LOSS]
    return list({metric.name: metric for metric in wanted}.values())


def score(metric: Metric, truth: np.ndarray, predicted: np.ndarray) -> float:
    """The score of probabilities ``predicted`` ``(n_rows,)`` against ``truth`` ``(n_rows,)`` in {0,
    1}.

    NaN where it does not exist (no rows, a prediction that is no finite number, or a single class
    for ROC AUC)."""
    return float(
        reweighted(metric, truth, predicted, np.zeros(len(truth), dtype=np.int64), 1)(
            np.ones((1, 1))
        )[0]
    )


def reweighted(
    metric: Metric, truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    """The score as a function of how often each block counts. ``block`` ``(n_rows,)`` holds
    0..blocks-1.
    """
    if not np.isfinite(predicted).all():
        return _nowhere  # a NaN sorts as the largest score, and would win every pair
    if metric.name == "roc_auc":
        return _roc_auc(np.asarray(truth, dtype=bool), np.asarray(predicted), block, blocks)
    if metric.name == "calibration_error":
        return _calibration_error(
            np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float), block, blocks
        )
    return _mean(
        _row_loss(metric.name, np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)),
        block,
        blocks,
    )


def _nowhere(counts: np.ndarray) -> np.ndarray:
    return np.full(len(counts), np.nan)


def _row_loss(name: str, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    if name == "brier":
        return (predicted - truth) ** 2
    least = np.finfo(float).eps
    sure = np.clip(predicted, least, 1 - least)
    return -np.where(truth > 0, np.log(sure), np.log1p(-sure))


def _mean(loss: np.ndarray, block: np.ndarray, blocks: int) -> Reweighted:
    total = np.bincount(block, weights=loss, minlength=blocks)
    rows = np.bincount(block, minlength=blocks)

    def at(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (counts @ total) / (counts @ rows)

    return at


def _calibration_error(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    """Expected calibration error (Naeini et al. 2015) over ``_BINS`` bins of equally many rows
    (Nixon et al. 2019).

    By how much the mean score of a bin is off from its share of positives, on the average row. The
    bins are those of all rows, whatever the counts."""
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


def _roc_auc(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
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
