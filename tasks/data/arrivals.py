"""Rows without a time: each ingest is a batch of those that were not there before.

A table of customers or of flowers says nothing of when its rows came to be. They are dealt over the
days in which they arrived, by their keys, so that everything that follows finds periods and days as
elsewhere: hold-outs, blocks of a contest, windows of drift. The first batch is dealt over the ten
periods before it (five hold-outs, if that is more), a later one over the complete periods since.
Which day a row gets is chance, so that periods of one batch differ as samples do, and not as times
do (docs/decisions/0024-arrival.md)."""

import hashlib
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import polars as pl

from blocks.lake import Lake
from tasks.data.dataset import (
    DatasetMissing,
    DatasetVersion,
    read_periods,
    read_quarantined,
    read_version,
)
from tasks.data.files.typing import wanted_columns
from tasks.data.kinds import KINDS
from tasks.data.row_digests import row_digests
from usecases.definition import ROW_ID, Period, SourceError, UseCase, period_named

FIRST_PERIODS, FIRST_HOLDOUTS = 10, 5
_MARK = "laurel_mark"

# The rows that were read last, by use case, and the version that they came after.
_batches: dict[str, tuple[UseCase, DatasetVersion | None, pl.DataFrame]] = {}
_lock = threading.Lock()


class Table(Protocol):
    """All rows of a source, as they are now. Raises ``SourceError``."""

    def rows(self) -> pl.LazyFrame: ...


@dataclass(frozen=True)
class Arrivals:
    """The rows of ``table`` and of the latest dataset version, each with the time at which it
    arrived.

    A row that the version has keeps its time, and gets what has changed since, such as its label;
    one that is gone from the table stays. Raises ``SourceError``."""

    case: UseCase
    table: Table
    lake: Lake

    def periods(self, now: datetime | None = None) -> list[str]:
        """The periods that rows have arrived in, oldest first. The table is read."""
        version = self._version()
        before = [file.period for file in version.periods] if version else []
        rows = self._stamped(version, now)
        with _lock:
            _batches[self.case.name] = self.case, version, rows
        kind = self.case.period_kind
        later = {kind.containing(moment).name for moment in rows[self.case.event_time].unique()}
        return sorted({*before, *later}, key=period_named)

    def read(self, period: str, now: datetime | None = None) -> pl.DataFrame:
        """The rows that arrived in the period, as ``periods`` read them."""
        version, span, time = self._version(), period_named(period), self.case.event_time
        with _lock:
            case, dealt_after, batch = _batches.get(self.case.name, (None, None, None))
        if batch is None or case != self.case or dealt_after != version:
            batch = self._stamped(version, now)
        rows = batch.filter(pl.col(time).is_between(span.start, span.end, closed="left"))
        if version and period in {file.period for file in version.periods}:
            before = read_periods(self.lake, version, [period])
            before = before.with_columns(_keys(before, self.case))
            gone = before.join(batch, on=_MARK, how="anti")
            rows = pl.concat([rows, gone], how="diagonal_relaxed")
        if rows.is_empty():
            raise SourceError(f"No row of {self.case.name!r} arrived in {period}.")
        return rows.drop(_MARK)

    def _version(self) -> DatasetVersion | None:
        try:
            return read_version(self.lake, self.case.name)
        except DatasetMissing:
            return None

    def _stamped(self, version: DatasetVersion | None, now: datetime | None) -> pl.DataFrame:
        """The rows of the table that have a time: those that were there before, and new ones if
        a period has been completed since.
        """
        case, time = self.case, self.case.event_time
        rows = self.table.rows().collect()
        if rows.is_empty():
            raise SourceError(f"The source of {case.name!r} has no rows.")
        if missing := [name for name in wanted_columns(case) if name not in rows.columns]:
            raise SourceError(
                f"The source of {case.name!r} lacks {missing}; it has {rows.columns}."
            )
        by_content = case.key == (ROW_ID,)
        if by_content:
            rows = rows.with_columns(_contents(rows, case, case.column_names).alias(ROW_ID))
        if version is None:
            return _dealt(rows.with_columns(_keys(rows, case)), time, self._first(now))
        known = self._known(version)
        if by_content:
            # By what both have: columns may have been added since.
            names = [name for name in case.column_names if name in known.columns]
            rows, known = (
                side.with_columns(_contents(side, case, names)) for side in (rows, known)
            )
        else:
            rows, known = (side.with_columns(_keys(side, case)) for side in (rows, known))
        kept = [_MARK, time, *([ROW_ID] if by_content else [])]
        known = known.select(kept).unique(_MARK, keep="first", maintain_order=True)
        new = rows.join(known, on=_MARK, how="anti", maintain_order="left")
        rows = rows.drop(ROW_ID) if by_content else rows
        before = rows.join(known, on=_MARK, how="inner", maintain_order="left")
        spans = self._since(period_named(version.periods[-1].period), now)
        later = [_dealt(new, time, spans)] if spans else []
        batch = pl.concat([before, *later], how="diagonal")
        return batch.with_columns(_keys(batch, case))

    def _known(self, version: DatasetVersion) -> pl.DataFrame:
        """The rows of the version, and those in quarantine, which are no news either. Raises
        ``SourceError`` if they have another key.
        """
        names = [file.period for file in version.periods]
        good = read_periods(self.lake, version, names)
        if other := [name for name in self.case.key if name not in good.columns]:
            raise SourceError(
                f"The rows of dataset {version.version} have no {other}, by which rows are known "
                f"now: keep the key of {self.case.name!r}, or give the use case another name."
            )
        bad = read_quarantined(self.lake, version)
        return pl.concat([good, *bad], how="diagonal_relaxed")

    def _first(self, now: datetime | None) -> list[Period]:
        kind = self.case.period_kind
        wanted = max(FIRST_PERIODS, FIRST_HOLDOUTS * self.case.promotion.holdout_periods)
        periods = [kind.previous(kind.containing(_clock(now)))]
        while len(periods) < wanted:
            periods.append(kind.previous(periods[-1]))
        return periods[::-1]

    def _since(self, last: Period, now: datetime | None) -> list[Period]:
        """The periods after ``last`` that are over."""
        kind, periods = self.case.period_kind, list[Period]()
        while (following := kind.next(periods[-1] if periods else last)).end <= _clock(now):
            periods.append(following)
        return periods


def _clock(now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)).replace(tzinfo=None)


def _keys(rows: pl.DataFrame, case: UseCase) -> pl.Series:
    """What a row is known by, ``(n_rows,)``: its key. A number and a text of the same digits have
    different digests, so keys become texts.
    """
    texts = rows.select(pl.col(case.key).cast(pl.String))
    return pl.Series(_MARK, [digest.hex() for digest in row_digests(texts, list(case.key))])


def _contents(rows: pl.DataFrame, case: UseCase, names: list[str]) -> pl.Series:
    """What a row without a key is known by, ``(n_rows,)``: its inputs ``names``, and which of the
    rows that are equal in them it is.
    """
    kinds = {column.name: column.kind for column in case.columns}
    inputs = rows.select(KINDS[kinds[name]].normalize(name) for name in names)
    digests = pl.Series([digest.hex() for digest in row_digests(inputs, names)]).to_frame("of")
    numbered = digests.select(pl.format("{}-{}", "of", pl.int_range(pl.len()).over("of")))
    return numbered.to_series().alias(_MARK)


def _dealt(rows: pl.DataFrame, time: str, periods: list[Period]) -> pl.DataFrame:
    """Each row gets the noon of a day of ``periods``, by what it is known by."""
    moments = [
        period.start + timedelta(days=day, hours=12)
        for period in periods
        for day in range((period.end - period.start).days)
    ]
    places = [
        int.from_bytes(hashlib.blake2b(mark.encode(), digest_size=8).digest()) % len(moments)
        for mark in rows[_MARK]
    ]
    times = pl.Series(time, [moments[place] for place in places], dtype=pl.Datetime("us"))
    return rows.with_columns(times)
