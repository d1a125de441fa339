"""Local dates and times as values of a row: read from a request's text, checked, and described.

A value is a ``datetime`` without a zone. A text with a zone or an offset is refused: which local
time it is depends on a place that the service does not know, and hours of two zones in one column
would be mixed silently. A clock that is put forward or back leaves no trace: 02:30 of the night
that has none is read as it is written."""

import re
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

LOCAL_DATE = "a local date or date and time without a zone, such as '2013-06-01T15:00:00'"
PATTERN = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?$"
_FORM = re.compile(PATTERN, re.ASCII)
_ZONED = re.compile(r"\d:\d\d.*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$", re.ASCII)


class _OfDatetimes(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime)


class LocalTime(metaclass=_OfDatetimes):
    """What msgspec decodes a date into, by ``decode_time``: a ``datetime`` within the bounds of the
    feature."""

    earliest: datetime | None = None
    latest: datetime | None = None


@lru_cache(maxsize=1024)
def local_time_type(earliest: str | None, latest: str | None) -> type[LocalTime]:
    """The type of the values of a feature. msgspec knows types by identity, so each is made once.

    Raises ``ValueError`` for a bound that is no local time."""
    bounds = {"earliest": earliest, "latest": latest}
    read = {name: None if text is None else read_time(text) for name, text in bounds.items()}
    bounded: Any = _OfDatetimes("LocalTime", (LocalTime,), read)
    return bounded


def decode_time(kind: Any, value: Any) -> Any:
    """msgspec's ``dec_hook``: raises ``ValueError``, from which msgspec makes its own error."""
    moment = as_time(value)
    if kind.earliest is not None and moment < kind.earliest:
        raise ValueError(f"expected {kind.earliest.isoformat()} or later")
    if kind.latest is not None and moment > kind.latest:
        raise ValueError(f"expected {kind.latest.isoformat()} or earlier")
    return moment


def as_time(value: Any) -> datetime:
    """The local time that a text or a ``date`` is. Raises ``ValueError`` for anything else."""
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise ValueError(f"expected {LOCAL_DATE}")
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, str):
        return read_time(value)
    raise ValueError(f"expected {LOCAL_DATE}")


def read_time(text: str) -> datetime:
    """The local time in a text, to the microsecond; a date is its midnight. Raises ``ValueError``
    naming what is wrong.
    """
    if not _FORM.match(text) or text.endswith("\n"):
        if _ZONED.search(text[:64]):
            raise ValueError(
                "expected the local time of its place, without a zone or an offset, such as "
                "'2013-06-01T15:00:00'"
            )
        raise ValueError(f"expected {LOCAL_DATE}")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"expected {LOCAL_DATE}: {error}") from error
