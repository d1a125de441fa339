"""Load on a server: bodies of real rows in rotation, by wrk where it is installed, by a generator
in Python where it is not.
"""

import json
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.model import REPOSITORY, Row
from benchmarks.serving.process import BenchmarkFailed
from benchmarks.serving.servers import Server

GENERATORS = ("wrk", "python")
BODIES = {1: 1000, 100: 40, 1000: 8}
SCRIPT = Path(__file__).resolve().parent / "wrk.lua"


class NothingInTime(BenchmarkFailed):
    """Not one answer: the server may only be slower than the run was long."""


@dataclass(frozen=True)
class Load:
    """What one run of the generator saw. ``generator_cpu`` is the share (0-1) of one core that it
    used: near 1, it was the limit.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    generator_cpu: float

    @property
    def rps(self) -> float:
        return self.requests / self.seconds


def find_generator() -> str:
    return "wrk" if shutil.which("wrk") else "python"


def bodies(server: Server, rows: list[Row], size: int) -> list[bytes]:
    """Different bodies of ``size`` rows each: a thousand of one row, eight of a thousand."""
    number = BODIES.get(size, max(1, min(1000, len(rows) // size)))
    return [server.body(rows[start : start + size]) for start in range(0, number * size, size)]


def write_bodies(path: Path, server: Server, rows: list[Row], size: int) -> Path:
    """A body a line, as the generators read them."""
    path.write_bytes(b"\n".join(bodies(server, rows, size)) + b"\n")
    return path


def command(
    generator: str, server: Server, path: str, file: Path, connections: int, seconds: float
) -> list[str]:
    headers = {"Content-Type": "application/json", **server.headers}
    told = [f"{name}: {value}" for name, value in headers.items()]
    if generator == "wrk":
        # A timeout longer than the run: a slow answer is not an error.
        options = [
            "-t1",
            f"-c{connections}",
            f"-d{_wrk_seconds(seconds)}s",
            "--timeout",
            "120s",
            "--latency",
            "-s",
            str(SCRIPT),
        ]
        return [
            "wrk",
            *options,
            *(part for one in told for part in ("-H", one)),
            server.url + path,
            "--",
            str(file),
        ]
    client = [sys.executable, "-m", "benchmarks.serving.client", server.url + path, str(file)]
    return [
        *client,
        "--connections",
        str(connections),
        "--seconds",
        str(seconds),
        *(part for one in told for part in ("--header", one)),
    ]


def _wrk_seconds(seconds: float) -> int:
    """wrk takes whole seconds only."""
    return max(1, round(seconds))


def run(
    generator: str, server: Server, rows: int, file: Path, connections: int, seconds: float
) -> Load:
    """Raises ``BenchmarkFailed`` where any answer was not a 2xx, a connection broke, or nothing was
    answered.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    asked = command(generator, server, server.path(rows), file, connections, seconds)
    done = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise BenchmarkFailed(
            f"{generator} failed on {server.name}: {done.stderr.strip() or done.stdout.strip()}"
        )
    return read_figures(done.stderr, f"{server.name}, {rows} rows, {connections} connections", used)


def read_figures(told: str, what: str, generator_seconds: float) -> Load:
    """The figures that a generator wrote to stderr. Raises ``BenchmarkFailed`` as ``run`` does."""
    said = json.loads(told.strip().splitlines()[-1])
    if not (said["requests"] or said["refused"] or said["broken"]):
        raise NothingInTime(f"{what}: no answer came within {said['seconds']:.1f} s.")
    if said["refused"] or said["broken"] or not said["requests"]:
        raise BenchmarkFailed(
            f"{what}: of {said['requests']} answers {said['refused']} were no 2xx, and "
            f"{said['broken']} connections broke or timed out."
        )
    share = generator_seconds / said["seconds"]
    return Load(
        said["requests"], said["seconds"], said["p50_ms"], said["p99_ms"], said["max_ms"], share
    )
