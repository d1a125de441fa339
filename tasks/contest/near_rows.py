"""Rows of the hold-out that are nearly rows of the training data: copies that a key does not find,
since their key, their time or the last digits of a number differ.

A row is a point: numbers in standard deviations, a category as two random coordinates, and a
coordinate for null. Points that are near in all coordinates are near in an orthonormal projection
of them (Johnson & Lindenstrauss 1984), so a KD-tree over a few projections finds candidates, and
their distance is then measured in full.

Some data have near rows by nature: few columns, whole numbers, a customer in each month. The newest
training rows tell how many: they are held against the training rows before them. And copies differ
from other near rows by a gap: at a third of the distance there are about as many of them, while
rows that are near by chance are fewer, in one dimension a third, in two a tenth."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from serving.records.reasons import Reason, because
from tasks.data.kinds import KINDS
from tasks.data.traits import texts_by_traits
from usecases.definition import UseCase

_STEP = 10**-0.5
_REACH = 0.1  # standard deviations
_DISTANCES = tuple(_REACH * _STEP**step for step in range(1, 9))
_SHARE = 0.002
_TIMES = 2
_GAP = 0.5
_UNSEEN = 3  # rows: none of n is compatible with three in n (Hanley & Lippman-Hand 1983)
_PROJECTIONS = 6
_CANDIDATES = 4  # the nearest in projection whose distance is measured
_PIECE = 50_000  # rows


@dataclass(frozen=True)
class NearRows:
    """``rows`` of the hold-out's ``of`` lie within ``distance`` standard deviations of a training
    row. ``usual``: the share (0-1) of rows that do so in the training data themselves.
    ``tolerated``: the share beyond which they are taken for copies."""

    distance: float
    rows: int
    of: int
    usual: float
    tolerated: float

    @property
    def share(self) -> float:
        return self.rows / self.of

    @property
    def doubts(self) -> list[Reason]:
        """Why they make a challenger suspicious."""
        if self.share <= self.tolerated:
            return []
        return [
            because(
                "near_rows",
                rows=self.rows,
                of=self.of,
                share=self.share,
                distance=self.distance,
                usual=self.usual,
            )
        ]


def find_near_rows(case: UseCase, holdout: pl.DataFrame, training: pl.DataFrame) -> NearRows:
    """Compare rows by their inputs alone, or the traits of these; event time, key and label are
    ignored.

    Returns the count at the distance that says most against the hold-out. Raises ``ValueError`` for
    no rows to compare with."""
    if len(training) < 2 or holdout.is_empty():
        raise ValueError(f"{len(holdout)} and {len(training)} rows cannot be compared.")
    (_, holdout), (case, training) = (texts_by_traits(case, rows) for rows in (holdout, training))
    if not training[case.event_time].is_sorted():
        training = training.sort(case.event_time)
    space = _Space.of(case, training)
    learned = _Placed(training, space.project(training))
    unseen = _Placed(holdout, space.project(holdout))
    first = max(len(training) - len(holdout), len(training) // 2)
    older, newer = learned[:first], learned[first:]
    before = _distances(space, newer, older)
    now = np.minimum(_distances(space, unseen, older), _distances(space, unseen, newer))
    larger = len(training) / first
    counts = [_count(now, before, larger, distance) for distance in _DISTANCES]
    return max(counts, key=lambda count: count.share / count.tolerated)


def _count(now: np.ndarray, before: np.ndarray, larger: float, distance: float) -> NearRows:
    """``before``: distances from a part of the training data; all of them are ``larger`` times
    that, and have more near rows."""
    usual = 1 - (1 - float((before <= distance).mean())) ** larger
    by_chance = _TIMES * (usual + _UNSEEN / len(before))
    around = float((now <= distance / _STEP).mean())
    return NearRows(
        distance=distance,
        rows=int((now <= distance).sum()),
        of=len(now),
        usual=usual,
        tolerated=max(_SHARE, by_chance, _GAP * around),
    )


@dataclass(frozen=True)
class _Space:
    """How rows become points: the ``numbers`` with their mean and standard deviation, the
    ``categories`` with the places of their values ``(n_values + 2, 2)``, and an orthonormal
    ``projection`` of all coordinates ``(n_coordinates, n_projections)``."""

    numbers: dict[str, tuple[float, float]]
    categories: dict[str, tuple[pl.Enum, np.ndarray]]
    projection: np.ndarray

    @classmethod
    def of(cls, case: UseCase, rows: pl.DataFrame) -> "_Space":
        chance = np.random.default_rng(0)
        numbers, categories = {}, {}
        for column in case.columns:
            dtype = KINDS[column.kind].dtype
            if dtype == pl.Float64 or dtype.is_temporal():
                numbers[column.name] = _scale(rows[column.name])
            else:
                values = pl.Enum(rows[column.name].cast(pl.String).drop_nulls().unique().sort())
                # After the known values: one that training did not have, and null.
                places = chance.normal(size=(len(values.categories) + 2, 2))
                categories[column.name] = values, places
        size = 2 * len(numbers) + 2 * len(categories)
        directions = chance.normal(size=(size, min(size, _PROJECTIONS)))
        return cls(numbers, categories, np.linalg.qr(directions)[0])

    def points(self, rows: pl.DataFrame) -> np.ndarray:
        """Return all coordinates ``(n_rows, n_coordinates)``."""
        scaled = [
            ((pl.col(name).cast(pl.Float64) - middle) / width).fill_nan(None).alias(name)
            for name, (middle, width) in self.numbers.items()
        ]
        numbers = rows.select(scaled)
        parts = [
            numbers.fill_null(0.0).to_numpy(),
            numbers.select(pl.all().is_null().cast(pl.Float64)).to_numpy(),
            *(
                places[_codes(rows[name], values)]
                for name, (values, places) in self.categories.items()
            ),
        ]
        return np.concatenate([part for part in parts if part.shape[1]], axis=1)

    def project(self, rows: pl.DataFrame) -> np.ndarray:
        """Return ``(n_rows, n_projections)``; in pieces, since all coordinates may be many."""
        pieces = [self.points(piece) @ self.projection for piece in rows.iter_slices(_PIECE)]
        return np.concatenate(pieces)


def _scale(values: pl.Series) -> tuple[float, float]:
    numbers = values.cast(pl.Float64).fill_nan(None)
    middle, width = numbers.mean(), numbers.std()
    return float(middle or 0.0), float(width or 0.0) or 1.0  # type: ignore[arg-type]


def _codes(values: pl.Series, known: pl.Enum) -> np.ndarray:
    codes = values.cast(pl.String).cast(known, strict=False).to_physical().cast(pl.Int64)
    codes = codes.fill_null(len(known.categories))
    return np.where(values.is_null().to_numpy(), len(known.categories) + 1, codes.to_numpy())


@dataclass(frozen=True)
class _Placed:
    """Rows, and where they lie in projection ``(n_rows, n_projections)``."""

    rows: pl.DataFrame
    places: np.ndarray

    def __getitem__(self, part: slice) -> "_Placed":
        return _Placed(self.rows[part], self.places[part])


def _distances(space: _Space, some: _Placed, others: _Placed) -> np.ndarray:
    """Return how far each of ``some`` is from the nearest of ``others`` ``(n_rows,)``; infinite
    beyond ``_REACH``, where it does not matter."""
    from scipy.spatial import cKDTree

    # Repeated rows are one point: a tree cannot divide them.
    kinds = pl.Series(others.places[:, 0]).arg_unique().to_numpy()
    if not len(kinds):
        return np.full(len(some.rows), np.inf)
    tree = cKDTree(others.places[kinds], balanced_tree=False, compact_nodes=False)
    ranks = range(1, min(_CANDIDATES, len(kinds)) + 1)
    _, neighbours = tree.query(some.places, k=list(ranks), distance_upper_bound=_REACH)
    row, rank = np.nonzero(neighbours < len(kinds))
    nearest = np.full(len(some.rows), np.inf)
    for at in range(0, len(row), _PIECE):
        pair, of = row[at : at + _PIECE], rank[at : at + _PIECE]
        here = space.points(some.rows[pair])
        there = space.points(others.rows[kinds[neighbours[pair, of]]])
        np.minimum.at(nearest, pair, np.sqrt(((here - there) ** 2).sum(axis=1)))
    return nearest
