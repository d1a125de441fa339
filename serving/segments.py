"""Segments of the prediction log: local files of JSON lines, written before the answer goes out.

The first line is the header, then one line for each request: the request as it came and the answer as it went. Nothing is
encoded again on the request's path, and a segment can be read without any package.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from serving.package import Feature, Manifest

FORMAT = 1
Kind = Literal["predictions", "feedback"]


class Column(msgspec.Struct, frozen=True):
    """An input as the log keeps it: a "number" or a "category"."""

    name: str
    kind: str


class Header(msgspec.Struct, frozen=True):
    """What the lines of a segment have in common."""

    kind: Kind
    use_case: str
    version: str = ""
    event_time: str = ""
    columns: list[Column] = []
    format: int = FORMAT

    def features(self) -> list[Feature]:
        """For reading rows that were checked when they came: nothing is required and no range holds."""
        return [Feature(column.name, column.kind, nullable=True) for column in self.columns]


class Line(msgspec.Struct):
    """One request: its rows, when it was answered (µs since 1970, UTC), and what was asked and answered."""

    rows: int
    time: int
    request: msgspec.Raw
    answer: msgspec.Raw = msgspec.Raw()


class Unreadable(ValueError):
    """The segment has no header that this code reads."""


def header_of(manifest: Manifest, version: str) -> bytes:
    """The header line of a champion's predictions."""
    columns = [Column(feature.name, feature.kind) for feature in manifest.features]
    return msgspec.json.encode(Header("predictions", manifest.use_case, version, manifest.event_time, columns))


def feedback_header(use_case: str) -> bytes:
    return msgspec.json.encode(Header("feedback", use_case))


def line_of(request: bytes, answer: bytes, rows: int) -> bytes:
    """``request`` is valid JSON, so that a newline in it stands between tokens and may become a space."""
    answered = b',"answer":' + answer if answer else b""
    now = time.time_ns() // 1000
    return b'{"rows":%d,"time":%d,"request":%s%s}\n' % (rows, now, request.replace(b"\n", b" "), answered)


class Segment:
    """A segment of this process or of a dead one. ``append`` is the only thing on a request's path."""

    def __init__(self, path: Path, use_case: str, rows: int = 0, size: int = 0) -> None:
        self.path = path
        self.use_case = use_case
        self.rows = rows
        self.size = size
        self.opened = time.monotonic()
        self._file = -1

    @classmethod
    def create(cls, path: Path, header: bytes, use_case: str) -> "Segment":
        """Raises ``OSError`` where the disk refuses."""
        segment = cls(path, use_case)
        segment._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        segment._write(header + b"\n")
        return segment

    @classmethod
    def found(cls, path: Path) -> "Segment":
        """One that was left behind, with its rows counted. Raises ``Unreadable``, ``OSError``."""
        header, _ = _open(path)
        return cls(path, header.use_case, sum(line.rows for line in lines(path) if line is not None), path.stat().st_size)

    def append(self, line: bytes, rows: int) -> None:
        """In the file, and with the operating system, when this returns. Raises ``OSError``; nothing of it stays then."""
        self._write(line)
        self.rows += rows

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, line: bytes) -> None:
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes could be written to {self.path.name}")
        except OSError:
            os.ftruncate(self._file, self.size)  # a part of a line would spoil the next one
            raise
        self.size += len(line)


def read_header(path: Path) -> Header:
    """Raises ``Unreadable`` where the file does not begin with a header of this format."""
    return _open(path)[0]


def lines(path: Path) -> Iterator[Line | None]:
    """The requests in order; ``None`` for each line that cannot be read, such as a last one torn by a crash."""
    _, start = _open(path)
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            try:
                yield decoder.decode(line) if line.endswith(b"\n") else None
            except (msgspec.DecodeError, UnicodeDecodeError):
                yield None


def _open(path: Path) -> tuple[Header, int]:
    with path.open("rb") as file:
        first = file.readline()
    try:
        header = msgspec.json.decode(first, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path.name} has no header: {error}") from error
    if not first.endswith(b"\n") or header.format != FORMAT:
        raise Unreadable(f"{path.name} is of format {header.format}, this code reads {FORMAT}")
    return header, len(first)
