"""Checked rows that lie by column, as arrays: many rows are encoded and logged without a Python
object for each of their values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

Row = tuple[Any, ...]


class Texts(NamedTuple):
    """The texts of a column: ``places`` ``(n_rows,)`` says which of ``distinct`` each row has, -1
    if null.
    """

    distinct: list[str]
    places: np.ndarray

    def values(self) -> list[str | None]:
        listed: list[str | None] = np.array([*self.distinct, None], dtype=object)[
            self.places
        ].tolist()
        return listed


class RowColumns(Sequence[Row]):
    """The same rows as tuples of the features' values and the event time, which are made when
    somebody asks for them.

    ``numbers`` ``(n_features, n_rows)`` are the float64 of features that have no ``texts``, null as
    NaN, and 1 and 0 for the features ``truths``; ``texts`` are those of other features, by
    position. ``times`` are the event times in microseconds, null as NaT."""

    def __init__(
        self,
        numbers: np.ndarray,
        texts: Mapping[int, Texts],
        times: np.ndarray,
        truths: frozenset[int] = frozenset(),
    ) -> None:
        self.numbers = numbers
        self.texts = texts
        self.times = times
        self._truths = truths

    def __len__(self) -> int:
        return len(self.times)

    @overload
    def __getitem__(self, rows: int) -> Row: ...

    @overload
    def __getitem__(self, rows: slice) -> "RowColumns": ...

    def __getitem__(self, rows: "int | slice") -> "Row | RowColumns":
        if isinstance(rows, int):
            place = range(len(self))[rows]
            return next(iter(self[place : place + 1]))
        texts = {
            position: Texts(column.distinct, column.places[rows])
            for position, column in self.texts.items()
        }
        return RowColumns(self.numbers[:, rows], texts, self.times[rows], self._truths)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Row]:
        columns = [self.column(position) for position in range(len(self.numbers))]
        return zip(*columns, self.event_times(), strict=True)

    def column(self, position: int) -> list[Any]:
        """The values of a feature as Python has them, null as ``None``."""
        if position in self.texts:
            return self.texts[position].values()
        values = self.numbers[position].tolist()
        if position in self._truths:
            return [None if value != value else value == 1 for value in values]
        return [None if value != value else value for value in values]

    def event_times(self) -> list[Any]:
        return self.times.tolist()
