"""Rows as callers send them: JSON decoded into typed rows, checked in the same pass, refused by row and field.

The types are made from a package's features, so that msgspec checks presence, type and range in C: a row of 27 fields
costs about a microsecond. What it says of a wrong one is told again in the caller's words, with the value that came.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from serving.errors import InputError, MalformedBody
from serving.package import Feature

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?:\.(?P<list>\w+))?(?:\[(?P<row>\d+)\])?(?:\.(?P<field>.+))?`)?$", re.DOTALL)
_OBJECT = re.compile(r"^Object (?P<what>missing required|contains unknown) field `(?P<field>.+)`$", re.DOTALL)
LOCAL_TIME = "a local date and time without a zone, such as '2013-06-01T15:00:00'"


class RowReader:
    """Decodes ``{"rows": [{...}]}`` of one schema: ``rows`` are tuples in the order of ``features``, then event times."""

    def __init__(self, features: Sequence[Feature], event_time: str, dtype: str = "float64") -> None:
        self._names = [feature.name for feature in features]
        self._event_time = event_time
        fields: list[tuple[str, Any, Any]] = [
            (f"f{i}", _type(feature, dtype), None if feature.nullable else msgspec.NODEFAULT) for i, feature in enumerate(features)
        ]
        fields.append(("event_time", Annotated[datetime, Meta(tz=False)] | None, None))
        renamed = {f"f{i}": name for i, name in enumerate(self._names)} | {"event_time": event_time}
        # Required fields may follow optional ones, which only keyword fields allow; the order of astuple stays ours.
        row = msgspec.defstruct("Row", fields, rename=renamed, kw_only=True, forbid_unknown_fields=True, gc=False)
        listed: Any = Annotated[list[row], Meta(min_length=1)]  # type: ignore[valid-type]
        request: Any = msgspec.defstruct("Request", [("rows", listed)], forbid_unknown_fields=True)
        self._decoder = msgspec.json.Decoder(request)

    def read(self, body: bytes) -> list[tuple[Any, ...]]:
        """Rows as tuples: the features' values (null: ``None``), and last the event time or ``None``.

        Raises ``InputError`` naming row and field, ``MalformedBody`` where the body is no JSON.
        """
        try:
            return list(map(msgspec.structs.astuple, self._decoder.decode(body).rows))
        except msgspec.ValidationError as error:
            raise explain(error, body, "rows", {self._event_time: LOCAL_TIME}) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error, body, "rows") from error


def _type(feature: Feature, dtype: str) -> Any:
    kind: Any = str
    if feature.kind == "number":
        # A number that overflows the model's own type would become infinite on the way to it.
        largest = float(np.finfo(np.dtype(dtype)).max)
        low, high = (-largest if feature.low is None else feature.low), (largest if feature.high is None else feature.high)
        kind = Annotated[float, Meta(ge=low, le=high)]
    return kind | None if feature.nullable else kind


def explain(error: msgspec.ValidationError, body: bytes, listed: str, wanted: Mapping[str, str]) -> InputError:
    """The same refusal in words for the caller: which row, which field, what was expected and what came.

    ``wanted`` says what a field must be where msgspec's own words are not enough.
    """
    place = _WHERE.match(str(error))
    if place is None:
        return InputError(f"{error}.")
    what, field = place["what"], place["field"]
    row = int(place["row"]) if place["row"] is not None else None
    if about := _OBJECT.match(what):
        missing = about["what"] == "missing required"
        field = about["field"]
        what = "is missing" if missing else "is not a known field"
        return InputError(f"{_place(row, field)} {what}.", row, field)
    what = f"expected {wanted[field]}" if field in wanted else what[:1].lower() + what[1:]
    if field is None and row is None:
        return InputError(f'The body must be {{"{listed}": [{{...}}, ...]}} with at least one row: {what}.', field=place["list"])
    got = _value(body, listed, row, field)
    return InputError(f"{_place(row, field)}: {what}{'' if ', got' in what or got is None else f', got {got}'}.", row, field)


def malformed(error: Exception, body: bytes, listed: str) -> InputError:
    """A body that is no JSON; where it is only so for NaN or Infinity, which some writers emit, the field is named."""
    if b"NaN" in body or b"Infinity" in body:
        try:
            rows = json.loads(body)[listed]
            for number, row in enumerate(rows):
                for field, value in row.items():
                    if isinstance(value, float) and not math.isfinite(value):
                        return InputError(f"{_place(number, field)}: expected a finite number or null, got {value}.", number, field)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass  # no JSON in any dialect: said below
    return MalformedBody(f"The body is no JSON: {error}.")


def _place(row: int | None, field: str | None) -> str:
    if row is None:
        return "The body" if field is None else f"Field {field!r}"
    return f"Row {row}" if field is None else f"Row {row}, field {field!r}"


def _value(body: bytes, listed: str, row: int | None, field: str | None) -> str | None:
    """What came at that place, shortened; ``None`` where it cannot be told."""
    if row is None or field is None:
        return None
    try:
        said = repr(msgspec.json.decode(body)[listed][row][field])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, IndexError, TypeError):
        return None
    return said if len(said) <= 40 else f"{said[:37]}..."
