"""What a model must do whatever it scores: behavioural tests."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from usecases.definition.columns import Column, Frozen
from usecases.definition.kinds import KINDS


class ColumnChange(Frozen):
    """What a model must do whatever it scores (Ribeiro et al. 2020, CheckList), tried on hold-out
    rows with one column changed.

    It must hold for at least the ``share`` (0-1] of the rows. Rows that have the new value already
    are not tried; no row at all fails."""

    name: str
    column: str
    share: float = Field(1.0, gt=0, le=1)
    tolerance: float = Field(ge=0, lt=1)

    def values(self) -> tuple[Any, ...]:
        """The values that the column is set to."""
        return ()


class Invariance(ColumnChange):
    """With any of the values ``to`` in the column the score moves by at most ``tolerance``, either
    way.
    """

    kind: Literal["invariance"] = "invariance"
    to: tuple[str | float | None, ...] = Field(min_length=1)

    def values(self) -> tuple[Any, ...]:
        return self.to


class Direction(ColumnChange):
    """With ``add`` more in the column, or with the value ``to``, the score goes ``moves``: against
    it by at most ``tolerance``.

    A number is kept within the column's ``low..high``, and a null stays out. ``mean``: by how much
    the score must move on the average row."""

    kind: Literal["direction"] = "direction"
    moves: Literal["up", "down"]
    add: float | None = None
    to: str | float | None = None
    mean: float = Field(0.0, ge=0, lt=1)
    tolerance: float = Field(0.0, ge=0, lt=1)

    def values(self) -> tuple[Any, ...]:
        return () if self.to is None else (self.to,)

    @model_validator(mode="after")
    def _one_change(self) -> "Direction":
        if (self.add is None) == (self.to is None):
            raise ValueError(f"direction {self.name!r} needs either add or to")
        if self.add == 0:
            raise ValueError(f"direction {self.name!r} adds 0, which changes nothing")
        return self


class MinimumFunction(Frozen):
    """Each of ``rows``, which name every column that may not be null, must score within
    ``low..high``.
    """

    name: str
    kind: Literal["minimum function"] = "minimum function"
    rows: tuple[Mapping[str, str | float | None], ...] = Field(min_length=1)
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)


def misfits(
    behaviour: Invariance | Direction | MinimumFunction, columns: Mapping[str, Column]
) -> list[str]:
    """Why the behaviour cannot be tried on rows of these columns."""
    rows = (
        behaviour.rows
        if isinstance(behaviour, MinimumFunction)
        else [dict.fromkeys([behaviour.column])]
    )
    if strangers := sorted({name for row in rows for name in row} - set(columns)):
        return [f"{strangers} are not input columns; those are {list(columns)}"]
    if isinstance(behaviour, MinimumFunction):
        cells = [(column, row.get(name)) for row in rows for name, column in columns.items()]
        backwards = (
            [f"no score is within {behaviour.low:g} to {behaviour.high:g}"]
            if behaviour.low > behaviour.high
            else []
        )
        return backwards + [fault for column, value in cells if (fault := column.refuses(value))]
    column = columns[behaviour.column]
    adds = isinstance(behaviour, Direction) and behaviour.add is not None
    if adds and not KINDS[column.kind].addable:
        return [f"{column.name!r} is not a number, so nothing can be added to it: use to="]
    return [fault for value in behaviour.values() if (fault := column.refuses(value))]
