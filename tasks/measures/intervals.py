"""How certain a model's own score is: an interval by whole days.

Rows of one day are not independent (late flights are late together), and neither are neighbouring
days: each day's influence on the score is measured (tasks/measures/influence.py), and the bounds
are made as those of a contest (tasks/measures/bounds.py). On flights an interval by rows is 1.7 to
3 times too narrow.

A contest must not err where days hang together by .5; an interval should err as little where they
do not. So its critical value is that of days that hang together half as much: from 30 days on it
covers about 92 % if they are independent and 88 % if they correlate by .5."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from serving.records.performance import Interval
from tasks.measures.bounds import critical_value, standard_error
from tasks.measures.influence import influence
from usecases.definition import Metric

LEVEL = 0.90
_HANG = 0.25


def days_of(event_time: pl.Series) -> np.ndarray:
    """The day of each row ``(n_rows,)``."""
    return event_time.cast(pl.Date).to_numpy()


def intervals(
    metrics: Sequence[Metric], truth: np.ndarray, predicted: np.ndarray, days: np.ndarray, seed: int
) -> dict[str, Interval]:
    """The two-sided interval of each metric, by name, for probabilities ``predicted`` ``(n_rows,)``
    of ``truth`` in {0, 1}; without bounds for a single day, or if a metric rests on one. ``seed``
    is that of the simulated critical value.
    """
    names, home = np.unique(days, return_inverse=True)
    return {
        metric.name: _interval(metric, truth, predicted, home, len(names), seed)
        for metric in metrics
    }


def _interval(
    metric: Metric, truth: np.ndarray, predicted: np.ndarray, home: np.ndarray, days: int, seed: int
) -> Interval:
    measured = influence(metric, truth, predicted, home, days)
    if not np.isfinite(measured.score):
        return Interval()
    if not measured.is_known or days < 2:
        return Interval(value=measured.score)
    value = critical_value(np.eye(1), days, (1 + LEVEL) / 2, seed, hang=_HANG)
    margin = value * float(standard_error(measured.by_block))
    return Interval(
        value=measured.score,
        low=max(measured.score - margin, metric.lowest),
        high=min(measured.score + margin, metric.highest),
    )
