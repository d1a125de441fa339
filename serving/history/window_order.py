"""The windows of drift checks in time, whatever kinds of window a use case has had.

Names are those of ``usecases/definition/period_kinds.py``, which the service does not import."""

import re
from datetime import datetime, timedelta
from functools import lru_cache

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d))?)?)?(?![\dWQ])", re.ASCII)
_WEEK = re.compile(r"(\d{4})-W(\d\d)(?!\d)", re.ASCII)
_SEVERAL = re.compile(r".+-(\d+)([hdw])", re.ASCII)
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(days=7)}
_QUARTER = re.compile(r"(\d{4})-Q(\d)(?!\d)", re.ASCII)


@lru_cache(maxsize=2048)
def begin_of(window: str) -> datetime:
    """The first moment of the window of that name; the first of all time for a name of none."""
    try:
        if week := _WEEK.match(window):
            return datetime.fromisocalendar(int(week[1]), int(week[2]), 1)
        if quarter := _QUARTER.match(window):
            return datetime(int(quarter[1]), 3 * int(quarter[2]) - 2, 1)
        if parts := _DATE.match(window):
            year, month, day, hour = parts.groups()
            return datetime(int(year), int(month or 1), int(day or 1), int(hour or 0))
    except ValueError:
        pass
    return datetime.min


@lru_cache(maxsize=2048)
def end_of(window: str) -> datetime:
    """The first moment after the window of that name; the first of all time for a name of none."""
    begin = begin_of(window)
    if begin == datetime.min:
        return begin
    try:
        if several := _SEVERAL.fullmatch(window):
            return begin + int(several[1]) * _UNITS[several[2]]
        if _WEEK.match(window):
            return begin + _UNITS["w"]
        if _QUARTER.match(window):
            return _months_after(begin, 3)
        parts = _DATE.match(window)
        given = sum(part is not None for part in parts.groups()) if parts else 0
        match given:
            case 4:
                return begin + _UNITS["h"]
            case 3:
                return begin + _UNITS["d"]
            case 2:
                return _months_after(begin, 1)
        return _months_after(begin, 12)
    except (OverflowError, ValueError):
        return datetime.max


def _months_after(begin: datetime, months: int) -> datetime:
    year, month = divmod(begin.month - 1 + months, 12)
    return datetime(begin.year + year, month + 1, 1)
