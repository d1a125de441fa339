"""Read rows of CSV: a header line with the fields' names, then a line for each row, in UTF-8. An
empty value is null.
"""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Set
from itertools import islice

from serving.errors import InputError
from serving.formats.columns import ColumnReader, Columns, nulls_of
from serving.formats.rows import CheckedRows, check_count, shift_row
from serving.package.kinds import parse_number
from serving.package.values import shorten

_MOST_NAMES = 10_000
_BLOCK_BYTES = 64 * 1024  # decoded and split at once

Table = dict[str, list[str | None]]


def read_csv(reader: ColumnReader, body: bytes, max_rows: int) -> CheckedRows:
    """Rows whose columns are fields, with the event time if it is known. Raises ``InputError``
    naming row and field.
    """
    (piece,) = read_csv_pieces(reader, body, max_rows, max_rows)
    return piece


def read_csv_pieces(
    reader: ColumnReader, body: bytes, max_rows: int, size: int
) -> Iterator[CheckedRows]:
    """The same, ``size`` rows at a time. Raises as ``read_csv`` does, perhaps after some pieces."""
    row = 0
    for table in read_tables(reader, body, max_rows, size):
        try:
            piece = convert_text(reader, table, max_rows)
        except InputError as error:
            raise shift_row(error, row) from error
        yield piece
        row += len(piece.rows)


def convert_text(reader: ColumnReader, columns: Columns, max_rows: int) -> CheckedRows:
    """Columns in which numbers may be written as text. Raises ``InputError``."""
    try:
        return reader.convert(columns, max_rows, text=True)
    except InputError:
        # Either a value is wrong, or a number has a form that JSON lacks: +1, .5, NaN.
        parsed = {
            name: nulls_of(list(map(kind.parse, columns[name])), reader.nullable[name])
            for name, kind in reader.kinds.items()
            if kind.parse is not None and name in columns
        }
        return reader.convert({**columns, **parsed}, max_rows)


def read_tables(
    reader: ColumnReader, body: bytes, max_rows: int, size: int, nulls: Set[str] = frozenset()
) -> Iterator[Table]:
    """The columns by name, as text, ``size`` rows at a time; empty values and ``nulls`` are
    ``None``. Empty lines are left out.

    Raises ``InputError`` for no rows or too many, a row whose length differs from the header's, a
    repeated name, and a first line of values."""
    try:
        lines = _lines(body)
        names = next(lines, [])
        _check_names(reader, names)
        count = 0
        while rows := list(islice(lines, min(size, max_rows + 1 - count))):
            count += len(rows)
            check_count(count, max_rows)
            yield _table(names, rows, count - len(rows), nulls)
        check_count(count, max_rows)
    except UnicodeDecodeError as error:
        raise InputError(
            f"The body is not UTF-8: {error.reason} at byte {_bad_byte(body)}."
        ) from error
    except csv.Error as error:
        raise InputError(f"The body is not CSV: {error}.") from error


def _table(names: list[str], rows: list[list[str]], first: int, nulls: Set[str]) -> Table:
    for number, row in enumerate(rows, first):
        if len(row) != len(names):
            few = "fewer" if len(row) < len(names) else "more"
            raise InputError(
                f"Row {number} has {few} values than the header has names ({len(names)}).", number
            )
    columns = zip(names, zip(*rows, strict=True), strict=True)
    if nulls:
        return {
            name: [None if value in nulls else value or None for value in values]
            for name, values in columns
        }
    return {name: [value or None for value in values] for name, values in columns}


def _check_names(reader: ColumnReader, names: list[str]) -> None:
    if len(set(names)) < len(names):
        repeated_name = Counter(names).most_common(1)[0][0]
        if not _looks_like_values(reader, names):
            raise InputError(
                f"Field {shorten(repeated_name)} appears twice in the header.",
                field=repeated_name[:100],
            )
    if names and _looks_like_values(reader, names):
        expected = (
            "expected the fields' names, such as "
            f"{','.join([*reader.names, reader.event_time])[:200]}"
        )
        raise InputError(
            f"The first line of the CSV is a row of values: {expected}; got "
            f"{shorten(','.join(names))}."
        )


def _looks_like_values(reader: ColumnReader, names: list[str]) -> bool:
    """Whether the first line is a row of values: it has a number, and no field's name."""
    field_names = {*reader.names, reader.event_time}
    return field_names.isdisjoint(names) and any(
        isinstance(parse_number(name), float) for name in names
    )


def _lines(body: bytes) -> Iterator[list[str]]:
    """The values of each non-empty line; the body is decoded block by block.

    Raises ``InputError`` for a far too long first line, ``UnicodeDecodeError``,
    ``csv.Error``."""
    if body.count(b",", 0, body.find(b"\n") if b"\n" in body else len(body)) >= _MOST_NAMES:
        raise InputError(f"The header has too many names; at most {_MOST_NAMES} are allowed.")
    if b'"' in body or (b"\r" in body and body.count(b"\r") != body.count(b"\r\n")):
        text = io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="")
        yield from (line for line in csv.reader(text, strict=True) if line)
        return
    # Nothing is quoted: the same as csv, in a third of its time.
    at, most = len(codecs.BOM_UTF8) if body.startswith(codecs.BOM_UTF8) else 0, -1
    while at < len(body):
        end = body.find(b"\n", at + _BLOCK_BYTES)
        block = body[at : end if end >= 0 else len(body)].decode()
        for line in block.replace("\r\n", "\n").removesuffix("\r").split("\n"):
            if line:
                values = line.split(",", most)
                # A line is split into at most one value more than the header has.
                most = len(values) if most < 0 else most
                yield values
        at = end + 1 if end >= 0 else len(body)


def _bad_byte(body: bytes) -> int:
    """The position at which a body stops being UTF-8."""
    try:
        return len(body.decode())
    except UnicodeDecodeError as error:
        return error.start
