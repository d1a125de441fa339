"""What a value of an input must be, and the words in which a wrong one is refused: alike for a
request of the service and for a row of a batch."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from serving.errors import InputError
from serving.package.kinds import KINDS
from serving.package.manifest import Feature


def value_type(feature: Feature, dtype: str) -> Any:
    """The type of one value of the feature."""
    of_kind = KINDS[feature.kind].value_type(feature, dtype)
    if feature.longest is not None:
        of_kind = Annotated[of_kind, Meta(max_length=feature.longest)]
    return of_kind | None if feature.nullable else of_kind


def wrong_value(
    problem: str, row: int | None, field: str | None, expected: Mapping[str, str], got: str | None
) -> InputError:
    """The refusal of one value. ``problem`` is msgspec's message, ``got`` the value if it can be
    shown.
    """
    problem = (
        f"expected {expected[field]}"
        if field and field in expected
        else problem[:1].lower() + problem[1:]
    )
    if got == "nan":
        problem = "expected a finite number"
    elif got is not None:
        problem = problem.removesuffix(", got `str`")  # the text itself says more
    return InputError(
        f"{place_of(row, field)}: "
        f"{problem}{'' if ', got' in problem or got is None else f', got {got}'}.",
        row,
        field,
    )


def place_of(row: int | None, field: str | None) -> str:
    """The start of a refusal."""
    if row is None:
        return "The body" if field is None else f"Field {field!r}"
    return f"Row {row}" if field is None else f"Row {row}, field {field!r}"


def show_value(read: Callable[[], Any]) -> str | None:
    """What ``read`` gets from a refused request, shortened; ``None`` if it cannot be read."""
    try:
        return shorten(read())
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        KeyError,
        IndexError,
        TypeError,
    ):
        return None  # invalid JSON further on, or a repeated name


def shorten(value: Any) -> str:
    """A caller's value in a message, shortened."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
