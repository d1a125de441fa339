"""The prediction log: an acknowledged row is on this machine before the answer is sent, and in the
lake soon after.

    <folder>/<process>/<segment>.jsonl    see serving/log/segments.py and serving/log/folders.py

``serving/upload/uploader.py`` carries closed segments to the lake, those of dead processes first.
After ``append`` the operating system has the lines, or with durability "fsync" the disk has them:
docs/decisions/0010-prediction-log.md."""

import errno
import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Literal

import msgspec

from serving.log.folders import LogFolders
from serving.log.segments import Segment, Unreadable, sync_folder

# A segment is closed at this size, whatever its rows: wide rows would take long to convert.
SEGMENT_BYTES = 64_000_000
# A disk that refused a new segment is not tried again at once: a try costs as much as a hundred
# appends.
_RETRY_SECONDS = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT)

logger = logging.getLogger(__name__)


class LogState(msgspec.Struct):
    """Predictions and feedback of one use case, counted in rows, since the start of the process."""

    rows_waiting: int = 0
    rows_uploaded: int = 0
    rows_dropped: int = 0
    rows_unreadable: int = 0
    lines_torn: int = 0


class PredictionLog:
    """Appends from any thread, and passes closed segments to one uploader. ``blocking``: an append
    waits for the disk.
    """

    def __init__(
        self,
        folder: Path,
        flush_seconds: float,
        flush_rows: int,
        backlog_bytes: int,
        durability: Literal["os", "fsync"] = "os",
    ) -> None:
        self.states: dict[str, LogState] = {}
        self.closed: deque[Segment] = deque()
        self.wake = threading.Event()
        self.blocking = durability == "fsync"
        self._flush_seconds = flush_seconds
        self._flush_rows = flush_rows
        self._backlog_bytes = backlog_bytes
        self._bytes = 0
        self._open: dict[bytes, Segment] = {}
        self._lock = threading.RLock()
        self._folders = LogFolders(folder, self.blocking)
        self._count = 0
        self._dropping = ""
        self._refusal: tuple[float, str] = (0.0, "")

    def start(self) -> None:
        """Adopt the segments of dead processes, count their rows, and make a folder for this one.

        Raises ``OSError``, but not for a full disk: rows are then dropped, and the folder is made
        when there is space."""
        try:
            self._adopt()
            self._folders.make()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            logger.error("the prediction log has no folder: %s", error)

    def state(self, use_case: str) -> LogState:
        return self.states.setdefault(use_case, LogState())

    def append(self, header: bytes, use_case: str, lines: bytes, rows: int) -> bool:
        """Keep ``lines`` (one of ``line_of`` or several joined, ``rows`` rows in all) with one
        write.

        ``False`` if backlog or disk is full: all of the lines are dropped and counted, never only
        some."""
        with self._lock:
            segment = self._open.get(header)
            if self._bytes + len(lines) + (0 if segment else len(header) + 1) > self._backlog_bytes:
                return self._drop(
                    use_case,
                    rows,
                    "the backlog is full: the lake has been unreachable for too long",
                )
            try:
                if segment is None:
                    segment = self._begin(header, use_case)
                before = segment.size
                try:
                    segment.append(lines, rows)
                finally:
                    self._bytes += segment.size - before
            except OSError as error:
                return self._drop(
                    use_case, rows, f"the disk refused the write: {error.strerror or error}"
                )
            self._dropping = ""
            self.states[use_case].rows_waiting += rows
            reached = segment.size
            if segment.rows >= self._flush_rows or reached >= SEGMENT_BYTES:
                self._close(header)
        return self._sync(segment, reached, header, rows) if self.blocking else True

    def draft(self, header: bytes, use_case: str) -> "Draft":
        """A draft for one large request, whose lines come piece by piece: no other request waits
        for its writes, and all of it is kept or nothing.
        """
        with self._lock:
            try:
                return Draft(self, use_case, self._create(header, use_case, ".draft"), "")
            except OSError as error:
                return Draft(
                    self, use_case, None, f"the disk refused the write: {error.strerror or error}"
                )

    def take_draft(self, segment: Segment, rows: int) -> bool:
        """Make a draft a closed segment of the log. ``False`` if the backlog is full: the rows are
        counted as dropped.

        Raises ``OSError``. The file is renamed without the lock: a slow disk does not delay small
        requests."""
        with self._lock:
            if self._bytes + segment.size > self._backlog_bytes:
                return self._drop(
                    segment.use_case,
                    rows,
                    "the backlog is full: the lake has been unreachable for too long",
                )
            self._bytes += segment.size
        path = segment.path.with_suffix(".jsonl")
        try:
            segment.path.rename(path)
            segment.path = path
            if self.blocking:
                sync_folder(path.parent)  # a power loss would bring back its old name
        except OSError:
            with self._lock:
                self._bytes -= segment.size
            raise
        with self._lock:
            self._dropping = ""
            self.state(segment.use_case).rows_waiting += rows
            self.closed.append(segment)
            self.wake.set()
        return True

    def drop(self, use_case: str, rows: int, reason: str) -> bool:
        """Count rows that are answered but not logged. Always ``False``."""
        with self._lock:
            return self._drop(use_case, rows, reason)

    def close_old(self, everything: bool = False) -> None:
        """Close segments that are old enough to be uploaded, or all."""
        with self._lock:
            for header, segment in list(self._open.items()):
                if everything or time.monotonic() - segment.opened >= self._flush_seconds:
                    self._close(header)

    def uploaded(self, segment: Segment, rows: int, torn: int, unreadable: int = 0) -> None:
        """Remove a closed segment after its upload: the lake has ``rows`` of it, without its
        ``torn`` lines of ``unreadable`` rows.
        """
        segment.path.unlink(missing_ok=True)
        with self._lock:
            state = self.state(segment.use_case)
            state.rows_uploaded += rows
            state.lines_torn += torn
            state.rows_unreadable += unreadable
            self._remove(segment)

    def set_aside(self, segment: Segment) -> None:
        """Rename an unreadable segment, which stays on disk. Its rows count as unreadable."""
        segment.path.rename(segment.path.with_suffix(".unreadable"))
        with self._lock:
            self.state(segment.use_case).lines_torn += 1
            self.state(segment.use_case).rows_unreadable += segment.rows
            self._remove(segment)

    def lag_seconds(self, use_case: str) -> float:
        """Age of the oldest row that is not in the lake; 0 if all are."""
        waiting = self._waiting(use_case)
        return max(0.0, time.time() - min(segment.since for segment in waiting)) if waiting else 0.0

    def bytes_waiting(self, use_case: str) -> int:
        """Bytes on this disk that wait for the lake."""
        return sum(segment.size for segment in self._waiting(use_case))

    def stop(self) -> None:
        """Release the folders, and remove the empty ones."""
        self.close_old(everything=True)
        self._folders.leave()

    def _adopt(self) -> None:
        for path in self._folders.adopt():
            try:
                segment = Segment.recover(path)
            except Unreadable as error:
                logger.error("segment set aside: %s", error)
                path.rename(path.with_suffix(".unreadable"))
                continue
            self.state(segment.use_case).rows_waiting += segment.rows
            self._bytes += segment.size
            self.closed.append(segment)

    def _begin(self, header: bytes, use_case: str) -> Segment:
        segment = self._create(header, use_case, ".jsonl")
        self._open[header] = segment
        self._bytes += segment.size
        return segment

    def _create(self, header: bytes, use_case: str, suffix: str) -> Segment:
        until, reason = self._refusal
        if time.monotonic() < until:
            raise OSError(errno.ENOSPC, reason)
        try:
            if not self._folders.exists:
                self._folders.make()
            self._count += 1
            own = self._folders.own
            segment = Segment.create(
                own / f"{own.name}-{self._count:06d}{suffix}",
                header,
                use_case,
                durable=self.blocking,
            )
        except OSError as error:
            self._refusal = (time.monotonic() + _RETRY_SECONDS, error.strerror or str(error))
            raise
        self.state(use_case)
        return segment

    def _close(self, header: bytes) -> None:
        segment = self._open.pop(header)
        try:
            segment.close()
        except OSError as error:
            logger.error(
                "segment may be missing on the disk segment=%s: %s", segment.path.name, error
            )
        self.closed.append(segment)
        self.wake.set()

    def _sync(self, segment: Segment, size: int, header: bytes, rows: int) -> bool:
        """Wait for the disk without the lock: the next waiting thread syncs the rows that are
        appended meanwhile.
        """
        try:
            segment.sync(size)
        except OSError as error:
            with self._lock:
                if self._open.get(header) is segment:
                    self._close(header)
                return self._drop(
                    segment.use_case,
                    rows,
                    f"the disk lost the rows that it accepted: {error.strerror or error}",
                )
        return True

    def _waiting(self, use_case: str) -> list[Segment]:
        with self._lock:
            return [
                segment
                for segment in (*self.closed, *self._open.values())
                if segment.use_case == use_case
            ]

    def _remove(self, segment: Segment) -> None:
        self.closed.remove(segment)
        self._bytes -= segment.size
        self.state(segment.use_case).rows_waiting -= segment.rows

    def _drop(self, use_case: str, rows: int, reason: str) -> bool:
        self.state(use_case).rows_dropped += rows
        if reason != self._dropping:
            self._dropping = reason
            logger.error("predictions are not logged: %s", reason)
        return False


class Draft:
    """The lines of one large request, in a separate file; a crash discards it, since no answer was
    sent.
    """

    def __init__(
        self, log: PredictionLog, use_case: str, segment: Segment | None, problem: str
    ) -> None:
        self._log = log
        self._use_case = use_case
        self._segment = segment
        self._problem = problem

    def add(self, line: bytes, rows: int) -> None:
        """Add a line; ``keep`` reports a failed write."""
        if self._segment is not None:
            try:
                self._segment.append(line, rows)
            except OSError as error:
                self._problem = f"the disk refused the write: {error.strerror or error}"
                self.discard()

    def keep(self, rows: int) -> bool:
        """Pass all lines to the log: on the disk first, if it is durable. ``False`` if they were
        dropped and counted.
        """
        if self._segment is None:
            return self._log.drop(self._use_case, rows, self._problem)
        try:
            self._segment.close()
            is_kept = self._log.take_draft(self._segment, rows)
        except OSError as error:
            is_kept = self._log.drop(
                self._use_case,
                rows,
                f"the disk lost the rows that it accepted: {error.strerror or error}",
            )
        if not is_kept:
            self.discard()
        return is_kept

    def discard(self) -> None:
        """Remove all lines of the request."""
        if self._segment is not None:
            segment, self._segment = self._segment, None
            segment.abandon()


class NoPredictionLog(PredictionLog):
    """The log of a service without a lake: it keeps no rows, and counts none as lost."""

    def draft(self, header: bytes, use_case: str) -> Draft:
        return Draft(self, use_case, None, "")

    def drop(self, use_case: str, rows: int, reason: str) -> bool:
        return False

    def append(self, header: bytes, use_case: str, lines: bytes, rows: int) -> bool:
        return False
