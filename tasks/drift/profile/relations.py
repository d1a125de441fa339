"""The joint view: how well each number of a row follows from the row's other columns, day by day.

Seasons move every column and leave relations as they are, so a lost relation names its column where
tests of the raw joint distribution ring with the weather. Each column is predicted by the others
(ridge regression), and the statistic is the logarithm of the residual variance of a day, corrected
for the day's own variance of the column; the median over days is held against the reference's.
``within`` days, where each day is centred by its own means, no world loses a relation: the column
holds other rows' values, or another unit in a part of the rows. ``over`` days the level counts too,
which seasons may move.

A row counts for a column where it has a value in it and in all columns that matter for it: more
nulls are no lost relation."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

from usecases.definition import UseCase

MOST_CATEGORIES = 12  # of each column, the commonest, are columns of the matrix
_CLIP = 6.0  # standard deviations
_RIDGE = 1e-3
_NOISE = 0.03  # of a column's variance, added to residuals: a floor for R² near 1
_LEAST_NULLS = 0.01  # from this share of nulls on, their flag is a column of the matrix
_HARMLESS = 0.1  # of the residual variance: what a null in another column may add
_LEAST_DAY = 10  # rows with a value, for a day to be measured

View = Literal["within", "over"]


@dataclass(frozen=True)
class Encoding:
    """How a row becomes a vector: 1, the standardised numbers, flags of nulls, and the commonest
    categories.

    ``numbers`` maps a column to its mean and standard deviation."""

    numbers: dict[str, tuple[float, float]]
    flags: list[str]
    categories: dict[str, list[str]]

    @property
    def width(self) -> int:
        """p, the number of columns of ``matrix``."""
        return 1 + len(self.numbers) + len(self.flags) + sum(map(len, self.categories.values()))

    def matrix(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """``(n_rows, 1 + n_numbers + n_others)``, null as the mean, and whether each number is
        there ``(n_rows, n_numbers)``.
        """
        values = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in self.numbers]
        scaled = [
            ((value - mean) / sd).clip(-_CLIP, _CLIP).cast(pl.Float32)
            for value, (mean, sd) in zip(values, self.numbers.values(), strict=True)
        ]
        encoded = rows.select(
            pl.lit(1.0, dtype=pl.Float32).alias("1"),
            *scaled,
            *[
                pl.col(name)
                .cast(pl.Float64)
                .fill_nan(None)
                .is_null()
                .cast(pl.Float32)
                .alias(f"{name} null")
                for name in self.flags
            ],
            *[
                (pl.col(name) == value).fill_null(False).cast(pl.Float32).alias(f"{name}={value}")
                for name, known in self.categories.items()
                for value in known
            ],
        )
        numbers = encoded.select(list(self.numbers))
        there = numbers.select(pl.all().is_not_null()).to_numpy()
        return encoded.fill_null(0.0).to_numpy(), there.reshape(len(rows), len(self.numbers))


def encoding_of(case: UseCase, reference: pl.DataFrame) -> Encoding:
    """From rows of the reference; constants are left out."""
    numbers, flags, categories = {}, [], {}
    for column in case.columns:
        if column.name not in reference.columns:
            continue
        side = reference[column.name]
        if side.dtype == pl.String:
            counts = side.drop_nulls().value_counts().sort(["count", column.name], descending=True)
            categories[column.name] = counts[column.name].head(MOST_CATEGORIES).to_list()
            continue
        side = side.cast(pl.Float64).fill_nan(None)
        present = side.drop_nulls()
        sd = float(present.std() or 0.0) if len(present) > 1 else 0.0  # type: ignore[arg-type]
        if sd > 0:
            numbers[column.name] = (float(present.mean()), sd)  # type: ignore[arg-type]
            if side.null_count() >= _LEAST_NULLS * len(side):
                flags.append(column.name)
    return Encoding(numbers, flags, categories)


@dataclass(frozen=True)
class Days:
    """Rows as vectors ``(n_rows, p)``, in the order of their ``dates``, and whether each number is
    there ``(n_rows, n_numbers)``. ``starts`` are the days' first rows; ``flagged`` are the numbers
    whose nulls have a flag, in the order of the flags."""

    matrix: np.ndarray
    there: np.ndarray
    dates: list[date]
    starts: np.ndarray
    flagged: list[int]

    @property
    def numbers(self) -> int:
        return int(self.there.shape[1])

    def gram(self, view: View, first: int = 0, last: int | None = None) -> np.ndarray:
        """``(p, p)`` of the rows of the days from ``first`` up to, without, ``last``; within days
        of the rows less their day's means.
        """
        starts = self.starts[first:last]
        if not len(starts):
            return np.zeros((self.matrix.shape[1],) * 2)
        ends = self.starts[last] if last is not None and last < len(self.starts) else None
        rows = self.matrix[starts[0] : ends]
        gram = (rows.T @ rows).astype(np.float64)
        if view == "within":
            sums = np.add.reduceat(rows, starts - starts[0], axis=0, dtype=np.float64)
            gram -= (sums / sums[:, :1]).T @ sums
            gram[0, 0] = len(rows)
        return gram


def days_of(encoding: Encoding, rows: pl.DataFrame, time: str, most: int | None = None) -> Days:
    """``rows`` by the date of ``time``; at most ``most`` of each day, drawn at random."""
    if most is not None:
        rows = rows.sample(fraction=1, shuffle=True, seed=0)
    dated = rows.with_columns(pl.col(time).dt.date().alias("_day")).sort(
        "_day", maintain_order=True
    )
    if most is not None:
        dated = dated.filter(pl.int_range(pl.len()).over("_day") < most)
    dates = dated["_day"].unique(maintain_order=True).to_list()
    starts = np.flatnonzero(np.diff(dated["_day"].rle_id().cast(pl.Int64).to_numpy(), prepend=-1))
    matrix, there = encoding.matrix(dated)
    flagged = [list(encoding.numbers).index(name) for name in encoding.flags]
    return Days(matrix, there, dates, starts, flagged)


def _by_day(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    if not len(starts) or not values.shape[1]:
        return np.zeros((len(starts), values.shape[1]))
    return np.add.reduceat(values, starts, axis=0, dtype=np.float64)


def _moments(values: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and sums of squares by day."""
    return _by_day(values, starts), _by_day(values * values, starts)


def _variance(sums: np.ndarray, squares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = squares / counts - (sums / counts) ** 2
    return np.where(counts >= _LEAST_DAY, np.maximum(variance, 0), np.nan)


@dataclass(frozen=True)
class Relations:
    """Each number predicted by the other columns, as the reference has it.

    ``weights`` ``(n_numbers, p)`` make the residual; ``variance`` is a column's own and ``left``
    that of its residual, ``beta`` how much of a day's own variance goes into its residual, and
    ``base`` the median of the corrected logarithm over the reference's days."""

    view: View
    weights: np.ndarray
    variance: np.ndarray
    left: np.ndarray
    beta: np.ndarray
    base: np.ndarray

    @property
    def explained(self) -> np.ndarray:
        """R² ``(n_numbers,)``."""
        return 1 - self.left / self.variance

    def by_day(self, days: Days) -> np.ndarray:
        """The corrected log residual variance less its base ``(n_days, n_numbers)``; NaN of a day
        that cannot be measured.
        """
        residual, own = logarithms(self.view, self.weights, self.variance, self.left, days)
        return residual - self.beta * own - self.base


def middle(by_day: np.ndarray) -> np.ndarray:
    """The median over days ``(n_numbers,)``; 0 where no day could be measured."""
    measured = np.isfinite(by_day).any(axis=0)
    result = np.zeros(by_day.shape[1])
    result[measured] = np.nanmedian(by_day[:, measured], axis=0)
    return result


def fit_relations(
    view: View, gram: np.ndarray, days: Days, inside: np.ndarray | None = None
) -> tuple[Relations, np.ndarray]:
    """From the ``gram`` of the reference's rows; the base is of those of its ``days`` whose flag is
    set ``(n_days,)``, or of all. Returns the result ``by_day`` of all days with it.
    """
    scaled = gram / gram[0, 0]
    weights = _predictors(scaled, days.numbers)
    variance = np.diag(scaled)[1 : days.numbers + 1].copy()
    if view == "over":
        variance -= scaled[0, 1 : days.numbers + 1] ** 2
    variance = np.maximum(variance, 1e-12)
    left = np.maximum(np.einsum("jp,pq,jq->j", weights, scaled, weights, optimize=True), 0)
    residual, own = logarithms(view, weights, variance, left, days)
    inside = np.ones(len(residual), dtype=bool) if inside is None else inside
    beta = _slope(residual[inside], own[inside])
    corrected = residual - beta * own
    base = middle(corrected[inside])
    return Relations(view, weights, variance, left, beta, base), corrected - base


def _predictors(scaled: np.ndarray, numbers: int) -> np.ndarray:
    """The weights of each number's residual, by ridge regression on all other columns.

    All targets are solved at once: row ``j`` of the inverse of the ridged matrix, over its
    diagonal, is what the regression of ``j`` on the others leaves."""
    ridged = scaled + _RIDGE * np.diag([0.0, *[1.0] * (len(scaled) - 1)])
    inverse = np.linalg.inv(ridged)[1 : numbers + 1]
    return inverse / inverse[np.arange(numbers), np.arange(numbers) + 1][:, None]


def logarithms(
    view: View, weights: np.ndarray, variance: np.ndarray, left: np.ndarray, days: Days
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the residual variance and of a column's own, with a floor of noise ``(n_days,
    n_numbers)`` each. ``left`` is the residual variance of the reference ``(n_numbers,)``.
    """
    k = days.numbers
    floor, some = _NOISE * variance, _judged(weights, left + _NOISE * variance, days)
    counts = _by_day(some.astype(np.float32), days.starts)
    residual = (days.matrix @ weights.T.astype(np.float32)) * some
    own = days.matrix[:, 1 : 1 + k] * some
    level, squares = _moments(residual, days.starts)
    if view == "over":
        level = np.zeros_like(level)
    of_residual = _variance(level, squares, counts)
    of_column = _variance(*_moments(own, days.starts), counts)
    return np.log(of_residual + floor), np.log(of_column + floor)


def _judged(weights: np.ndarray, residual: np.ndarray, days: Days) -> np.ndarray:
    """Whether a row counts for each number ``(n_rows, n_numbers)``: a column that it lacks adds
    little to the ``residual`` variance, by its value or by its flag.
    """
    if days.there.all():
        return days.there
    k = days.numbers
    adds = weights[:, 1 : 1 + k] ** 2
    for place, number in enumerate(days.flagged, 1 + k):
        adds[:, number] += weights[:, place] ** 2
    adds /= residual[:, None]
    np.fill_diagonal(adds, np.inf)
    harms = (adds > _HARMLESS).astype(np.float32)
    return ((~days.there).astype(np.float32) @ harms.T) == 0


def _slope(residual: np.ndarray, own: np.ndarray) -> np.ndarray:
    """How far a day's residual variance follows its own variance, 0 to 1, shrunk towards 0."""
    if not len(residual):
        return np.zeros(residual.shape[1])
    e, v = (np.nan_to_num(side - middle(side)) for side in (residual, own))
    return np.clip((e * v).sum(0) / ((v * v).sum(0) + 0.05 * len(e)), 0, 1)


def largest_three(by_day: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The mean of the three largest relations of each day, in standard deviations of the
    reference's days ``(n_days,)``; a relation without ``spread`` is not judged.
    """
    judged = spread > 0
    if not judged.any():
        return np.zeros(len(by_day))
    standard = np.nan_to_num(by_day[:, judged] / spread[judged])
    return np.asarray(np.sort(standard, axis=1)[:, -3:].mean(axis=1))
