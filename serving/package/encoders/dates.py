"""What a date becomes: the parts of it that the use case names, each in one or two places of the
matrix.

    part                places  is
    year                1       1-9999
    month               1       1-12
    day                 1       of the month, 1-31
    day_of_year         1       1-366
    weekday             1       0 (Monday) to 6
    hour                1       the time of day in hours, 0-24: 15:30 is 15.5
    days                1       since 1 January 1970, with the time of day as a fraction
    year_cycle          2       sine and cosine of the time of the year: its end is at its beginning
    week_cycle          2       the same of the week, which begins on Monday
    day_cycle           2       the same of the day

Trees need no cycles; to a linear model 23:00 and 00:00 are far apart without them. Null is NaN in
each place."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from serving.errors import InputError
from serving.package.times import as_time

_EPOCH = datetime(1970, 1, 1)
_DAY_SECONDS = 86_400


def _days(moment: datetime, start: datetime = _EPOCH) -> float:
    return (moment - start).total_seconds() / _DAY_SECONDS


def _of_day(moment: datetime) -> float:
    """The share of the day that is over, 0-1."""
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return (seconds + moment.microsecond / 1e6) / _DAY_SECONDS


def _day_of_year(moment: datetime) -> int:
    return moment.timetuple().tm_yday


def _cycle(share: float) -> tuple[float, float]:
    """A point on the circle, at a share of its way round."""
    return math.sin(2 * math.pi * share), math.cos(2 * math.pi * share)


def _of_year(moment: datetime) -> float:
    days = 366 if moment.year % 4 == 0 and (moment.year % 100 or moment.year % 400 == 0) else 365
    return (_day_of_year(moment) - 1 + _of_day(moment)) / days


PARTS: dict[str, Callable[[datetime], float]] = {
    "year": lambda moment: moment.year,
    "month": lambda moment: moment.month,
    "day": lambda moment: moment.day,
    "day_of_year": _day_of_year,
    "weekday": lambda moment: moment.weekday(),
    "hour": lambda moment: 24 * _of_day(moment),
    "days": _days,
}
CYCLES: dict[str, Callable[[datetime], float]] = {
    "year_cycle": _of_year,
    "week_cycle": lambda moment: (moment.weekday() + _of_day(moment)) / 7,
    "day_cycle": _of_day,
}


class DateEncoder:
    """The encoder of dates with these ``parts``. Raises ``ValueError`` for an unknown part."""

    def __init__(self, parts: Sequence[str]) -> None:
        if strangers := [part for part in parts if part not in {*PARTS, *CYCLES}]:
            known = ", ".join([*PARTS, *CYCLES])
            raise ValueError(f"A date has no parts {strangers}; this code knows {known}.")
        self._parts = [PARTS.get(part) or CYCLES[part] for part in parts]
        self._cyclic = [part in CYCLES for part in parts]
        self.width = len(parts) + sum(self._cyclic)

    def encode(self, values: Sequence[Any], block: np.ndarray) -> None:
        """Fill ``block`` ``(n_rows, width)`` with the parts of ``values``: local times, or their
        texts, or null. Raises ``InputError`` naming the row.
        """
        nothing = (math.nan,) * self.width
        rows = [
            nothing if value is None else self._numbers(value, row)
            for row, value in enumerate(values)
        ]
        if rows:
            block[:] = rows

    def _numbers(self, value: Any, row: int) -> list[float]:
        try:
            moment = as_time(value)
        except ValueError as error:
            raise InputError(f"{error}.", row) from error
        numbers: list[float] = []
        for part, cyclic in zip(self._parts, self._cyclic, strict=True):
            if cyclic:
                numbers += _cycle(part(moment))
            else:
                numbers.append(part(moment))
        return numbers
