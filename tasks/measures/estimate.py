"""How well a model probably does before labels arrive, from its own scores.

Confidence-based performance estimation (CBPE, NannyML:
https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html; the idea of
reading accuracy off calibrated confidence: Garg et al. 2022, "Leveraging unlabeled data to predict
out-of-distribution performance", https://arxiv.org/abs/2201.04234). A calibrated score is the
probability of a positive, so each row is a positive by that share and a negative by the rest, and
any score has an expected value. It sees that rows got harder to tell; it cannot see that the same
rows now end otherwise (concept drift). Its measured error is in docs/performance.md."""

from collections.abc import Sequence

import numpy as np

from tasks.measures.metrics import measure_of, score
from usecases.definition import LOG_LOSS, Metric

Curve = Sequence[tuple[float, float]]
"""Score and share of positives there, both rising; a straight line between the points, level beyond
them.
"""

_BINS = 40
_ROWS_A_BIN = 50
_FOLDS = 5
_SURE = 1e-4


def fit_calibration(
    scores: np.ndarray, truth: np.ndarray, days: np.ndarray
) -> list[tuple[float, float]]:
    """The curve that makes probabilities of ``scores`` ``(n_rows,)``, from labels in {0, 1}.

    A curve counts only where it proves itself: fitted without a fifth of the ``days``, it must
    lower the log loss on those. Scores that are probabilities already get the diagonal, since a
    curve would learn the weather of one month (docs/performance.md). Empty if nothing can be
    proven: too few rows or days, one class, or a score that is no number."""
    scores, truth = np.asarray(scores, dtype=float), np.asarray(truth, dtype=float)
    names, home = np.unique(days, return_inverse=True)
    if (
        len(scores) < _FOLDS * _ROWS_A_BIN
        or len(names) < _FOLDS
        or not np.isfinite(scores).all()
        or truth.min() == truth.max()
    ):
        return []
    fold = home * _FOLDS // len(names)  # days that follow each other, as weather does
    unseen = np.empty(len(scores))
    for number in range(_FOLDS):
        unseen[fold == number] = calibrate_scores(
            isotonic_curve(scores[fold != number], truth[fold != number]), scores[fold == number]
        )
    gained = score(LOG_LOSS, truth, scores) - score(
        LOG_LOSS, truth, np.clip(unseen, _SURE, 1 - _SURE)
    )
    return isotonic_curve(scores, truth) if gained > 0 else [(0.0, 0.0), (1.0, 1.0)]


def fit_calibrations(
    scores: np.ndarray, truth: np.ndarray, days: np.ndarray
) -> list[list[tuple[float, float]]]:
    """A curve for each class of ``scores`` ``(n_rows, n_classes)``, each against the rest, from the
    places of the classes; empty if one of them can prove nothing.
    """
    curves = [
        fit_calibration(scores[:, place], (truth == place).astype(float), days)
        for place in range(scores.shape[1])
    ]
    return curves if all(curves) else []


def isotonic_curve(scores: np.ndarray, truth: np.ndarray) -> list[tuple[float, float]]:
    """Isotonic regression (Zadrozny & Elkan 2002) on the means of up to ``_BINS`` bins of as many
    rows each.

    Single rows would make steps, which the line between the points would blur again.
    """
    from sklearn.isotonic import IsotonicRegression

    bins = max(1, min(_BINS, len(scores) // _ROWS_A_BIN))
    inner = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)))[1:-1]
    home = np.searchsorted(inner, scores, side="right")
    rows = np.bincount(home)
    at, share = (
        np.bincount(home, weights=values)[rows > 0] / rows[rows > 0] for values in (scores, truth)
    )
    rising = IsotonicRegression(y_min=0, y_max=1).fit_transform(
        at, share, sample_weight=rows[rows > 0]
    )
    return list(zip(at.tolist(), rising.tolist(), strict=True))


def calibrate_scores(curve: Curve, scores: np.ndarray) -> np.ndarray:
    """Probabilities ``(n_rows,)`` of a positive; the scores themselves where there is no curve."""
    if not curve:
        return np.asarray(scores, dtype=float)
    at, share = np.asarray(curve, dtype=float).T
    return np.interp(scores, at, share)


def calibrate_classes(curves: Sequence[Curve], scores: np.ndarray) -> np.ndarray:
    """Probabilities ``(n_rows, n_classes)``, each by its curve and together 1; a row that the
    curves leave nothing of keeps its scores.
    """
    chances = np.column_stack(
        [calibrate_scores(curve, scores[:, place]) for place, curve in enumerate(curves)]
    )
    total = chances.sum(axis=1, keepdims=True)
    return np.where(total > 0, chances / np.where(total > 0, total, 1), scores)


def estimate(metric: Metric, scores: np.ndarray, chances: np.ndarray) -> float:
    """The expected score of ``scores`` ``(n_rows,)`` where row i is a positive with probability
    ``chances[i]``; or of classes, both ``(n_rows, n_classes)``.

    NaN if it does not exist: no rows, a score that is no finite number, no chance of one of the
    classes, or a metric that has no such expectation."""
    if not len(scores) or not (np.isfinite(scores).all() and np.isfinite(chances).all()):
        return float("nan")
    expect = measure_of(metric, scores).expect
    return float("nan") if expect is None else expect(scores, chances)
