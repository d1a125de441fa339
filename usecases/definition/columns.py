"""The input columns of a use case, and how they lie in the matrix that its models are fitted on."""

from datetime import datetime
from typing import Annotated, Literal, Self, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from usecases.definition.kinds import KINDS, LONGEST_TEXT

# What the prediction log says of a row beside its inputs and outputs.
LOG_COLUMNS = frozenset(
    {"id", "time", "event_time", "model_version", "sample_rate", "role", "caller_hash"}
)


Side = Annotated[int, Field(ge=1, le=512)]


def _in_answers(name: str) -> str:
    if not name:
        raise ValueError("a name is empty")
    if any(character in '"\\' or ord(character) < 32 for character in name):
        raise ValueError(
            f"{name!r} has a quotation mark, a backslash or a control character: rename it in the "
            "source, by a query's AS or in a FrameSource"
        )
    return name


# The name of a field of requests and answers.
FieldName = Annotated[str, AfterValidator(_in_answers)]


class Frozen(BaseModel):
    """A part of a definition: it is immutable, and an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @field_validator("*", mode="before")
    @classmethod
    def _has_its_comma(cls, value: object, info: ValidationInfo) -> object:
        """A model is iterable, so that pydantic would take a lone one for a tuple of its fields."""
        field = cls.model_fields.get(info.field_name or "")
        if (
            isinstance(value, Frozen)
            and field is not None
            and get_origin(field.annotation) is tuple
        ):
            kind = type(value).__name__
            raise ValueError(
                f"{info.field_name} is a {kind} without a comma after it: write ({kind}(...),)"
            )
        return value


class Column(Frozen):
    """One input column: what it may hold, and what a healthy batch of it looks like.

    Rows outside ``low..high`` or ``earliest..latest`` (inclusive), or null where ``nullable`` is
    false, go to quarantine one by one. A batch is refused as a whole when its share of nulls is
    above ``null_tolerance`` (0-1), or its median leaves ``typical``: that is what a changed unit
    does. ``categories`` closes the set; ``None`` leaves it open, and an unknown one is then encoded
    like a missing one. ``parts`` are what models see of a date. Of an image they see ``channels``
    numbers, 1 of grey or 3 of red, green and blue, for each pixel of ``size``, (height, width):
    whatever comes is resized to it. ``longest`` is the most characters that a text may have,
    100,000 by default. ``trusted``: a person has made sure that the value is known when a model is
    asked, so that the column is no leak, however much it tells."""

    name: FieldName
    kind: str
    nullable: bool = False
    low: float | None = Field(None, allow_inf_nan=False)
    high: float | None = Field(None, allow_inf_nan=False)
    categories: tuple[str, ...] | None = Field(None, min_length=1)
    longest: int | None = Field(None, gt=0, le=1_000_000)
    null_tolerance: float = Field(0.05, ge=0, le=1)
    typical: tuple[float, float] | None = None
    parts: tuple[str, ...] | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    size: tuple[Side, Side] | None = None
    channels: Literal[1, 3] | None = None
    monitored: bool = True
    trusted: bool = False
    description: str = ""

    @property
    def noun(self) -> str:
        """Its kind with an article."""
        return f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in KINDS:
            kinds = " or ".join(map(repr, KINDS))
            raise PydanticCustomError("unknown_kind", "Input should be {known}", {"known": kinds})
        return kind

    @model_validator(mode="after")
    def _possible(self) -> Self:
        kind = KINDS[self.kind]
        others = {name: each for each in KINDS.values() for name in each.declares - kind.declares}
        declared = [
            name
            for name in type(self).model_fields
            if name in others and getattr(self, name) is not None
        ]
        if declared:
            raise ValueError(
                f"column {self.name!r} is {self.noun}, but {', '.join(declared)} are for "
                f"{others[declared[0]].plural}"
            )
        categories = self.categories or ()
        repeated = sorted({value for value in categories if categories.count(value) > 1})
        if repeated:
            raise ValueError(f"column {self.name!r} has categories named twice: {repeated}")
        ranges = {"low to high": (self.low, self.high), "typical": self.typical or (None, None)}
        for name, (low, high) in ranges.items():
            if low is not None and high is not None and not low <= high:
                raise ValueError(
                    f"column {self.name!r}: {name} is {low:g} to {high:g}, an empty range"
                )
        if misuse := KINDS[self.kind].misuse(self):
            raise ValueError(f"column {self.name!r} {misuse}")
        for middle in self.typical or ():
            if refusal := self.refuses(middle):
                raise ValueError(f"column {self.name!r}: typical is impossible: {refusal}")
        return self

    @property
    def longest_value(self) -> int | None:
        """The most characters that a text may have; ``None`` for other kinds."""
        return self.longest or (LONGEST_TEXT if KINDS[self.kind].layout == "terms" else None)

    def refuses(self, value: str | bool | float | datetime | None) -> str | None:
        """Why ``value`` is invalid in this column; ``None`` if it is valid."""
        if value is None:
            return None if self.nullable else f"{self.name!r} may not be null"
        kind = KINDS[self.kind]
        if not kind.holds(value):
            return f"{self.name!r} is {self.noun}, but {value!r} is not"
        return kind.refuses(self, value)


def trait_columns(column: Column) -> tuple[Column, ...]:
    """The numbers that ``column`` is watched by, such as ``picture.brightness``; none if it is
    watched as it is.
    """
    return tuple(
        Column(
            name=f"{column.name}.{trait}",
            kind="number",
            nullable=True,
            null_tolerance=column.null_tolerance,
            monitored=column.monitored,
            trusted=column.trusted,
        )
        for trait in KINDS[column.kind].traits
    )


class Layout(Frozen):
    """The places of the columns in the encoded matrix ``(n_rows, width)``.

    ``categories`` are integer codes (-1: null or unknown), ``numbers`` are as they came (NaN:
    null), booleans among them as 1 and 0, and behind all others the parts of dates. ``pixels`` are
    0 to 1 (NaN: null), an image row by row and the channels of a pixel beside each other. The order
    of ``KINDS`` puts the codes first.

    The terms of texts are the places from ``terms`` on (``None``: no column is a text). ``build``
    does not know how many they are, since the vectoriser is fitted later: the ``remainder`` of a
    ``ColumnTransformer`` gets them all. Their weights are at least 0, and 0 for a term that is not
    in the text; a null is an empty text.
    """

    categories: tuple[int, ...]
    numbers: tuple[int, ...]
    pixels: tuple[int, ...] = ()
    terms: int | None = None
