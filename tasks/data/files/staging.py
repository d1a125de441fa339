"""Rows of files, or of a query, as one typed table on this machine; that of a use case's own files
is made once for the same files.

A first pass writes each file as it stands and lets all of its values vote on how they are read; a
second one reads them so. Both hold one block at a time."""

import difflib
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tasks.data.files import delimited, values
from tasks.data.files.json_lines import JsonLines
from tasks.data.files.places import StoredFile, find_files
from tasks.data.files.typing import Typing, count, wanted_columns
from tasks.data.files.values import Reading, Votes
from usecases.definition import SourceError, UseCase, folder_of
from usecases.definition.sources import FileSource

_KEPT = 4
_BLOCK_ROWS = 50_000
Check = Callable[[pl.DataFrame], pl.DataFrame]
_lock = threading.Lock()


@dataclass(frozen=True)
class Staged:
    """All rows, typed, with their local time in the column ``AT``; ``notes`` say what was found,
    and ``columns`` are all that were there. Without rows there are no parts.

    The files are removed with the object."""

    folder: tempfile.TemporaryDirectory[str]
    parts: tuple[Path, ...]
    notes: tuple[str, ...]
    columns: frozenset[str] = frozenset()

    @property
    def rows(self) -> pl.LazyFrame:
        return pl.concat([pl.scan_parquet(part) for part in self.parts], how="vertical_relaxed")


_staged: dict[tuple[object, ...], Staged] = {}


def stage(case: UseCase, source: FileSource) -> Staged:
    """The table of the files as they are now. Raises ``SourceError``, ``LakeAway``."""
    files = find_files(source, folder_of(case.name) or Path.cwd())
    key = (case.name, source.model_dump_json(), *(file.identity for file in files))
    with _lock:
        if key not in _staged:
            while len(_staged) >= _KEPT:
                _staged.pop(next(iter(_staged)))
            _staged[key] = _Stage(case, source, wanted_columns(case)).of(files)
        return _staged[key]


def stage_files(
    case: UseCase, source: FileSource, needed: Sequence[str], if_there: Sequence[str], check: Check
) -> Staged:
    """The columns ``needed`` of the files, and those of ``if_there`` that a file has, in the order
    of the files: no label need be there. Rows have no ``AT``, and there may be none.

    ``check`` gets each typed frame and returns what is kept of it. Raises as ``stage``."""
    files = find_files(source, Path.cwd())
    return _Stage(case, source, needed, if_there, check).of(files)


def stage_frames(
    case: UseCase,
    source: FileSource,
    name: str,
    frames: Iterable[pl.DataFrame],
    needed: Sequence[str],
    if_there: Sequence[str],
    check: Check,
) -> Staged:
    """The same of ``frames``, such as those of a query; ``name`` is how people are told of it."""
    return _Stage(case, source, needed, if_there, check).of_frames(name, frames)


@dataclass(frozen=True)
class _Raw:
    """A file as Parquet on this machine. ``columns`` are all that it has, by the names of the use
    case, and ``own`` are its own names of those that have another one. ``made`` is the one that
    is made of ``parts``: its year, month and day.
    """

    name: str
    path: Path
    columns: set[str]
    own: Mapping[str, str] = field(default_factory=dict)
    made: str = ""
    parts: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        import pyarrow.parquet as pq

        return int(pq.read_metadata(self.path).num_rows) if self.path.exists() else 0

    def blocks(self, wanted: list[str]) -> Iterator[pl.DataFrame]:
        """Frames of the ``wanted`` columns that it has."""
        import pyarrow.parquet as pq

        if not self.path.exists():
            return
        names = [name for name in wanted if name in self.columns]
        own = {name: self.own.get(name, name) for name in names if name != self.made}
        parts = self.parts if self.made in names else ()
        read = list(dict.fromkeys([*own.values(), *parts]))
        # With its buffer pyarrow keeps what was read: the memory would grow with the file.
        with pq.ParquetFile(self.path, pre_buffer=False) as file:
            for batch in file.iter_batches(_BLOCK_ROWS, columns=read):
                frame = pl.DataFrame(pl.from_arrow(batch))
                columns = {name: pl.col(theirs) for name, theirs in own.items()}
                if parts:
                    columns[self.made] = values.date_of(*parts)
                yield frame.select(columns[name].alias(name) for name in names)


class _Stage:
    """Without ``check`` the table is of the use case's own source: it needs rows, in periods."""

    def __init__(
        self,
        case: UseCase,
        source: FileSource,
        needed: Sequence[str],
        if_there: Sequence[str] = (),
        check: Check | None = None,
    ) -> None:
        self._case, self._source, self._check = case, source, check
        self._needed = list(needed)
        self._wanted = list(dict.fromkeys([*needed, *if_there]))
        self._rename = dict(source.rename)
        self._own = {name: theirs for theirs, name in self._rename.items()}
        self._parts = source.date_parts or ()
        self._made = case.event_time if self._parts else ""
        own = [self._own.get(name, name) for name in self._wanted if name != self._made]
        self._theirs = list(dict.fromkeys([*own, *self._parts]))
        self._votes = Votes()
        self._notes: list[str] = []

    def of(self, files: list[StoredFile]) -> Staged:
        return self._staged(
            lambda folder: [self._raw(file, folder / f"{at}") for at, file in enumerate(files)]
        )

    def of_frames(self, name: str, frames: Iterable[pl.DataFrame]) -> Staged:
        def raw(folder: Path) -> list[_Raw]:
            columns: set[str] = set()

            def counted() -> Iterator[pl.DataFrame]:
                for frame in frames:
                    columns.update(frame.columns)
                    count(self._votes, self._case, frame)
                    yield frame.select(name for name in self._wanted if name in frame.columns)

            _write(folder / "raw", counted())
            return [_Raw(name, folder / "raw", columns)]

        return self._staged(raw)

    def _staged(self, read: Callable[[Path], list[_Raw]]) -> Staged:
        folder = tempfile.TemporaryDirectory(prefix="laurel-files-")
        try:
            parts, columns = self._typed(Path(folder.name), read(Path(folder.name)))
        except BaseException:
            folder.cleanup()
            raise
        return Staged(folder, tuple(parts), tuple(self._notes), columns)

    def _typed(self, folder: Path, raw: list[_Raw]) -> tuple[list[Path], frozenset[str]]:
        filled = [one for one in raw if one.rows]
        if not filled and (self._check is None or not any(one.columns for one in raw)):
            raise SourceError(f"{', '.join(one.name for one in raw)}: no rows.")
        raw = filled or raw
        self._compare(raw)
        case, source, time = self._case, self._source, self._case.event_time
        stated = Reading(source.decimal, source.date_format, source.time_zone, source.nulls)
        reading = self._votes.reading(time, stated)
        self._notes.append(str(reading))
        typing = Typing(case, reading, self._votes)
        first = typing.first_time(block for one in raw for block in one.blocks([time]))
        parts = []
        for at, one in enumerate(filled):
            parts.append(folder / f"{at}.parquet")
            frames = typing.frames(one.name, one.blocks(self._wanted), first)
            _write(parts[-1], map(self._check, frames) if self._check else frames)
            if one.path.is_relative_to(folder):
                one.path.unlink()
        return parts, frozenset().union(*(one.columns for one in raw))

    def _raw(self, file: StoredFile, folder: Path) -> _Raw:
        """The file as Parquet, its values as they stand there, all of which have voted."""
        import pyarrow as pa

        folder.mkdir()
        copy = file.copy_to(folder)
        source, wanted, path = self._source, self._theirs, folder / "raw"
        if file.format == "parquet":
            try:
                raw = self._raw_of(file.name, copy, pl.read_parquet_schema(copy))
                for block in raw.blocks(self._wanted):
                    count(self._votes, self._case, block)
            except (pa.ArrowInvalid, pl.exceptions.PolarsError, OSError) as error:
                raise SourceError(f"{file.name} cannot be read as Parquet: {error}") from error
            return raw
        if file.format == "jsonl":
            lines = JsonLines(copy, file.name, file.compression, source.encoding)
            _write(path, self._counted(lines.frames(wanted)))
            return self._raw_of(file.name, path, lines.columns)
        form = delimited.inspect(
            copy, file.name, file.compression, source.encoding, source.separator
        )
        if not form.header:
            return _Raw(file.name, path, set(), self._own)
        self._notes.append(f"{file.name}: {form}")
        frames = delimited.read(copy, file.name, file.compression, form, wanted, self._notes)
        _write(path, self._counted(frames))
        return self._raw_of(file.name, path, (cell.strip() for cell in form.header))

    def _raw_of(self, name: str, path: Path, columns: Iterable[str]) -> _Raw:
        theirs = set(columns)
        named = {self._rename.get(column, column) for column in theirs}
        absent = [part for part in self._parts if part not in theirs]
        if absent and self._made in self._needed:
            raise SourceError(f"{name} lacks {absent} of date_parts. It has {sorted(theirs)}.")
        if absent or not self._parts:
            return _Raw(name, path, named, self._own)
        return _Raw(name, path, {*named, self._made}, self._own, self._made, self._parts)

    def _counted(self, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for frame in frames:
            named = frame.rename(self._rename, strict=False)
            count(self._votes, self._case, named)
            yield frame

    def _compare(self, raw: list[_Raw]) -> None:
        """Each file has each column that is needed, and of the others either all files or none."""
        some = set().union(*(one.columns for one in raw))
        needed = [name for name in self._wanted if name in self._needed or name in some]
        for one in raw:
            missing = [name for name in needed if name not in one.columns]
            if missing:
                others = one.columns - set(self._wanted)
                near = difflib.get_close_matches(missing[0], others, n=1)
                full = [other.name for other in raw if set(missing) <= other.columns]
                raise SourceError(
                    f"{one.name} lacks {missing}"
                    + (f", which {full[0]} has" if full else "")
                    + (f"; was {missing[0]!r} renamed to {near[0]!r}?" if near else "")
                    + f". It has {sorted(one.columns)}."
                )


def _write(path: Path, frames: Iterable[pl.DataFrame]) -> None:
    """Write the frames one after the other, with the types of the first."""
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for frame in frames:
            table = frame.to_arrow()
            if writer is None:
                writer = stack.enter_context(
                    pq.ParquetWriter(path, table.schema, compression="zstd", version="2.6")
                )
            writer.write_table(table.cast(writer.schema))
