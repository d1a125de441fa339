"""Check the messages of an Arrow IPC body before any of them is decoded.

Arrow's own library trusts a body: it decompresses buffers to the size that they declare, and a
batch of nulls may have any length. The numbers of fields are those of Arrow's format files
``Message.fbs``, ``Schema.fbs`` and ``File.fbs``; that library verifies the tables before this
module reads them."""

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from serving.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_BLOCK = struct.Struct("<qi4xq")
_ENDING = len(b"\0\0\0\0ARROW1")  # the footer's length, and the format's name


class _Table:
    """A table of FlatBuffers: its fields by number, each read with the format's type."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._fields = position - self._read("<i", position)

    @classmethod
    def root(cls, data: bytes) -> Self:
        return cls(data, struct.unpack_from("<I", data)[0])

    def has(self, field: int) -> bool:
        return self._find(field) > 0

    def number(self, field: int, form: str) -> int:
        """The field's number, 0 if it is left out."""
        at = self._find(field)
        return self._read(form, at) if at else 0

    def table(self, field: int) -> "_Table":
        return _Table(self._data, self._follow(field))

    def blocks(self, field: int) -> list[tuple[int, int]]:
        """Offset and size in bytes of a file's messages."""
        if not self.has(field):
            return []
        start = self._follow(field)
        count = self._read("<I", start)
        blocks = _BLOCK.iter_unpack(self._data[start + 4 : start + 4 + count * _BLOCK.size])
        return [(offset, metadata + content) for offset, metadata, content in blocks]

    def _follow(self, field: int) -> int:
        at = self._find(field)
        if not at:
            raise ValueError(f"field {field} of a message is missing")
        return at + self._read("<I", at)

    def _find(self, field: int) -> int:
        entry = 4 + 2 * field
        if entry >= self._read("<H", self._fields):
            return 0
        offset = self._read("<H", self._fields + entry)
        return self._position + offset if offset else 0

    def _read(self, form: str, at: int) -> int:
        return struct.unpack_from(form, self._data, at)[0]


def check_stream(body: "pa.Buffer", most_messages: int) -> int:
    """The number of rows that a stream declares. Raises ``InputError`` for unsupported content,
    ``pa.ArrowException``, ``OSError``.
    """
    import pyarrow as pa

    return _count_rows(pa.ipc.MessageReader.open_stream(body), most_messages)


def check_file(body: "pa.Buffer", most_messages: int) -> int:
    """The same for a file whose footer ``pa.ipc.open_file`` has verified."""
    import pyarrow as pa

    end = body.size - _ENDING
    (length,) = struct.unpack_from("<i", body, end)
    footer = _Table.root(bytes(body[end - length : end]))
    _check_order(footer.table(1))
    blocks = [*footer.blocks(2), *footer.blocks(3)]
    if any(offset < 0 or size < 0 or offset + size > body.size for offset, size in blocks):
        raise InputError("The body cannot be read as Arrow: a part lies outside the body.")
    return _count_rows(
        (pa.ipc.read_message(body[offset : offset + size]) for offset, size in blocks),
        most_messages,
    )


def _count_rows(messages: "Iterable[pa.Message]", most_messages: int) -> int:
    rows = 0
    for number, message in enumerate(messages):
        if number > most_messages:
            raise InputError(
                f"The body has more than {most_messages} batches; put the rows into fewer batches."
            )
        rows += _check_message(_Table.root(bytes(message.metadata)))
    return rows


def _check_message(message: _Table) -> int:
    """The rows of a batch; 0 for a message of another kind."""
    kind, content = message.number(1, "<B"), message.table(2)
    if kind == _SCHEMA:
        _check_order(content)
        return 0
    if kind == _DICTIONARY:
        if content.number(2, "<B"):
            raise InputError(
                "The body's dictionaries come in parts (deltas); send each dictionary whole."
            )
        content = content.table(1)
    elif kind != _BATCH:
        raise InputError("The body is not a table: it has another kind of Arrow message.")
    if content.has(3):
        raise InputError("The body's buffers are compressed; write them without compression.")
    length = content.number(0, "<q")
    if length < 0:
        raise InputError("The body cannot be read as Arrow: a batch has a negative length.")
    return length if kind == _BATCH else 0


def _check_order(schema: _Table) -> None:
    if schema.number(0, "<h"):
        raise InputError("The body's numbers are big-endian; write them in little-endian order.")
