"""A load generator in Python: connections that ask, wait for the answer and ask again, on uvloop
and without an HTTP library.

    python -m benchmarks.serving.client URL FILE --connections 32 --seconds 5 [--header 'name:
        value'] [--timeline OUT]

The lines of FILE are POSTed in turn. It writes the figures that ``serving_wrk.lua`` writes, and
with ``--timeline`` each answer's end (monotonic, s), seconds, status and model version. One process
of it asks for some tens of thousands of answers a second, less than wrk: its figures are compared
with its own only."""

import argparse
import asyncio
import json
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.serving.load import read_bodies

HEAD_END, LENGTH, VERSION = b"\r\n\r\n", b"content-length:", b'"model_version":"'

PATIENCE_SECONDS = 60.0  # for the answers that are awaited when the time is over

Answer = tuple[float, float, int, str]


class Caller(asyncio.Protocol):
    """One connection. It asks at once, and again after each answer until ``end`` (monotonic)."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = b""
        self._asked = 0.0
        self._waiting = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._waiting, self._asked = True, time.monotonic()
        self._transport.write(self._load.next_request())

    def data_received(self, data: bytes) -> None:
        self._buffer = data if not self._buffer else self._buffer + data
        head = self._buffer.find(HEAD_END)
        if head < 0:
            return
        size = _content_length(self._buffer[:head])
        if len(self._buffer) < head + 4 + size:
            return
        answer, self._buffer = self._buffer, b""
        self._waiting = False
        now = time.monotonic()
        self._load.answered(now, now - self._asked, answer)
        if now < self._load.end:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting:
            self._load.broken += 1
        self.closed.set_result(None)


def _content_length(head: bytes) -> int:
    lower = head.lower()
    start = lower.find(LENGTH)
    if start < 0:
        raise ValueError(
            "The server sends no Content-Length, which this generator needs. Install wrk."
        )
    end = lower.find(b"\r\n", start)
    return int(lower[start + len(LENGTH) : end if end > 0 else None])


class Load:
    """The requests, and what came back."""

    def __init__(self, requests: list[bytes], seconds: float, timeline: bool) -> None:
        self._requests = requests
        self._turn = count()
        self._timeline = timeline
        self.end = time.monotonic() + seconds
        self.answers: list[Answer] = []
        self.broken = 0

    def next_request(self) -> bytes:
        return self._requests[next(self._turn) % len(self._requests)]

    def answered(self, now: float, seconds: float, answer: bytes) -> None:
        version = ""
        if self._timeline and (start := answer.rfind(VERSION)) > 0:
            start += len(VERSION)
            version = answer[start : answer.index(b'"', start)].decode()
        self.answers.append((now, seconds, int(answer[9:12]), version))

    async def run(self, host: str, port: int, connections: int) -> None:
        """Ask until the time is over. A connection that breaks is counted and made anew."""
        await asyncio.gather(*(self._keep_calling(host, port) for _ in range(connections)))

    async def _keep_calling(self, host: str, port: int) -> None:
        while time.monotonic() < self.end:
            try:
                _, caller = await asyncio.get_running_loop().create_connection(
                    lambda: Caller(self), host, port
                )
            except OSError:
                self.broken += 1
                await asyncio.sleep(0.01)
                continue
            await caller.closed


def _give_up(calls: "asyncio.Future[None]", context: dict[str, Any]) -> None:
    """An error in a connection would otherwise leave it, and the whole run, waiting for ever."""
    print(context.get("exception") or context["message"], file=sys.stderr)
    calls.cancel()


def figures(load: Load, seconds: float) -> dict[str, float]:
    """As ``serving_wrk.lua`` tells them."""
    waited = sorted(answer[1] for answer in load.answers)

    def at(share: float) -> float:
        return 1000 * waited[min(len(waited) - 1, int(share * len(waited)))] if waited else 0.0

    refused = sum(not 200 <= answer[2] < 300 for answer in load.answers)
    return {
        "requests": len(waited),
        "seconds": seconds,
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
        "refused": refused,
        "broken": load.broken,
    }


def _requests(url: str, bodies: Path, headers: list[str]) -> list[bytes]:
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *headers]
    connections_made = []
    for body in read_bodies(bodies):
        connections_made.append(
            "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
        )
    return connections_made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--timeline", type=Path)
    arguments = parser.parse_args()
    import uvloop

    parts, requests = (
        urlsplit(arguments.url),
        _requests(arguments.url, arguments.bodies, arguments.header),
    )

    async def ask() -> tuple[Load, float]:
        start = time.monotonic()
        load = Load(requests, arguments.seconds, arguments.timeline is not None)
        calls = asyncio.ensure_future(
            load.run(parts.hostname or "", parts.port or 80, arguments.connections)
        )
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: _give_up(calls, context)
        )
        await asyncio.wait_for(calls, arguments.seconds + PATIENCE_SECONDS)
        return load, time.monotonic() - start

    load, seconds = uvloop.run(ask())
    if arguments.timeline is not None:
        arguments.timeline.write_text(json.dumps(load.answers))
    print(json.dumps(figures(load, seconds)), file=sys.stderr)


if __name__ == "__main__":
    main()
