"""The interval of a predicted number and the set of classes of a row, by split conformal prediction
(Papadopoulos et al. 2002; Lei et al. 2018): as wide as the errors on rows that the model has not
seen.

They hold the promised share of labels that come from the same world as those rows, whatever the
model is. Where the world changes they do not, so the share is watched on late labels
(``tasks/drift/performance.py``)."""

import math

import numpy as np

from serving.records.performance import Interval
from tasks.measures.intervals import intervals
from usecases.definition import MAE

# The service's numbers are of single precision: a label that lies on an end stays inside.
_ROUNDING = 1e-6


def least_rows(coverage: float, tails: int) -> int:
    """The fewest rows that can promise ``coverage``, which leaves labels out at so many ``tails``:
    two of an interval, one of a set."""
    missed = (1 - coverage) / tails
    return math.ceil(round((1 - missed) / missed, 6))


def conformal_offsets(
    truth: np.ndarray, low: np.ndarray, high: np.ndarray, coverage: float
) -> tuple[float, float]:
    """What must be added to ``low`` and to ``high`` ``(n_rows,)``, in the number's unit, so that
    they hold the share ``coverage`` of labels like ``truth``: each tail misses half of what it
    leaves (Romano, Patterson & Candès 2019, theorem 2), so that skewed errors have a skewed
    interval. With fewer than ``least_rows``, as far as the farthest error."""
    level = (1 + coverage) / 2
    room = _ROUNDING * float(np.abs(np.concatenate([low, high])).max())
    return -_upper(low - truth, level) - room, _upper(truth - high, level) + room


def least_chance(truth: np.ndarray, chances: np.ndarray, coverage: float) -> float:
    """The probability from which on a class belongs to the set of a row, so that sets hold the
    share ``coverage`` of labels like ``truth`` ``(n_rows,)``, places of columns of ``chances``
    ``(n_rows, n_classes)`` (least ambiguous sets: Sadinle, Lei & Wasserman 2019). With fewer than
    ``least_rows``, the least of a true class."""
    true = chances[np.arange(len(truth)), truth]
    return max(-_upper(-true, coverage) - _ROUNDING, 0.0)


def _upper(scores: np.ndarray, level: float) -> float:
    """The conformal quantile: that of the ``scores`` and one more, which is infinite."""
    place = math.ceil(round((len(scores) + 1) * level, 6)) - 1
    return float(np.sort(scores)[min(place, len(scores) - 1)])


def interval_scores(
    truth: np.ndarray, low: np.ndarray, high: np.ndarray, coverage: float
) -> np.ndarray:
    """The score of each interval ``(n_rows,)``, smaller is better: its width, and what a label
    outside is away, weighed (Gneiting & Raftery 2007, section 6.2)."""
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return high - low + 2 / (1 - coverage) * outside


def share_held(inside: np.ndarray, days: np.ndarray, seed: int) -> Interval:
    """The share of the rows that are ``inside`` ``(n_rows,)``, with its interval by days."""
    share = inside.astype(np.float64)
    # The mean of a column is that of its distance from zero.
    measured = intervals([MAE], np.zeros(len(share)), share, days, seed)[MAE.name]
    high = None if measured.high is None else min(measured.high, 1.0)
    return Interval(value=measured.value, low=measured.low, high=high)
