"""Read large JSON bodies of ``/invocations``, some rows at a time:
``serving/formats/mlflow/rows.py`` reads each piece as a separate body.

Rows stay bytes until their piece is read, so that their objects do not fill the memory and their
decoding does not keep other threads waiting."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from serving.errors import InputError
from serving.formats.columns import columns_of
from serving.formats.mlflow.rows import (
    check_index,
    check_single_values,
    convert_fields,
    convert_split,
    explain_split,
    find_shape,
    open_body,
    read_json,
)
from serving.formats.rows import CheckedRows, RowReader, check_count, refuse_flood, shift_row, spans

_BETWEEN_OBJECTS = re.compile(rb"\}\s*,\s*(?=\{)")
_BETWEEN_LISTS = re.compile(rb"\]\s*,\s*(?=\[)")
_ROW_BYTES = (20, 5000)
_TRIES = 8


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    data: msgspec.Raw
    columns: list[str]
    index: list[Any] | None = None


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_SPLIT = msgspec.json.Decoder(_Split)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ROWS = msgspec.json.Decoder(list[list[Any]])
_COLUMNS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_json_pieces(
    reader: RowReader, body: bytes, max_rows: int, size: int
) -> Iterator[CheckedRows]:
    """The rows of ``read_json``, about ``size`` at a time. Raises as it does, perhaps after some
    pieces.
    """
    refuse_flood(body, max_rows)
    body, members = open_body(body)
    shape = find_shape(members)
    row = 0
    try:
        for piece in _pieces(reader, body, shape, bytes(members[shape]), max_rows, size):
            row += len(piece.rows)
            check_count(row, max_rows)
            yield piece
    except InputError as error:
        raise shift_row(error, row) from error


def _pieces(
    reader: RowReader, body: bytes, shape: str, content: bytes, max_rows: int, size: int
) -> Iterator[CheckedRows]:
    """The pieces; errors count rows from the start of a piece."""
    if shape == "dataframe_split":
        yield from _split_pieces(reader, content, max_rows, size)
    elif content.startswith(b"["):
        for part in cut_list(content, size, _BETWEEN_OBJECTS):
            yield read_json(reader, b'{"%b":%b}' % (shape.encode(), part), max_rows)
    else:
        yield from _column_pieces(reader, body, shape, content, max_rows, size)


def cut_list(content: bytes, size: int, between: re.Pattern[bytes]) -> Iterator[bytes]:
    """Cut a JSON list into lists of about ``size`` entries, separated by ``between``. The last list
    has all entries that could not be cut.
    """
    least, most = _ROW_BYTES
    first = between.search(content, 0, most)
    step = size * max(first.end() if first else most, least)
    at, stop, tries = 1, step, 0
    end = len(content) - 1
    while stop < end and tries < _TRIES and (cut := between.search(content, stop, end)):
        part = b"[%b]" % content[at : cut.start() + 1]
        try:
            _LIST.decode(part)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # the apparent end of an entry is inside an entry
            stop, tries = cut.end(), tries + 1
            continue
        yield part
        at, stop, tries = cut.end(), cut.end() + step, 0
    yield b"[%b]" % content[at:end]


def _split_pieces(
    reader: RowReader, content: bytes, max_rows: int, size: int
) -> Iterator[CheckedRows]:
    count = widest = 0
    try:
        split = _SPLIT.decode(content)
        for part in cut_list(bytes(split.data), size, _BETWEEN_LISTS):
            data = _ROWS.decode(part)
            count, widest = count + len(data), max(widest, *map(len, data), 0)
            yield convert_split(reader, split.columns, data, max_rows)
    except msgspec.ValidationError as error:
        raise explain_split(error) from error
    if widest < len(split.columns):
        raise InputError(f"No row has more than {widest} values for {len(split.columns)} columns.")
    check_index(split.index, count)


def _column_pieces(
    reader: RowReader, body: bytes, shape: str, content: bytes, max_rows: int, size: int
) -> Iterator[CheckedRows]:
    columns = columns_of(reader)
    columns.refuse_flood(body, shape, max_rows)
    try:
        members = _COLUMNS.decode(content)
    except msgspec.ValidationError:
        members = {}
    fields = {
        name: msgspec.json.decode(members[name])
        for name in (*columns.names, columns.event_time)
        if name in members
    }
    lengths = {len(values) for values in fields.values() if isinstance(values, list)}
    if len(lengths) != 1:
        yield read_json(reader, body, max_rows)  # which explains the error, or repeats one value
        return
    (count,) = lengths
    check_single_values(fields, count, max_rows)
    for at, end in spans(count, size):
        piece = {
            name: values[at:end] if isinstance(values, list) else [values] * (end - at)
            for name, values in fields.items()
        }
        yield convert_fields(columns, members | piece, max_rows)
