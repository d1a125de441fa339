"""Scores of predictions by the metric's name, and their exact value under any reweighting of
blocks.

Exact, not an approximation: the tests compare it with scikit-learn."""

import numpy as np

from tasks.measures.binary import BINARY
from tasks.measures.measure import Measure, Reweighted
from usecases.definition import Metric, UseCase

MEASURES: dict[str, Measure] = {measure.metric.name: measure for measure in BINARY}


def measure_of(metric: Metric) -> Measure:
    """Raises ``LookupError`` for a metric that is registered and that nothing computes."""
    if metric.name not in MEASURES:
        raise LookupError(
            f"Nothing measures {metric.name!r}: add its Measure to MEASURES in "
            f"tasks/measures/metrics.py, which has {', '.join(MEASURES)}."
        )
    return MEASURES[metric.name]


def metrics_of(case: UseCase) -> list[Metric]:
    """The gate's metric, the guards', and what is always measured of the same kind of label."""
    always = [measure.metric for measure in MEASURES.values() if measure.always]
    metrics = [
        case.gate.metric,
        *(guard.metric for guard in case.promotion.guards),
        *(metric for metric in always if metric.target == case.gate.metric.target),
    ]
    return list({metric.name: metric for metric in metrics}.values())


def score(metric: Metric, truth: np.ndarray, predicted: np.ndarray) -> float:
    """The score of ``predicted`` ``(n_rows,)`` against ``truth`` ``(n_rows,)``.

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
    return measure_of(metric).reweight(truth, predicted, block, blocks)


def _nowhere(counts: np.ndarray) -> np.ndarray:
    return np.full(len(counts), np.nan)
