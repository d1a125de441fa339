"""How far a column of a window is from the reference: the three distances that grow with the
difference and that Evidently reports too.

They are computed here for the thresholds and the backtest (a hundred pairs, in a second) and by
Evidently for the report; a test holds the two together. Evidently's tests whose number is a p-value
are left out: with enough rows each of them fires (docs/decisions/0007-drift.md)."""

import numpy as np
import polars as pl

from tasks.data.kinds import KINDS
from usecases.definition import Column, usual_method

_EMPTY = 0.0001  # as Evidently does: an empty bin counts as this share


def distance(
    column: Column, reference: pl.Series, current: pl.Series, method: str | None = None
) -> float:
    """How far ``current`` is from ``reference``, nulls left out. NaN if one of them has no
    value.

    ``wasserstein``: in standard deviations of the reference, for numbers. ``jensenshannon``: 0 to
    0.83 (natural logarithm). ``psi``: the population stability index, 0 and up. The latter two put
    numbers into bins of equal width over both sides, so that one value far away hides what the
    others do. Raises ``ValueError`` for another ``method``."""
    before, now = values(reference), values(current)
    if before.is_empty() or now.is_empty():
        return float("nan")
    method = method or usual_method(column)
    if method not in ("wasserstein", "jensenshannon", "psi"):
        raise ValueError(
            f"Unknown distance {method!r} of {column.name!r}; known: wasserstein, "
            "jensenshannon, psi."
        )
    if method == "wasserstein":
        return _wasserstein(before.to_numpy(), now.to_numpy())
    shares = KINDS[column.kind].shares(before, now)
    return _jensenshannon(*shares) if method == "jensenshannon" else _psi(*shares)


def values(side: pl.Series) -> pl.Series:
    """The values without nulls and NaN."""
    return (side.fill_nan(None) if side.dtype.is_float() else side).drop_nulls()


def _wasserstein(reference: np.ndarray, current: np.ndarray) -> float:
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(reference, current) / max(float(reference.std()), 0.001))


def _jensenshannon(reference: np.ndarray, current: np.ndarray) -> float:
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(reference, current))


def _psi(reference: np.ndarray, current: np.ndarray) -> float:
    before, now = _filled(reference), _filled(current)
    return float(((before - now) * np.log(before / now)).sum())


def _filled(shares: np.ndarray) -> np.ndarray:
    least = shares[shares > 0].min()
    return np.where(shares == 0, least / 1e6 if least <= _EMPTY else _EMPTY, shares)
