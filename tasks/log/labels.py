"""Labels that came late, and rewards, found for a window's predictions by their ids, at a memory
that the ids bound and not the feedback.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from threading import Lock
from typing import TYPE_CHECKING

import polars as pl

from blocks.lake import Lake
from tasks.data.targets import late_dtype
from tasks.log.files import LogDamaged, LogFile, for_each, read_batches, read_files
from usecases.definition import UseCase, period_named

if TYPE_CHECKING:
    from pyarrow import Schema

_UTC = pl.Datetime("us", "UTC")
_NAMES = ["id", "label", "time"]
_GATHERED_ROWS = 500_000  # an index of the ids is made for each search


def schema_of(case: UseCase) -> pl.Schema:
    """Of the labels: ``given`` is how many came."""
    return pl.Schema(
        {"id": pl.String(), "label": late_dtype(case), "time": _UTC, "given": pl.UInt32()}
    )


def read_labels(
    store: Lake, case: UseCase, window: str, ids: pl.Series, late_days: int | None = None
) -> pl.DataFrame:
    """The last label of each of ``ids`` that has one: columns of ``schema_of``. All stay in the
    log.

    Last is the latest ``time``; of several at one time the one that was ``received`` last, and of
    one request, or where the file does not say, the one in the later segment, and there in the
    later line. Feedback lies under the day of the predicted event, or, where it did not say, under
    the day on which it came: so all of it is read from the day before ``window`` (clocks, time
    zones) to ``late_days`` after it (``None``: to the end). Raises ``LogDamaged``, ``LakeAway``,
    ``ValueError``."""
    return _read_last(store, case, window, ids, _Wanted("label", late_dtype(case)), late_days)


def read_rewards(store: Lake, case: UseCase, window: str, ids: pl.Series) -> pl.DataFrame:
    """The last reward of each of ``ids`` that has one, by the rules of ``read_labels``: columns
    ``id``, ``reward``, ``time``, ``given``. Raises ``LogDamaged``, ``LakeAway``, ``ValueError``."""
    return _read_last(store, case, window, ids, _Wanted("reward", pl.Float64()), None)


@dataclass(frozen=True)
class _Wanted:
    """A column of the feedback, and its type."""

    name: str
    kind: pl.DataType

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema({"id": pl.String(), self.name: self.kind, "time": _UTC})


def _read_last(
    store: Lake,
    case: UseCase,
    window: str,
    ids: pl.Series,
    wanted: _Wanted,
    late_days: int | None,
) -> pl.DataFrame:
    period, schema = period_named(window), wanted.schema
    until = None if late_days is None else period.last + timedelta(days=late_days)

    def search_files(files: list[LogFile]) -> pl.DataFrame:
        search = _Search(ids, wanted.name)
        for_each(files, lambda file: _search_file(store, case, file, wanted, search))
        return search.finish()

    days = (_before(period.first), until)
    last = read_files(store, "feedback", case.name, days, search_files)
    if last.is_empty():
        return pl.DataFrame(schema={**schema, "given": pl.UInt32()})
    ordered = last.sort("time", "received", "segment", "line", nulls_last=False)
    return ordered.group_by("id", maintain_order=True).agg(
        pl.col(wanted.name, "time").last(), pl.len().cast(pl.UInt32).alias("given")
    )


def _search_file(
    store: Lake, case: UseCase, file: LogFile, wanted: _Wanted, search: "_Search"
) -> None:
    offset, names = 0, pl.Series(file.names)
    for batch in read_batches(
        store, file.path, lambda columns: _choose(case, file.path, columns, wanted)
    ):
        rows = pl.from_arrow(batch)
        assert isinstance(rows, pl.DataFrame)
        if wanted.name not in rows.columns:
            return
        segments, lines = file.place(offset, len(rows))
        received = pl.col("received") if "received" in rows.columns else pl.lit(None)
        numbered = rows.with_columns(
            received.cast(_UTC).alias("received"),
            names.gather(segments).alias("segment"),
            pl.Series("line", lines),
        )
        columns = numbered.select(*wanted.schema, "received", "segment", "line")
        search.add(columns.cast(wanted.schema))
        offset += len(rows)


def _before(day: date) -> date:
    return day - timedelta(days=1) if day > date.min else day


_WORDS: Mapping[pl.DataType, str] = {
    pl.Boolean(): "true or false",
    pl.String(): "the name of a class",
    pl.Float64(): "numbers",
}


def _choose(case: UseCase, path: str, schema: "Schema", wanted: _Wanted) -> list[str]:
    from pyarrow import types

    received = ["received"] if "received" in schema.names else []
    if wanted.name == "reward":
        return [name for name in ("id", "time", "reward") if name in schema.names] + received
    if missing := [name for name in _NAMES if name not in schema.names]:
        raise LogDamaged(
            f"{path} is not a feedback file: it has no {', '.join(missing)}. Move it out of the "
            "lake's folder feedback/."
        )
    label = schema.field("label").type
    expected = late_dtype(case)
    fits = {
        pl.Boolean(): types.is_boolean,
        pl.String(): lambda kind: types.is_string(kind) or types.is_large_string(kind),
        pl.Float64(): lambda kind: types.is_floating(kind) or types.is_integer(kind),
    }[expected]
    if not fits(label) and not types.is_null(label):
        raise LogDamaged(
            f"{path} has labels of type {label}: they must be {_WORDS[expected]}. Correct it, "
            "or move it out of the feedback."
        )
    return [*_NAMES, *received]


class _Search:
    """Keeps the feedback on the ids that has a value in ``column``, from several threads."""

    def __init__(self, ids: pl.Series, column: str) -> None:
        self._column = column
        self._ids = ids.cast(pl.String).unique().alias("id").to_frame()
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._found: list[pl.DataFrame] = []
        self._lock = Lock()

    def add(self, rows: pl.DataFrame) -> None:
        with self._lock:
            self._waiting.append(rows)
            self._rows += len(rows)
            if self._rows >= max(_GATHERED_ROWS, len(self._ids)):
                self._search()

    def _search(self) -> None:
        if self._waiting:
            whole = pl.concat(self._waiting).filter(pl.col(self._column).is_not_null())
            self._found.append(whole.join(self._ids, on="id", how="semi"))
        self._waiting, self._rows = [], 0

    def finish(self) -> pl.DataFrame:
        self._search()
        return pl.concat(self._found) if self._found else pl.DataFrame()
