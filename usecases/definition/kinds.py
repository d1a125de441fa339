"""The kinds of column, in the order in which they stand in the matrix, and what a use case says of
each.

What the flows do with a kind is in ``tasks/data/kinds.py``, and what the service does is in
``serving/package/kinds.py``. A kind needs an entry in all three tables."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from usecases.definition.dates import misuse_of_date, refuses_date, width_of_date

if TYPE_CHECKING:
    from usecases.definition.columns import Column

LONGEST_TEXT = 100_000  # characters: a novel's chapter has 30,000

DistanceMethod = Literal["wasserstein", "jensenshannon", "psi"]


@dataclass(frozen=True)
class Kind:
    """What a use case says of the columns of one kind.

    ``declares`` are the fields of ``Column`` that are for this kind. ``layout`` is the field of
    ``Layout`` that lists the places of its columns in the matrix: models see a category as a code.
    A column of a wide kind takes ``width`` places, and wide kinds stand behind the others. A text
    takes as many as its vectoriser finds terms, which nobody knows before the fit: its ``width`` is
    0 here, and texts stand behind all others.
    ``distances`` can be measured on it, and the first is the usual one. Something can be added to
    ``addable`` values. ``misuse`` says what is wrong with a column as it is declared, and
    ``refuses`` why a value that the kind ``holds`` cannot stand in it, or ``None``. Values that
    cannot be compared one by one are watched for drift by ``traits``: numbers that describe
    them."""

    plural: str
    declares: frozenset[str]
    layout: Literal["categories", "numbers", "pixels", "terms"]
    distances: tuple[DistanceMethod, ...]
    addable: bool
    holds: Callable[[object], bool]
    refuses: "Callable[[Column, object], str | None]"
    width: "Callable[[Column], int]" = lambda column: 1
    traits: tuple[str, ...] = ()
    misuse: "Callable[[Column], str | None]" = lambda column: None


def _refuses_category(column: "Column", value: object) -> str | None:
    if column.categories is None or value in column.categories:
        return None
    return f"{column.name!r} has no category {value!r}"


def _refuses_number(column: "Column", value: object) -> str | None:
    assert isinstance(value, int | float)
    low, high = column.low, column.high
    if (low is None or value >= low) and (high is None or value <= high):
        return None
    return f"{column.name!r} must be {low} to {high}, not {value:g}"


def _refuses_text(column: "Column", value: object) -> str | None:
    assert isinstance(value, str)
    longest = column.longest_value or LONGEST_TEXT
    if len(value) <= longest:
        return None
    return f"{column.name!r} may have {longest:,} characters, and this text has {len(value):,}"


def _misuse_of_image(column: "Column") -> str | None:
    missing = [name for name in ("size", "channels") if getattr(column, name) is None]
    return f"is an image: it needs {' and '.join(missing)}" if missing else None


KINDS: dict[str, Kind] = {
    "category": Kind(
        plural="categories",
        declares=frozenset({"categories"}),
        layout="categories",
        distances=("jensenshannon", "psi"),
        addable=False,
        holds=lambda value: isinstance(value, str),
        refuses=_refuses_category,
    ),
    "number": Kind(
        plural="numbers",
        declares=frozenset({"low", "high", "typical"}),
        layout="numbers",
        distances=("wasserstein", "jensenshannon", "psi"),
        addable=True,
        holds=lambda value: isinstance(value, int | float),
        refuses=_refuses_number,
    ),
    "boolean": Kind(
        plural="booleans",
        declares=frozenset(),
        layout="numbers",
        distances=("jensenshannon", "psi"),
        addable=False,
        holds=lambda value: isinstance(value, bool),
        refuses=lambda column, value: None,
    ),
    "datetime": Kind(
        plural="datetimes",
        declares=frozenset({"parts", "earliest", "latest"}),
        layout="numbers",
        distances=(),  # of its traits
        addable=False,
        holds=lambda value: isinstance(value, datetime),
        refuses=refuses_date,
        width=width_of_date,
        misuse=misuse_of_date,
        traits=("weekday", "hour"),
    ),
    "image": Kind(
        plural="images",
        declares=frozenset({"size", "channels"}),
        layout="pixels",
        distances=(),
        addable=False,
        holds=lambda value: isinstance(value, str),
        refuses=lambda column, value: None,
        width=lambda column: math.prod((*(column.size or ()), column.channels or 1)),
        misuse=_misuse_of_image,
        traits=("brightness", "contrast", "sharpness", "noise", "colour"),
    ),
    "text": Kind(
        plural="texts",
        declares=frozenset({"longest"}),
        layout="terms",
        distances=(),  # of its traits
        addable=False,
        holds=lambda value: isinstance(value, str),
        refuses=_refuses_text,
        width=lambda column: 0,
        traits=("characters", "words", "not_ascii", "group_1", "group_2", "group_3", "group_4"),
    ),
}
