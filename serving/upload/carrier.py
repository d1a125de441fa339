"""Upload segments to the lake from a separate process, beside the one that answers.

Making Parquet takes an interpreter and memory: a separate process takes them from no request and
frees them when nothing waits, and a crash of pyarrow does not end the service. It is started for a
segment, and ended when none has come for a while.

Its standard input takes one segment a line, as JSON; its standard output has the outcome of each in
a line of JSON. Unreadable rows, and rows that ended the process once, are set aside alone:
``<segment>.unreadable`` beside the segment has them, each with its reason. The process ends with
its standard input, and so with the process that started it. It reads lake and durability from its
own settings.
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
        self._process: subprocess.Popen[bytes] | None = None
        self._used = 0.0
        self._ended_at: Counter[Path] = Counter()

    def carry(self, path: Path) -> Receipt:
        """Upload one segment. Raises ``Unreadable`` for a file that is not a segment, or that ended
        the process each time; else ``LakeAway``, ``OSError``.
        """
        if self._ended_at[path] >= _CHANCES:
            raise Unreadable(f"{path.name} ended its upload process {_CHANCES} times")
        task = _Task(str(path.absolute()), careful=self._ended_at[path] > 0)
        try:
            outcome = self._ask(task, path.name)
        except CarrierEnded:
            self._ended_at[path] += 1
            raise
        self._used = time.monotonic()
        del self._ended_at[path]
        if outcome.receipt is None:
            raise Unreadable(outcome.problem) if outcome.unreadable else LakeAway(outcome.problem)
        return outcome.receipt

    def put(self, key: str, data: bytes) -> None:
        """Write or replace a small object of the lake. Raises ``LakeAway``, ``OSError``."""
        outcome = self._ask(_Task(key, data=data.decode()), key)
        self._used = time.monotonic()
        if outcome.receipt is None:
            raise LakeAway(outcome.problem)

    def rest(self, *, now: bool = False) -> None:
        """End the process if it was idle for a while, or ``now``."""
        if self._process is not None and (
            now or time.monotonic() - self._used >= self._idle_seconds
        ):
            self._process.communicate()
            self._process = None

    def _ask(self, task: _Task, name: str) -> _Outcome:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
            return _OUTCOME.decode(process.stdout.readline())
        except (BrokenPipeError, msgspec.DecodeError) as error:
            self._process = None
            process.kill()
            process.communicate()
            message = f"the upload process ended (status {process.returncode}) at {name}"
            raise CarrierEnded(message) from error

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-m", "serving.upload.carrier"]
            # A new session: a keyboard interrupt of the service does not stop the last uploads.
            self._process = subprocess.Popen(
                command,
                cwd=_REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        return self._process


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
