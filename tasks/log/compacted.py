"""Days of the log whose many small files became a few large ones, and how a reader knows which
count.

    compacted/<kind>/<use case>/date=<day>/<time>-<random>.parquet    rows of many segments
    compacted/<kind>/<use case>/date=<day>/m-<number>.json            which of them count

The manifest with the highest number says which files count, and which segments each holds: a
segment that a manifest names counts no more, whether it is still there or was uploaded again.
Storage creates a manifest once, so of two that compact a day one succeeds. Rows keep their order
and their columns."""

import base64
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from blocks.clients.objects import Stored
from blocks.lake import Lake

Kind = Literal["predictions", "feedback"]
ROOT = "compacted"


class LogDamaged(ValueError):
    """A file of the prediction log cannot be read; the message names it."""


class CompactedFile(BaseModel):
    """A file that counts. ``newest`` is when the lake got the last of its segments, by its own
    clock. ``packed`` has a line for each of them in their order: name and rows.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    size: int
    newest: datetime
    packed: str

    @property
    def segments(self) -> list[tuple[str, int]]:
        text = zlib.decompress(base64.b64decode(self.packed)).decode()
        pairs = (line.rsplit("\t", 1) for line in text.splitlines())
        return [(name, int(rows)) for name, rows in pairs]


def pack(segments: Iterable[tuple[str, int]]) -> str:
    text = "".join(f"{name}\t{rows}\n" for name, rows in segments)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


class Manifest(BaseModel):
    """The files of a day that count."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    files: tuple[CompactedFile, ...] = ()

    @property
    def replaced(self) -> set[str]:
        return {name for file in self.files for name, _ in file.segments}


@dataclass(frozen=True)
class LogFile:
    """A file of the log that counts: a segment, or one that holds many. ``arrived`` is when the
    lake got it, or the last of those that it holds, by the lake's clock.
    """

    path: str
    arrived: datetime
    compacted: CompactedFile | None = None

    @property
    def day(self) -> str:
        return day_of(self.path)

    @cached_property
    def _segments(self) -> tuple[list[str], np.ndarray]:
        """Their names, and the position of the first row of each."""
        if self.compacted is None:
            return [PurePosixPath(self.path).stem], np.zeros(1, np.int64)
        names, rows = zip(*self.compacted.segments, strict=True)
        return list(names), np.concatenate([[0], np.cumsum(rows, dtype=np.int64)[:-1]])

    @property
    def names(self) -> list[str]:
        """Its segments in their order."""
        return self._segments[0]

    def place(self, offset: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Of ``rows`` rows from ``offset`` on: the number of each row's segment in ``names``, and
        the row's line in that segment.
        """
        starts = self._segments[1]
        positions = np.arange(offset, offset + rows)
        numbers = np.searchsorted(starts, positions, side="right") - 1
        return numbers, positions - starts[numbers]


def day_of(path: str) -> str:
    """The day whose folder a file is in; empty for one in no day's folder
    (serving/upload/parquet.py).
    """
    return next(
        (part.removeprefix("date=") for part in path.split("/") if part.startswith("date=")), ""
    )


def folder_of(kind: str, use_case: str, day: str | None = None) -> str:
    return f"{ROOT}/{kind}/{use_case}" + (f"/date={day}" if day else "")


def manifest_path(folder: str, number: int) -> str:
    return f"{folder}/m-{number:06d}.json"


def number_of(path: str) -> int | None:
    """Of a manifest; ``None`` for any other object."""
    name = PurePosixPath(path)
    digits = name.stem.removeprefix("m-")
    return int(digits) if name.suffix == ".json" and digits.isdigit() else None


def latest(listed: Sequence[Stored]) -> dict[str, Stored]:
    """By day, the manifest that counts."""
    return {
        day_of(stored.key): stored
        for stored in sorted(listed, key=lambda stored: number_of(stored.key) or 0)
        if number_of(stored.key) is not None
    }


def read_manifest(store: Lake, path: str) -> Manifest:
    """Raises ``LogDamaged``, ``LakeAway``, ``FileNotFoundError``."""
    try:
        return Manifest.model_validate_json(store.read(path))
    except ValidationError as error:
        raise LogDamaged(
            f"{path} is not a manifest of a compacted day ({error.errors()[0]['msg']}). Restore it "
            "from a backup."
        ) from error


def counting(
    segments: Iterable[Stored], manifests: Mapping[str, Stored], store: Lake
) -> Iterator[LogFile]:
    """The files that count: what each day's manifest names, and the ``segments`` that none names.
    Raises ``LogDamaged``, ``LakeAway``, ``FileNotFoundError``.
    """
    by_day: dict[str, list[Stored]] = {}
    for segment in segments:
        by_day.setdefault(day_of(segment.key), []).append(segment)
    for day in {*by_day, *manifests}:
        there = by_day.get(day, [])
        if day in manifests:
            manifest = read_manifest(store, manifests[day].key)
            folder = PurePosixPath(manifests[day].key).parent
            for file in manifest.files:
                yield LogFile(f"{folder}/{file.name}", file.newest, file)
            replaced = manifest.replaced if there else set[str]()
            there = [one for one in there if PurePosixPath(one.key).stem not in replaced]
        for segment in there:
            yield LogFile(segment.key, segment.modified)


def last_arrival(store: Lake, kind: Kind, use_case: str) -> datetime | None:
    """When the lake last got a segment, by its own clock; ``None`` if there was none. Raises
    ``LogDamaged``, ``LakeAway``.
    """
    last = store.newest(f"{kind}/{use_case}")
    listed = store.stored(folder_of(kind, use_case))
    counts = {manifest.key for manifest in latest(listed).values()}
    for stored in sorted(listed, key=lambda stored: stored.modified, reverse=True):
        if last is not None and stored.modified <= last:
            break  # what it holds came before it was written
        if stored.key in counts:
            with suppress(FileNotFoundError):  # a later one has the same segments
                times = [file.newest for file in read_manifest(store, stored.key).files]
                last = max([*times, *([last] if last else [])], default=None)
    return last


def as_date(day: str) -> date | None:
    try:
        return date.fromisoformat(day)
    except ValueError:
        return None
