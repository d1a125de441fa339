"""Splits of libraries that compare in single precision, as splits in double precision."""

import numpy as np

_INFINITE = 2.0**128  # from halfway between the largest float32 and this, a double becomes infinite


def at_most(limits: np.ndarray) -> np.ndarray:
    """Return thresholds ``t`` such that a double is at most ``t`` exactly if its float32 is at most
    the double ``limits``.

    The doubles that round to one float32 reach to the middle between it and the next, and include
    that middle if the float32 is even: IEEE 754 rounds ties to even."""
    with np.errstate(over="ignore"):
        below = np.asarray(limits, np.float64).astype(np.float32)
        is_above = below.astype(np.float64) > limits
        below[is_above] = np.nextafter(below[is_above], np.float32(-np.inf))
        above = np.nextafter(below, np.float32(np.inf))
    middle = (_finite(below) + _finite(above)) / 2
    is_even = below.view(np.uint32) % 2 == 0
    thresholds = np.where(is_even, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isposinf(below), np.inf, thresholds)


def less_than(limits: np.ndarray) -> np.ndarray:
    """Return the same for a float32 that is less than the finite float32 ``limits``."""
    with np.errstate(over="ignore"):
        before = np.nextafter(np.asarray(limits, np.float32), np.float32(-np.inf))
    return at_most(before)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.clip(values.astype(np.float64), -_INFINITE, _INFINITE)
