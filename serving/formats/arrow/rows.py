"""Read rows of Arrow IPC, a stream or a file: the format that pyarrow, pandas, Polars, Spark and
DuckDB write without copying a value.

The body's declarations are not trusted: messages are checked before anything is decoded or
allocated (compression, deltas, the number of rows), only listed types are accepted, and every array
is fully validated before its values are read. pyarrow costs 40 MB and is imported at the first such
request."""

import struct
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from serving.errors import InputError
from serving.formats.arrow.arrays import ArrayReader
from serving.formats.arrow.buffers import view_bytes
from serving.formats.arrow.messages import check_file, check_stream
from serving.formats.columns import ColumnReader, columns_of, list_numbers
from serving.formats.rows import (
    LOCAL_TIME,
    MOST_TEXT,
    CheckedRows,
    RowReader,
    check_count,
    shift_row,
    spans,
)
from serving.package.kinds import is_arrow_binary, is_arrow_text
from serving.package.values import shorten

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC = b"ARROW1"
_MOST_BATCHES = 100


@lru_cache(maxsize=32)
def _arrays_of(reader: RowReader) -> ArrayReader:
    return ArrayReader(reader)


def read_arrow(reader: RowReader, body: bytes, max_rows: int) -> CheckedRows:
    """Rows of a body in which each column is a field: numbers, booleans, dates, texts or
    dictionaries of them, the event time a timestamp or text.

    Null is null, and so is NaN if the field may be null. Raises ``InputError`` naming row and
    field."""
    pieces = list(read_arrow_pieces(reader, body, max_rows, max_rows))
    if len(pieces) == 1:
        return pieces[0]
    return columns_of(reader).wrap_rows([row for piece in pieces for row in piece.rows])


def read_arrow_pieces(
    reader: RowReader, body: bytes, max_rows: int, size: int
) -> Iterator[CheckedRows]:
    """The same, at most ``size`` rows at a time. Raises as ``read_arrow`` does, perhaps after some
    pieces.
    """
    import pyarrow as pa

    columns, arrays, row = columns_of(reader), _arrays_of(reader), 0
    lengths = _TextLengths(len(body))
    try:
        schema, batches = _open(pa.py_buffer(body), max_rows)
        plan = arrays.known_plan(schema)
        if plan is None:
            _check_schema(columns, schema)
            plan = arrays.make_plan(schema)
        for batch in batches:
            batch.validate(full=True)
            read = arrays.read(plan, batch)
            if read is not None:
                rows, characters = read
                lengths.add(characters)
                for at, end in spans(len(rows), size):
                    yield columns.wrap_rows(rows if end - at == len(rows) else rows[at:end])
                row += len(rows)
                continue
            for values in _pieces(columns, batch, size, lengths):
                try:
                    piece = columns.convert(values, max_rows)
                except InputError as error:
                    raise shift_row(error, row) from error
                yield piece
                row += len(piece.rows)
    except InputError:
        raise
    except (pa.ArrowException, OSError, EOFError, ValueError, OverflowError, struct.error) as error:
        message = str(error).partition("\n")[0][:200].rstrip(".")
        raise InputError(f"The body cannot be read as Arrow: {message}.") from error


def _open(body: "pa.Buffer", max_rows: int) -> tuple["pa.Schema", Iterator["pa.RecordBatch"]]:
    """The schema and the batches of a body whose messages have been checked."""
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(ensure_native_endian=False, use_threads=False)
    if bytes(body[: len(_MAGIC)]) == _MAGIC:
        file = pa.ipc.open_file(body, options=options)
        check_count(check_file(body, _MOST_BATCHES), max_rows)
        return file.schema, map(file.get_batch, range(file.num_record_batches))
    check_count(check_stream(body, _MOST_BATCHES), max_rows)
    stream = pa.ipc.open_stream(body, options=options)
    return stream.schema, iter(stream)


class _TextLengths:
    """Adds up the texts and files in all rows of a body, in which a dictionary, views, two columns
    or two batches may share one text."""

    def __init__(self, body_bytes: int = 0) -> None:
        self._most = max(body_bytes, MOST_TEXT)
        self._length = 0

    def add(self, length: int) -> None:
        """Raises ``InputError``."""
        self._length += length
        if self._length > self._most:
            raise InputError(
                f"The body's texts have more than {self._most} characters in total; send fewer "
                "rows at a time."
            )


def _pieces(
    reader: ColumnReader, batch: "pa.RecordBatch", size: int, lengths: _TextLengths
) -> Iterator[dict[str, list[Any]]]:
    """Columns of each piece; a dictionary is expanded once, not for each piece."""
    import pyarrow.types as types

    named = list(zip(batch.schema.names, batch.columns, strict=True))
    spelled = {
        name: _list(array, False, lengths)
        for name, array in named
        if types.is_dictionary(array.type)
    }
    for at in range(0, len(batch), size):
        yield {
            name: spelled[name][at : at + size]
            if name in spelled
            else _list(array.slice(at, size), reader.nullable.get(name, False), lengths)
            for name, array in named
        }


def _check_schema(reader: ColumnReader, schema: "pa.Schema") -> None:
    """Raises ``InputError`` for an unknown or repeated column, or a type that the field does not
    accept.
    """
    import pyarrow.types as types

    for name, arrow_type in zip(schema.names, schema.types, strict=True):
        if name == reader.event_time:
            expected = f"timestamps that are {LOCAL_TIME}"
            is_local = types.is_timestamp(arrow_type) and arrow_type.tz is None
            fits = is_local or is_arrow_text(arrow_type)
        elif name in reader.kinds:
            expected = reader.kinds[name].arrow
            fits = reader.kinds[name].fits_arrow(arrow_type)
        else:
            raise InputError(f"Field {shorten(name)} is not a known field.", field=name[:100])
        if not fits:
            raise InputError(f"Field {name!r} must be {expected}; it is {arrow_type}.", field=name)
    if len(set(schema.names)) < len(schema.names):
        raise InputError("A field appears twice in the body's schema.")


def _list(array: "pa.Array", nullable: bool, lengths: _TextLengths) -> list[Any]:
    """Python values of a validated array."""
    import pyarrow as pa
    import pyarrow.types as types

    kind = array.type
    if types.is_null(kind):
        return [None] * len(array)
    if types.is_date(kind):
        return array.cast(pa.timestamp("ms")).to_pylist()
    if types.is_timestamp(kind):
        return array.cast(
            pa.timestamp("us"), safe=kind.unit != "ns"
        ).to_pylist()  # nanoseconds are cut, years that overflow refused
    if types.is_dictionary(kind):
        texts = _texts(array.dictionary, _TextLengths())
        values = [None if code is None else texts[code] for code in array.indices.to_pylist()]
        lengths.add(sum(len(text) for text in values if text))
        return values
    if types.is_integer(kind) or types.is_floating(kind):
        if array.null_count and not nullable:
            return array.to_pylist()
        return list_numbers(array.to_numpy(zero_copy_only=False), nullable)  # a null is NaN there
    if is_arrow_binary(kind):
        return [value and b64encode(value).decode() for value in _texts(array, lengths)]
    return _texts(array, lengths) if is_arrow_text(kind) else array.to_pylist()


def _texts(array: "pa.Array", lengths: _TextLengths) -> list[Any]:
    import pyarrow.compute as compute
    import pyarrow.types as types

    if types.is_string_view(array.type):
        lengths.add(view_bytes(array))
    else:
        lengths.add(compute.sum(compute.binary_length(array)).as_py() or 0)
    return array.to_pylist()
