"""The order of the windows of drift checks: that of time, whatever kinds of window a use case has
had."""

import re
from datetime import datetime

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d))?)?)?(?![\dWQ])", re.ASCII)
_WEEK = re.compile(r"(\d{4})-W(\d\d)(?!\d)", re.ASCII)
_QUARTER = re.compile(r"(\d{4})-Q(\d)(?!\d)", re.ASCII)


def begin_of(window: str) -> datetime:
    """The first moment of the window of that name; the first of all time for a name of none.

    Names are those of ``usecases/definition/period_kinds.py``, which the service does not import.
    """
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
