"""Makes few large files of the many small ones of a closed day, at no moment of which a reader
misses a row or reads it twice.

1. The rows of a day's segments are written to new files, and these are read back.
2. A manifest with the next number is created: from then on the new files count, and the segments
   that they hold do not. Of two that compact the same day storage lets one do it; the other stops.
3. The replaced segments are deleted by a later call, ``GRACE`` after the manifest was created.

A call that is killed between leaves files that count for nobody, which a later call deletes. Only
files of the same columns share a new one, so each row keeps what its file said of it."""

import hashlib
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from blocks.clients.objects import Stored
from blocks.lake import Lake, LakeAway
from tasks.log.compacted import (
    CompactedFile,
    Kind,
    LogDamaged,
    Manifest,
    as_date,
    day_of,
    folder_of,
    manifest_path,
    number_of,
    pack,
    read_manifest,
)

if TYPE_CHECKING:
    from pyarrow import Schema, Table

KINDS: tuple[Kind, ...] = ("predictions", "feedback")
SETTLED = timedelta(hours=1)  # a segment this old is complete, whatever the clocks say
GRACE = timedelta(hours=6)  # longer than any reader reads what it has listed
MOST_SEGMENTS = 100_000  # in one call: an old log is compacted in some days, the newest first
_SMALL_BYTES = 32_000_000  # a larger file gains nothing
_FILE_BYTES = 128_000_000
_GROUP_BYTES = 32_000_000
_MOST_TABLES = 200
_MOST_FILES = 8  # compacted files of a day, before they are merged too
_READERS = 4
_WATCHED = timedelta(days=7)  # what a killed or slower call has left is found within this time


@dataclass(frozen=True)
class Compacted:
    """What a call did to the log of one kind. ``lost`` are days that another call compacted at the
    same time; ``problems`` say which days stay as they are, and why.
    """

    days: int = 0
    segments: int = 0
    rows: int = 0
    deleted: int = 0
    freed: int = 0
    lost: int = 0
    problems: tuple[str, ...] = ()

    def __add__(self, other: "Compacted") -> "Compacted":
        names = self.__dataclass_fields__
        return Compacted(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True)
class _Day:
    """A day as it is listed: its segments, and all that is below its compacted folder."""

    folder: str
    segments: tuple[Stored, ...]
    made: tuple[Stored, ...]

    @property
    def manifests(self) -> list[tuple[int, Stored]]:
        numbered = [(number_of(stored.key), stored) for stored in self.made]
        return sorted((number, stored) for number, stored in numbered if number is not None)

    def may_change(self, now: datetime) -> bool:
        """Whether there may be something to do, by the listing alone: of a year of days most have
        nothing."""
        small = [
            stored
            for stored in self.made
            if number_of(stored.key) is None and stored.size < _SMALL_BYTES
        ]
        return (
            bool(self.segments)
            or len(small) >= _MOST_FILES
            or len(self.manifests) > 1
            or any(now - stored.modified < _WATCHED for stored in self.made)
        )


def compact(store: Lake, kind: Kind, use_case: str, now: datetime) -> Compacted:
    """Compact the days before the one of ``now`` (UTC), and delete what earlier calls replaced.
    A day that is damaged stays as it is. Raises ``LakeAway``, ``OSError`` if this machine's disk is
    full.
    """
    listed, done = _days(store, kind, use_case, now), Compacted()
    days = [day for day in listed if day.may_change(now)]
    for work in (_sweep, _compact_day):  # all room is made before some is taken
        for day in reversed(list(days)):  # drift checks read the latest first
            if done.segments >= MOST_SEGMENTS:
                break
            try:
                done += work(store, day, now)
            except LogDamaged as damage:
                done += Compacted(problems=(str(damage),))
                days.remove(day)
            except FileNotFoundError:  # another call deletes what this one reads
                done += Compacted(lost=1)
    return done


def _days(store: Lake, kind: Kind, use_case: str, now: datetime) -> Iterable[_Day]:
    folders: dict[str, tuple[list[Stored], list[Stored]]] = {}
    for place, prefix in enumerate((f"{kind}/{use_case}", folder_of(kind, use_case))):
        for stored in store.stored(prefix):
            day = as_date(day_of(stored.key))
            if day is not None and day < now.date():
                folders.setdefault(day.isoformat(), ([], []))[place].append(stored)
    for name, (segments, made) in sorted(folders.items()):
        yield _Day(folder_of(kind, use_case, name), tuple(segments), tuple(made))


def _compact_day(store: Lake, day: _Day, now: datetime) -> Compacted:
    number, before = 0, Manifest()
    if day.manifests:
        number, stored = day.manifests[-1]
        before = read_manifest(store, stored.key)
    replaced = before.replaced
    small = [
        segment
        for segment in day.segments
        if PurePosixPath(segment.key).stem not in replaced
        and segment.size < _SMALL_BYTES
        and now - segment.modified >= SETTLED
    ]
    small_files = [file for file in before.files if file.size < _SMALL_BYTES]
    merged = small_files if len(small_files) >= _MOST_FILES else []
    if len(small) < 2 and not merged:
        return Compacted()
    files = _write_files(store, day.folder, small, merged)
    stays = tuple(file for file in before.files if file not in merged)
    manifest = Manifest(files=(*stays, *files))
    try:
        store.create(manifest_path(day.folder, number + 1), manifest.model_dump_json().encode())
    except FileExistsError:
        return Compacted(lost=1)
    rows = sum(file.rows for file in files) - sum(file.rows for file in merged)
    return Compacted(days=1, segments=len(small), rows=rows)


def _sweep(store: Lake, day: _Day, now: datetime) -> Compacted:
    """Delete the segments that an old enough manifest replaced, and old files that no manifest
    names. Raises ``LogDamaged`` if a file that counts is missing: the segments are then needed.
    """
    old = [numbered for numbered in day.manifests if now - numbered[1].modified >= GRACE]
    needed: set[str] = set()
    for number, stored in day.manifests:
        if not old or number >= old[-1][0]:
            needed |= {stored.key}
            files = read_manifest(store, stored.key).files
            needed |= {f"{day.folder}/{file.name}" for file in files}
    useless = [
        stored for stored in day.made if stored.key not in needed and now - stored.modified >= GRACE
    ]
    if old:
        if missing := needed - {stored.key for stored in day.made}:
            raise LogDamaged(
                f"{min(missing)} is missing, but a manifest beside it counts on it. Restore it "
                "from a backup: docs/operations.md."
            )
        replaced = read_manifest(store, old[-1][1].key).replaced
        useless += [one for one in day.segments if PurePosixPath(one.key).stem in replaced]
    store.remove([stored.key for stored in useless])
    return Compacted(deleted=len(useless), freed=sum(stored.size for stored in useless))


@dataclass
class _Part:
    """A file of rows to be copied: of a segment, or of a compacted one with many."""

    path: str
    size: int
    newest: datetime
    segments: list[tuple[str, int]]
    table: "Table"


def _write_files(
    store: Lake, folder: str, segments: Sequence[Stored], merged: Sequence[CompactedFile]
) -> list[CompactedFile]:
    """The rows of the segments and of the files in new files, which are read back."""

    def fetch(segment: Stored) -> _Part:
        table = _read_table(store, segment.key)
        name = PurePosixPath(segment.key).stem
        return _Part(segment.key, segment.size, segment.modified, [(name, len(table))], table)

    writers: dict[Any, _Writer] = {}
    written: list[CompactedFile] = []

    def add(part: _Part) -> None:
        schema = part.table.schema.remove_metadata()
        key = tuple((field.name, str(field.type)) for field in schema)
        if key in writers and writers[key].size >= _FILE_BYTES:
            written.append(writers.pop(key).finish(store, folder))
        if key not in writers:
            writers[key] = _Writer(schema, scratch / secrets.token_hex(8))
        writers[key].add(part)

    with _scratch() as scratch:
        try:
            for file in merged:
                path = f"{folder}/{file.name}"
                add(_Part(path, file.size, file.newest, file.segments, _read_table(store, path)))
            with ThreadPoolExecutor(_READERS) as readers:
                for start in range(0, len(segments), _MOST_TABLES):  # so that few wait in memory
                    for part in readers.map(fetch, segments[start : start + _MOST_TABLES]):
                        add(part)
            return [*written, *(writer.finish(store, folder) for writer in writers.values())]
        finally:
            for writer in writers.values():
                writer.close()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for the new files. Raises ``OSError`` that says what to do if the disk is full."""
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryDirectory(prefix="laurel-tidy-") as scratch:
            yield Path(scratch)
    except (LakeAway, FileNotFoundError):
        raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"A day's new files cannot be written in {folder} ({error.strerror or error}). The day "
            "stays as it is. Free some space there, or let TMPDIR name another folder.",
        ) from error


def _read_table(store: Lake, path: str) -> "Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not ``read_table``, which makes a column of the path's date=.
        return pq.ParquetFile(pa.BufferReader(store.read(path))).read(use_threads=False)
    except pa.ArrowException as error:
        raise LogDamaged(
            f"{path} is not a complete Parquet file ({error}). Restore it, or move it out of the "
            "prediction log. Its day stays as it is."
        ) from error


class _Writer:
    """Writes rows of one schema into one file on this machine, and then into the lake."""

    def __init__(self, schema: "Schema", path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        repeated = [
            field.name
            for field in schema
            if field.name != "id"
            and (pa.types.is_string(field.type) or field.name == "sample_rate")
        ]
        self.size = 0
        self._path, self._schema = path, schema
        self._file = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated)
        self._segments: list[tuple[str, int]] = []
        self._newest = datetime.min.replace(tzinfo=UTC)
        self._waiting: list[Table] = []
        self._rows = self._bytes = 0

    def add(self, part: _Part) -> None:
        import pyarrow as pa

        self.size += part.size
        self._segments += part.segments
        self._newest = max(self._newest, part.newest)
        self._rows += len(part.table)
        self._waiting.append(part.table.replace_schema_metadata(None))
        self._bytes += part.table.nbytes
        if self._bytes >= _GROUP_BYTES:
            self._flush()
        elif len(self._waiting) >= _MOST_TABLES:
            # A table of a few rows takes twenty times the memory of its values.
            self._waiting = [pa.concat_tables(self._waiting).combine_chunks()]

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._file.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._bytes = [], 0

    def close(self) -> None:
        """Give the file up, if it is not finished."""
        with suppress(OSError):
            self._file.close()

    def finish(self, store: Lake, folder: str) -> CompactedFile:
        """Put the file into the lake under a name of its own, and read it back. Raises
        ``LogDamaged`` if the lake gives back something else.
        """
        self._flush()
        self._file.close()
        digest, size = _digest(self._path.open("rb")), self._path.stat().st_size
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(8)}.parquet"
        store.upload(f"{folder}/{name}", self._path)
        self._path.unlink()
        if _digest(store.open(f"{folder}/{name}")) != digest:
            raise LogDamaged(
                f"The lake gives back {folder}/{name} otherwise than it was written. The day stays "
                "as it is: look after the lake's disk."
            )
        return CompactedFile(
            name=name,
            rows=self._rows,
            size=size,
            newest=self._newest,
            packed=pack(self._segments),
        )


def _digest(stream: Any) -> str:
    digest = hashlib.sha256()
    with stream:
        while part := stream.read(4_000_000):
            digest.update(part)
    return digest.hexdigest()
