"""Signs of life: a program is alive, and its log grows or it uses the CPU. Waits depend on these,
and not on a clock.

On a busy machine a start may take minutes instead of seconds, which is not a failure. A program
that does nothing for long has failed, on any machine."""

import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

QUIET_SECONDS = 120.0
# An idle server uses less CPU within that time, and a starved one that works gets more.
WORK_SECONDS = 3.0
TELL_SECONDS = 30.0
LOOK_SECONDS = 1.0
# A watcher that was stopped itself, with the whole machine perhaps, knows of no more quiet than
# this.
LONGEST_LOOK_SECONDS = 2.0
LOG_LINES = 15


@dataclass(frozen=True)
class Sign:
    """``mark`` changes as soon as something happens; ``cpu_seconds`` is the processes' CPU time so
    far.
    """

    mark: Hashable
    cpu_seconds: float = 0.0


class Vigil:
    """One wait: how long it has lasted, and how long there has been no sign of life.

    Every ``TELL_SECONDS``, ``say`` gets how long the wait has lasted.
    """

    def __init__(
        self,
        look: Callable[[], Sign],
        say: Callable[[float], None] = lambda seconds: None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._look, self._say, self._look_seconds = look, say, look_seconds
        self._begun = self._told = self._looked = time.monotonic()
        self._quiet = 0.0
        self._last = look()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def quiet_seconds(self) -> float:
        """The seconds since the last sign of life; checks for one every ``look_seconds``."""
        now = time.monotonic()
        elapsed = now - self._looked
        if elapsed >= self._look_seconds:
            self._looked = now
            sign = self._look()
            used = sign.cpu_seconds - self._last.cpu_seconds
            self._quiet += min(elapsed, max(LONGEST_LOOK_SECONDS, self._look_seconds))
            # Less than before: a process has gone, and counting starts again with the others.
            if sign.mark != self._last.mark or used >= WORK_SECONDS or used < 0:
                self._last, self._quiet = sign, 0.0
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._say(self.seconds)
        return self._quiet


def cpu_seconds(processes: "Iterable[psutil.Process]") -> float:
    """The CPU time of these processes, without those that are gone."""
    import psutil

    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def family(pid: int) -> "list[psutil.Process]":
    """The process and all its descendants; empty if it is gone."""
    import psutil

    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def log_size(log: Path) -> tuple[int, int]:
    """Bytes and time of the last change; the pair changes as soon as a line is written, even after
    a rotation.
    """
    try:
        status = log.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def last_lines(log: Path, lines: int = LOG_LINES) -> str:
    """What a person reads about a failed program: the log's path and its last lines, indented."""
    written = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    if not written:
        return f"It left nothing in {log}."
    return f"The last lines of {log}:\n" + "\n".join(f"    {line}" for line in written)
