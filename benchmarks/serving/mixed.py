"""Small requests alone, and beside large ones, in the same run of the service: what one caller's
bulk costs the others.

    python -m benchmarks.serving mixed [--seconds 5] [--json FILE]

Each large body is a CSV of as many real rows as a body may have bytes. Callers of large ones send
the next as soon as they have their answer, and 503 is an answer: they come back after its
Retry-After. The small caller asks for one row at a time over one connection. Only ratios of the
same run are compared: p50 and p99 beside large requests to those alone. The floor is the same with
the large requests sent to a second service, which shares nothing with the first but the machine's
cores. Memory is that of the first service."""

import http.client
import json
import multiprocessing
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.serving import figures as serving_figures
from benchmarks.serving.model import FLIGHTS, Row, prepare
from benchmarks.serving.registry import RegistryProcess, free_port
from benchmarks.serving.servers import Place, Server, laurel
from benchmarks.serving.visit import LoadPlan, running

CALLERS = (1, 2, 6)
LARGE_BYTES = 15_000_000


@dataclass
class Caller:
    """One connection and what it was told: seconds of each answer, and how often which status."""

    server: Server
    body: bytes
    kind: str
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def ask_until(self, over: Callable[[], bool], pause: float = 0.0) -> None:
        address = urlsplit(self.server.url)
        assert address.hostname is not None
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
        while not over():
            began = time.perf_counter()
            connection.request(
                "POST",
                self.server.path(1),
                self.body,
                {"Content-Type": self.kind, **self.server.headers},
            )
            answer = connection.getresponse()
            answer.read()
            self.seconds.append(time.perf_counter() - began)
            self.statuses[answer.status] += 1
            if answer.status == 503:
                time.sleep(float(answer.headers["Retry-After"]))
            time.sleep(pause)
        connection.close()


def run(state: Path, seconds: float, file: Path | None) -> int:
    """Print a table, and write the figures to ``file``. The exit status: 1 where an answer was
    neither 200 nor, to a large request, 503.
    """
    model = prepare(state)
    with (
        RegistryProcess(model.registry) as registry,
        tempfile.TemporaryDirectory(prefix="laurel-mixed-") as folder,
    ):
        registry.crown(FLIGHTS, "1")
        folders = [Path(folder) / name for name in ("small", "large")]
        for place in folders:
            place.mkdir()
        server, other = (
            laurel(Place(model, place, free_port(), registry.url, state / "benchmarks" / "venvs"))
            for place in folders
        )
        check = LoadPlan(model.rows, model.scores, Path(folder), "python", seconds, 0.0)
        with running(server, check) as (process, _), running(other, check):
            figures = [
                _measure(server, other, process.pid, model.rows, callers, seconds)
                for callers in CALLERS
            ]
    machine = serving_figures.machine()
    report = {"machine": machine, "seconds": seconds, "mixed": figures}
    print(
        f"load average before {machine['load_average'][0]}, {seconds:g} s a case\n\n"
        f"{table(figures)}"
    )
    if file:
        file.write_text(json.dumps(report, indent=1) + "\n")
    return int(any(figure["wrong"] for figure in figures))


def _measure(
    server: Server, other: Server, pid: int, rows: Sequence[Row], callers: int, seconds: float
) -> dict[str, Any]:
    small, body = json.dumps({"rows": rows[:1]}).encode(), large_body(rows)

    def ask() -> Caller:
        caller = Caller(server, small, "application/json")
        end = time.monotonic() + seconds
        caller.ask_until(lambda: time.monotonic() > end, pause=0.01)
        return caller

    alone = ask()
    with _large_callers(other, body, callers) as floor_statuses:
        floor = ask()
    memory = _Peak(pid)
    memory.start()
    with _large_callers(server, body, callers) as statuses:
        beside = ask()
    memory.end()
    figure = {
        "large_callers": callers,
        "large_bytes": len(body),
        "large_answers": dict(statuses),
        "peak_rss_mb": memory.peak_mb,
    }
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        before, after, apart = (
            1e3 * percentile(caller.seconds, share) for caller in (alone, beside, floor)
        )
        figure |= {
            f"{name}_alone_ms": before,
            f"{name}_beside_ms": after,
            f"{name}_ratio": after / before,
            f"{name}_floor": apart / before,
        }
    wrong = {*alone.statuses, *beside.statuses, *floor.statuses} - {200} | {
        *statuses,
        *floor_statuses,
    } - {200, 503}
    return figure | {"wrong": sorted(wrong)}


@contextmanager
def _large_callers(server: Server, body: bytes, callers: int) -> Iterator[Counter[int]]:
    """Callers in processes of their own, which take no interpreter from the one that measures; at
    the end what they were told.
    """
    statuses: Counter[int] = Counter()
    processes = multiprocessing.get_context("fork")
    over, reports = processes.Event(), processes.Queue()

    def ask() -> None:
        caller = Caller(server, body, "text/csv")
        caller.ask_until(over.is_set)
        reports.put(caller.statuses)

    asking = [processes.Process(target=ask, daemon=True) for _ in range(callers)]
    for process in asking:
        process.start()
    try:
        yield statuses
    finally:
        over.set()
        for _ in asking:
            statuses.update(reports.get(timeout=120))


def large_body(rows: Sequence[Row]) -> bytes:
    """A CSV of ``LARGE_BYTES`` at most."""
    names = list(rows[0])
    lines = [
        ",".join("" if row[name] is None else str(row[name]) for name in names) + "\n"
        for row in rows
    ]
    head = ",".join(names) + "\n"
    whole = "".join(lines)
    body = head + whole * (LARGE_BYTES // len(whole) + 1)
    return body[: body.rfind("\n", 0, LARGE_BYTES) + 1].encode()


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0-1) of them are not above."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def table(figures: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        (
            "| large callers | answers to them | p50 alone, beside (ratio, floor) | p99 alone, "
            "beside (ratio, floor) | peak RSS MB |"
        ),
        "|---|---|---|---|---|",
    ]
    for figure in figures:
        times = [
            (
                f"{figure[f'{name}_alone_ms']:.3g}, {figure[f'{name}_beside_ms']:.3g} ms "
                f"({figure[f'{name}_ratio']:.2g}, {figure[f'{name}_floor']:.2g})"
            )
            for name in ("p50", "p99")
        ]
        answers = ", ".join(
            f"{count} × {status}" for status, count in sorted(figure["large_answers"].items())
        )
        lines.append(
            f"| {figure['large_callers']} | {answers} | {times[0]} | {times[1]} | "
            f"{figure['peak_rss_mb']:.0f} |"
        )
    return "\n".join(lines)


class _Peak(threading.Thread):
    """Looks at a process's memory again and again."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._process = psutil.Process(pid)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.peak_mb = max(self.peak_mb, self._process.memory_info().rss / 1e6)

    def end(self) -> None:
        self._over.set()
        self.join()
