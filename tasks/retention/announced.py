"""What a stack was told that it will lose: a kind is removed by itself only a day after it was
announced with the same number of days."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from blocks.lake import Lake

NOTICE = timedelta(hours=20)  # a daily run acts on what the one before it announced


class Announced(BaseModel):
    """For each kind the days that it is kept, and since when that is known."""

    model_config = ConfigDict(frozen=True)

    kinds: Mapping[str, tuple[int, datetime]] = {}

    def allows(self, kind: str, days: int, now: datetime) -> bool:
        known = self.kinds.get(kind)
        return known is not None and known[0] <= days and now - known[1] >= NOTICE

    def with_kinds(self, kinds: Mapping[str, int], now: datetime) -> "Announced":
        """A kind that is known with at least as few days is known as long as before, and one that
        is not among ``kinds`` stays as it is.
        """
        new = {
            kind: (days, now)
            for kind, days in kinds.items()
            if kind not in self.kinds or self.kinds[kind][0] > days
        }
        return Announced(kinds={**self.kinds, **new})


def read_announced(store: Lake, use_case: str) -> Announced:
    """What is announced; nothing if that cannot be read, so that it is announced again."""
    try:
        return Announced.model_validate_json(store.read(_path(use_case)))
    except (FileNotFoundError, ValidationError):
        return Announced()


def write_announced(store: Lake, use_case: str, announced: Announced) -> None:
    store.write(_path(use_case), announced.model_dump_json().encode())


def _path(use_case: str) -> str:
    return f"tidy/{use_case}.json"
