"""Kinds of period: hours, days, ISO weeks, months, quarters, years, and several of one of them.

Event times have no zone and are taken as UTC: a day has 24 hours, whatever the clocks of a country
do."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
_MOMENT = timedelta(microseconds=1)
_MONDAY = datetime(2001, 1, 1)  # where windows of several hours, days or weeks are counted from


@dataclass(frozen=True, order=True)
class Period:
    """The event times from ``start`` to before ``end``; the earlier period is the lesser."""

    start: datetime
    end: datetime
    name: str

    @property
    def first(self) -> date:
        """The day of its first moment."""
        return self.start.date()

    @property
    def last(self) -> date:
        """The day of its last moment."""
        return (self.end - _MOMENT).date()

    @property
    def settles_after(self) -> timedelta:
        """How long after its end a period is surely over: by a day later, wherever on earth its
        times are local to. Hours are in UTC, and an hour is enough.
        """
        return _DAY if self.is_of_whole_days else _HOUR

    @property
    def is_of_whole_days(self) -> bool:
        """Whether it begins and ends at midnight."""
        return self.start.time() == time() and self.end.time() in (time(), time.max)

    def overlaps(self, other: "Period") -> bool:
        return self.start < other.end and other.start < self.end

    def within(self, other: "Period") -> bool:
        return other.start <= self.start and self.end <= other.end

    def reaches(self, other: "Period") -> bool:
        """Whether it lasts until the begin of ``other`` is over, or longer."""
        return self.end > other.start


class PeriodKind(ABC):
    """A way to cut event time into periods that follow one another without a gap. ``example`` is a
    name; periods last from ``shortest`` to ``longest``."""

    noun: str
    example: str
    shortest: timedelta
    longest: timedelta

    @abstractmethod
    def find(self, name: str) -> Period | None:
        """The period of that name; ``None`` if no period of this kind has it."""

    @abstractmethod
    def containing(self, moment: date) -> Period:
        """The period that ``moment`` belongs to; a date stands for its midnight."""

    @abstractmethod
    def names(self, event_time: "pl.Expr") -> "pl.Expr":
        """The names of the periods of event times; null for a null."""

    def suggest(self, value: object) -> str | None:
        """What to write instead of ``value``, which is no name; ``None`` if it is not known."""
        return None

    def next(self, period: Period) -> Period:
        """The period after ``period``."""
        return self.containing(period.end)

    def previous(self, period: Period) -> Period:
        """The period before ``period``."""
        return self.containing(period.start - _MOMENT)

    def parse(self, name: str) -> Period:
        """The period of that name. Raises ``ValueError`` that says how one is written."""
        period = self.find(name)
        if period is None:
            raise ValueError(f"{name!r} is not {self.one}: write one as {self.example!r}.")
        return period

    @property
    def plural(self) -> str:
        return f"{self.noun}s"

    @property
    def adverb(self) -> str:
        return "daily" if self.noun == "day" else f"{self.noun}ly"

    @property
    def one(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun == 'hour' else 'a'} {self.noun}"

    @property
    def least_days(self) -> int:
        """How many days the shortest period has events on, at least one."""
        return max(1, self.shortest // _DAY)

    @property
    def settles_after(self) -> timedelta:
        """How long after its end a period is surely over: by a day later, wherever on earth its
        times are local to. Hours are in UTC, and an hour is enough.
        """
        return _DAY if self.is_of_whole_days else _HOUR

    @property
    def is_of_whole_days(self) -> bool:
        return self.shortest % _DAY == timedelta()


_STRFTIME = {
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "year": "%Y",
}


@dataclass(frozen=True)
class Calendar(PeriodKind):
    """Years, quarters, months, ISO weeks, days or hours. ``form`` matches a name; its groups are
    the numbers that ``number`` takes: of the year, and what follows."""

    noun: str
    example: str
    form: str
    shortest: timedelta
    longest: timedelta

    def find(self, name: str) -> Period | None:
        parts = re.fullmatch(self.form, name, re.ASCII)
        try:
            period = parts and self.containing(self._first(*map(int, parts.groups())))
        except ValueError:
            return None
        return period or None

    def containing(self, moment: date) -> Period:
        at = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
        match self.noun:
            case "hour":
                start = at.replace(minute=0, second=0, microsecond=0)
            case "day":
                start = datetime.combine(at, time())
            case "week":
                start = datetime.combine(at, time()) - at.weekday() * _DAY
            case "month":
                start = datetime(at.year, at.month, 1)
            case "quarter":
                start = datetime(at.year, 3 * ((at.month - 1) // 3) + 1, 1)
            case _:
                start = datetime(at.year, 1, 1)
        return Period(start, self._end(start), self._name(start))

    def names(self, event_time: "pl.Expr") -> "pl.Expr":
        import polars as pl

        if self.noun == "quarter":
            return pl.format("{}-Q{}", event_time.dt.strftime("%Y"), event_time.dt.quarter())
        return event_time.dt.strftime(_STRFTIME[self.noun])

    def suggest(self, value: object) -> str | None:
        """What to write instead of ``value``, which is no name; ``None`` if it is far from one."""
        if isinstance(value, date):
            form = _STRFTIME.get(self.noun)
            return f"period.strftime({form!r})" if form else repr(self.containing(value).name)
        further = r"\D{0,2}(\d\d?)" * (re.compile(self.form).groups - 1)
        parts = re.match(r"((?:19|20)\d\d)" + further + r"(?!\d\d)", str(value), re.ASCII)
        try:
            first = self._first(*map(int, parts.groups())) if parts else None
        except ValueError:
            return None
        return repr(self.containing(first).name) if first else None

    def _first(self, year: int, second: int = 1, day: int = 1, hour: int = 0) -> datetime:
        """The first moment of the numbers of a name. Raises ``ValueError``."""
        if self.noun == "week":
            return datetime.fromisocalendar(year, second, 1)
        return datetime(year, 3 * second - 2 if self.noun == "quarter" else second, day, hour)

    def _end(self, start: datetime) -> datetime:
        """Clipped at the last moment that Python knows."""
        try:
            if self.shortest == self.longest:
                return start + self.longest
            months = {"month": 1, "quarter": 3}.get(self.noun, 12)
            year, month = divmod(start.month - 1 + months, 12)
            return datetime(start.year + year, month + 1, 1)
        except (OverflowError, ValueError):
            return datetime.max

    def _name(self, start: datetime) -> str:
        day = start.date().isoformat()
        match self.noun:
            case "hour":
                return f"{day}T{start.hour:02d}"
            case "week":
                year, week, _ = start.isocalendar()
                return f"{year:04d}-W{week:02d}"
            case "quarter":
                return f"{day[:4]}-Q{(start.month + 2) // 3}"
            case _:
                return day[: {"day": 10, "month": 7, "year": 4}[self.noun]]


_Y, _NN = r"(\d{4})", r"(\d\d)"
YEARS = Calendar("year", "2026", _Y, 365 * _DAY, 366 * _DAY)
QUARTERS = Calendar("quarter", "2026-Q1", rf"{_Y}-Q([1-4])", 90 * _DAY, 92 * _DAY)
MONTHS = Calendar("month", "2026-02", rf"{_Y}-{_NN}", 28 * _DAY, 31 * _DAY)
WEEKS = Calendar("week", "2026-W07", rf"{_Y}-W{_NN}", _WEEK, _WEEK)
DAYS = Calendar("day", "2026-02-07", rf"{_Y}-{_NN}-{_NN}", _DAY, _DAY)
HOURS = Calendar("hour", "2026-02-07T13", rf"{_Y}-{_NN}-{_NN}T{_NN}", _HOUR, _HOUR)
# A further kind has names of another form, so that a name tells its kind.
KINDS: tuple[PeriodKind, ...] = (YEARS, QUARTERS, MONTHS, WEEKS, DAYS, HOURS)


@dataclass(frozen=True)
class Several(PeriodKind):
    """Windows of ``count`` hours, days or weeks one after the other, counted from a Monday. A name
    is that of the first hour, day or week with the length: ``2026-02-07-3d``."""

    unit: Calendar
    count: int

    @property
    def noun(self) -> str:  # type: ignore[override]
        return f"window of {self.count} {self.unit.noun}s"

    @property
    def plural(self) -> str:
        return f"windows of {self.count} {self.unit.noun}s"

    @property
    def example(self) -> str:  # type: ignore[override]
        return self.containing(datetime(2026, 2, 7, 13)).name

    @property
    def shortest(self) -> timedelta:  # type: ignore[override]
        return self.count * self.unit.longest

    @property
    def longest(self) -> timedelta:  # type: ignore[override]
        return self.shortest

    @property
    def _ending(self) -> str:
        return f"-{self.count}{self.unit.noun[0]}"

    def find(self, name: str) -> Period | None:
        first = name.endswith(self._ending) and self.unit.find(name.removesuffix(self._ending))
        period = self.containing(first.start) if first else None
        return period if period and period.name == name else None

    def containing(self, moment: date) -> Period:
        at = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
        try:
            start = _MONDAY + (at - _MONDAY) // self.shortest * self.shortest
        except OverflowError:
            start = datetime.min
        end = start + self.shortest if start < datetime.max - self.shortest else datetime.max
        return Period(start, end, self.unit.containing(start).name + self._ending)

    def names(self, event_time: "pl.Expr") -> "pl.Expr":
        import polars as pl

        since = event_time.cast(pl.Datetime("us")) - pl.lit(_MONDAY)
        length = self.shortest // _MOMENT
        start = pl.lit(_MONDAY) + pl.duration(
            microseconds=since.dt.total_microseconds() // length * length
        )
        return pl.format("{}" + self._ending, self.unit.names(start))
