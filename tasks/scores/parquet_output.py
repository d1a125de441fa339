"""Scores as one Parquet file, in a folder, in a bucket of S3 or in the lake. The file is complete
or absent; its metadata name the run, by which a rerun knows it."""

import json
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import polars as pl

from blocks.lake import Lake
from tasks.data.files.places import place_of
from tasks.scores.request import ScoreError
from tasks.scores.run import Done, Run

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_KEY = b"laurel"
_REFUSED = "refused"


class ParquetOutput:
    """The file that ``to`` names, or ``name`` in it if it is a folder. Refused rows are in a file
    of the same name in the folder ``refused`` beside it."""

    def __init__(self, to: str, name: str) -> None:
        suffix = PurePosixPath(to).suffix
        if "*" in to or "?" in to or (suffix not in ("", ".parquet") and not Path(to).is_dir()):
            raise ScoreError(
                f"{to!r} is no place for scores: name a file that ends with .parquet, or a folder."
            )
        store, key, root = place_of(to, Path.cwd())
        if key in ("", ".") or key.endswith("/") or not key.endswith(".parquet"):
            key = f"{key.rstrip('/')}/{name}".lstrip("/")
        self._store, self._key, self._root = store, key, root
        folder, slash, file = key.rpartition("/")
        self._refused_key = f"{folder}{slash}{_REFUSED}/{file}"
        self._folder = tempfile.TemporaryDirectory(prefix="laurel-scores-")
        self._files = ExitStack()
        self._writers: dict[str, pq.ParquetWriter] = {}

    @property
    def place(self) -> str:
        return f"{self._root}{self._key}"

    @property
    def refused_place(self) -> str:
        return f"{self._root}{self._refused_key}"

    def begin(self, run: Run, overwrite: bool) -> Done | None:
        if self._store.find(self._key) is None:
            return None
        before = _read_metadata(self._store, self._key)
        if before is not None and before["id"] == run.id:
            time = datetime.fromisoformat(before["time"])
            told = {name: before[name] for name in ("id", "use_case", "version", "rows")}
            return Done(Run(**told, time=time), before["scored"], before["refused"])
        if not overwrite:
            other = (
                "is no output of Laurel"
                if before is None
                else f"holds version {before['version']}'s scores of {before['rows']} "
                f"({before['time'][:16]})"
            )
            raise ScoreError(
                f"{self.place} exists and {other}: name another file, or overwrite it "
                "(--overwrite)."
            )
        return None

    def write(self, answers: pl.DataFrame, refused: pl.DataFrame) -> None:
        self._write("answers", answers)
        if len(refused):
            self._write(_REFUSED, refused)

    def _write(self, name: str, rows: pl.DataFrame) -> None:
        import pyarrow.parquet as pq

        table = rows.to_arrow()
        if name not in self._writers:
            writer = pq.ParquetWriter(
                self._path(name), table.schema, compression="zstd", version="2.6"
            )
            self._writers[name] = self._files.enter_context(writer)
        self._writers[name].write_table(table.cast(self._writers[name].schema))

    def publish(self, done: Done) -> None:
        described = {**asdict(done.run), "scored": done.scored, "refused": done.refused}
        content = json.dumps(described | {"time": done.run.time.isoformat()}).encode()
        for writer in self._writers.values():
            writer.add_key_value_metadata({_KEY: content})
        self._files.close()
        if _REFUSED in self._writers:
            self._store.upload(self._refused_key, self._path(_REFUSED))
        elif self._store.find(self._refused_key) is not None:
            # Of a run that is overwritten: it would be taken for this one's.
            empty = pl.DataFrame(schema={"row": pl.Int64, "reason": pl.String})
            empty.write_parquet(self._path(_REFUSED))
            self._store.upload(self._refused_key, self._path(_REFUSED))
        self._store.upload(self._key, self._path("answers"))
        self.discard()

    def discard(self) -> None:
        self._files.close()
        self._folder.cleanup()

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / f"{name}.parquet"


def _read_metadata(store: Lake, key: str) -> Mapping[str, Any] | None:
    """What a run said of itself; ``None`` for another file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with store.open(key) as file:
        try:
            content = (pq.read_metadata(file).metadata or {}).get(_KEY)
        except pa.ArrowInvalid:
            return None
    return None if content is None else json.loads(content)
