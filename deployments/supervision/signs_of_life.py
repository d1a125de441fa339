"""Whether something is at work: it lives, and its log grows or it uses the processor. Waits follow
that, and not a clock.

On a machine that is busy with other things a start takes minutes instead of seconds, and is no
failure. Something that does nothing at all for long is one, on every machine."""

import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

QUIET_SECONDS = 120.0
# What an idle server uses of the processor within that time is less, and what a starved one at work
# gets is more.
WORK_SECONDS = 3.0
TELL_SECONDS = 30.0
LOOK_SECONDS = 1.0
LOG_LINES = 15


@dataclass(frozen=True)
class Sign:
    """``mark`` is another one as soon as something happened; ``cpu_seconds`` is what the processes
    have used so far.
    """

    mark: Hashable
    cpu_seconds: float = 0.0


class Vigil:
    """One wait: how long it has lasted, and how long nothing has shown a sign of life.

    ``say`` is told every ``TELL_SECONDS`` how long the wait has lasted.
    """

    def __init__(
        self,
        look: Callable[[], Sign],
        say: Callable[[float], None] = lambda seconds: None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._look, self._say, self._look_seconds = look, say, look_seconds
        self._begun = self._alive = self._told = self._looked = time.monotonic()
        self._last = look()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def quiet_seconds(self) -> float:
        """Since when there was no sign of life; looks for one, every ``look_seconds``."""
        now = time.monotonic()
        if now - self._looked >= self._look_seconds:
            self._looked = now
            sign = self._look()
            used = sign.cpu_seconds - self._last.cpu_seconds
            # Less than before: a process has gone, and others are counted from here on.
            if sign.mark != self._last.mark or used >= WORK_SECONDS or used < 0:
                self._last, self._alive = sign, now
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._say(self.seconds)
        return now - self._alive


def cpu_seconds(processes: "Iterable[psutil.Process]") -> float:
    """What these processes have used of the processor, those that are gone left out."""
    import psutil

    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def family(pid: int) -> "list[psutil.Process]":
    """The process and all below it, empty where it is gone."""
    import psutil

    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def log_size(log: Path) -> tuple[int, int]:
    """Bytes and moment of the last change; another pair as soon as a line was written, also after a
    rotation.
    """
    try:
        status = log.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def last_lines(log: Path, lines: int = LOG_LINES) -> str:
    """What a person reads of a program that failed: the end of its log, indented, under the log's
    path.
    """
    written = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    if not written:
        return f"It left nothing in {log}."
    return f"The last lines of {log}:\n" + "\n".join(f"    {line}" for line in written)
