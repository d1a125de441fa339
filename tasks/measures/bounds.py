"""Bounds of a score from the influences of its blocks, in time order, that need not be independent.

The standard error is the larger of two that allow for dependence: an AR(1) factor on the variance,
and a Bartlett kernel (Newey & West 1987) over ``1.3 √blocks`` lags. Neither can be read against a
normal distribution with a few blocks, and rows' noise hides how days hang together. So the critical
value is that of the same statistic on simulated normal blocks that do hang together (fixed-b:
Kiefer & Vogelsang 2005), and for several bounds at once that of the largest of them (max-t:
Westfall & Young 1993), with the correlation of the influences.

Below ``FEW`` blocks, such as weeks, no dependence can be measured: blocks count as independent, and
the statistic is Student's t (Ibragimov & Müller 2010)."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

FEW = 10
WORLDS = 40_000
_FAMILY = 4_000  # worlds for many scores at once, at least
_SHORT, _LONG = 20, 100  # beyond, the critical value is that of as many: it only falls
_AT_ONCE = 1_000_000  # simulated values


def standard_error(influences: np.ndarray) -> np.ndarray:
    """The standard error of sums of blocks ``(..., n_blocks)``, in time order; of no influence it
    is zero."""
    blocks = influences.shape[-1]
    away = influences - influences.mean(axis=-1, keepdims=True)
    own = (away * away).sum(axis=-1)
    if blocks < FEW:
        return np.sqrt(own * blocks / (blocks - 1))
    next_to = np.clip(_lag_one(away, own), 0, 0.9)
    apart = np.abs(np.subtract.outer(np.arange(blocks), np.arange(blocks)))
    kernel = np.clip(1 - apart / np.ceil(1.3 * blocks**0.5), 0, None).astype(away.dtype)
    far = np.einsum("...b,...b->...", away @ kernel, away)
    variance = np.maximum(own * (1 + next_to) / (1 - next_to), 1.44 * far)
    return np.sqrt(variance * blocks / (blocks - 1))


def dependence(influences: np.ndarray) -> float | None:
    """The correlation of one block's influence ``(n_blocks,)`` with the next one's, corrected for
    its bias; ``None`` if there are too few blocks, or none differ."""
    away = influences - influences.mean()
    own = (away * away).sum()
    if len(influences) < FEW or not own > 0:
        return None
    return float(np.clip(_lag_one(away, own), -1, 1))


def _lag_one(away: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The lag-1 autocorrelation plus its bias of about one in ``n_blocks`` (Kendall 1954)."""
    blocks = away.shape[-1]
    products = (away[..., 1:] * away[..., :-1]).sum(axis=-1)
    lag: np.ndarray = (blocks * products / np.maximum(own, 1e-300) + 1) / (blocks - 4)
    return lag


def critical_value(
    same: np.ndarray,
    blocks: int,
    level: float,
    seed: int = 0,
    worlds: int = WORLDS,
    hang: float | None = None,
) -> float:
    """How many standard errors below their scores bounds hold together with ``level`` (0-1).

    ``same`` ``(n_scores, n_scores)`` is the correlation of their influences, which have ``blocks``
    blocks, two at least. It is measured on ``worlds`` simulated worlds, shared by the scores, whose
    neighbouring blocks correlate by ``hang``; ``None``: as strongly as a contest needs."""
    return float(np.quantile(_largest(blocks, _root(same), seed, worlds, hang), level))


def critical_value_of_last(
    same: np.ndarray,
    sizes: Sequence[int],
    blocks: int,
    levels: Sequence[float],
    seed: int = 0,
    worlds: int = WORLDS,
) -> float:
    """The critical value of the last of several tries on the same blocks, made one after another,
    of which none has won so far.

    ``same`` is the correlation of all scores of all tries, in order; ``sizes`` says how many scores
    each try has, and ``levels`` which chance to win by luck (0-1) it spends. A world in which an
    earlier try would have won is not counted again, so tries that are alike cost little."""
    statistics = _simulate(blocks, _root(same), seed, worlds)
    ends = np.cumsum(sizes)
    still_open = np.ones(2 * worlds, dtype=bool)
    limit = np.inf
    for start, end, level in zip([0, *ends[:-1]], ends, levels, strict=True):
        own = statistics[:, start:end]
        largest = np.concatenate([own.max(axis=1), (-own).max(axis=1)])
        allowed = level * len(largest) / max(still_open.sum(), 1)
        if allowed >= 1:
            return limit
        limit = float(np.quantile(largest[still_open], 1 - allowed))
        still_open &= largest <= limit
    return limit


def correlation(influences: np.ndarray) -> np.ndarray:
    """The correlation ``(n_scores, n_scores)`` of influences ``(n_scores, n_blocks)``; zero for one
    that is zero everywhere."""
    away = influences - influences.mean(axis=1, keepdims=True)
    size = np.sqrt((away * away).sum(axis=1))
    unit = away / np.where(size > 0, size, 1.0)[:, None]
    same: np.ndarray = unit @ unit.T
    np.fill_diagonal(same, 1.0)
    return same


def _root(same: np.ndarray) -> bytes:
    return np.linalg.cholesky(same + 1e-6 * np.eye(len(same))).tobytes()


@lru_cache(256)
def _largest(
    blocks: int, root: bytes, seed: int, worlds: int, hang: float | None = None
) -> np.ndarray:
    """The largest statistic of a family in worlds without any gain, on either side."""
    number = int((len(root) // 8) ** 0.5)
    number = max(worlds // number, min(worlds, _FAMILY))
    statistics = _simulate(blocks, root, seed, number, hang)
    return np.concatenate([statistics.max(axis=1), (-statistics).max(axis=1)])


def _simulate(
    blocks: int, root: bytes, seed: int, worlds: int, hang: float | None = None
) -> np.ndarray:
    """The statistics ``(worlds, n_scores)`` of normal blocks of which each hangs together with the
    one before."""
    matrix = np.frombuffer(root)
    matrix = matrix.reshape(int(len(matrix) ** 0.5), -1).astype(np.float32)
    usual = 0.3 if blocks < _SHORT else 0.4
    hang = 0.0 if blocks < FEW else usual if hang is None else hang
    blocks = min(blocks, _LONG)
    apart = np.abs(np.subtract.outer(np.arange(blocks), np.arange(blocks)))
    series = np.linalg.cholesky(hang**apart).astype(np.float32)
    chance, statistics, left = np.random.default_rng(seed), [], worlds
    while left:
        some = min(left, max(_AT_ONCE // (len(matrix) * blocks), 1))
        draws = chance.standard_normal(size=(some, len(matrix), blocks), dtype=np.float32)
        errors = matrix @ (draws @ series.T)
        statistics.append(errors.sum(axis=-1) / standard_error(errors))
        left -= some
    return np.concatenate(statistics)
