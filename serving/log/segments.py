"""Segments of the prediction log: local files of JSON lines, written before the answer is sent.

The first line is the header, then one line for each request, with the bytes of the request and of
the answer. Nothing is encoded again on the request's path, and ``serving/upload/row_tables.py``
reads a segment without any package."""

import os
import re
import threading
import time
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from blocks.clients.registry import CHAMPION
from serving.package.kinds import check_kind
from serving.package.manifest import Manifest

FORMAT = 1
Kind = Literal["predictions", "feedback"]

_LINE = re.compile(rb'\{"rows":(\d+),"time":(\d+),.*\}\n', re.DOTALL)


class Column(msgspec.Struct, frozen=True):
    """An input in the log. Raises ``ValueError`` for an unknown kind, which msgspec makes an error
    of the header.
    """

    name: str
    kind: str

    def __post_init__(self) -> None:
        check_kind(self.name, self.kind)


class OutputColumn(msgspec.Struct, frozen=True):
    """An output in the log, of a kind of ``serving/package/outputs.py``."""

    name: str
    kind: str


# The outputs in segments of a service from before ``Header.outputs``.
_BINARY = (OutputColumn("score", "number"), OutputColumn("decision", "decision"))


class Header(msgspec.Struct, frozen=True):
    """The common facts of a segment's lines. ``sample_rate`` (0-1] of the requests were kept;
    ``columns`` are the kept inputs, ``outputs`` the answers of the version in its ``role``.
    """

    kind: Kind
    use_case: str
    version: str = ""
    event_time: str = ""
    columns: list[Column] = []
    sample_rate: float = 1.0
    by_column: bool = False
    format: int = FORMAT
    outputs: tuple[OutputColumn, ...] = _BINARY
    role: str = CHAMPION  # the role in segments from before this field
    label: str = "decision"  # of feedback: the kind of output that it is the truth of


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_HEADER = msgspec.json.Decoder(Header)


class Unreadable(ValueError):
    """The segment has no header that this code reads."""


def header_of(
    manifest: Manifest, version: str, role: str = CHAMPION, *, by_column: bool = False
) -> bytes:
    """The header line of a version's predictions in its role. ``by_column``: lines of
    ``serving/scoring/column_lines.py`` follow.
    """
    columns = [
        Column(feature.name, feature.kind)
        for feature in manifest.features
        if feature.name not in manifest.log_leave_out
    ]
    header = Header(
        "predictions",
        manifest.use_case,
        version,
        manifest.event_time,
        columns,
        manifest.log_sample_rate,
        by_column,
        outputs=tuple(OutputColumn(output.name, output.kind) for output in manifest.outputs),
        role=role,
    )
    return msgspec.json.encode(header)


@cache
def feedback_header(use_case: str, label: str = "decision") -> bytes:
    return msgspec.json.encode(Header("feedback", use_case, label=label))


def line_of(request: bytes, answer: bytes, rows: int, place: int | None = None) -> bytes:
    """The line of one request, by the caller at ``place`` while a rollout splits them. Request and
    answer are valid JSON, so a newline in them is between tokens and may become a space.
    """
    return b'{"rows":%d,"time":%d,"request":%b%b%b%b}\n' % (
        rows,
        time.time_ns() // 1000,
        request.replace(b"\n", b" "),
        b',"answer":' if answer else b"",
        answer,
        b"" if place is None else b',"caller_hash":%d' % place,
    )


class Segment:
    """A segment of this process or of a dead one. Only ``append`` is on a request's path.

    ``since`` is the time of its first line (seconds since 1970). With ``durable``, ``sync`` brings
    the appended lines to the disk."""

    def __init__(
        self, path: Path, use_case: str, rows: int, size: int, since: float, durable: bool = False
    ) -> None:
        self.path = path
        self.use_case = use_case
        self.rows = rows
        self.size = size
        self.since = since
        self.opened = time.monotonic()
        self._file = -1
        self._has_torn_line = False
        self._durable = durable
        self._synced = 0
        self._failed = False
        self._syncing = threading.Lock()

    @classmethod
    def create(cls, path: Path, header: bytes, use_case: str, durable: bool = False) -> "Segment":
        """Create the file. Raises ``OSError`` if the disk refuses, and then leaves no file."""
        segment = cls(path, use_case, 0, 0, time.time(), durable)
        segment._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            segment.append(header + b"\n", 0)
            if durable:
                sync_folder(path.parent)
        except OSError:
            segment._release()
            path.unlink()
            raise
        return segment

    @classmethod
    def recover(cls, path: Path) -> "Segment":
        """A segment of a dead process, with the rows of its whole lines counted. Raises
        ``Unreadable``, ``OSError``.
        """
        header, start = read_header(path)
        rows, first = 0, 0
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                if (match := _LINE.fullmatch(line)) is not None:
                    rows += int(match[1])
                    first = first or int(match[2])
        stat = path.stat()
        return cls(path, header.use_case, rows, stat.st_size, first / 1e6 or stat.st_mtime)

    def append(self, lines: bytes, rows: int) -> None:
        """Pass lines to the operating system. Raises ``OSError``, and then leaves nothing of them,
        or a torn line.
        """
        if self._has_torn_line:
            lines = b"\n" + lines
        byte_count = 0
        try:
            byte_count = os.write(self._file, lines)
            if byte_count != len(lines):
                raise OSError(
                    f"only {byte_count} of {len(lines)} bytes were written to {self.path.name}"
                )
        except OSError:
            if byte_count:
                self._take_back(byte_count)
            raise
        self._has_torn_line = False
        self.size += byte_count
        self.rows += rows

    def sync(self, size: int) -> None:
        """Return when the first ``size`` bytes are on the disk: one waiting thread syncs for all.
        Raises ``OSError``.
        """
        with self._syncing:
            if self._synced >= size:
                return
            if self._failed or self._file < 0:
                raise OSError(f"{self.path.name} could not be synced to the disk")
            reached = self.size
            try:
                os.fdatasync(self._file)
            except OSError:
                # the kernel forgets data that it could not write: a second try would succeed and
                # prove nothing
                self._failed = True
                raise
            self._synced = reached

    def close(self) -> None:
        """Close the file. Raises ``OSError`` if a ``durable`` sync fails; it is still closed."""
        try:
            if self._durable and self._file >= 0:
                self.sync(self.size)
        finally:
            with self._syncing:
                self._release()

    def abandon(self) -> None:
        """Close and remove the file, whatever its lines."""
        with self._syncing:
            self._release()
        self.path.unlink(missing_ok=True)

    def _take_back(self, byte_count: int) -> None:
        """Remove a part of a line, which would damage the next one."""
        try:
            os.ftruncate(self._file, self.size)
        except OSError:
            self._has_torn_line = True
            self.size += byte_count

    def _release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def sync_folder(folder: Path) -> None:
    """Bring the folder's entries to the disk: otherwise a power loss may remove a new file. Raises
    ``OSError``.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_header(path: Path) -> tuple[Header, int]:
    """The header, and the position of the first line. Raises ``Unreadable`` if the file does not
    begin with a header of this format.
    """
    with path.open("rb") as file:
        first = file.readline()
    try:
        header = _HEADER.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path.name} has no header: {error}") from error
    if not first.endswith(b"\n") or header.format != FORMAT:
        raise Unreadable(
            f"{path.name} has format {header.format}, but this code reads format {FORMAT}"
        )
    return header, len(first)
