"""Read a batch of Arrow without a Python object for each value: a tenth of the time.

What is read here is what ``serving/formats/arrow/rows.py`` reads, or it is left to that module: it
knows all types, and says what is wrong with a value."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.formats.arrow.buffers import (
    TIME,
    known_in,
    number_type,
    truths_in,
    values_in,
    view_bytes,
)
from serving.formats.rows import MOST_TEXT, RowReader
from serving.package.kinds import KINDS, number_bounds
from serving.package.row_columns import RowColumns, Texts

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_PLANS = 8
# The calendar of Python.
_FIRST = np.datetime64("0001-01-01T00:00:00", "us").astype(np.int64)
_LAST = np.datetime64("9999-12-31T23:59:59.999999", "us").astype(np.int64)


class _Left(Exception):
    """A value is not for this module."""


@dataclass(frozen=True)
class Plan:
    """How batches of one schema are read: the positions of features and of their columns in a
    batch. ``fits`` unless a type is not for this module.
    """

    schema: "pa.Schema"
    fits: bool
    numbers: list[tuple[int, int, np.dtype]]
    truths: list[tuple[int, int]]
    texts: list[tuple[int, int]]
    nulls: list[int]
    time: int | None


class ArrayReader:
    """Reads batches of one schema: of numbers, categories and booleans."""

    def __init__(self, reader: RowReader) -> None:
        features = reader.features
        self._names = [feature.name for feature in features]
        self._event_time = reader.event_time
        self._nullable = [feature.nullable for feature in features]
        self._longest = [feature.longest for feature in features]
        kinds = [KINDS[feature.kind] for feature in features]
        self._coded = [place for place, kind in enumerate(kinds) if kind.coded]
        self._truths = frozenset(place for place, kind in enumerate(kinds) if kind.log_type is bool)
        self._numbers = [place for place, kind in enumerate(kinds) if kind.packed]
        bounds = [
            number_bounds(feature, reader.dtype) if kind.packed else (-np.inf, np.inf)
            for feature, kind in zip(features, kinds, strict=True)
        ]
        self._low, self._high = np.array(bounds, dtype=np.float64).reshape(-1, 2).T
        # Of texts no number is null.
        self._required = ~np.array(self._nullable, dtype=bool)
        self._plans: tuple[Plan, ...] = ()

    def known_plan(self, schema: "pa.Schema") -> Plan | None:
        """The plan for a schema that came lately: a client keeps to one."""
        return next((plan for plan in self._plans if plan.schema.equals(schema)), None)

    def make_plan(self, schema: "pa.Schema") -> Plan:
        """The plan for a schema that has been checked."""
        import pyarrow as pa
        import pyarrow.types as types

        names_and_types = list(zip(schema.names, schema.types, strict=True))
        plan = Plan(pa.schema(names_and_types), True, [], [], [], [], None)
        places = {name: place for place, name in enumerate(schema.names)}
        readable = len(self._coded) + len(self._truths) + len(self._numbers)
        fits = readable == len(self._names)
        for position, name in enumerate(self._names):
            kind = schema.types[places[name]] if name in places else pa.null()
            pair = (position, places.get(name, -1))
            if types.is_null(kind):
                plan.nulls.append(position)
            elif position in self._coded:
                plan.texts.append(pair)
            elif position in self._truths:
                plan.truths.append(pair)
            elif position in self._numbers:
                plan.numbers.append((*pair, number_type(kind)))
        fits = fits and all(self._nullable[position] for position in plan.nulls)
        time = places.get(self._event_time)
        if time is not None and types.is_null(schema.types[time]):
            time = None
        if time is not None:
            fits = fits and types.is_timestamp(schema.types[time])
        plan = replace(plan, fits=fits, time=time)
        self._plans = (plan, *self._plans[: _MOST_PLANS - 1])
        return plan

    def read(self, plan: Plan, batch: "pa.RecordBatch") -> tuple[RowColumns, int] | None:
        """The rows of a validated batch, and the characters of their texts; ``None`` if it is to be
        read value by value.
        """
        import pyarrow as pa

        if not plan.fits or not len(batch):
            return None
        try:
            return self._read(plan, batch)
        except (_Left, pa.ArrowException):
            return None

    def _read(self, plan: Plan, batch: "pa.RecordBatch") -> tuple[RowColumns, int]:
        columns, rows = batch.columns, len(batch)
        numbers = np.zeros((len(self._names), rows))
        for position, place, kind in plan.numbers:
            array = columns[place]
            _fill(numbers[position], array, values_in(array, kind))
        for position, place in plan.truths:
            _fill(numbers[position], columns[place], truths_in(columns[place]))
        texts, characters = {}, 0
        for position in plan.nulls:
            if position in self._coded:
                texts[position] = Texts([], np.full(rows, -1))
            else:
                numbers[position] = np.nan
        self._check(numbers)
        for position, place in plan.texts:
            texts[position] = column = _texts(columns[place], rows, self._nullable[position])
            characters += _count_characters(column, self._longest[position])
        times = _times(columns[plan.time], rows) if plan.time is not None else _no_times(rows)
        return RowColumns(numbers, texts, times, self._truths), characters

    def _check(self, numbers: np.ndarray) -> None:
        # Of nulls alone both are NaN, which is beyond nothing.
        least, most = np.fmin.reduce(numbers, axis=1), np.fmax.reduce(numbers, axis=1)
        if (least < self._low).any() or (most > self._high).any():
            raise _Left
        if np.isnan(numbers.min(axis=1)[self._required]).any():
            raise _Left


def _fill(row: np.ndarray, array: "pa.Array", values: np.ndarray) -> None:
    row[:] = values
    if array.null_count:
        row[~known_in(array)] = np.nan


def _texts(array: Any, rows: int, nullable: bool) -> Texts:
    import pyarrow.types as types

    encoded = types.is_dictionary(array.type)
    given = array.dictionary if encoded else array
    if types.is_string_view(given.type) and view_bytes(given) > MOST_TEXT:
        raise _Left
    if not encoded:
        array = array.dictionary_encode()
    elif len(given) > rows or given.null_count:
        raise _Left
    if array.indices.null_count and not nullable:
        raise _Left
    places = values_in(array.indices, number_type(array.indices.type))
    if array.indices.null_count:
        places = np.where(known_in(array.indices), places.astype(np.int64), -1)
    return Texts(array.dictionary.to_pylist(), places)


def _count_characters(texts: Texts, longest: int | None) -> int:
    """Those of all rows."""
    lengths = [*map(len, texts.distinct), 0]
    if longest is not None and max(lengths) > longest:
        raise _Left
    return int(np.array(lengths).take(texts.places).sum())


def _times(array: Any, rows: int) -> np.ndarray:
    """Event times in microseconds, null as NaT."""
    import pyarrow as pa

    if array.type.unit != "us":
        array = array.cast(pa.timestamp("us"), safe=array.type.unit != "ns")
    if array.null_count == rows:
        return _no_times(rows)
    times = values_in(array, TIME)
    if not array.null_count:
        known = times
    else:
        is_known = known_in(array)
        known, times = times[is_known], np.where(is_known, times, np.datetime64("NaT"))
    # As numbers, of which NaT is the least: it is no time of Python's calendar.
    if known.view(np.int64).min() < _FIRST or known.view(np.int64).max() > _LAST:
        raise _Left
    return times


def _no_times(rows: int) -> np.ndarray:
    return np.full(rows, "NaT", dtype="M8[us]")
