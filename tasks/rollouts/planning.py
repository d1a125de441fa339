"""How long a rollout takes, before it begins: the blocks of event time that find a gain.

The gain is counted in standard deviations of one block's gain, which come from pairs of earlier
champions and challengers, such as those of a back-test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.rollouts.sequential import FIRST_BLOCK, MOST_BLOCKS, correlation

FOUND = 0.8  # of the rollouts whose challenger has such a gain
_REACH = 2.487  # normal quantiles of 95 % and ``FOUND`` together
# For looking before the end, and since the correlation is measured on the same few blocks: fitted
# to simulated rollouts of 5 to 28 blocks (``python -m benchmarks.rollouts plan``).
_TIMES, _MORE = 1.2, 4
_LONGER = 1.6  # times as many blocks without a horizon


@dataclass(frozen=True)
class Spread:
    """How a gain differs from block to block: its standard ``deviation``, and how strongly
    neighbouring blocks correlate (0-1)."""

    deviation: float
    correlation: float


@dataclass(frozen=True)
class Plan:
    """``blocks`` find a true gain of ``gain`` in ``FOUND`` of rollouts; ``None``: more than
    ``MOST_BLOCKS``. ``decidable`` is the gain that ``MOST_BLOCKS`` find."""

    gain: float
    blocks: int | None
    decidable: float


def spread_of(pairs: Sequence[np.ndarray]) -> Spread | None:
    """The spread of the gains ``(n_blocks,)`` of each earlier pair, in time order: that of the
    median pair. ``None`` without a pair of ``FIRST_BLOCK`` blocks that differ."""
    known = [gains for gains in pairs if len(gains) >= FIRST_BLOCK and gains.std() > 0]
    if not known:
        return None
    return Spread(
        float(np.median([gains.std(ddof=1) for gains in known])),
        float(np.median([correlation(gains) for gains in known])),
    )


def plan(gain: float, spread: Spread, *, planned: bool) -> Plan:
    """Plan a rollout that is to find ``gain``, in units of the metric. ``planned``: with a horizon
    that is kept. Raises ``ValueError`` for a gain that is not positive."""
    if not gain > 0:
        raise ValueError(f"The gain to find is {gain}; it must be positive.")
    blocks = blocks_for(gain / spread.deviation, spread.correlation, planned=planned)
    return Plan(
        gain=gain,
        blocks=blocks if blocks <= MOST_BLOCKS else None,
        decidable=decidable(spread, MOST_BLOCKS, planned=planned) or np.inf,
    )


def decidable(spread: Spread, blocks: int, *, planned: bool) -> float | None:
    """The gain that so many blocks find in ``FOUND`` of rollouts, in units of the metric; ``None``
    if they are too few for any."""
    enough = (blocks / (1 if planned else _LONGER) - _MORE) / _TIMES
    if enough <= 0:
        return None
    hang = spread.correlation
    return float(spread.deviation * _REACH * np.sqrt((1 + hang) / (1 - hang) / enough))


def blocks_for(gain: float, hang: float, *, planned: bool) -> int:
    """The blocks that find a gain in standard deviations of a block."""
    alone = _TIMES * (_REACH / gain) ** 2 * (1 + hang) / (1 - hang) + _MORE
    return max(FIRST_BLOCK, int(np.ceil(alone * (1 if planned else _LONGER))))
