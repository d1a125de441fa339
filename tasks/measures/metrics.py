"""Scores of predictions by the metric's name, and their exact value under any reweighting of
blocks.

Exact, not an approximation: the tests compare it with scikit-learn."""

import numpy as np

from tasks.measures.binary import BINARY
from tasks.measures.classes import CLASSES
from tasks.measures.measure import Measure, Reweighted
from tasks.measures.numbers import NUMBERS
from tasks.measures.own import own_measure
from usecases.definition import Metric, UseCase

MEASURES: dict[str, dict[str, Measure]] = {
    kind: {measure.metric.name: measure for measure in measures}
    for kind, measures in (("binary", BINARY), ("classes", CLASSES), ("number", NUMBERS))
}
"""By the kind of target and the metric's name."""


def measure_of(metric: Metric, predicted: np.ndarray) -> Measure:
    """How the metric is computed for predictions ``(n_rows,)``, or of classes ``(n_rows,
    n_classes)``. Raises ``LookupError`` for one that is registered and that nothing computes."""
    if metric.function is not None:
        return own_measure(metric)
    kind = "classes" if predicted.ndim == 2 else next(iter(metric.targets))
    if metric.name not in MEASURES[kind]:
        raise LookupError(
            f"Nothing measures {metric.name!r} of the target {kind!r}: add its Measure to "
            f"tasks/measures, which has {', '.join(MEASURES[kind])}."
        )
    return MEASURES[kind][metric.name]


def metrics_of(case: UseCase) -> list[Metric]:
    """The gate's metric, the guards', and what is always measured of the same kind of target."""
    measures = MEASURES[case.target.kind].values()
    metrics = [
        case.gate.metric,
        *(guard.metric for guard in case.promotion.guards),
        *(measure.metric for measure in measures if measure.always),
    ]
    return list({metric.name: metric for metric in metrics}.values())


def score(metric: Metric, truth: np.ndarray, predicted: np.ndarray) -> float:
    """The score of ``predicted`` ``(n_rows,)`` or ``(n_rows, n_classes)`` against ``truth``
    ``(n_rows,)``.

    NaN if it does not exist (no rows, a prediction that is no finite number, or a single class
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
    return measure_of(metric, predicted).reweight(truth, predicted, block, blocks)


def _nowhere(counts: np.ndarray) -> np.ndarray:
    return np.full(len(counts), np.nan)
