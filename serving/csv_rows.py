"""Rows as CSV: a header line with the fields' names, then a line for each row, in UTF-8. An empty value is null."""

import csv
import io
from collections import Counter
from collections.abc import Set
from itertools import islice
from typing import Any

from serving.columns import ColumnReader, Columns, nulls_of
from serving.errors import InputError
from serving.rows import Asked, check_count, shown

_MOST_NAMES = 10_000

Table = dict[str, list[str | None]]


def read_csv(reader: ColumnReader, body: bytes, max_rows: int) -> Asked:
    """Rows whose columns are fields, the event time among them if it is known. Raises ``InputError`` naming row and field."""
    return convert_text(reader, read_table(body, max_rows), max_rows)


def convert_text(reader: ColumnReader, columns: Columns, max_rows: int) -> Asked:
    """Columns in which numbers may be written as text. Raises ``InputError``."""
    try:
        return reader.convert(columns, max_rows, text=True)
    except InputError:
        # Either it is wrong, or it is a number as JSON does not write it: +1, .5, NaN.
        numbers = {name: [_number(value) for value in columns[name]] for name in reader.numbers if name in columns}
        known = {name: nulls_of(values, reader.numbers[name]) for name, values in numbers.items()}
        return reader.convert({**columns, **known}, max_rows)


def read_table(body: bytes, max_rows: int, nulls: Set[str] = frozenset()) -> Table:
    """The columns by name, as text; empty values and ``nulls`` are ``None``. Lines with nothing on them are left out.

    Raises ``InputError`` for no row or too many, for a row of another length than the header, and for a name that comes twice.
    """
    try:
        names, rows = _split(body.decode("utf-8-sig"), max_rows)
    except UnicodeDecodeError as error:
        raise InputError(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from error
    except csv.Error as error:
        raise InputError(f"The body is no CSV: {error}.") from error
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise InputError(f"Field {shown(twice)} stands twice in the header.", field=twice[:100])
    check_count(len(rows), max_rows)
    for number, row in enumerate(rows):
        if len(row) != len(names):
            few = "fewer" if len(row) < len(names) else "more"
            raise InputError(f"Row {number} has {few} values than the header has names ({len(names)}).", number)
    columns = zip(names, zip(*rows, strict=True), strict=True)
    if nulls:
        return {name: [None if value in nulls else value or None for value in values] for name, values in columns}
    return {name: [value or None for value in values] for name, values in columns}


def _split(text: str, max_rows: int) -> tuple[list[str], list[list[str]]]:
    """Names and rows, of which no more are made than one over the bound."""
    text = text.replace("\r\n", "\n")
    if text.partition("\n")[0].count(",") >= _MOST_NAMES:
        raise InputError(f"The header has too many names; at most {_MOST_NAMES} can be.")
    if '"' in text or "\r" in text:
        lines = (line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line)
        return next(lines, []), list(islice(lines, max_rows + 1))
    # Nothing is quoted: what csv would do, in a third of its time.
    header, *rest = [line for line in text.split("\n", max_rows + 2) if line] or [""]
    names = header.split(",")
    return names, [line.split(",", len(names)) for line in rest]


def _number(value: Any) -> Any:
    """The number that Python reads in a text, true as 1; the value itself where it reads none."""
    try:
        return float(value) if isinstance(value, bool) or (isinstance(value, str) and "_" not in value) else value
    except ValueError:
        return value
