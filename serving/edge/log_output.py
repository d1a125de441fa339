"""Lines on standard output and standard error, written so that a reader who stops reading holds up
neither an answer nor the end of the process.

A full pipe blocks its writer. So only daemon threads write, and the process ends without waiting
for them; they never use ``sys.stdout``, which Python flushes at its end and would wait for."""

import logging
import os
import select
import sys
import threading
from collections import deque

_MOST_LINES = 10_000
_END_SECONDS = 2.0


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``. Raises ``OSError`` if the reader is gone."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # another process that has the same pipe made it so
            select.select([], [descriptor], [])


class LogHandler(logging.Handler):
    """The service's log on standard error. Lines that come faster than they are read are dropped
    and counted.
    """

    dropped = 0

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self._waiting = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) >= _MOST_LINES:
            LogHandler.dropped += 1
            return
        self._lines.append(self.format(record))
        self._waiting.set()

    def close(self) -> None:
        """Write the lines that are left, as long as somebody reads them."""
        self._ending = True
        self._waiting.set()
        self._thread.join(_END_SECONDS)
        super().close()

    def _run(self) -> None:
        while not self._ending or self._lines:
            self._waiting.wait()
            self._waiting.clear()
            while self._lines:
                line = self._lines.popleft()
                try:
                    write_all(self._descriptor, f"{line}\n".encode(errors="backslashreplace"))
                except OSError:
                    LogHandler.dropped += 1


def begin_log() -> None:
    """Send all loggers of this process to standard error, from INFO on."""
    sys.stderr.flush()
    handler = LogHandler()
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        handlers=[handler],
    )
