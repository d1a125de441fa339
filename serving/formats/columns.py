"""Read rows that come column by column: JSON's column form, CSV, Arrow, tensors. The types of
``serving/formats/rows.py`` check them.

Each of these forms passes its columns to this module and gets the result of the row form: tuples to
score, and the rows as native JSON for the prediction log."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import starmap
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from serving.errors import InputError
from serving.formats.rows import (
    EVENT_TIME,
    FLOOD_BYTES,
    LONGEST_MESSAGE,
    OBJECT,
    CheckedRows,
    RowReader,
    check_count,
    json_names,
    malformed,
)
from serving.package.kinds import KINDS
from serving.package.times import LocalTime, decode_time
from serving.package.values import place_of, show_value, value_type, wrong_value

_WHERE = re.compile(
    r"^(?P<problem>.*?)(?: - at `\$(?:\.columns(?:\.(?P<field>(?:(?! - at "
    r"`).)+?))?(?:\[(?P<row>\d+)\])?)?`)?$",
    re.DOTALL,
)

Columns = Mapping[str, Sequence[Any]]
_Parts = dict[str, msgspec.Raw]


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    columns: _Parts


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_REQUEST = msgspec.json.Decoder(_Request)


class ColumnReader:
    """Reads columns of one schema. ``kinds`` has the kind of each feature, and ``nullable`` whether
    it may be null; ``dates`` are those whose values are local times.
    """

    def __init__(self, reader: RowReader) -> None:
        self.names = [feature.name for feature in reader.features]
        self.event_time = reader.event_time
        self._expected = reader.expected
        self.kinds = {feature.name: KINDS[feature.kind] for feature in reader.features}
        self.nullable = {feature.name: feature.nullable for feature in reader.features}
        self.dates = {name for name, kind in self.kinds.items() if kind.log_type is LocalTime}
        self._packed = {name for name, kind in self.kinds.items() if kind.packed}
        fields: list[tuple[str, Any, Any]] = [
            (
                f"f{i}",
                list[value_type(feature, reader.dtype)] | UnsetType,  # type: ignore[misc]
                UNSET if feature.nullable else msgspec.NODEFAULT,
            )
            for i, feature in enumerate(reader.features)
        ]
        fields.append(("event_time", list[EVENT_TIME] | UnsetType, UNSET))
        names = json_names(reader.features, reader.event_time)
        columns = msgspec.defstruct(
            "Columns", fields, rename=names, kw_only=True, forbid_unknown_fields=True
        )
        self._request: Any = msgspec.defstruct(
            "Request", [("columns", columns)], forbid_unknown_fields=True
        )
        self._decoder: Any = msgspec.json.Decoder(self._request, dec_hook=decode_time)
        types = {feature.name: value_type(feature, reader.dtype) for feature in reader.features} | {
            reader.event_time: EVENT_TIME
        }
        self._lists: dict[str, Any] = {
            name: msgspec.json.Decoder(list[type_], dec_hook=decode_time)  # type: ignore[valid-type]
            for name, type_ in types.items()
        }
        self._row = msgspec.defstruct(
            "Row", [(name, Any) for name, _, _ in fields], rename=names, gc=False
        )

    def read(self, body: bytes, max_rows: int) -> CheckedRows:
        """Rows of ``{"columns": {"distance": [...], ...}}``, all of the same length.

        Raises ``InputError`` naming row and field, ``MalformedBody`` if the body is not JSON.
        """
        if len(body) > FLOOD_BYTES:
            self.refuse_flood(body, "columns", max_rows)
        try:
            return self._transpose(self._decoder.decode(body).columns, max_rows)
        except msgspec.ValidationError as error:
            raise _explain(error, lambda: msgspec.json.decode(body), self._expected) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error, body, "rows") from error

    def read_pieces(self, body: bytes, max_rows: int, size: int) -> Iterator[CheckedRows]:
        """The same, ``size`` rows at a time, the columns one by one: numbers wait as an array.
        Raises as ``read`` does.
        """
        self.refuse_flood(body, "columns", max_rows)
        try:
            request = _REQUEST.decode(body)
            columns = {name: self._column(name, request.columns[name]) for name in request.columns}
            missing = [
                name
                for name, nullable in self.nullable.items()
                if not nullable and name not in columns
            ]
            lengths = {len(values) for values in columns.values()}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
            missing, lengths = [""], set()
        if missing or len(lengths) != 1:
            yield self.read(body, max_rows)  # which explains the error
            return
        (count,) = lengths
        check_count(count, max_rows)
        for at in range(0, count, size):
            yield self._transpose_lists(
                {
                    name: self._values(name, values[at : at + size])
                    for name, values in columns.items()
                }
            )

    def _column(self, name: str, values: msgspec.Raw) -> Any:
        """Raises ``KeyError`` for an unknown field, ``msgspec.DecodeError``."""
        decoded = self._lists[name].decode(values)
        return np.array(decoded, dtype=np.float64) if name in self._packed else decoded

    def _values(self, name: str, values: Any) -> list[Any]:
        return list_numbers(values, self.nullable[name]) if name in self._packed else values

    def _transpose_lists(self, columns: Mapping[str, list[Any]]) -> CheckedRows:
        """Rows of checked columns, all of the same length."""
        count = len(next(iter(columns.values())))
        filled = [columns.get(name) or [None] * count for name in [*self.names, self.event_time]]
        return self.wrap_rows(list(zip(*filled, strict=True)))

    def convert(self, columns: Columns, max_rows: int, *, text: bool = False) -> CheckedRows:
        """Rows of Python values; with ``text``, numbers may be text. Raises ``InputError``."""
        request = {"columns": columns}
        try:
            converted = msgspec.convert(
                request, self._request, strict=not text, dec_hook=decode_time
            )
            return self._transpose(converted.columns, max_rows)
        except msgspec.ValidationError as error:
            raise _explain(error, lambda: request, self._expected) from error

    def _transpose(self, columns: Any, max_rows: int) -> CheckedRows:
        lists = msgspec.structs.astuple(columns)
        lengths = {
            name: len(values)
            for name, values in zip([*self.names, self.event_time], lists, strict=True)
            if values is not UNSET
        }
        count = next(iter(lengths.values()), 0)
        check_count(count, max_rows)
        for name, length in lengths.items():
            if length != count:
                raise InputError(
                    f"Field {name!r} has {length} values, but {next(iter(lengths))!r} has "
                    f"{count}: all fields need the same number.",
                    field=name,
                )
        filled = [[None] * count if values is UNSET else values for values in lists]
        return self.wrap_rows(list(zip(*filled, strict=True)))

    def wrap_rows(
        self, rows: Sequence[tuple[Any, ...]], ignored: Sequence[str] = ()
    ) -> CheckedRows:
        """Wrap checked rows, as ``RowReader.read`` returns them."""
        return CheckedRows(
            rows, lambda: msgspec.json.encode({"rows": list(starmap(self._row, rows))}), ignored
        )

    def refuse_flood(self, body: bytes, key: str, max_rows: int) -> None:
        """Find columns of a large body that are far too long before they are decoded: two bytes of
        JSON become a number of 32.

        Raises ``InputError``; the decoder that knows the schema explains all other errors better.
        """
        try:
            columns = msgspec.json.decode(msgspec.json.decode(body, type=_Parts)[key], type=_Parts)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
            return
        for name in self._packed:
            check_count(bytes(columns.get(name, b"")).count(b",") + 1, max_rows)


@lru_cache(maxsize=32)
def columns_of(reader: RowReader) -> ColumnReader:
    """The column reader of the same schema, made at its first use."""
    return ColumnReader(reader)


def list_numbers(array: np.ndarray, nullable: bool) -> list[Any]:
    """The values of an array, in which NaN means null."""
    values = array.tolist()
    return (
        nulls_of(values, nullable) if array.dtype.kind == "f" and np.isnan(array).any() else values
    )


def nulls_of(values: list[Any], nullable: bool) -> list[Any]:
    """Replace NaN, the null of arrays of numbers, by null if the field may be null; otherwise the
    schema refuses it.
    """
    return [None if value != value else value for value in values] if nullable else values


def _explain(
    error: msgspec.ValidationError, request: Callable[[], Any], expected: Mapping[str, str]
) -> InputError:
    """The refusal in words for the caller; ``request`` returns the request, to quote the value."""
    message = str(error)
    place = _WHERE.match(message) if len(message) <= LONGEST_MESSAGE else None
    if place is None:
        return InputError(f"{message[:200]}.")
    problem, field = place["problem"], place["field"]
    if object_match := OBJECT.match(problem):
        missing = object_match["problem"] == "missing required"
        return InputError(
            f"{place_of(None, object_match['field'])} "
            f"{'is missing' if missing else 'is not a known field'}.",
            field=object_match["field"],
        )
    if field is None:
        return InputError(
            f'The body must be {{"columns": {{"<field>": [...], ...}}}}: '
            f"{problem[:1].lower()}{problem[1:]}.",
            field="columns",
        )
    if place["row"] is None:
        return InputError(
            f"{place_of(None, field)}: {problem[:1].lower()}{problem[1:]}.", field=field
        )
    row = int(place["row"])
    got = show_value(lambda: request()["columns"][field][row])
    return wrong_value(problem, row, field, expected, got)
