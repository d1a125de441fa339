"""Upload segments to the lake from a separate process, beside the one that answers.

Making Parquet takes an interpreter and memory: a separate process takes them from no request and
frees them when nothing waits, and a crash of pyarrow does not end the service. It is started for a
segment, and ended when none has come for a while. It works when nobody else wants a core, until
what it has is late: beside it, on two busy cores, one answer in a hundred would wait for three
times as long (docs/decisions/0042-tail.md).

Its standard input takes one segment a line, as JSON; its standard output has the outcome of each in
a line of JSON. Unreadable rows, and rows that ended the process once, are set aside alone:
``<segment>.unreadable`` beside the segment has them, each with its reason. The process ends with
its standard input, and so with the process that started it. It reads lake and durability from its
own settings.
"""

import os
import select
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from serving.errors import LakeAway
from serving.log.segments import Unreadable
from serving.outside.lake import FolderLake, Lake, open_lake

if TYPE_CHECKING:
    from serving.upload.sieve import SetAside

_CHANCES = 3
_REPOSITORY = Path(__file__).resolve().parents[2]


class Receipt(msgspec.Struct, frozen=True):
    """The rows that the lake has; ``torn`` lines could not be read, among them whole ones with
    ``unreadable`` rows.
    """

    rows: int
    torn: int
    unreadable: int = 0


class CarrierEnded(OSError):
    """The process ended while it had a segment: killed, out of memory, or by the segment."""


class _Task(msgspec.Struct):
    """A segment to upload, or ``data`` to put there as the object ``path``. ``careful``: a row of
    the segment may end the process."""

    path: str
    careful: bool = False
    data: str | None = None


class _Outcome(msgspec.Struct):
    """With a ``problem``, the lake may have a part, which the next try writes again."""

    receipt: Receipt | None = None
    problem: str = ""
    unreadable: bool = False


_OUTCOME = msgspec.json.Decoder(_Outcome)
_TASK = msgspec.json.Decoder(_Task)


def carry(path: Path, lake: Lake, *, durable: bool, careful: bool = False) -> Receipt:
    """Convert the segment and put its files into the lake. Raises ``Unreadable``, ``LakeAway``,
    ``OSError``.
    """
    from serving.upload.parquet import convert, give_back_memory

    converted = convert(path, careful=careful)
    for key, data in converted.files.items():
        lake.put(key, data)
    if converted.aside.lines:
        _set_aside(path, converted.aside)
    if durable and isinstance(lake, FolderLake):
        # only the kernel has its files, and the segment, which is on the disk, is removed next
        os.sync()
    receipt = Receipt(converted.rows, converted.torn, converted.aside.rows)
    del converted
    give_back_memory()
    return receipt


def _set_aside(path: Path, aside: "SetAside") -> None:
    """Write the segment's header, and then each line after a line with its reason. The file is
    readable as a segment again.
    """
    with path.open("rb") as file:
        parts = [file.readline()]
    for reason, line in aside.lines:
        parts += [msgspec.json.encode({"unreadable": reason}), b"\n", line]
    partial = path.with_suffix(".partial")
    partial.write_bytes(b"".join(parts))
    partial.replace(path.with_suffix(".unreadable"))


class Carrier:
    """The uploader's handle of the process. For one thread."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._process: _Process | None = None
        self._used = 0.0
        self._ended_at: Counter[Path] = Counter()

    def carry(self, path: Path, patience_seconds: float | None = None) -> Receipt:
        """Upload one segment. After ``patience_seconds`` the process takes its share of a core, as
        any other does; ``None``: never.

        Raises ``Unreadable`` for a file that is not a segment, or that ended the process each time;
        else ``LakeAway``, ``OSError``."""
        if self._ended_at[path] >= _CHANCES:
            raise Unreadable(f"{path.name} ended its upload process {_CHANCES} times")
        task = _Task(str(path.absolute()), careful=self._ended_at[path] > 0)
        try:
            outcome = self._ask(task, path.name, patience_seconds)
        except CarrierEnded:
            self._ended_at[path] += 1
            raise
        self._used = time.monotonic()
        del self._ended_at[path]
        if outcome.receipt is None:
            raise Unreadable(outcome.problem) if outcome.unreadable else LakeAway(outcome.problem)
        return outcome.receipt

    def put(self, key: str, data: bytes, patience_seconds: float | None = None) -> None:
        """Write or replace a small object of the lake. Raises ``LakeAway``, ``OSError``."""
        outcome = self._ask(_Task(key, data=data.decode()), key, patience_seconds)
        self._used = time.monotonic()
        if outcome.receipt is None:
            raise LakeAway(outcome.problem)

    def rest(self, *, now: bool = False) -> None:
        """End the process if it was idle for a while, or ``now``."""
        if self._process is not None and (
            now or time.monotonic() - self._used >= self._idle_seconds
        ):
            self._process.end()
            self._process = None

    def _ask(self, task: _Task, name: str, patience_seconds: float | None) -> _Outcome:
        if self._process is None:
            self._process = _Process()
        is_late = patience_seconds is not None and patience_seconds <= 0
        try:
            if not is_late:
                self._process.give_way()
            self._process.send(task)
            if not self._process.answers_within(patience_seconds) and not self._process.hurry():
                self._process.kill()
                self._process = _Process()
                self._process.send(task)
            return self._process.receive()
        except (BrokenPipeError, msgspec.DecodeError) as error:
            process, self._process = self._process, None
            status = process.kill()
            raise CarrierEnded(f"the upload process ended (status {status}) at {name}") from error


class _Process:
    """One run of the upload process: first with the priority of the service."""

    def __init__(self) -> None:
        # A process group of its own: a keyboard interrupt of the service does not stop the last
        # uploads. Not a session: Linux shares the cores among sessions first, so that giving way
        # would not help the service.
        self._run = subprocess.Popen(
            [sys.executable, "-m", "serving.upload.carrier"],
            cwd=_REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        self.pid = self._run.pid
        self._gives_way = False

    def send(self, task: _Task) -> None:
        """Raises ``BrokenPipeError``."""
        assert self._run.stdin is not None
        self._run.stdin.write(msgspec.json.encode(task) + b"\n")
        self._run.stdin.flush()

    def answers_within(self, seconds: float | None) -> bool:
        """Whether it has an outcome, or has ended, after so long at most."""
        assert self._run.stdout is not None
        waiting = select.poll()  # a service with many connections has large descriptors
        waiting.register(self._run.stdout, select.POLLIN)
        return bool(waiting.poll(None if seconds is None else 1000 * seconds))

    def receive(self) -> _Outcome:
        """Raises ``msgspec.DecodeError`` if it has ended."""
        assert self._run.stdout is not None
        return _OUTCOME.decode(self._run.stdout.readline())

    def give_way(self) -> None:
        """Let it run when nobody else wants a core, if the system knows such a thing."""
        if not self._gives_way and hasattr(os, "SCHED_IDLE"):
            with suppress(OSError):  # forbidden in some containers
                self._schedule(os.SCHED_IDLE)
                self._gives_way = True

    def hurry(self) -> bool:
        """Let it take its share of a core. ``False`` if it cannot take back that it gives way: as a
        rule root alone may."""
        if self._gives_way:
            try:
                self._schedule(os.SCHED_OTHER)
            except OSError:
                return False
            self._gives_way = False
        return True

    def _schedule(self, policy: int) -> None:
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(0))

    def end(self) -> None:
        """Wait until it has done what it has."""
        self._run.communicate()

    def kill(self) -> int:
        """End it, and return its status."""
        self._run.kill()
        self._run.communicate()
        return self._run.returncode


def main(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Upload segments until there are no more."""
    from blocks.settings import Settings

    settings = Settings.read()
    lake = open_lake(settings)
    for line in tasks:
        try:
            task = _TASK.decode(line)
            outcome = _Outcome(_done(task, lake, durable=settings.log_durability == "fsync"))
        except (Unreadable, LakeAway, OSError) as error:
            outcome = _Outcome(problem=str(error), unreadable=isinstance(error, Unreadable))
        answers.write(msgspec.json.encode(outcome) + b"\n")
        answers.flush()


def _done(task: _Task, lake: Lake, *, durable: bool) -> Receipt:
    if task.data is None:
        return carry(Path(task.path), lake, durable=durable, careful=task.careful)
    lake.put(task.path, task.data.encode())
    return Receipt(0, 0)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
