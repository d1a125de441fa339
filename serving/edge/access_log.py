"""One line of JSON for each request on standard output: who sent which request, and the outcome.
Never a feature, never a key.

A thread writes the lines, so that a slow reader of standard output does not hold up answers. Lines
beyond the backlog are dropped and counted."""

import threading
import time
from collections import deque
from typing import Literal

import msgspec

from serving.edge.log_output import write_all

Requests = Literal["all", "errors", "off"]
_MOST_LINES = 100_000
_EVERY_SECONDS = 0.25


class Entry(msgspec.Struct):
    """``time`` in seconds since 1970, ``ms`` from the request's first byte to its answer, ``key``
    the name of the API key.
    """

    time: float
    id: str
    method: str
    path: str
    status: int
    ms: float
    rows: int = 0
    key: str = ""
    client: str = ""


class AccessLog:
    """``add`` is called on the event loop and costs about a microsecond."""

    def __init__(self, requests: Requests, descriptor: int = 1) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._requests = requests
        self._entries: deque[Entry] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write the lines that are left, as long as somebody reads them."""
        self._stopping.set()
        self._thread.join(2.0)

    def add(
        self,
        request_id: bytes,
        method: str,
        path: str,
        status: int,
        seconds: float,
        rows: int = 0,
        key: str = "",
        client: str = "",
    ) -> None:
        """Log a request that ends now."""
        if self._requests == "off" or (self._requests == "errors" and status < 400):
            return
        if len(self._entries) >= _MOST_LINES:
            self.dropped += 1
            return
        self._entries.append(
            Entry(
                time.time(),
                request_id.decode(),
                method,
                path,
                status,
                round(seconds * 1000, 3),
                rows,
                key,
                client,
            )
        )

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        encoder = msgspec.json.Encoder()
        while self._entries:
            entries = [self._entries.popleft() for _ in range(min(1000, len(self._entries)))]
            try:
                write_all(self._descriptor, encoder.encode_lines(entries))
            except OSError:  # nobody reads it any more
                self.dropped += len(entries)
