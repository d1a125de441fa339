"""The day-by-day view beside the window's: a note that says since when, and never a verdict.

Each day gets a conformal p-value among the reference's days, of the mean of its three largest
standardised relations and of the mass of its lost and new categories. A mixture of power bets
(Vovk 2021) makes it evidence, and a Shiryaev-Roberts sum adds the days up: R = (R + 1) · bet. If
days are exchangeable the mean time to an alarm at 365 is at least 365 days (Shin, Ramdas and
Rinaldo 2023); days of seasons are not quite, which is why it is a note only. The two sums are
averaged, which keeps that promise."""

from collections.abc import Sequence

import numpy as np

ALARM = 365.0


def conformal(statistics: np.ndarray, reference: Sequence[float]) -> np.ndarray:
    """The share of the reference's days, and the day itself, that are at least as far.

    Both ``(n_days,)``. Ties count as farther, so that p-values are never too small."""
    ordered = np.sort(np.asarray(reference, dtype=np.float64))
    # Statistics are stored with six digits.
    below = np.searchsorted(ordered, statistics - 1e-6, side="left")
    return (1 + len(ordered) - below) / (1 + len(ordered))


def bets(chances: np.ndarray) -> np.ndarray:
    """The average of the power bets e·p^(e-1) over e from 0 to 1: at most 1 on average under
    chance.
    """
    p = np.clip(chances, 1e-12, 1 - 1e-9)
    logarithm = np.log(p)
    return np.asarray((1 - p + p * logarithm) / (p * logarithm**2))


def add_days(start: float, several: Sequence[np.ndarray]) -> np.ndarray:
    """The sum after each day ``(n_days,)``, from ``start``; ``several`` streams of p-values
    ``(n_days,)`` are averaged.
    """
    sums = np.full(len(several), start)
    path = np.empty(len(several[0]))
    for day, chances in enumerate(zip(*several, strict=True)):
        sums = (sums + 1) * bets(np.array(chances))
        path[day] = sums.mean()
    return path
