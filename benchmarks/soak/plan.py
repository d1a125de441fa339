"""Which days are played, with how many files, and what the clock shows meanwhile."""

import json
from bisect import bisect_right
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

USE_CASE = "orders"
REAL_FILES = 17_280  # a service with little traffic uploads a file each five seconds
ROWS = 58  # of each file: a million predictions a day


@dataclass(frozen=True)
class Day:
    """``files`` of its predictions, and whether flows see something that day: a ``shift`` of the
    inputs, ``broken`` data, or a month that is over (``retrains`` through that)."""

    date: date
    files: int
    shift: float = 0.0
    broken: bool = False
    retrains: str | None = None


@dataclass(frozen=True)
class Plan:
    """Of each of the ``months`` the last ``days`` are played, and the records of the others filled
    in. The last day of the first and of the last month has ``full`` files, as a real one, every
    other played day ``thin`` ones."""

    last: date
    months: int = 12
    days: int = 31
    thin: int = 288
    full: int = REAL_FILES

    def of_month(self, month: int) -> list[Day]:
        """The days of the month, from 1 on."""
        dates = self._dates(month)[-self.days :]
        return [self._day(day, dates, month) for day in dates]

    def filled(self, month: int) -> list[date]:
        """The days of the month before those that are played."""
        return self._dates(month)[: -self.days]

    @property
    def prelude(self) -> list[Day]:
        """Three days before the year, the first of which is the model of what is filled in."""
        return [Day(day, self.thin) for day in self._dates(0)[-3:]]

    def _dates(self, month: int) -> list[date]:
        first = months_after(self.last.replace(day=1), month - self.months)
        length = monthrange(first.year, first.month)[1]
        return [first + timedelta(days=day) for day in range(length)]

    def _day(self, day: date, dates: list[date], month: int) -> Day:
        is_full = day == dates[-1] and month in (1, self.months)
        middle = dates[len(dates) // 2]
        return Day(
            day,
            self.full if is_full else self.thin,
            shift=2.0 if day == middle else 0.0,
            broken=day == middle + timedelta(days=1) and day != dates[-1],
            retrains=f"{months_after(day, -1):%Y-%m}" if day == dates[0] and month > 1 else None,
        )

    @property
    def learned_first(self) -> str:
        """The month before the prelude, through which the first champion learns."""
        return f"{months_after(self.last, -self.months - 1):%Y-%m}"


def months_after(day: date, months: int) -> date:
    """The first day of the month that is so many months later."""
    number = 12 * day.year + day.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


@dataclass(frozen=True)
class Calendar:
    """When, by the machine's clock (seconds since 1970), which time of the year began. In between
    the year's clock goes as the machine's."""

    file: Path

    def turn(self, real: float, played: datetime) -> None:
        steps = [*self._steps(), (real, played.timestamp())]
        self.file.write_text(json.dumps(steps))

    def _steps(self) -> list[tuple[float, float]]:
        if not self.file.exists():
            return []
        return [(real, played) for real, played in json.loads(self.file.read_text())]

    def reader(self) -> "Dates":
        return Dates(self._steps())


class Dates:
    """The year's time of a moment of the machine's clock; of one before the first step, its own."""

    def __init__(self, steps: list[tuple[float, float]]) -> None:
        self._real = [real for real, _ in steps]
        self._played = [played for _, played in steps]

    def of(self, moment: datetime) -> datetime:
        seconds = moment.timestamp()
        place = bisect_right(self._real, seconds) - 1
        if place < 0:
            return moment
        return datetime.fromtimestamp(self._played[place] + seconds - self._real[place], UTC)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
