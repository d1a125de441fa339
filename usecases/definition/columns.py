"""The input columns of a use case, and how they lie in the matrix that its models are fitted on."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

# What the prediction log says of a row beside its inputs.
LOG_COLUMNS = frozenset({"id", "time", "event_time", "score", "decision", "model_version", "sample_rate"})


class Frozen(BaseModel):
    """What a definition is made of: nobody changes it, and a field that it does not have is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Column(Frozen):
    """One input column: what it may hold, and what a healthy batch of it looks like.

    Rows outside ``low..high`` (inclusive), or null where ``nullable`` is false, go to quarantine one by one.
    A batch is refused as a whole when its share of nulls is above ``null_tolerance`` (0-1), or its median leaves
    ``typical``: that is what a changed unit does. ``categories`` closes the set; ``None`` leaves it open, and an
    unknown one is then encoded like a missing one.
    """

    name: str
    kind: Literal["number", "category"]
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None
    null_tolerance: float = 0.05
    typical: tuple[float, float] | None = None
    monitored: bool = True
    description: str = ""

    def refuses(self, value: str | float | None) -> str | None:
        """Why ``value`` cannot stand in this column; ``None`` where it can."""
        if value is None:
            return None if self.nullable else f"{self.name!r} may not be null"
        if isinstance(value, str) != (self.kind == "category"):
            return f"{self.name!r} is a {self.kind}, and {value!r} is none"
        if isinstance(value, str):
            return None if self.categories is None or value in self.categories else f"{self.name!r} has no category {value!r}"
        inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return None if inside else f"{self.name!r} may be {self.low} to {self.high}, and not {value:g}"


class Layout(Frozen):
    """Positions of the columns in the encoded matrix ``(n_rows, n_features)``.

    Categories stand first, as integer codes (-1: null or unknown), then the numbers (NaN: null).
    """

    categories: tuple[int, ...]
    numbers: tuple[int, ...]
