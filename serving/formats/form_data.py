"""Read rows of ``multipart/form-data``: fields and files, as ``curl -F`` and browsers send them.

    curl -F picture=@digit.png -F ward=3 .../predict

A field that comes several times has a value for each row. The parts of an image are files, or texts
as in JSON; all others are texts, and an empty one is null."""

import re
from base64 import b64encode

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from serving.errors import InputError
from serving.formats.columns import ColumnReader
from serving.formats.csv_rows import convert_text
from serving.formats.rows import CheckedRows

_MOST_PARTS = 10_000
# The boundary is in the header too; in the body it stands first (RFC 2046, 5.1.1).
_BOUNDARY = re.compile(rb"--([0-9A-Za-z'()+_,./:=? -]{1,70})\r\n")


def read_form(reader: ColumnReader, body: bytes, max_rows: int) -> CheckedRows:
    """Rows whose columns are the fields of the form. Raises ``InputError`` naming row and field."""
    head = _BOUNDARY.match(body)
    if head is None:
        raise InputError(
            "The body is not multipart/form-data: it must begin with its boundary. Let the client "
            "make the body and the header, as curl -F does."
        )
    columns: dict[str, list[str | None]] = {}
    try:
        for part, content in _parts(body, head[1]):
            columns.setdefault(part.name, []).append(_text(reader, part, content))
    except (MultipartError, UnicodeDecodeError) as error:
        raise InputError(f"The body is not multipart/form-data: {error}.") from error
    return convert_text(reader, columns, max_rows)


def _parts(body: bytes, boundary: bytes) -> list[tuple[MultipartSegment, bytes]]:
    """Each part with its content. Raises ``MultipartError``."""
    parts: list[tuple[MultipartSegment, list[bytes]]] = []
    with PushMultipartParser(boundary, max_segment_count=_MOST_PARTS, strict=True) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                parts.append((event, []))
            elif event:
                parts[-1][1].append(bytes(event))
    return [(part, b"".join(pieces)) for part, pieces in parts]


def _text(reader: ColumnReader, part: MultipartSegment, content: bytes) -> str | None:
    kind = reader.kinds.get(part.name)
    if not content:
        return None
    if part.filename is not None and kind is not None and kind.takes_files:
        return b64encode(content).decode()
    return content.decode()
