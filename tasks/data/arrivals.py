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
from tasks.data.dataset import DatasetMissing, DatasetVersion, read_periods, read_version
from tasks.data.row_digests import row_digests
from usecases.definition import ROW_ID, Period, SourceError, UseCase, period_named

FIRST_PERIODS, FIRST_HOLDOUTS = 10, 5
_DIGEST = "laurel_digest"

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
            before = _with_digests(read_periods(self.lake, version, [period]), self.case)
            gone = before.join(batch, on=_DIGEST, how="anti")
            rows = pl.concat([rows, gone], how="diagonal_relaxed")
        if rows.is_empty():
            raise SourceError(f"No row of {self.case.name!r} arrived in {period}.")
        return rows.drop(_DIGEST)

    def _version(self) -> DatasetVersion | None:
        try:
            return read_version(self.lake, self.case.name)
        except DatasetMissing:
            return None

    def _stamped(self, version: DatasetVersion | None, now: datetime | None) -> pl.DataFrame:
        """The rows of the table that have a time: those that were there before, and new ones if
        a period has been completed since.
        """
        rows, time = self.table.rows().collect(), self.case.event_time
        if rows.is_empty():
            raise SourceError(f"The source of {self.case.name!r} has no rows.")
        rows = _with_digests(_identified(rows, self.case), self.case)
        if version is None:
            return _dealt(rows, time, self._first(now))
        known = _with_digests(
            read_periods(self.lake, version, [file.period for file in version.periods]), self.case
        ).select(_DIGEST, time)
        before = rows.join(known, on=_DIGEST, how="inner", maintain_order="left")
        new = rows.join(known, on=_DIGEST, how="anti", maintain_order="left")
        spans = self._since(period_named(version.periods[-1].period), now)
        return pl.concat([before, _dealt(new, time, spans)]) if spans else before

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


def _identified(rows: pl.DataFrame, case: UseCase) -> pl.DataFrame:
    """With the key by content, where the use case names none: a digest of the inputs, and which of
    the rows that are equal in them it is.
    """
    if case.key != (ROW_ID,):
        return rows
    digests = [digest.hex() for digest in row_digests(rows, case.column_names)]
    named = rows.with_columns(pl.Series(ROW_ID, digests))
    return named.with_columns(
        pl.format("{}-{}", ROW_ID, pl.int_range(pl.len()).over(ROW_ID)).alias(ROW_ID)
    )


def _with_digests(rows: pl.DataFrame, case: UseCase) -> pl.DataFrame:
    """A number and a text of the same digits have different digests, so keys become texts."""
    keys = rows.select(pl.col(case.key).cast(pl.String))
    return rows.with_columns(pl.Series(_DIGEST, row_digests(keys, list(case.key)), dtype=pl.Binary))


def _dealt(rows: pl.DataFrame, time: str, periods: list[Period]) -> pl.DataFrame:
    """Each row gets the noon of a day of ``periods``, by its digest; equal keys get the same."""
    moments = [
        period.start + timedelta(days=day, hours=12)
        for period in periods
        for day in range((period.end - period.start).days)
    ]
    places = [
        int.from_bytes(hashlib.blake2b(digest, digest_size=8, person=b"arrival").digest())
        % len(moments)
        for digest in rows[_DIGEST]
    ]
    times = pl.Series(time, [moments[place] for place in places], dtype=pl.Datetime("us"))
    return rows.with_columns(times)
