"""Read the event time, and other dates, that MLflow's callers write, in the convention of use
cases: local, without a zone.

pandas writes a column of times in four ways. Three are local times; one with a zone is a moment,
and the service does not know the zone of the row's place.

    to_json()                      1370098800000                   milliseconds of the local time,
                                   read as if it were UTC
    to_json(date_format="iso")     "2013-06-01T15:00:00.000"
    to_csv()                       "2013-06-01 15:00:00", "2013-06-01" if every time is midnight
    with a time zone               "2013-06-01T15:00:00+00:00", "...Z"   refused, as everywhere
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from serving.errors import InputError
from serving.formats.rows import EVENT_TIME, LOCAL_TIME
from serving.package import times
from serving.package.values import place_of, shorten

_EPOCH = datetime(1970, 1, 1)
_LEAST_MILLISECONDS = 10**11  # 1973: a smaller number counts seconds or days, or is not a time
_MILLISECONDS = re.compile(r"-?\d{12,15}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_EXPECTED = f"expected {LOCAL_TIME}, or the milliseconds that pandas writes for one"


def read_local(values: Sequence[Any], field: str) -> list[datetime | None]:
    """The times of an event-time column; null and NaN are ``None``. Raises ``InputError`` naming
    the row.
    """
    return [
        None if value is None or value != value else _read(value, row, field)
        for row, value in enumerate(values)
    ]


def from_milliseconds(value: Any) -> Any:
    """The local time that pandas' milliseconds stand for; any other value as it is, and null for
    NaN. Numbers that may count seconds are no milliseconds.
    """
    if value != value:
        return None
    is_text = isinstance(value, str)
    if (is_text and not _MILLISECONDS.fullmatch(value)) or isinstance(value, bool):
        return value
    try:
        if isinstance(value, str | int | float) and abs(float(value)) >= _LEAST_MILLISECONDS:
            return _EPOCH + timedelta(milliseconds=float(value))
    except OverflowError:
        pass
    return value


def decode_time(kind: Any, value: Any) -> Any:
    """msgspec's ``dec_hook`` for dates as pandas writes them. Raises ``ValueError``."""
    return times.decode_time(kind, from_milliseconds(value))


def _read(value: Any, row: int, field: str) -> datetime:
    try:
        if isinstance(value, str) and not _MILLISECONDS.fullmatch(value):
            time = f"{value}T00:00:00" if _DAY.fullmatch(value) else value
            local: datetime = msgspec.convert(time, EVENT_TIME)
            return local
        if isinstance(moment := from_milliseconds(value), datetime):
            return moment
    except (msgspec.ValidationError, OverflowError, ValueError):
        pass
    raise InputError(f"{place_of(row, field)}: {_EXPECTED}; got {shorten(value)}.", row, field)
