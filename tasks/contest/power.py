"""What so many rows can decide: the smallest true gain that a contest on them finds.

A gain is found if its measured value exceeds the critical value times its standard error, so that a
true gain is found in eight of ten contests if it is larger by another .84 of these errors (the
power of a one-sided test: Cohen 1988). The error falls with the square root of the rows."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from serving.records.reasons import Reason, because
from tasks.measures.bounds import critical_value, standard_error
from tasks.measures.influence import influence
from usecases.definition import Metric, Promotion

FOUND = 0.8  # of the contests with such a gain
_USEFUL, _USEFUL_SHARE = 0.02, 0.05


def decidable_gain(error: float, standard_errors: float, blocks: int) -> float | None:
    """Return the smallest true gain that is found in ``FOUND`` of contests whose gain has the
    standard ``error`` and must exceed ``standard_errors`` of them; ``None`` if it is not known."""
    gain = (standard_errors + float(t.ppf(FOUND, blocks - 1))) * error if blocks > 1 else math.nan
    return float(gain) if math.isfinite(gain) and gain > 0 else None


def expected_gain(
    policy: Promotion,
    metric: Metric,
    truth: np.ndarray,
    models: Sequence[np.ndarray],
    block: np.ndarray,
    seed: int,
) -> float | None:
    """Return the smallest gain that a first try on rows such as these finds, before there is a
    challenger: as if it differed from the champion as the first two of ``models`` do, predictions
    ``(n_rows,)`` or ``(n_rows, n_classes)``. ``None`` if it cannot be known."""
    names, home = np.unique(block, return_inverse=True)
    first, second = (influence(metric, truth, model, home, len(names)) for model in models[:2])
    apart = second.by_block - first.by_block
    if len(names) < 2 or not np.isfinite(apart).all():
        return None
    level = 1 - (1 - policy.confidence) / 2  # a first try spends half
    value = critical_value(np.eye(1), len(names), level, seed, policy.replicates)
    return decidable_gain(float(standard_error(apart)), value, len(names))


def useful_gain(metric: Metric, score: float) -> float:
    """Return a gain that people would want to find: .02, or of a score without an upper end a
    twentieth."""
    return _USEFUL if metric.highest - metric.lowest <= 1 else _USEFUL_SHARE * abs(score)


def rows_for(gain: float, decidable: float, rows: int) -> int:
    """Return how many rows would find ``gain`` if ``rows`` find the ``decidable`` one, to two
    digits."""
    needed = rows * (decidable / gain) ** 2
    return int(float(f"{needed:.2g}"))


def in_words(metric: Metric, rows: int, decidable: float | None, score: float) -> Reason:
    """Say what ``rows`` labelled rows decide, and how many a useful gain takes."""
    name = metric.in_each_language
    if decidable is None:
        return because("decidable_unknown", metric=name, rows=rows)
    wanted = useful_gain(metric, score)
    if not wanted > 0 or decidable <= wanted:
        return because("decidable", metric=name, rows=rows, gain=decidable)
    return because(
        "decidable_with_more",
        metric=name,
        rows=rows,
        gain=decidable,
        wanted=wanted,
        needed=rows_for(wanted, decidable, rows),
    )
