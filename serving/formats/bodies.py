"""Read the rows of a body by its media type. Schema, checks and refusals are the same for all."""

import re
from collections.abc import Iterator

from serving.errors import InputError, Refused
from serving.formats.arrow.rows import read_arrow, read_arrow_pieces
from serving.formats.columns import columns_of
from serving.formats.csv_rows import read_csv, read_csv_pieces
from serving.formats.form_data import read_form
from serving.formats.rows import CheckedRows, RowReader, check_count, refuse_flood

JSON = "application/json"
CSV = "text/csv"
FORM = "multipart/form-data"
ARROW = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
_HAS_ROWS = re.compile(rb'\s*\{\s*"rows"')
_HAS_COLUMNS = re.compile(rb'\s*\{\s*"columns"')
_ROW_BYTES = (20, 5000)


def read_rows(reader: RowReader, content_type: str, body: bytes, max_rows: int) -> CheckedRows:
    """Rows of a body. Raises ``Refused`` for an unsupported type, ``InputError`` naming row and
    field.
    """
    if content_type == JSON:
        return read_json(reader, body, max_rows)
    if content_type == CSV:
        return read_csv(columns_of(reader), body, max_rows)
    if content_type in (ARROW, ARROW_FILE):
        return read_arrow(reader, body, max_rows)
    if content_type == FORM:
        return read_form(columns_of(reader), body, max_rows)
    media_types = ", ".join((JSON, CSV, FORM, ARROW))
    raise Refused(
        415,
        "unsupported_media_type",
        f"The body's Content-Type is {content_type[:100]!r}; send {media_types} or {ARROW_FILE}.",
    )


def read_pieces(
    reader: RowReader, content_type: str, body: bytes, max_rows: int, size: int | None
) -> Iterator[CheckedRows]:
    """The same rows, about ``size`` at a time if the form allows it; ``None``: all at once.

    Raises as ``read_rows`` does, perhaps after some pieces.
    """
    if size is None:
        yield read_rows(reader, content_type, body, max_rows)
    elif content_type == CSV:
        yield from read_csv_pieces(columns_of(reader), body, max_rows, size)
    elif content_type in (ARROW, ARROW_FILE):
        yield from read_arrow_pieces(reader, body, max_rows, size)
    elif content_type == JSON and _HAS_ROWS.match(body):
        refuse_flood(body, max_rows)
        count = 0
        for rows in reader.read_pieces(body, size * _row_bytes(body)):
            count += len(rows)
            check_count(count, max_rows)
            yield CheckedRows(rows, b"")
    elif content_type == JSON and _HAS_COLUMNS.match(body):
        yield from columns_of(reader).read_pieces(body, max_rows, size)
    else:
        yield read_rows(reader, content_type, body, max_rows)


def _row_bytes(body: bytes) -> int:
    """The size of the first row, within reason."""
    least, most = _ROW_BYTES
    start = body.find(b"{", 1, most)
    return min(max(body.find(b"}", start, start + most) - start, least), most)


def read_json(reader: RowReader, body: bytes, max_rows: int) -> CheckedRows:
    """Rows of either JSON form. Raises ``InputError`` naming row and field, ``MalformedBody`` if
    the body is not JSON.
    """
    refuse_flood(body, max_rows)
    try:
        rows = reader.read(body)
    except InputError as error:
        if error.field == "columns" and error.row is None:  # the column form
            return columns_of(reader).read(body, max_rows)
        raise
    check_count(len(rows), max_rows)
    return CheckedRows(rows, body)
