"""Tests of a gain that may be looked at after each block, and still err as rarely as they say.

The gains are means of blocks of event time, two days long: rows of a day hang together, and so do
hours. Two tests are known. With a horizon, a group-sequential one: O'Brien and Fleming's spending
of the error (Lan & DeMets 1983), with limits that are exact for Student's t of a few blocks. With
none, an e-process: the Gaussian mixture of t statistics (Wang & Ramdas, arXiv 2310.03722). Both
widen the statistic by the measured correlation of neighbouring blocks. With it the e-process is
none by theorem any more, so both are trusted up to ``MOST_BLOCKS`` only, where their size was
measured: ``python -m benchmarks.rollouts``."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.stats import norm

FIRST_BLOCK = 4  # fewer tell nothing
MOST_BLOCKS = 28
ERROR = 0.05  # one-sided: of equal challengers that are found better
_MOST_CORRELATED = 0.8
_WORLDS = 200_000
_FUTILE = 0.05  # the chance, at the trend so far, to be found better by the horizon
_FUTILE_FROM = 0.5  # of the horizon

Finding = Literal["better", "worse", "no_difference", "undecided"]


@dataclass(frozen=True)
class Look:
    """What ``blocks`` blocks say of a gain: its mean, and the interval that holds at all looks
    together, each end with ``1 - ERROR``. Unknown ends are ``None``."""

    finding: Finding
    blocks: int
    gain: float | None = None
    low: float | None = None
    high: float | None = None


def look(gains: np.ndarray, horizon: int | None, margin: float = 0.0) -> Look:
    """Look at the gains ``(n_blocks,)`` of all complete blocks, in time order.

    ``horizon`` is the number of blocks that was planned before the first look, ``None`` if none
    was. The challenger is better if its gain is surely above ``-margin``, worse if it is surely
    below. At the horizon, or before it if the trend would hardly lead there, there is no
    difference. Raises ``ValueError`` for a gain that is no number, and a horizon of less than
    ``FIRST_BLOCK`` or more than ``MOST_BLOCKS``."""
    if not np.isfinite(gains).all():
        raise ValueError(f"The gains of {int((~np.isfinite(gains)).sum())} blocks are no numbers.")
    if horizon is not None and not FIRST_BLOCK <= horizon <= MOST_BLOCKS:
        raise ValueError(
            f"The horizon is {horizon} blocks; it must be from {FIRST_BLOCK} to {MOST_BLOCKS}."
        )
    last = MOST_BLOCKS if horizon is None else horizon
    gains = gains[:last]  # a verdict at the horizon is not taken back by what comes later
    blocks = len(gains)
    if blocks < FIRST_BLOCK:
        return Look("undecided", blocks, float(gains.mean()) if blocks else None)
    mean, error = float(gains.mean()), _standard_error(gains)
    reach = _open_reach(blocks) if horizon is None else _planned_limits(horizon)[blocks]
    width = reach * error if error > 0 or np.isfinite(reach) else np.inf
    low, high = mean - width, mean + width
    finding: Finding = "undecided"
    if low > -margin:
        finding = "better"
    elif high < -margin:
        finding = "worse"
    elif blocks == last or (
        horizon is not None and _is_futile((mean + margin) / max(error, 1e-300), blocks, horizon)
    ):
        finding = "no_difference"
    known = np.isfinite(width)
    return Look(finding, blocks, mean, low if known else None, high if known else None)


def first_finding(gains: np.ndarray, horizon: int | None, margin: float = 0.0) -> Look:
    """The look that ended a rollout that was looked at after each block; the last one if none
    did."""
    current = look(gains[:0], horizon, margin)
    for blocks in range(1, len(gains) + 1):
        current = look(gains[:blocks], horizon, margin)
        if current.finding != "undecided":
            break
    return current


def correlation(gains: np.ndarray) -> float:
    """The correlation of neighbouring blocks ``(n_blocks,)``, corrected for its bias (Kendall
    1954); negative ones count as none only in part, since few blocks measure them badly."""
    away = gains - gains.mean()
    lag = float((away[1:] * away[:-1]).sum() / max(float((away * away).sum()), 1e-300))
    corrected = lag + (1 + 3 * max(lag, 0.0)) / len(gains)
    return float(np.clip(corrected, 0.0, _MOST_CORRELATED))


def _standard_error(gains: np.ndarray) -> float:
    """The standard error of the mean of blocks that hang together."""
    hang = correlation(gains)
    return float(gains.std(ddof=1) * np.sqrt((1 + hang) / (1 - hang) / len(gains)))


def _open_reach(blocks: int) -> float:
    """How many standard errors an interval reaches that holds at every number of blocks: the
    mixture's level set in closed form."""
    # The one-sided test is half of the two-sided one, at twice its error.
    grown = ((blocks + 1) / (2 * ERROR) ** 2) ** (1 / blocks)
    if grown >= blocks + 1:
        return float("inf")
    squared = (grown - 1) / (1 - grown / (blocks + 1))  # of the mean in population deviations
    return float(np.sqrt(squared * (blocks - 1)))


@lru_cache(32)
def _planned_limits(horizon: int) -> dict[int, float]:
    """The limits of the t statistic by block, from ``FIRST_BLOCK`` to ``horizon``: simulated, so
    that they are exact for few blocks too."""
    chance = np.random.default_rng(7)
    block = np.arange(1, horizon + 1)
    draws = chance.normal(size=(_WORLDS, horizon)).astype(np.float32)
    mean, square = draws.cumsum(1) / block, (draws * draws).cumsum(1) / block
    deviation = np.sqrt((square - mean * mean).clip(1e-30) / (block - 1).clip(1))
    statistics = (mean / deviation)[:, FIRST_BLOCK - 1 :]
    spent_by = 2 * norm.sf(norm.ppf(1 - ERROR / 2) / np.sqrt(block / horizon))
    is_open, limits, spent = np.ones(_WORLDS, dtype=bool), dict[int, float](), 0.0
    for place, total in enumerate(spent_by[FIRST_BLOCK - 1 :]):
        crossing = round((total - spent) * _WORLDS)
        values = np.where(is_open, statistics[:, place], -np.inf)
        limit = float(np.partition(values, -crossing)[-crossing]) if crossing else np.inf
        limits[FIRST_BLOCK + place] = limit
        if crossing:
            is_open, spent = is_open & (values < limit), float(total)
    return limits


def _is_futile(statistic: float, blocks: int, horizon: int) -> bool:
    """Whether the trend so far leads to a limit at the horizon with a chance below ``_FUTILE``
    (Lan, Simon & Halperin 1982)."""
    share = blocks / horizon
    if share < _FUTILE_FROM:
        return False
    expected = statistic / np.sqrt(share)  # of the statistic at the horizon
    missing = _planned_limits(horizon)[horizon] - expected
    return bool(norm.sf(missing / np.sqrt(1 - share)) < _FUTILE)
