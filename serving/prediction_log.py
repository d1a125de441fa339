"""The prediction log: what was acknowledged is on this disk before the answer goes out, and in the lake soon after.

    <folder>/<process>/lock               held (flock) by the process that owns the segments beside it
    <folder>/<process>/<segment>.jsonl    see serving/segments.py

A process that died leaves its lock free, and its segments are adopted. ``serving/uploader.py`` carries closed segments to the
lake. The operating system holds the lines from ``append`` on: the death of the process loses none, that of the machine may.
"""

import fcntl
import logging
import os
import secrets
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from serving.segments import Segment, Unreadable, line_of

logger = logging.getLogger(__name__)


class LogState(msgspec.Struct):
    """Predictions and feedback of one use case, counted in rows, since the start of the process."""

    rows_waiting: int = 0
    rows_uploaded: int = 0
    rows_dropped: int = 0
    lines_torn: int = 0


class PredictionLog:
    """Appends from any thread; gives closed segments to one uploader."""

    def __init__(self, folder: Path, flush_seconds: float, flush_rows: int, backlog_bytes: int) -> None:
        self.states: dict[str, LogState] = {}
        self.closed: deque[Segment] = deque()
        self.wake = threading.Event()
        self._folder = folder
        self._flush_seconds = flush_seconds
        self._flush_rows = flush_rows
        self._backlog_bytes = backlog_bytes
        self._bytes = 0
        self._open: dict[bytes, Segment] = {}
        self._lock = threading.RLock()
        self._process = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._locks: dict[Path, int] = {}
        self._count = 0
        self._dropping = ""

    def start(self) -> None:
        """Make this process's folder and adopt what dead ones left, their rows counted. Raises ``OSError``."""
        own = self._folder / self._process
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # one at a time, so that nobody takes a folder between its making and its locking
            own.mkdir(mode=0o700)
            self._own(own)
            for folder in sorted(self._folder.iterdir()):
                if folder != own and folder.is_dir() and self._own(folder):
                    self._adopt(folder)

    def state(self, use_case: str) -> LogState:
        return self.states.setdefault(use_case, LogState())

    def append(self, header: bytes, use_case: str, request: bytes, answer: bytes, rows: int) -> bool:
        """Keep one request; ``False`` where it had to be dropped (and is counted), since backlog or disk is full."""
        line = line_of(request, answer, rows)
        with self._lock:
            state = self.state(use_case)
            if self._bytes + len(line) > self._backlog_bytes:
                return self._drop(state, rows, "the backlog is full: the lake has been away too long")
            try:
                segment = self._open.get(header) or self._begin(header, use_case)
                segment.append(line, rows)
            except OSError as error:
                return self._drop(state, rows, f"the disk refuses: {error.strerror or error}")
            self._dropping = ""
            self._bytes += len(line)
            state.rows_waiting += rows
            if segment.rows >= self._flush_rows:
                self._close(header)
        return True

    def close_old(self, everything: bool = False) -> None:
        """Close segments that are old enough to be uploaded, or all."""
        with self._lock:
            for header, segment in list(self._open.items()):
                if everything or time.monotonic() - segment.opened >= self._flush_seconds:
                    self._close(header)

    def uploaded(self, segment: Segment, torn: int) -> None:
        """The lake has the oldest closed segment: forget it here."""
        segment.path.unlink(missing_ok=True)
        with self._lock:
            state = self.state(segment.use_case)
            state.rows_uploaded += segment.rows
            state.lines_torn += torn
            self._forget(segment)

    def set_aside(self, segment: Segment) -> None:
        """A segment that nobody can read stays on disk under another name, out of all counts but that of torn lines."""
        segment.path.rename(segment.path.with_suffix(".unreadable"))
        with self._lock:
            self.state(segment.use_case).lines_torn += 1
            self._forget(segment)

    def stop(self) -> None:
        """Let go of the folders; those that are empty go."""
        self.close_old(everything=True)
        for folder in list(self._locks):
            self._leave(folder)

    def _own(self, folder: Path) -> bool:
        """Whether the folder's owner is dead, and it is ours from now on."""
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._locks[folder] = lock
        return True

    def _leave(self, folder: Path) -> None:
        if [entry.name for entry in folder.iterdir()] == ["lock"]:
            (folder / "lock").unlink()
            folder.rmdir()
        os.close(self._locks.pop(folder))

    def _adopt(self, folder: Path) -> None:
        found = sorted(folder.glob("*.jsonl"))
        if not found:
            self._leave(folder)
        for path in found:
            try:
                segment = Segment.found(path)
            except Unreadable as error:
                logger.error("segment set aside: %s", error)
                path.rename(path.with_suffix(".unreadable"))
                continue
            self.state(segment.use_case).rows_waiting += segment.rows
            self._bytes += segment.size
            self.closed.append(segment)

    def _begin(self, header: bytes, use_case: str) -> Segment:
        self._count += 1
        path = self._folder / self._process / f"{self._process}-{self._count:06d}.jsonl"
        segment = self._open[header] = Segment.create(path, header, use_case)
        self._bytes += segment.size
        return segment

    def _close(self, header: bytes) -> None:
        segment = self._open.pop(header)
        segment.close()
        self.closed.append(segment)
        self.wake.set()

    def _forget(self, segment: Segment) -> None:
        self.closed.remove(segment)
        self._bytes -= segment.size
        self.state(segment.use_case).rows_waiting -= segment.rows

    def _drop(self, state: LogState, rows: int, reason: str) -> bool:
        state.rows_dropped += rows
        if reason != self._dropping:
            self._dropping = reason
            logger.error("predictions are not logged: %s", reason)
        return False
