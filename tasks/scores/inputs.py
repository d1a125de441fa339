"""The rows of a batch as typed Parquet on this machine, read whole before the first is scored: what
is wrong with the columns is told then, and the digest of the rows names the run."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl
from pydantic import SecretStr

from blocks.warehouse import Warehouse, WarehouseError
from serving.package.manifest import Manifest
from tasks.data.files.staging import Check, Staged, stage_files, stage_frames
from tasks.data.files.typing import AT
from tasks.data.kinds import KINDS
from tasks.data.sources import source_of
from tasks.data.validation import REASON
from tasks.outside.blocks_of_run import warehouse
from tasks.packages.own_columns import as_champion
from tasks.scores.request import Request, ScoreError, is_database
from tasks.scores.scorer import OWN
from usecases.definition import ROW_ID, FileSource, SourceError, UseCase

CHUNK_ROWS = 50_000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Batch:
    """The rows to score: ``name`` is how people are told of them, ``label`` the same in a file's
    name, ``digest`` that of the content. ``keep`` are the columns that answers keep, ``time`` the
    event time if the rows have it. ``extra`` columns are neither."""

    name: str
    label: str
    digest: str
    keep: tuple[str, ...]
    time: str | None
    extra: tuple[str, ...]
    notes: tuple[str, ...]
    staged: Staged

    def chunks(self) -> Iterator[pl.DataFrame]:
        """The rows in their order, at most 50,000 in a frame."""
        import pyarrow.parquet as pq

        for part in self.staged.parts:
            with pq.ParquetFile(part, pre_buffer=False) as file:
                for batch in file.iter_batches(CHUNK_ROWS):
                    yield pl.DataFrame(pl.from_arrow(batch))


def read_batch(request: Request, case: UseCase, manifest: Manifest) -> Batch:
    """Read the rows for a package. Raises ``SourceError`` if they cannot be read or lack a column,
    ``ScoreError`` for names that collide, and ``LakeAway`` or ``WarehouseAway`` for an outage.
    """
    # Rows to score have no label, and need no time.
    scored = as_champion(case, manifest).model_copy(update={"arrival": True})
    columns = _Columns(request, case, manifest)
    check = _typed(scored)
    source = case.source if isinstance(case.source, FileSource) else FileSource(path="unused")
    if request.period:
        name = f"{case.name} {request.period}"
        rows = source_of(case).read(request.period)
        staged = _of_frames(scored, source, name, _sliced(rows), columns, check)
    elif request.rows is None or is_database(request.rows):
        name = request.table or "query"
        try:
            staged = _of_frames(scored, source, name, _queried(request, case), columns, check)
        except WarehouseError as error:
            raise SourceError(str(error)) from error
    else:
        name = request.rows
        own = source.model_copy(update={"path": request.rows, "format": None})
        staged = stage_files(scored, own, columns.needed, columns.if_there, check)
    known = {*columns.needed, *columns.if_there, case.label, AT, REASON}
    keep = tuple(
        column for column in columns.keep if column in columns.needed or column in staged.columns
    )
    return Batch(
        name=name,
        label=_label(request, name),
        digest=_digest(staged.parts),
        keep=keep,
        time=case.event_time if case.event_time in staged.columns else None,
        extra=tuple(sorted(staged.columns - known)),
        notes=staged.notes,
        staged=staged,
    )


class _Columns:
    """``needed`` and ``if_there`` of the rows, and those that answers ``keep``."""

    def __init__(self, request: Request, case: UseCase, manifest: Manifest) -> None:
        inputs = [feature.name for feature in manifest.features]
        own = [name for name in case.key if name != ROW_ID]
        time = [] if case.arrival else [case.event_time]
        self.keep = list(dict.fromkeys(request.keep or [*own, *time]))
        self.needed = list(dict.fromkeys([*(request.keep or own), *inputs]))
        self.if_there = [name for name in time if name not in self.needed]
        outputs = {output.name for output in manifest.outputs}
        if clash := sorted({*self.keep} & {*OWN, *outputs, "reason", "run_id"}):
            raise ScoreError(
                f"The scores have columns named {clash} themselves: rename them in the rows, or "
                "name the columns to keep."
            )


def _of_frames(
    case: UseCase,
    source: FileSource,
    name: str,
    frames: Iterable[pl.DataFrame],
    columns: _Columns,
    check: Check,
) -> Staged:
    numbers = {column.name for column in case.columns if column.kind == "number"}
    uniform = (_uniform(frame, numbers) for frame in frames)
    if_there = [*columns.if_there, REASON]
    return stage_frames(case, source, name, uniform, columns.needed, if_there, check)


def _uniform(frame: pl.DataFrame, numbers: set[str]) -> pl.DataFrame:
    """Types that do not depend on which values a frame has."""
    return frame.with_columns(
        column.cast(pl.Float64)
        if column.name in numbers and (column.dtype.is_numeric() or column.dtype == pl.Null)
        else column.cast(pl.String)
        for column in frame
        if column.dtype == pl.Null or (column.name in numbers and column.dtype.is_numeric())
    )


def _sliced(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from rows.iter_slices(CHUNK_ROWS)
    if rows.is_empty():
        yield rows


def _queried(request: Request, case: UseCase) -> Iterator[pl.DataFrame]:
    """The rows of a query; of a table by the use case's key, so that their order stays."""
    if request.rows is None:
        database = warehouse()
    else:
        url = SecretStr(request.rows)
        database = Warehouse(url=url, named="the URL of the rows")
    query = request.query
    if query is None:
        assert request.table is not None
        order = list(request.keep) or [name for name in case.key if name != ROW_ID]
        query = database.query_of_table(request.table, order)
    yield from database.chunks(query)


def _typed(case: UseCase) -> Check:
    """What each frame is checked by, and the types that the package's inputs have."""

    def check(frame: pl.DataFrame) -> pl.DataFrame:
        problems = []
        for column in case.columns:
            values, kind = frame[column.name], KINDS[column.kind]
            if values.dtype == pl.Null:
                continue
            if not kind.holds(values.dtype):
                problems.append(
                    f"column {column.name!r} holds {values.dtype}, expected {column.noun}"
                )
            elif misfit := kind.misfit(values):
                problems.append(f"column {column.name!r} {misfit}")
        if problems:
            raise SourceError(f"{case.name}: the rows cannot be scored: {'; '.join(problems)}.")
        return frame.with_columns(
            KINDS[column.kind].normalize(column.name).cast(KINDS[column.kind].dtype)
            for column in case.columns
        )

    return check


def _digest(parts: Sequence[Path]) -> str:
    """That of the typed rows."""
    whole = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _label(request: Request, name: str) -> str:
    label = request.period or PurePosixPath(name.rstrip("/")).name.partition(".")[0]
    return _NOT_IN_NAMES.sub("-", label).strip("-") or "rows"
