"""Periods: the spans of event time by which rows are ingested, held out and checked for drift.

Records name a period by a text, and the text says which kind of period it is. Periods are compared
as ``Period`` and never as text, in which "2024-W10" comes before "2024-W9"."""

import re
from abc import ABC, abstractmethod
from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_DAY = timedelta(days=1)
_AND = " + "


@dataclass(frozen=True, order=True)
class Period:
    """Whole days of event time, ``first`` and ``last`` included; the earlier period is the
    lesser.
    """

    first: date
    last: date
    name: str

    @property
    def start(self) -> datetime:
        """The first moment, by the clock of the event times, which have no zone."""
        return datetime.combine(self.first, time())

    @property
    def end(self) -> datetime:
        """The first moment after it, by the same clock."""
        return datetime.combine(self.last, time()) + _DAY

    def overlaps(self, other: "Period") -> bool:
        return self.first <= other.last and other.first <= self.last


class PeriodKind(ABC):
    """A way to cut event time into periods that follow one another without a gap."""

    noun: str

    @abstractmethod
    def find(self, name: str) -> Period | None:
        """The period of that name; ``None`` if no period of this kind has it."""

    @abstractmethod
    def containing(self, day: date) -> Period:
        """The period that ``day`` belongs to."""

    @abstractmethod
    def names(self, event_time: "pl.Expr") -> "pl.Expr":
        """The names of the periods of event times; null for a null."""

    def next(self, period: Period) -> Period:
        """The period after ``period``."""
        return self.containing(period.last + _DAY)


@dataclass(frozen=True)
class Calendar(PeriodKind):
    """Years (``2024``), months (``2024-03``) or days (``2024-03-01``): the first ``parts`` of an
    ISO 8601 date.
    """

    noun: str
    parts: int

    def find(self, name: str) -> Period | None:
        if not re.fullmatch(rf"\d{{4}}(-\d\d){{{self.parts - 1}}}", name, re.ASCII):
            return None
        year, month, day = [*map(int, name.split("-")), 1, 1][:3]
        try:
            return self.containing(date(year, month, day))
        except ValueError:
            return None

    def containing(self, day: date) -> Period:
        first = date(*[day.year, day.month, day.day][: self.parts], *[1] * (3 - self.parts))
        return Period(first, self._last(first), "-".join(day.isoformat().split("-")[: self.parts]))

    def names(self, event_time: "pl.Expr") -> "pl.Expr":
        return event_time.dt.strftime("-".join(["%Y", "%m", "%d"][: self.parts]))

    def _last(self, first: date) -> date:
        if self.parts == 3:
            return first
        if self.parts == 1:
            return date(first.year, 12, 31)
        return date(first.year, first.month, monthrange(first.year, first.month)[1])


YEARS, MONTHS, DAYS = Calendar("year", 1), Calendar("month", 2), Calendar("day", 3)
# A further kind has names of another form, so that a name tells its kind.
KINDS: tuple[PeriodKind, ...] = (YEARS, MONTHS, DAYS)


def kind_of(name: str) -> PeriodKind:
    """The kind of period that ``name`` names. Raises ``ValueError`` for a name of none."""
    for kind in KINDS:
        if kind.find(name) is not None:
            return kind
    nouns = [f"a {kind.noun}" for kind in KINDS]
    raise ValueError(
        f"A window is {', '.join(nouns[:-1])} or {nouns[-1]}, such as '2013-06' or "
        f"'2013-06-05'; got {name!r}."
    )


def period_named(name: str) -> Period:
    """The period of that name, whatever its kind. Raises ``ValueError``."""
    period = kind_of(name).find(name)
    assert period is not None
    return period


def names_before(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` whose period comes before that of ``name``, in their order."""
    limit = period_named(name)
    return tuple(other for other in names if period_named(other) < limit)


def last_of(names: Sequence[str], count: int) -> tuple[str, ...]:
    """The last ``count`` of ``names``, or fewer, so that one is left before them."""
    return tuple(names[1:][-count:])


def holdout_named(names: Iterable[str]) -> str:
    """The name of a hold-out of one or several periods, such as ``2013-05 + 2013-06``."""
    return _AND.join(names)


def periods_of(holdout: str) -> tuple[str, ...]:
    """The names of the periods of a hold-out, oldest first; none for an empty name."""
    return tuple(holdout.split(_AND)) if holdout else ()
