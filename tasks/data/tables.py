"""A table with all rows as a source: it is cut into periods of the use case's event time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from blocks.settings import Settings
from blocks.warehouse import Warehouse, WarehouseError
from tasks.data.dataset import Mark
from tasks.data.files.staging import stage
from tasks.data.files.typing import AT, Typing, count, wanted_columns
from tasks.data.files.values import Reading, Votes, times
from tasks.data.room import room_of
from tasks.outside.user_code import UseCaseFailed, calling, describe_value
from usecases.definition import PeriodKind, SourceError, UseCase, period_named
from usecases.definition.sources import FileSource, FrameSource

_frames: dict[str, tuple[FrameSource, pl.DataFrame]] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Cursor:
    """The column of a query that grows with every change, and a digest of the rules by which rows
    are read.
    """

    column: str
    rules: str


@dataclass(frozen=True)
class Query:
    """A query of the warehouse as a source. Raises ``SourceError`` if it is refused,
    ``WarehouseAway`` if nobody answers.
    """

    warehouse: Warehouse
    query: str
    event_time: str
    kind: PeriodKind
    cursor: Cursor | None = None

    def rows(self) -> pl.LazyFrame:
        """All rows."""
        with _refusal():
            return self.warehouse.read_all(self.query).lazy()

    def periods(self, now: datetime | None = None) -> list[str]:
        """The periods that are over at ``now`` (UTC)."""
        whole_days = self.kind.is_of_whole_days
        read = self.warehouse.days if whole_days else self.warehouse.hours
        with _refusal():
            moments = read(self.query, self.event_time)
        settled = (now or datetime.now(UTC)).replace(tzinfo=None) - self.kind.settles_after
        periods = sorted({self.kind.containing(moment) for moment in moments})
        return [period.name for period in periods if period.end <= settled]

    def mark(self, period: str) -> Mark | None:
        """The number of the period's rows and the largest value of their cursor; ``None`` without
        a cursor.
        """
        if self.cursor is None:
            return None
        span, column = period_named(period), self.cursor.column
        with _refusal():
            rows, known, largest, latest = self.warehouse.extent(
                self.query, self.event_time, span.start, span.end, column
            )
        if known < rows:
            raise SourceError(
                f"{rows - known} of {rows} rows of {period} have no {column!r}: a row without a "
                "cursor cannot be told from one that was read. Fill it, or leave cursor_column out."
            )
        if largest is None:
            return None
        return Mark(rows=rows, cursor=largest, latest=latest, rules=self.cursor.rules)

    def read(self, period: str) -> pl.DataFrame:
        span, time = period_named(period), self.event_time
        with _refusal():
            rows = self.warehouse.read(self.query, time, span.start, span.end)
        rows = _with_times(rows, time)
        if isinstance(rows.schema.get(time), pl.Datetime):
            naive = pl.col(time).dt.replace_time_zone(None)
            rows = rows.filter(naive.is_between(span.start, span.end, closed="left"))
        if rows.is_empty():
            raise SourceError(f"The query has no rows for {period}: {self.query}")
        return rows


def _with_times(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """A database without times, such as SQLite, has texts."""
    if rows.schema.get(column) != pl.String:
        return rows
    votes = Votes()
    votes.count_times(rows[column])
    return rows.with_columns(times(rows[column], votes.reading(column, Reading()))[0])


@contextmanager
def _refusal() -> Iterator[None]:
    try:
        yield
    except WarehouseError as error:
        raise SourceError(str(error)) from error


@dataclass(frozen=True)
class Files:
    """The files of ``source``. Raises ``SourceError`` if they cannot be read, ``LakeAway`` for an
    outage.
    """

    case: UseCase
    source: FileSource

    def rows(self) -> pl.LazyFrame:
        return stage(self.case, self.source).rows

    def periods(self, now: datetime | None = None) -> list[str]:
        return complete_periods(self.rows(), self.case.period_kind, now)

    def read(self, period: str) -> pl.DataFrame:
        return _rows_of(self.rows(), period, self.source.path, self.case)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in the files."""
        return stage(self.case, self.source).notes


@dataclass(frozen=True)
class Frame:
    """The frame that a function returns. ``periods`` calls it, and ``read`` takes that frame.

    Raises ``UseCaseFailed`` for what is no frame, ``SourceError`` as ``Files`` does."""

    case: UseCase
    source: FrameSource

    def rows(self) -> pl.LazyFrame:
        """All rows; the function is called."""
        with _lock:
            _frames[self.case.name] = self.source, self._typed(self._called())
        return self._rows()

    def periods(self, now: datetime | None = None) -> list[str]:
        return complete_periods(self.rows(), self.case.period_kind, now)

    def read(self, period: str) -> pl.DataFrame:
        return _rows_of(self._rows(), period, f"{self._name}()")

    @property
    def _name(self) -> str:
        return getattr(self.source.function, "__name__", "function")

    def _rows(self) -> pl.LazyFrame:
        with _lock:
            source, frame = _frames.get(self.case.name, (None, None))
            if source is not self.source or frame is None:
                frame = self._typed(self._called())
                _frames[self.case.name] = self.source, frame
        return frame.lazy()

    def _called(self) -> pl.DataFrame:
        call, expectation = f"{self._name}()", "It must return a pandas, Polars or Arrow frame."
        with calling(self.case.name, call, expectation):
            answer: Any = self.source.function()
            frame = _as_polars(answer)
        if frame is None:
            raise UseCaseFailed(
                f"{self.case.name}: {call} returned {describe_value(answer)}. {expectation}"
            )
        return frame

    def _typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        case, wanted = self.case, wanted_columns(self.case)
        if missing := [name for name in wanted if name not in frame.columns]:
            raise SourceError(
                f"{case.name}: {self._name}() returned no column {missing}; it has {frame.columns}."
            )
        frame = frame.select(wanted)
        votes = Votes()
        count(votes, case, frame)
        reading = votes.reading(case.event_time, Reading(time_zone=self.source.time_zone))
        typing = Typing(case, reading, votes)
        first = typing.first_time([frame])
        return next(typing.frames(f"{self._name}()", [frame], first))


def complete_periods(
    rows: pl.LazyFrame, kind: PeriodKind, now: datetime | None = None
) -> list[str]:
    """The periods of ``rows`` that are over at ``now`` (UTC), oldest first."""
    over = (now or datetime.now(UTC)).replace(tzinfo=None) - kind.settles_after
    names = rows.select(kind.names(pl.col(AT)).unique()).collect().to_series().drop_nulls()
    periods = sorted(map(period_named, names))
    return [period.name for period in periods if period.end <= over]


def _rows_of(
    rows: pl.LazyFrame, period: str, name: str, case: UseCase | None = None
) -> pl.DataFrame:
    """The rows of the period. With a ``case`` they are counted first, where a memory is stated."""
    span, stated = period_named(period), Settings.read().memory_gib
    rows = rows.filter((pl.col(AT) >= span.start) & (pl.col(AT) < span.end))
    if case is not None and stated is not None:
        count = rows.select(pl.len()).collect(engine="streaming").item()
        if why := room_of(stated).why_too_small_for_period(case, count):
            raise SourceError(f"{period} of {name} has {why}")
    of_period = rows.drop(AT).collect(engine="streaming")
    if of_period.is_empty():
        raise SourceError(f"{name} has no rows of {period}.")
    return of_period


def _as_polars(frame: Any) -> pl.DataFrame | None:
    """A frame of any library that gives its columns to Arrow; ``None`` for anything else."""
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if type(frame).__module__.startswith("pandas"):
        return pl.from_pandas(frame, nan_to_null=True)
    if hasattr(frame, "__arrow_c_stream__"):
        table = pl.from_arrow(frame)
        return table if isinstance(table, pl.DataFrame) else None
    return None
