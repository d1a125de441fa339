"""A challenger that scores copies of the champion's requests in an idle process of its own.

No answer waits for it: copies are collected, and sent as datagrams into a buffer of the kernel.
What does not fit is dropped and counted. A process that ends, hangs or grows without bounds is
ended and started again, later each time. It ends with its standard input, and so with the service.
"""

import logging
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from serving.metrics.variants import ShadowStats
from serving.rollouts.copies import MOST_DATAGRAM_BYTES, Copy, Report, Task, pack, read_report

_MOST_COPIES = 32  # in a datagram
_MOST_BYTES = 64 * 1024
_BUFFER_BYTES = 4 * 2**20  # asked for; the system may allow less
_GLANCE_SECONDS = 0.1
_REPOSITORY = Path(__file__).resolve().parents[2]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a silent process is left alone, and how much memory it may gain on its first report.
    A process that lived for ``steady_seconds`` did not fail at its start."""

    start_seconds: float = 60.0
    silent_seconds: float = 60.0
    end_seconds: float = 10.0
    grown_bytes: int = 512 * 2**20
    steady_seconds: float = 60.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0


class Shadow:
    """The shadow of one use case in this process. ``feed`` may be called from any thread.

    ``on_trouble`` is called with the reason, once, when a process had to be ended or ended by
    itself. ``program`` is the module that scores."""

    def __init__(
        self,
        task: Task,
        stats: ShadowStats,
        on_trouble: Callable[[str], None] = lambda _: None,
        patience: Patience | None = None,
        program: str = "serving.shadow",
    ) -> None:
        self.version = task.version
        self.stats = stats
        self.pid = 0
        self.task = task
        self._on_trouble = on_trouble
        self._patience = patience or Patience()
        self._program = program
        self._copies: list[Copy] = []
        self._bytes = 0
        self._turn = threading.Lock()
        self._socket: socket.socket | None = None
        self._ending = threading.Event()
        self._told = False
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Let the process score what it has, upload it and end; returns at once."""
        self._ending.set()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def feed(self, body: bytes, ids: list[str]) -> None:
        """Have a copy of an answered request scored, soon or never. Does not wait."""
        size = len(body) + 40 * len(ids)
        with self._turn:
            if self._bytes + size > _MOST_BYTES:
                self._send()
            self._copies.append(Copy(body, ids))
            self._bytes += size
            if len(self._copies) >= _MOST_COPIES:
                self._send()

    def drop(self) -> None:
        """Count a request that is too large to be copied."""
        with self._turn:
            self.stats.dropped += 1

    def _send(self) -> None:
        copies, self._copies, self._bytes = self._copies, [], 0
        if not copies:
            return
        datagram = pack(copies)
        if self._socket is not None and len(datagram) <= MOST_DATAGRAM_BYTES:
            try:
                self._socket.send(datagram)
                return
            except OSError:  # full, or its process is gone
                pass
        self.stats.dropped += len(copies)

    def _run(self) -> None:
        """Keep a process alive until the end."""
        pause = 0.0
        while not self._ending.wait(pause):
            began = time.monotonic()
            try:
                trouble = self._live()
            except OSError as error:
                trouble = f"cannot be started: {error.strerror or error}"
            if self._ending.is_set():
                return
            self.stats.restarts += 1
            patience = self._patience
            is_steady = time.monotonic() - began >= patience.steady_seconds
            pause = (
                patience.first_pause_seconds
                if is_steady or not pause
                else min(2 * pause, patience.longest_pause_seconds)
            )
            logger.error(
                "shadow ended use_case=%s version=%s next_in_seconds=%g: %s",
                *(self.task.use_case, self.version, pause, trouble),
            )
            if not self._told:
                self._told = True
                self._on_trouble(trouble)

    def _live(self) -> str:
        """One process, from its start to its end; what ended it. Raises ``OSError``."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours:
            with theirs:
                ours.setblocking(False)
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
                process = self._begin(theirs)
            with self._turn:
                self._socket = ours
            self.pid = process.pid
            try:
                return self._watch(process)
            finally:
                with self._turn:
                    self._send()
                    self._socket = None
                self._finish(process)
                self.pid = 0

    def _begin(self, theirs: socket.socket) -> "subprocess.Popen[bytes]":
        task = msgspec.structs.replace(self.task, socket=theirs.fileno())
        # A new session: a keyboard interrupt of the service does not stop its last upload.
        return subprocess.Popen(
            [sys.executable, "-m", self._program, msgspec.json.encode(task).decode()],
            cwd=_REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )

    def _watch(self, process: "subprocess.Popen[bytes]") -> str:
        """Read reports until the process must end, or has ended; why."""
        assert process.stdout is not None
        first, last, patience = None, Report(), self._patience
        deadline = time.monotonic() + patience.start_seconds
        while not self._ending.is_set():
            if select.select([process.stdout], [], [], _GLANCE_SECONDS)[0]:
                report = _next_report(process.stdout)
                if report is None:
                    return _end_of(process)
                _add(self.stats, last, report)
                first, last = first or report, report
                deadline = time.monotonic() + patience.silent_seconds
                if report.memory_bytes - first.memory_bytes > patience.grown_bytes:
                    return f"grew to {report.memory_bytes / 2**20:,.0f} MB"
            elif time.monotonic() > deadline:
                return "gave no sign of life"
            with self._turn:
                self._send()
        return ""

    def _finish(self, process: "subprocess.Popen[bytes]") -> None:
        """End the process: in order if the rollout ends, else at once."""
        assert process.stdin is not None and process.stdout is not None
        if not self._ending.is_set():
            process.kill()
        process.stdin.close()
        try:
            process.wait(self._patience.end_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _add(stats: ShadowStats, before: Report, after: Report) -> None:
    """Add what a process did between two of its reports."""
    stats.requests += after.requests - before.requests
    stats.rows += after.rows - before.rows
    stats.failures += after.failures - before.failures
    stats.seconds += after.seconds - before.seconds
    stats.uploaded += after.uploaded - before.uploaded


def _end_of(process: "subprocess.Popen[bytes]") -> str:
    try:
        return f"ended by itself (status {process.wait(1.0)})"
    except subprocess.TimeoutExpired:
        return "gave no readable report"


def _next_report(lines: IO[bytes]) -> Report | None:
    """The next report; ``None`` at the end, and for anything else."""
    try:
        return read_report(lines.readline())
    except msgspec.DecodeError:
        return None
