"""One visit to one server: start it, check that it is right, put load on it, weigh it, end it."""

import http.client
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving import load as serving_load
from benchmarks.serving import process as serving_process
from benchmarks.serving.load import Load, NothingInTime
from benchmarks.serving.model import Row
from benchmarks.serving.process import BenchmarkFailed, Memory
from benchmarks.serving.servers import WITHOUT_MODEL, Server

START_SECONDS = 120.0
POLL_SECONDS = 0.005
TOLERANCE = 1e-5  # above 1 as a share of what the pipeline says
CHECKED_BODIES = {1: 20}  # of larger ones: one
LONGER = {1000: 2.0}  # times as long: a slow peer needs a second for the first 32 answers
LONGEST_SECONDS = 30.0

Case = tuple[int, int]


@dataclass(frozen=True)
class Measure:
    """A case of one round. ``cpu_us`` is CPU time of the whole process tree for each answer."""

    load: Load
    memory: Memory
    cpu_us: float
    answer_bytes: int


@dataclass
class Visit:
    """``cold_s``: from the command to the first correct answer, the model being on the server's
    disk.
    """

    cold_s: float
    fetch_cold_s: float | None
    measures: dict[Case, Measure] = field(default_factory=dict)
    log: dict[str, Any] | None = None


@dataclass(frozen=True)
class LoadPlan:
    """What the servers are asked, and what they must say."""

    rows: Sequence[Row]
    scores: Sequence[float]
    folder: Path
    generator: str
    seconds: float
    warm_up_seconds: float


def visit(server: Server, load_plan: LoadPlan, cases: Sequence[Case]) -> Visit:
    """Raises ``BenchmarkFailed``."""
    fetch_cold_s = None
    if server.fetches:
        with running(server, load_plan) as (_, fetch_cold_s):
            pass
    with running(server, load_plan) as (process, cold_s):
        visit_ = Visit(cold_s, fetch_cold_s)
        if load_plan.warm_up_seconds:
            file = serving_load.write_bodies(
                load_plan.folder / f"{server.name}.bodies", server, list(load_plan.rows), 1
            )
            serving_load.run(load_plan.generator, server, 1, file, 32, load_plan.warm_up_seconds)
        for rows, connections in cases:
            visit_.measures[rows, connections] = _measure(
                server, process, load_plan, rows, connections
            )
        if server.described_at:
            visit_.log = json.loads(ask(server, "GET", server.described_at, b""))["log"]
    return visit_


def _measure(
    server: Server,
    process: "subprocess.Popen[bytes]",
    load_plan: LoadPlan,
    rows: int,
    connections: int,
) -> Measure:
    size = check(server, load_plan, rows)
    file = serving_load.write_bodies(
        load_plan.folder / f"{server.name}.bodies", server, list(load_plan.rows), rows
    )
    seconds = load_plan.seconds * LONGER.get(rows, 1)
    while True:
        before = serving_process.cpu_seconds(process.pid)
        try:
            load = serving_load.run(load_plan.generator, server, rows, file, connections, seconds)
        except NothingInTime:
            if seconds > LONGEST_SECONDS:
                raise
            seconds *= 4
            continue
        used = serving_process.cpu_seconds(process.pid) - before
        return Measure(load, serving_process.memory(process.pid), 1e6 * used / load.requests, size)


@contextmanager
def running(
    server: Server, load_plan: LoadPlan
) -> "Iterator[tuple[subprocess.Popen[bytes], float]]":
    """The process and the seconds until its first correct answer. Raises ``BenchmarkFailed`` where
    none comes.
    """
    output = load_plan.folder / f"{server.name}.log"
    body, expected = server.body([load_plan.rows[0]]), load_plan.scores[:1]
    start = time.perf_counter()
    process = serving_process.start(server.command, server.environment, server.folder, output)
    try:
        while not _answers(server, body, expected):
            if process.poll() is not None or time.perf_counter() - start > START_SECONDS:
                raise BenchmarkFailed(f"{server.name} does not answer; it said: {_end_of(output)}")
            time.sleep(POLL_SECONDS)
        yield process, time.perf_counter() - start
    finally:
        serving_process.end_group(process)


def _answers(server: Server, body: bytes, expected: Sequence[float]) -> bool:
    """Whether the server is up; not answering, or not yet with a 2xx, is no. Raises
    ``BenchmarkFailed`` for a wrong answer.
    """
    try:
        answer = ask(server, "POST", server.path(1), body)
    except (OSError, http.client.HTTPException, BenchmarkFailed):
        return False
    _compare(server, answer, expected)
    return True


def check(server: Server, load_plan: LoadPlan, size: int) -> int:
    """The bytes of an answer, after some answers were compared with the pipeline's. Raises
    ``BenchmarkFailed``.
    """
    answer = b""
    for start in range(0, CHECKED_BODIES.get(size, 1) * size, size):
        part = slice(start, start + size)
        answer = ask(server, "POST", server.path(size), server.body(list(load_plan.rows[part])))
        _compare(server, answer, load_plan.scores[part])
    return len(answer)


def ask(server: Server, method: str, path: str, body: bytes) -> bytes:
    """The answer's body. Raises ``BenchmarkFailed`` for anything but a 2xx, ``OSError`` where
    nobody listens.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(
            method, path, body, {"Content-Type": "application/json", **server.headers}
        )
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise BenchmarkFailed(
            f"{server.name} answers {answer.status}: {content[:300].decode(errors='replace')}"
        )
    return content


def _compare(server: Server, answer: bytes, expected: Sequence[float]) -> None:
    if server.name in WITHOUT_MODEL:
        return
    try:
        scores = server.scores(answer)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BenchmarkFailed(
            f"{server.name} answers otherwise than it should: {answer[:300]!r}"
        ) from error
    if len(scores) != len(expected) or not all(
        abs(score - other) <= TOLERANCE * max(1.0, abs(other))
        for score, other in zip(scores, expected, strict=True)
    ):
        raise BenchmarkFailed(
            f"{server.name} says {scores[:3]}..., the pipeline {list(expected[:3])}...: more "
            f"than {TOLERANCE:g} apart."
        )


def _end_of(output: Path) -> str:
    return output.read_text(errors="replace")[-1500:] if output.exists() else "nothing"
