"""A record is a frozen dataclass that flows write by pydantic, and the service reads by msgspec.

pydantic checks each field of a new record, from arguments or from JSON: it refuses an unknown
field, a number that is not finite, and a word that is not one of ``OneOf``. msgspec checks the
types alone and leaves out unknown fields, so that the service can show records of a newer version.
Records have slots: without them msgspec leaves out the default of a field that the JSON lacks."""

import dataclasses
from functools import cache
from typing import Any, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema

T = TypeVar("T")
_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False, revalidate_instances="always")


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,)
)
def record(kind: type[T]) -> type[T]:
    """Make the class a record, which takes keyword arguments."""
    make = dataclass(frozen=True, kw_only=True, slots=True, config=_CONFIG)
    return cast("type[T]", make(kind))


class OneOf:
    """Beside ``str`` in ``Annotated``: a writer uses one of these words, a reader accepts any."""

    def __init__(self, words: Any) -> None:
        self._words = words

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self._words)


def encode(content: object) -> bytes:
    """The record as the lake's JSON."""
    return _adapter(cast("Any", type(content))).dump_json(content, indent=1)


def decode(kind: type[T], data: bytes) -> T:
    """Read a record strictly. Raises pydantic's ``ValidationError``."""
    return cast("T", _adapter(cast("Any", kind)).validate_json(data))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once: a ledger has thousands of records of one kind."""
    return TypeAdapter(kind)


def fields_of(content: Any) -> dict[str, Any]:
    """The fields of a record by name, in order; records within it stay records."""
    return {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
