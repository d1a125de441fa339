"""Segments go to the lake from a process of its own, beside the one that answers.

Making Parquet takes an interpreter and memory: there it takes them from nobody, they are gone when
nothing waits, and what ends pyarrow ends no service. It is started when a segment is there, and let
go when none has come for a while.

Its standard input takes a segment a line, as JSON; its standard output says of each in a line of
JSON what became of it. Rows that nobody can read, or that ended the process once, are set aside
alone: ``<segment>.unreadable`` beside the segment holds them and why. It ends with its standard
input, and so with the process that started it. Lake and durability are those of its own settings.
"""

import os
import subprocess
import sys
import time
from collections import Counter
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
    """The lake has these rows; ``torn`` lines could not be read, among them whole ones with
    ``unreadable`` rows.
    """

    rows: int
    torn: int
    unreadable: int = 0


class CarrierEnded(OSError):
    """The process ended while it had a segment: killed, for want of memory, or by the segment."""


class _Task(msgspec.Struct):
    """``careful``: some row may end the process."""

    path: str
    careful: bool = False


class _Outcome(msgspec.Struct):
    """Where there is a ``problem`` the lake may have a part, which the next try writes again."""

    receipt: Receipt | None = None
    problem: str = ""
    unreadable: bool = False


_OUTCOME = msgspec.json.Decoder(_Outcome)
_TASK = msgspec.json.Decoder(_Task)


def carry(path: Path, lake: Lake, *, durable: bool, careful: bool = False) -> Receipt:
    """Convert the segment and give its files to the lake. Raises ``Unreadable``, ``LakeAway``,
    ``OSError``.
    """
    from serving.upload.parquet import convert, give_back_memory

    converted = convert(path, careful=careful)
    for key, data in converted.files.items():
        lake.put(key, data)
    if converted.aside.lines:
        _set_aside(path, converted.aside)
    if durable and isinstance(lake, FolderLake):
        # its files are with the kernel only, and the segment, which is on the disk, goes now
        os.sync()
    receipt = Receipt(converted.rows, converted.torn, converted.aside.rows)
    del converted
    give_back_memory()
    return receipt


def _set_aside(path: Path, aside: "SetAside") -> None:
    """The segment's header, and then each line after a line that says why it is here. The lines are
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
    """The process as the uploader sees it. For one thread."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._used = 0.0
        self._ended_at: Counter[Path] = Counter()

    def carry(self, path: Path) -> Receipt:
        """Raises ``Unreadable`` for a file that is no segment, or that ended the process each time;
        else ``LakeAway``, ``OSError``.
        """
        if self._ended_at[path] >= _CHANCES:
            raise Unreadable(f"{path.name} ended its upload process {_CHANCES} times")
        try:
            outcome = self._ask(path)
        except CarrierEnded:
            self._ended_at[path] += 1
            raise
        self._used = time.monotonic()
        del self._ended_at[path]
        if outcome.receipt is None:
            raise Unreadable(outcome.problem) if outcome.unreadable else LakeAway(outcome.problem)
        return outcome.receipt

    def rest(self, *, now: bool = False) -> None:
        """End the process if it had nothing to do for a while, or ``now``."""
        if self._process is not None and (
            now or time.monotonic() - self._used >= self._idle_seconds
        ):
            self._process.communicate()
            self._process = None

    def _ask(self, path: Path) -> _Outcome:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        task = _Task(str(path.absolute()), careful=self._ended_at[path] > 0)
        try:
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
            return _OUTCOME.decode(process.stdout.readline())
        except (BrokenPipeError, msgspec.DecodeError) as error:
            self._process = None
            process.kill()
            process.communicate()
            message = f"the upload process ended (status {process.returncode}) at {path.name}"
            raise CarrierEnded(message) from error

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-m", "serving.upload.carrier"]
            # A session of its own: what stops the service from the keyboard lets the last segments
            # be carried.
            self._process = subprocess.Popen(
                command,
                cwd=_REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        return self._process


def main(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Carry until there are no more segments."""
    from blocks.settings import Settings

    settings = Settings.read()
    lake = open_lake(settings)
    for line in tasks:
        try:
            task = _TASK.decode(line)
            durable = settings.log_durability == "fsync"
            outcome = _Outcome(carry(Path(task.path), lake, durable=durable, careful=task.careful))
        except (Unreadable, LakeAway, OSError) as error:
            outcome = _Outcome(problem=str(error), unreadable=isinstance(error, Unreadable))
        answers.write(msgspec.json.encode(outcome) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
