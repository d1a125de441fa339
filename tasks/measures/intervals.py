"""How certain a model's own score is: an interval by whole days.

Rows of one day are not independent (late flights are late together), so whole days are drawn with
replacement (block bootstrap, Künsch 1989), and each replicate is scored exactly
(tasks/measures/metrics.py). On flights an interval by rows is 1.7 to 3 times too narrow."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from serving.records.performance import Interval
from tasks.measures.metrics import reweighted
from usecases.definition import Metric

LEVEL = 0.90
REPLICATES = 400


def days_of(event_time: pl.Series) -> np.ndarray:
    """The day of each row ``(n_rows,)``."""
    return event_time.cast(pl.Date).to_numpy()


def intervals(
    metrics: Sequence[Metric], truth: np.ndarray, predicted: np.ndarray, days: np.ndarray, seed: int
) -> dict[str, Interval]:
    """The interval of each metric, by name, for probabilities ``predicted`` ``(n_rows,)`` of
    ``truth`` in {0, 1}.
    """
    if not len(truth):
        return {metric.name: Interval() for metric in metrics}
    names, home = np.unique(days, return_inverse=True)
    counts = day_counts(len(names), seed)
    by_name: dict[str, Interval] = {}
    for metric in metrics:
        values = reweighted(metric, truth, predicted, home, len(names))(counts)
        value = float(values[0]) if np.isfinite(values[0]) else None
        bounds = (
            np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
            if np.isfinite(values).all()
            else [None, None]
        )
        by_name[metric.name] = Interval(value=value, low=bounds[0], high=bounds[1])
    return by_name


def day_counts(days: int, seed: int) -> np.ndarray:
    """How often each day is drawn ``(REPLICATES + 1, days)``; the first row is the data as they
    are.
    """
    draws = np.random.default_rng(seed).multinomial(days, np.full(days, 1 / days), size=REPLICATES)
    return np.vstack([np.ones(days), draws])
