"""Whether an ingest or a training has room in memory, asked before it starts: the system ends a
process that takes too much, and says nothing.

The estimate is that of rows in a frame and of their matrix, with the copies that the steps of a
retrain make of both, as ``python -m benchmarks.loop.size`` measures them. Texts and images are
longer than it takes them for."""

import os
from dataclasses import dataclass
from pathlib import Path

from tasks.data.kinds import KINDS
from usecases.definition import UseCase
from usecases.definition.kinds import KINDS as DECLARED

_GIB = 1 << 30
_PROCESS = 0.7 * _GIB  # imports, and what does not grow with the rows
_TEXT, _NUMBER, _BOOLEAN = 24, 8, 1  # bytes of a value in a frame
_COPIES_OF_FRAME, _COPIES_OF_MATRIX = 1.4, 1.2
_COPIES_OF_PERIOD = 2.5
_CGROUP = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class TooManyRows(ValueError):
    """A training would take more memory than it may. The message says what to do."""


@dataclass(frozen=True)
class Room:
    """Bytes that a training may take. ``stated``: somebody said so, and nobody guessed."""

    size: int
    stated: bool

    def why_too_small_for_period(self, case: UseCase, rows: int) -> str:
        """The same of an ingest of a period with so many rows."""
        needed = _PROCESS + rows * _COPIES_OF_PERIOD * _bytes_of_row(case)
        if needed <= self.size:
            return ""
        return (
            f"{rows:,} rows, for which an ingest takes about {needed / _GIB:.1f} GiB, and "
            f"{self._whose} {self.size / _GIB:.1f}. Give {case.name!r} a shorter period, such as "
            "period='day', or the run more memory."
        )

    @property
    def _whose(self) -> str:
        return "LAUREL_MEMORY_GIB says" if self.stated else "this machine has"

    def why_too_small(self, case: UseCase, rows: int) -> str:
        """Why a training of ``rows`` rows, or of the use case's sample of them, does not fit; empty
        if it does.
        """
        learned = min(rows, case.sample.rows) if case.sample else rows
        needed = needed_bytes(case, learned)
        if needed <= self.size:
            return ""
        fit = int((self.size - _PROCESS) / (needed - _PROCESS) * learned) // 1000 * 1000
        way = f"sample=Sample(rows={fit:_})" if fit >= 1000 else "fewer columns"
        return (
            f"{case.name!r} would learn {learned:,} rows of {len(case.columns)} columns, for which "
            f"a training takes about {needed / _GIB:.1f} GiB, and {self._whose} "
            f"{self.size / _GIB:.1f}. Give the use case {way} or train_periods, or the run more "
            "memory (docs/use-cases.md#more-rows-than-memory)."
        )


def room_of(stated_gib: float | None) -> Room:
    """What was stated, else the memory of the container or the machine."""
    if stated_gib is not None:
        return Room(int(stated_gib * _GIB), stated=True)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return Room(min(limits), stated=False)


def needed_bytes(case: UseCase, rows: int) -> float:
    """About what a training of ``rows`` rows takes at most, in all."""
    width = sum(DECLARED[column.kind].width(column) for column in case.columns)
    matrix = _NUMBER * (0 if _learns_in_batches(case) else width)
    return _PROCESS + rows * (_COPIES_OF_FRAME * _bytes_of_row(case) + _COPIES_OF_MATRIX * matrix)


def _bytes_of_row(case: UseCase) -> int:
    """In a frame, with its time and its key."""
    sizes = {"Float64": _NUMBER, "Datetime": _NUMBER, "Boolean": _BOOLEAN}
    kinds = [str(KINDS[column.kind].dtype).partition("(")[0] for column in case.columns]
    return sum(sizes.get(kind, _TEXT) for kind in kinds) + _TEXT * (1 + len(case.key))


def _learns_in_batches(case: UseCase) -> bool:
    return all(candidate.batch_rows is not None for candidate in case.candidates)
