"""Read rows of callers: JSON decoded into typed rows, checked in the same pass, refused by row and
field.

The types are made from a package's features, so that msgspec checks presence, type and range in C:
a row of 27 fields costs about a microsecond. Its errors are translated for the caller, with the
value that was sent."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from serving.errors import InputError, MalformedBody
from serving.package.kinds import expected_values
from serving.package.manifest import Feature
from serving.package.times import decode_time
from serving.package.values import place_of, show_value, value_type, wrong_value

_WHERE = re.compile(
    r"^(?P<problem>.*?)(?: - at "
    r"`\$(?:\.(?P<list>\w+))?(?:\[(?P<row>\d+)\])?(?:\.(?P<field>(?:(?! - at `).)+))?`)?$",
    re.DOTALL,
)
OBJECT = re.compile(
    r"^Object (?P<problem>missing required|contains unknown) field `(?P<field>.+)`$", re.DOTALL
)
EVENT_TIME: Any = Annotated[datetime, Meta(tz=False)] | None
LONGEST_MESSAGE = 1000
# whole texts, and the openings of objects and lists
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\(?:.|\Z))*+(?:"|\Z)|[{\[]', re.DOTALL)
_QUOTE = ord('"')
_OPEN_AROUND_ROWS = 8
_BEFORE_ROWS = re.compile(rb'\s*\{\s*"rows"\s*:\s*\[\s*(?=\{)')
_BETWEEN_ROWS = re.compile(rb"\}\s*,\s*(?=\{)")
_AFTER_ROWS = re.compile(rb"(?<=\})\s*\]\s*\}\s*\Z")
_LONGEST_TAIL = 1000
_TRIES = 8
FLOOD_BYTES = 4 * 2**20  # the rows of a larger body are counted before it is decoded
MOST_TEXT = 16 * 2**20  # characters in all rows, where rows may share a text that is sent once
LOCAL_TIME = "a local date and time without a zone, such as '2013-06-01T15:00:00'"


class CheckedRows(msgspec.Struct):
    """Checked rows of ``RowReader.read``, and the same rows as native JSON for the prediction log.

    ``source`` is the JSON, or makes it at its first use: many rows are logged without it.
    ``ignored`` are names of columns that are not fields."""

    rows: Sequence[tuple[Any, ...]]
    source: bytes | Callable[[], bytes]
    ignored: Sequence[str] = ()

    @property
    def json(self) -> bytes:
        if not isinstance(self.source, bytes):
            self.source = self.source()
        return self.source


class RowReader:
    """Decodes ``{"rows": [{...}]}`` of one schema: ``rows`` are tuples in the order of
    ``features``, then event times.
    """

    def __init__(
        self, features: Sequence[Feature], event_time: str, dtype: str = "float64"
    ) -> None:
        self.features = tuple(features)
        self.event_time = event_time
        self.dtype = dtype
        self.expected = expected_values(self.features) | {event_time: LOCAL_TIME}
        row = row_type(self.features, event_time, dtype, forbid_unknown_fields=True)
        self._list_decoder = msgspec.json.Decoder(list[row], dec_hook=decode_time)  # type: ignore[valid-type]
        rows: Any = Annotated[list[row], Meta(min_length=1)]  # type: ignore[valid-type]
        request: Any = msgspec.defstruct("Request", [("rows", rows)], forbid_unknown_fields=True)
        self._decoder = msgspec.json.Decoder(request, dec_hook=decode_time)

    def read(self, body: bytes) -> list[tuple[Any, ...]]:
        """Rows as tuples: the features' values (null: ``None``), and last the event time or
        ``None``.

        Raises ``InputError`` naming row and field, ``MalformedBody`` if the body is not JSON.
        """
        try:
            return list(map(msgspec.structs.astuple, self._decoder.decode(body).rows))
        except msgspec.ValidationError as error:
            raise explain(error, body, "rows", self.expected) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error, body, "rows") from error

    def read_pieces(self, body: bytes, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """The same, about ``size`` bytes of the body at a time. Raises as ``read`` does, perhaps
        after some pieces.
        """
        head, tail = (
            _BEFORE_ROWS.match(body),
            _AFTER_ROWS.search(body, max(0, len(body) - _LONGEST_TAIL)),
        )
        if head is None or tail is None:
            yield self.read(body)
            return
        at, end, row = head.end(), tail.start(), 0
        while at < end:
            try:
                rows, at = self._read_piece(body, at, size, end)
            except InputError as error:
                raise shift_row(error, row) from error
            yield rows
            row += len(rows)

    def _read_piece(
        self, body: bytes, at: int, size: int, end: int
    ) -> tuple[list[tuple[Any, ...]], int]:
        """Rows from ``at`` on, and the position of the next one."""
        stop = at + size
        for _ in range(_TRIES):
            cut = _BETWEEN_ROWS.search(body, stop, end) if stop < end else None
            if cut is None:
                break
            part = b"[%b]" % body[at : cut.start() + 1]
            try:
                return list(
                    map(msgspec.structs.astuple, self._list_decoder.decode(part))
                ), cut.end()
            except msgspec.ValidationError as error:
                raise explain(error, b'{"rows":%b}' % part, "rows", self.expected) from error
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                stop = cut.end()  # the apparent end of a row is in a text, or this is not JSON
        return self.read(b'{"rows":[%b' % body[at:]), end


def shift_row(error: InputError, rows: int) -> InputError:
    """The refusal of a piece of the body that follows ``rows`` rows."""
    if error.row is None:
        return error
    message = str(error).replace(f"ow {error.row}", f"ow {error.row + rows}", 1)
    return InputError(message, error.row + rows, error.field)


def row_type(
    features: Sequence[Feature],
    event_time: str,
    dtype: str,
    *,
    forbid_unknown_fields: bool,
    event_time_type: Any = EVENT_TIME,
) -> Any:
    """A struct of one row, decoded by the names in JSON: ``astuple`` gives the features' values in
    order, then the event time.
    """
    fields: list[tuple[str, Any, Any]] = [
        (f"f{i}", value_type(feature, dtype), None if feature.nullable else msgspec.NODEFAULT)
        for i, feature in enumerate(features)
    ]
    fields.append(("event_time", event_time_type, None))
    # Required fields may follow optional ones, which only keyword fields allow; astuple keeps the
    # order of ``fields``.
    return msgspec.defstruct(
        "Row",
        fields,
        rename=json_names(features, event_time),
        kw_only=True,
        forbid_unknown_fields=forbid_unknown_fields,
        gc=False,
    )


def json_names(features: Sequence[Feature], event_time: str) -> dict[str, str]:
    """Names in JSON of the structs' fields, which must be identifiers."""
    return {f"f{i}": feature.name for i, feature in enumerate(features)} | {
        "event_time": event_time
    }


def explain(
    error: msgspec.ValidationError, body: bytes, key: str, expected: Mapping[str, str]
) -> InputError:
    """The same refusal in words for the caller: row, field, expected value and received value.

    ``expected`` describes a field's values if msgspec's own words are not enough.
    """
    message = str(error)
    place = _WHERE.match(message) if len(message) <= LONGEST_MESSAGE else None
    if place is None:  # a field's name that fills the body is not returned
        return InputError(f"{message[:200]}.")
    problem, field = place["problem"], place["field"]
    row = int(place["row"]) if place["row"] is not None else None
    if object_match := OBJECT.match(problem):
        missing = object_match["problem"] == "missing required"
        field = object_match["field"]
        problem = "is missing" if missing else "is not a known field"
        return InputError(f"{place_of(row, field)} {problem}.", row, field)
    if field is None and row is None:
        problem = problem[:1].lower() + problem[1:]
        return InputError(
            f'The body must be {{"{key}": [{{...}}, ...]}} with at least one row: {problem}.',
            field=place["list"],
        )
    return wrong_value(problem, row, field, expected, _value(body, key, row, field))


def check_count(rows: int, max_rows: int) -> None:
    """Raises ``InputError`` for no rows, and for more rows than are allowed at a time."""
    if not rows:
        raise InputError("The body has no rows; at least one is needed.")
    if rows > max_rows:
        raise InputError(f"The body has too many rows; send at most {max_rows} rows at a time.")


def refuse_flood(body: bytes, max_rows: int) -> None:
    """Find far too many rows in a large body before they are decoded: three bytes of JSON become a
    row of hundreds.

    Raises ``InputError``.
    """
    most = max_rows + _OPEN_AROUND_ROWS
    if len(body) <= FLOOD_BYTES or body.count(b"{") + body.count(b"[") <= most:
        return
    openings = (1 for token in _TOKENS.finditer(body) if body[token.start()] != _QUOTE)
    if sum(islice(openings, most + 1)) > most:
        raise InputError(
            f"The body has too many rows or nested values; send at most {max_rows} rows at a time."
        )


def malformed(error: Exception, body: bytes, key: str) -> InputError:
    """The refusal of a body that is not JSON; if NaN or Infinity, which some writers emit, is the
    only reason, it names the field.
    """
    if len(body) <= FLOOD_BYTES and (b"NaN" in body or b"Infinity" in body):
        try:
            content = json.loads(body)
            for number, row in enumerate(content.get(key, [])):
                for field, value in row.items():
                    if isinstance(value, float) and not math.isfinite(value):
                        field.encode()  # half of a surrogate pair is not text: ValueError
                        return InputError(
                            f"{place_of(number, field)}: expected a finite number or null, "
                            f"got {value}.",
                            number,
                            field,
                        )
            return MalformedBody(
                "The body has NaN or Infinity, which JSON does not allow: send null for a "
                "missing number."
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass  # not JSON in any dialect: refused below
    return MalformedBody(f"The body is not JSON: {error}.")


def _value(body: bytes, key: str, row: int | None, field: str | None) -> str | None:
    """The value at that place, shortened; ``None`` if it cannot be shown."""
    if row is None or field is None:
        return None
    return show_value(lambda: msgspec.json.decode(body)[key][row][field])


def spans(count: int, size: int) -> list[tuple[int, int]]:
    """Start and end of pieces of at most ``size``."""
    return [(at, min(at + size, count)) for at in range(0, count, size)]
