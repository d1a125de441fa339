"""What may go: found first, removed later or never."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "results", "report_pages", "runs", "predictions", "feedback", "challengers", "studies"
]


@dataclass(frozen=True)
class Removable:
    """Things of one kind that are older than ``days``. ``size`` is in bytes, ``None`` if nobody
    knows it. ``remove`` may be called again after it was broken off.
    """

    kind: Kind
    days: int
    count: int
    size: int | None
    remove: Callable[[], None]
