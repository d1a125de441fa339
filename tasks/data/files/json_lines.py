"""A file of JSON lines as frames of texts: one object a line."""

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tasks.data.files.streams import opened
from usecases.definition import SourceError

if TYPE_CHECKING:
    import polars as pl

_ROWS = 50_000
_NAMED_LINES = 1000


class JsonLines:
    """The file ``name`` at ``path``. ``columns`` are those that it had as far as it was read."""

    def __init__(
        self, path: Path, name: str, compression: str | None, encoding: str | None
    ) -> None:
        self._path, self._name, self._compression = path, name, compression
        self._encoding = encoding or "utf-8-sig"
        self.columns: set[str] = set()

    def frames(self, wanted: list[str]) -> Iterator["pl.DataFrame"]:
        """Frames of the ``wanted`` columns, all texts, in the order of the file; a column that a
        line lacks is null. Numbers keep their digits.

        Raises ``SourceError`` for a line that is no object, or has a list or an object in it."""
        import polars as pl

        schema = dict.fromkeys(wanted, pl.String)
        rows: list[list[str | None]] = []
        for fields in self._lines(wanted):
            self.columns.update(fields)
            rows.append([fields.get(key) for key in wanted])
            if len(rows) == _ROWS:
                yield pl.DataFrame(rows, schema=schema, orient="row")
                rows = []
        if rows:
            yield pl.DataFrame(rows, schema=schema, orient="row")

    def names(self) -> list[str]:
        """The columns of the first thousand lines, as they come. Raises ``SourceError``."""
        objects = islice(self._objects(), _NAMED_LINES)
        return list(dict.fromkeys(name for _, fields in objects for name in fields))

    def _lines(self, wanted: list[str]) -> Iterator[dict[str, str | None]]:
        for number, fields in self._objects():
            try:
                yield {key: _text(fields[key]) for key in wanted if key in fields}
            except TypeError as error:
                raise self._refusal(number, error) from error

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        decoder = msgspec.json.Decoder(dict[str, Any], float_hook=str)
        with opened(self._path, self._name, self._compression, self._encoding) as stream:
            lines = io.TextIOWrapper(stream, self._encoding)
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    fields = decoder.decode(line)
                except msgspec.MsgspecError as error:
                    raise self._refusal(number, error) from error
                yield number, fields

    def _refusal(self, number: int, error: Exception) -> SourceError:
        return SourceError(
            f"{self._name}, line {number:,}: {error}. Each line must be a JSON object "
            "of texts, numbers, true, false and null."
        )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"a value is {msgspec.json.encode(value)[:60].decode(errors='replace')}")
