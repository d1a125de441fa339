"""The year's clock in the process of a flow run: what flows ask for the time, and when the lake got
an object."""

import sys
import time
from datetime import UTC, datetime, tzinfo
from importlib import import_module
from typing import Any

from benchmarks.soak.plan import USE_CASE, Calendar, Dates

# Where flows ask for the time to decide by it, or write it into the ledger.
_ASKING = (
    "tasks.ledger.entries",
    "tasks.steps.retrain",
    "tasks.steps.drift_check.judge",
    "tasks.steps.drift_check.silence",
    "tasks.steps.tidy",
)


def move(calendar: Calendar) -> None:
    """From now on flows of this process live in the year."""
    dates = calendar.reader()
    clock = _clock_by(dates)
    for name in _ASKING:
        import_module(name)
        setattr(sys.modules[name], "datetime", clock)  # noqa: B010 - no attribute of a known type
    source: Any = import_module(f"usecases.{USE_CASE}")
    source.now = lambda: clock.now(UTC)
    _date_objects(dates)


def _clock_by(dates: Dates) -> type[datetime]:
    class Moved(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Clock(datetime, metaclass=Moved):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            moment = dates.of(datetime.fromtimestamp(time.time(), UTC))
            return moment.astimezone(tz) if tz else moment.replace(tzinfo=None)

    return Clock


def _date_objects(dates: Dates) -> None:
    """A lake cannot be asked to write an object in the past: its listings are dated instead."""
    from blocks.clients.objects import Bucket, Folder, Stored

    def dated(stored: Stored) -> Stored:
        return stored._replace(modified=dates.of(stored.modified))

    for kind in (Folder, Bucket):
        listed, found = kind.list, kind.find

        def list_dated(self: Any, prefix: str, listed: Any = listed) -> list[Stored]:
            return [dated(stored) for stored in listed(self, prefix)]

        def find_dated(self: Any, key: str, found: Any = found) -> Stored | None:
            stored = found(self, key)
            return dated(stored) if stored else None

        kind.list, kind.find = list_dated, find_dated  # type: ignore[method-assign]
