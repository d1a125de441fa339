"""Read rows in the forms that ``mlflow models serve`` accepts: four JSON shapes and CSV. This is
the pure part of ``serving/routes/mlflow_protocol.py``.

The rules are MLflow's for a model with named columns: order and index do not matter, columns that
are not features are left out (the answer names them), numbers may be text or true and false, NaN is
null, a short row of ``dataframe_split`` is filled with nulls, one value stands for a whole column
of ``inputs`` or ``instances``. Values without names are refused: their order would be a guess."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat, zip_longest
from typing import Any

import msgspec

from serving.errors import InputError, MalformedBody
from serving.formats.columns import ColumnReader, columns_of
from serving.formats.csv_rows import convert_text, read_tables
from serving.formats.mlflow.local_times import decode_time, from_milliseconds, read_local
from serving.formats.rows import (
    FLOOD_BYTES,
    MOST_TEXT,
    CheckedRows,
    RowReader,
    check_count,
    explain,
    refuse_flood,
    row_type,
    shift_row,
)

# pandas reads these as null, and so does MLflow with its defaults.
_CSV_NULLS = frozenset(
    (
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
_WORDS = re.compile(rb'"(?:[^"\\]++|\\(?:.|\Z))*+(?:"|\Z)|NaN', re.DOTALL)
_NO_TEXT_HAS_NAN = re.compile(
    rb'(?:[^"]++|"(?:[^"\\N]++|\\(?:.|\Z)|N(?!aN))*+(?:"|\Z))*+\Z', re.DOTALL
)
_SHAPES = ("dataframe_split", "dataframe_records", "instances", "inputs")


def read_csv(
    reader: RowReader, body: bytes, max_rows: int, size: int | None = None
) -> Iterator[CheckedRows]:
    """About ``size`` rows at a time; ``None``: all at once. Raises ``InputError`` naming row and
    field, perhaps after some pieces.
    """
    columns, row = columns_of(reader), 0
    for table in read_tables(columns, body, max_rows, size or max_rows, _CSV_NULLS):
        try:
            request = convert_fields(columns, table, max_rows)
        except InputError as error:
            raise shift_row(error, row) from error
        yield request
        row += len(request.rows)


def read_json(reader: RowReader, body: bytes, max_rows: int) -> CheckedRows:
    """Raises ``InputError`` naming row and field, ``MalformedBody`` if the body is not JSON."""
    refuse_flood(body, max_rows)
    body, members = open_body(body)
    shape = find_shape(members)
    content = bytes(members[shape])
    try:
        if shape == "dataframe_split":
            return _read_split(reader, content, max_rows)
        if content.startswith(b"[") or shape == "dataframe_records":
            return _read_records(reader, body, shape, content, max_rows)
        return _read_columns(reader, body, shape, content, max_rows)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from error


def find_shape(members: Mapping[str, msgspec.Raw]) -> str:
    """The body's shape, one of four. Raises ``InputError``."""
    shapes = [shape for shape in _SHAPES if shape in members]
    if len(shapes) != 1:
        got = f"got {', '.join(shapes)}" if shapes else "got none of them"
        raise InputError(
            f"The body must be a JSON object with exactly one of {', '.join(_SHAPES)}: {got}."
        )
    return shapes[0]


def open_body(body: bytes) -> tuple[bytes, dict[str, msgspec.Raw]]:
    """The body and its members. NaN, which Python and pandas write and JSON does not allow, is
    replaced in the body.

    Raises ``InputError``, ``MalformedBody``.
    """
    try:
        try:
            return body, msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            body = _without_nan(body)
            return body, msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise InputError(
            f"The body must be a JSON object with exactly one of {', '.join(_SHAPES)}."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = "; send a finite number, or null, instead of Infinity" if b"Infinity" in body else ""
        raise MalformedBody(f"The body is not JSON: {error}{hint}.") from error


def _without_nan(body: bytes) -> bytes:
    """The body with null for each NaN outside of texts."""
    if _NO_TEXT_HAS_NAN.match(body):
        return body.replace(b"NaN", b"null")
    if len(body) > FLOOD_BYTES:  # replacing them one by one would take seconds
        raise InputError(
            "A body of this size, with NaN in its texts, must have null for a missing number."
        )
    return _WORDS.sub(lambda word: b"null" if word[0] == b"NaN" else word[0], body)


@lru_cache(maxsize=32)
def _records_of(reader: RowReader, *, exact: bool) -> Any:
    """A decoder of ``[{...}]``; an ``exact`` one refuses columns that are not features.
    ``read_local`` reads the event time.
    """
    row = row_type(
        reader.features,
        reader.event_time,
        reader.dtype,
        forbid_unknown_fields=exact,
        event_time_type=Any,
    )
    return msgspec.json.Decoder(list[row], strict=False, dec_hook=decode_time)  # type: ignore[valid-type]


def _read_records(
    reader: RowReader, body: bytes, shape: str, content: bytes, max_rows: int
) -> CheckedRows:
    columns = columns_of(reader)
    ignored: Sequence[str] = ()
    try:
        try:
            decoded = _records_of(reader, exact=True).decode(content)
        except msgspec.ValidationError:
            decoded = _records_of(reader, exact=False).decode(content)
            ignored = _ignored(columns, _NAMES.decode(content))
    except msgspec.ValidationError as error:
        refusal = _explain(error, body, shape, reader.expected)
        return _read_loosely(columns, content, refusal, max_rows)
    rows = list(map(msgspec.structs.astuple, decoded))
    check_count(len(rows), max_rows)
    times = read_local([row[-1] for row in rows], columns.event_time)
    return columns.wrap_rows(
        [(*row[:-1], time) for row, time in zip(rows, times, strict=True)], ignored
    )


def _ignored(reader: ColumnReader, rows: Iterable[Iterable[str]]) -> list[str]:
    """Names in any of ``rows`` that are not fields, in their order."""
    field_names = {*reader.names, reader.event_time}
    return list(dict.fromkeys(name for row in rows for name in row if name not in field_names))


def _explain(
    error: msgspec.ValidationError, body: bytes, shape: str, expected: Mapping[str, str]
) -> InputError:
    refusal = explain(error, body, shape, expected)
    if refusal.field is None:
        return InputError(
            f"{refusal} The model's columns have names: send records, dataframe_split with "
            "columns, or columns.",
            refusal.row,
        )
    return refusal


def _read_loosely(
    columns: ColumnReader, content: bytes, refusal: InputError, max_rows: int
) -> CheckedRows:
    """Read records again, with numbers that pandas accepts and JSON does not. Raises ``refusal``
    for any other error.
    """
    try:
        rows = msgspec.json.decode(content, type=list[dict[str, Any]])
        fields = {
            name: [row.get(name) for row in rows] for name in [*columns.names, columns.event_time]
        }
        request = convert_fields(columns, fields, max_rows)
        return columns.wrap_rows(request.rows, _ignored(columns, rows))
    except (msgspec.ValidationError, InputError):
        raise refusal from None


def _read_split(reader: RowReader, content: bytes, max_rows: int) -> CheckedRows:
    try:
        split = _SPLIT.decode(content)
    except msgspec.ValidationError as error:
        raise explain_split(error) from error
    check_count(len(split.data), max_rows)
    widest = max(range(len(split.data)), key=lambda row: len(split.data[row]))
    if len(split.data[widest]) < len(split.columns):
        raise InputError(
            f"Row {widest} has {len(split.data[widest])} values for {len(split.columns)} columns.",
            widest,
        )
    check_index(split.index, len(split.data))
    return convert_split(reader, split.columns, split.data, max_rows)


def explain_split(error: msgspec.ValidationError) -> InputError:
    form = '{"columns": ["<field>", ...], "data": [[...], ...]}, and optionally "index"'
    return InputError(f"The body's dataframe_split must be {form}: {str(error)[:200]}.")


def check_index(index: Sequence[Any] | None, rows: int) -> None:
    """Raises ``InputError`` for an index of another length."""
    if index is not None and len(index) != rows:
        raise InputError(f"The body's index has {len(index)} entries for {rows} rows.")


def convert_split(
    reader: RowReader, names: Sequence[str], data: Sequence[Sequence[Any]], max_rows: int
) -> CheckedRows:
    """Rows of values in the order of ``names``; the missing values of a short row are null. Raises
    ``InputError`` naming row and field.
    """
    for row, values in enumerate(data):
        if len(values) > len(names):
            raise InputError(f"Row {row} has {len(values)} values for {len(names)} columns.", row)
    columns: dict[str, Any] = {}
    nulls = [None] * len(data)
    for name, column in zip(names, chain(zip_longest(*data), repeat(nulls)), strict=False):
        if name in columns:
            raise InputError(f"Field {name!r} appears twice among the columns.", field=name)
        columns[name] = column
    return convert_fields(columns_of(reader), columns, max_rows)


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    data: list[list[Any]]
    columns: list[str]
    index: list[Any] | None = None


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_SPLIT = msgspec.json.Decoder(_Split)
_NAMES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def _read_columns(
    reader: RowReader, body: bytes, shape: str, content: bytes, max_rows: int
) -> CheckedRows:
    columns = columns_of(reader)
    if len(body) > FLOOD_BYTES:
        columns.refuse_flood(body, shape, max_rows)
    try:
        members = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.ValidationError as error:
        raise InputError(
            f"The body's {shape} must be columns or records, each value under its field's name."
        ) from error
    count = next((len(values) for values in members.values() if isinstance(values, list)), 1)
    fields = {
        name: members[name] for name in (*columns.names, columns.event_time) if name in members
    }
    check_single_values(fields, count, max_rows)
    spread = {
        name: values if isinstance(values, list) else [values] * count
        for name, values in fields.items()
    }
    return convert_fields(columns, members | spread, max_rows)


def check_single_values(fields: Mapping[str, Any], count: int, max_rows: int) -> None:
    """Check the values that stand for whole columns, of ``count`` rows, before they are repeated:
    each row is scored and logged with its copy. Raises ``InputError``.
    """
    single = {name: value for name, value in fields.items() if not isinstance(value, list)}
    if single:
        check_count(count, max_rows)
    length = count * sum(len(value) for value in single.values() if isinstance(value, str))
    if length > MOST_TEXT:
        names = ", ".join(name for name, value in single.items() if isinstance(value, str))
        raise InputError(
            f"The texts of {names[:200]}, repeated in {count:,} rows, have {length:,} characters; "
            f"at most {MOST_TEXT:,} are accepted: send fewer rows at a time."
        )


def convert_fields(reader: ColumnReader, columns: Mapping[str, Any], max_rows: int) -> CheckedRows:
    """Rows of the fields' columns; other columns are left out and named. Raises ``InputError``."""
    fields = {name: columns[name] for name in reader.names if name in columns}
    for name in reader.dates & fields.keys():
        fields[name] = list(map(from_milliseconds, fields[name]))
    if reader.event_time in columns:
        fields[reader.event_time] = read_local(columns[reader.event_time], reader.event_time)
    request = convert_text(reader, fields, max_rows)
    return reader.wrap_rows(request.rows, _ignored(reader, [columns]))
