"""What a model must do whatever it scores: behavioural tests."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from usecases.definition.columns import Column, Frozen
from usecases.definition.kinds import KINDS
from usecases.definition.targets import Binary, Classes, Number

Value = str | bool | float | datetime | None


class ColumnChange(Frozen):
    """What a model must do whatever it scores (Ribeiro et al. 2020, CheckList), tried on hold-out
    rows with one column changed.

    It must hold for at least the ``share`` (0-1] of the rows. Rows that have the new value already
    are not tried; no row at all fails. ``tolerance`` is in the unit of the answer: of a
    probability, or of the number. ``of`` names the class whose probability is meant."""

    name: str
    column: str
    share: float = Field(1.0, gt=0, le=1)
    tolerance: float = Field(ge=0, allow_inf_nan=False)
    of: str | None = None

    def values(self) -> tuple[Any, ...]:
        """The values that the column is set to."""
        return ()


class Invariance(ColumnChange):
    """With any of the values ``to`` in the column the answer moves by at most ``tolerance``, either
    way; without ``of`` the probability of no class moves by more.
    """

    kind: Literal["invariance"] = "invariance"
    to: tuple[Value, ...] = Field(min_length=1)

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
    to: Value = None
    mean: float = Field(0.0, ge=0, allow_inf_nan=False)
    tolerance: float = Field(0.0, ge=0, allow_inf_nan=False)

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
    """The answer to each of ``rows``, which name every column that may not be null, must lie within
    ``low..high``; ``None``: no bound on that side. ``of`` names the class whose probability is
    meant."""

    name: str
    of: str | None = None
    kind: Literal["minimum function"] = "minimum function"
    rows: tuple[Mapping[str, Value], ...] = Field(min_length=1)
    low: float | None = Field(None, allow_inf_nan=False)
    high: float | None = Field(None, allow_inf_nan=False)


def misfits(
    behaviour: Invariance | Direction | MinimumFunction,
    columns: Mapping[str, Column],
    target: Binary | Classes | Number,
) -> list[str]:
    """Why the behaviour cannot be tried on rows of these columns, or asked of this target."""
    return [*_misfits_of_target(behaviour, target), *_misfits_of_rows(behaviour, columns)]


def _misfits_of_target(
    behaviour: Invariance | Direction | MinimumFunction, target: Binary | Classes | Number
) -> list[str]:
    if isinstance(target, Classes):
        if behaviour.of is None and not isinstance(behaviour, Invariance):
            return [f"of= must name the class that is meant, one of {list(target.classes)}"]
        if behaviour.of is not None and behaviour.of not in target.classes:
            return [f"of={behaviour.of!r} is no class; those are {list(target.classes)}"]
    elif behaviour.of is not None:
        return [f"of={behaviour.of!r} names a class, but the target has none"]
    if isinstance(target, Number):
        return []
    names = ("low", "high") if isinstance(behaviour, MinimumFunction) else ("tolerance", "mean")
    values = {name: getattr(behaviour, name, None) for name in names}
    return [
        f"{name} is {value:g}, and a probability lies in 0-1"
        for name, value in values.items()
        if value is not None and not 0 <= value <= 1
    ]


def _misfits_of_rows(
    behaviour: Invariance | Direction | MinimumFunction, columns: Mapping[str, Column]
) -> list[str]:
    rows = (
        behaviour.rows
        if isinstance(behaviour, MinimumFunction)
        else [dict.fromkeys([behaviour.column])]
    )
    if strangers := sorted({name for row in rows for name in row} - set(columns)):
        return [f"{strangers} are not input columns; those are {list(columns)}"]
    if isinstance(behaviour, MinimumFunction):
        cells = [(column, row.get(name)) for row in rows for name, column in columns.items()]
        low, high = behaviour.low, behaviour.high
        backwards = (
            [f"no answer is within {low:g} to {high:g}"]
            if low is not None and high is not None and low > high
            else []
        )
        return backwards + [fault for column, value in cells if (fault := column.refuses(value))]
    column = columns[behaviour.column]
    adds = isinstance(behaviour, Direction) and behaviour.add is not None
    if adds and not KINDS[column.kind].addable:
        return [f"{column.name!r} is not a number, so nothing can be added to it: use to="]
    return [fault for value in behaviour.values() if (fault := column.refuses(value))]
