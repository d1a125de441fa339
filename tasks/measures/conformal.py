"""The interval of a predicted number, by split conformal prediction (Papadopoulos et al. 2002; Lei
et al. 2018): as wide as the errors on rows that the model has not seen.

It holds the promised share of labels that come from the same world as the hold-out, whatever the
model is. Where the world changes it does not, so the share is watched on late labels
(``tasks/drift/performance.py``)."""

import math

import numpy as np


def conformal_offsets(
    truth: np.ndarray, predicted: np.ndarray, coverage: float
) -> tuple[float, float]:
    """How far below and above ``predicted`` ``(n_rows,)`` the interval has to reach, in the
    number's unit: each tail misses half of what ``coverage`` leaves (Romano, Patterson & Candès
    2019, section 5), so that a skewed error has a skewed interval. With too few rows for that
    share, as far as the farthest error."""
    errors = np.sort(truth - predicted)
    place = math.ceil((len(errors) + 1) * (1 + coverage) / 2) - 1
    above = errors[min(place, len(errors) - 1)]
    below = errors[max(len(errors) - 1 - place, 0)]
    return float(min(below, 0.0)), float(max(above, 0.0))
