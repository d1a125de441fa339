"""Measures the stack as it was after the first month and as it is after the last, in turns: both
meet the same noise of the machine."""

import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.soak.plan import USE_CASE, Day, at
from benchmarks.soak.report import Figure
from benchmarks.soak.stack import REPOSITORY, Stack
from deployments.servers.environment import environment
from deployments.supervision.signs_of_life import cpu_seconds, family
from deployments.supervision.supervisor import Supervisor

# What the service's page of a use case asks for, and the fleet before it.
PAGE = ("", "/drift", "/series", "/champions", "/approvals", "/decisions", "/rollout")
LOADS = 10
_LISTING_SECONDS = 2.1  # the service keeps a listing for two seconds

Figures = dict[str, tuple[list[float], list[float]]]


def measure(
    stacks: tuple[Stack, Stack], last_days: tuple[Day, Day], rounds: int
) -> tuple[list[Figure], dict[str, tuple[float, float]]]:
    """The figures of both, and what each stack says only once, such as the memory of its service
    (bytes)."""
    found: Figures = defaultdict(lambda: ([], []))

    def each(work: Callable[[Stack, Day], dict[str, float]]) -> None:
        for side in (0, 1):
            for name, value in work(stacks[side], last_days[side]).items():
                found[name][side].append(value)

    tidy, ingest = partial(_flow, 4, "tidy"), partial(_flow, 5, "ingest")
    check = partial(_flow, 6, "drift_check")
    each(_tidy_first)
    for _ in range(rounds):
        for work in (check, tidy, _govern, ingest, _page, _status):
            each(work)
    memory = tuple(_memory_of_service(stack) for stack in stacks)
    figures = [Figure(name, *values) for name, values in found.items()]
    return figures, {"memory of the service": (memory[0], memory[1])}


def _next_morning(stack: Stack, day: Day, hour: int) -> None:
    stack.turn(at(day.date + timedelta(days=1), hour))


def _tidy_first(stack: Stack, day: Day) -> dict[str, float]:
    """It compacts the day with as many files as a real one, and deletes those of the day before."""
    _next_morning(stack, day, 3)
    took = stack.flow("tidy")
    return {"tidy of a full day, CPU s": took.cpu, "tidy of a full day, memory MB": _mb(took)}


def _flow(hour: int, flow: str, stack: Stack, day: Day) -> dict[str, float]:
    _next_morning(stack, day, hour)
    took, name = stack.flow(flow), flow.replace("_", " ")
    return {f"{name}, CPU s": took.cpu, f"{name}, s": took.wall, f"{name}, memory MB": _mb(took)}


def _govern(stack: Stack, day: Day) -> dict[str, float]:
    _next_morning(stack, day, 7)
    figure: Any = stack.call("governor").figure
    return {"governor, CPU ms": 1e3 * figure["cpu"], "governor, ms": 1e3 * figure["wall"]}


def _page(stack: Stack, day: Day) -> dict[str, float]:
    """A load of the page, each after the service has forgotten its listings."""
    pid = Supervisor(stack.settings.state).states()["service"]["pid"]
    seconds, size, routes = 0.0, 0, defaultdict[str, float](float)
    begun, idle = cpu_seconds(family(pid)), 0.0
    for _ in range(LOADS):
        before = cpu_seconds(family(pid))
        time.sleep(_LISTING_SECONDS)
        idle += cpu_seconds(family(pid)) - before
        for path in ("/v1?view=fleet", *(f"/v1/{USE_CASE}{part}" for part in PAGE)):
            start = time.perf_counter()
            answer = stack.service.get(path)
            routes[path] += time.perf_counter() - start
            seconds += time.perf_counter() - start
            size += len(answer.content)
    cpu = cpu_seconds(family(pid)) - begun - idle
    return {
        "page, CPU ms of the service": 1e3 * cpu / LOADS,
        "page, ms": 1e3 * seconds / LOADS,
        "page, KB": size / 1e3 / LOADS,
        **{f"GET {path}, ms": 1e3 * total / LOADS for path, total in routes.items()},
    }


def _status(stack: Stack, day: Day) -> dict[str, float]:
    with _child_seconds() as spent:
        subprocess.run(
            [sys.executable, "-m", "laurel", "status", "--json"],
            cwd=REPOSITORY,
            env={**os.environ, **environment(stack.settings)},
            capture_output=True,
            check=True,
        )
    cpu, wall = spent()
    return {"laurel status, CPU s": cpu, "laurel status, s": wall}


@contextmanager
def _child_seconds() -> Iterator[Callable[[], tuple[float, float]]]:
    """CPU seconds of ended children, and seconds, since the context was entered."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)

    def spent() -> tuple[float, float]:
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime
        return cpu, time.perf_counter() - start

    yield spent


def _memory_of_service(stack: Stack) -> float:
    """The most that its processes ever held, as far as they live."""
    pid = Supervisor(stack.settings.state).states()["service"]["pid"]
    return sum(_peak(process.pid) for process in family(pid))


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


def _mb(took: Any) -> float:
    return float(took.memory) / 1e6
