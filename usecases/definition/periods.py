"""Periods: the spans of event time by which rows are ingested, held out and checked for drift.

Records name a period by a text, and the text says which kind of period it is. Periods are compared
as ``Period`` and never as text."""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Literal

from usecases.definition.period_kinds import (
    DAYS,
    HOURS,
    KINDS,
    WEEKS,
    Period,
    PeriodKind,
    Several,
)

PeriodNoun = Literal["hour", "day", "week", "month", "quarter"]

_AND, _TO = " + ", ".."
_RUN = 4  # from so many on, periods that follow one another are named by the first and the last
_NO_TIME = timedelta()
_UNITS = {"h": HOURS, "d": DAYS, "w": WEEKS}
_LONGEST_WINDOW = timedelta(days=366)


def window_kind(text: str) -> PeriodKind:
    """The windows that a length such as ``12h``, ``7d`` or ``4w`` means, or ``hour``, ``day``,
    ``week``, ``month``, ``quarter``. Raises ``ValueError``.
    """
    for kind in KINDS:
        if kind.noun == text:
            return kind
    parts = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text, re.ASCII)
    length = int(parts[1]) * _UNITS[parts[2]].longest if parts else _NO_TIME
    if not parts or length > _LONGEST_WINDOW:
        raise ValueError(
            f"{text!r} is no length of a window: write hours, days or weeks such as '12h', '7d' or "
            "'4w', at most a year, or 'hour', 'day', 'week', 'month' or 'quarter'"
        )
    for unit in (WEEKS, DAYS, HOURS):
        if length % unit.longest == _NO_TIME:
            count = length // unit.longest
            return unit if count == 1 else Several(unit, count)
    raise AssertionError(text)


def kind_of(name: str) -> PeriodKind:
    """The kind of period that ``name`` names. Raises ``ValueError`` for a name of none."""
    for kind in KINDS:
        if kind.find(name) is not None:
            return kind
    length = re.search(r"-([1-9]\d{0,4}[hdw])$", name, re.ASCII)
    if length is not None:
        try:
            windows = window_kind(length[1])
        except ValueError:
            windows = None
        if windows is not None and windows.find(name) is not None:
            return windows
    forms = [f"{kind.one} ({kind.example})" for kind in KINDS]
    raise ValueError(f"{name!r} names no period: write {', '.join(forms[:-1])} or {forms[-1]}.")


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
    """The name of a hold-out of one or several periods: ``2013-05 + 2013-06``, and of four or more
    that follow one another ``2013-05-01..2013-05-14``.
    """
    runs: list[list[str]] = []
    for name in names:
        following = runs and _follows(runs[-1][-1], name)
        runs = [*runs[:-1], [*runs[-1], name]] if following else [*runs, [name]]
    return _AND.join(
        f"{run[0]}{_TO}{run[-1]}" if len(run) >= _RUN else _AND.join(run) for run in runs
    )


def _follows(name: str, other: str) -> bool:
    kind = kind_of(name)
    return kind.next(kind.parse(name)).name == other


def periods_of(holdout: str) -> tuple[str, ...]:
    """The names of the periods of a hold-out, oldest first; none for an empty name. Raises
    ``ValueError``.
    """
    names: list[str] = []
    for part in holdout.split(_AND) if holdout else ():
        first, is_run, last = part.partition(_TO)
        names.append(first)
        while is_run and names[-1] != last:
            kind = kind_of(first)
            following = kind.next(kind.parse(names[-1]))
            if following > kind.parse(last):
                raise ValueError(f"{part!r} is no run of periods: {last!r} is not after {first!r}.")
            names.append(following.name)
    return tuple(names)
