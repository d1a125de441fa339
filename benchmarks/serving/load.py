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
    """The bodies as the generators read them: each after a line with its size."""
    path.write_bytes(b"".join(b"%d\n%b" % (len(one), one) for one in bodies(server, rows, size)))
    return path


def read_bodies(path: Path) -> list[bytes]:
    """The same bodies."""
    content, found, at = path.read_bytes(), [], 0
    while at < len(content):
        start = content.index(b"\n", at) + 1
        at = start + int(content[at:start])
        found.append(content[start:at])
    return found


def command(
    generator: str, server: Server, path: str, file: Path, connections: int, seconds: float
) -> list[str]:
    headers = {"Content-Type": "application/json", **server.headers}
    header_lines = [f"{name}: {value}" for name, value in headers.items()]
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
            *(part for line in header_lines for part in ("-H", line)),
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
        *(part for line in header_lines for part in ("--header", line)),
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
    argv = command(generator, server, server.path(rows), file, connections, seconds)
    process = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if process.returncode:
        output = process.stderr.strip() or process.stdout.strip()
        raise BenchmarkFailed(f"{generator} failed on {server.name}: {output}")
    return read_figures(
        process.stderr, f"{server.name}, {rows} rows, {connections} connections", used
    )


def read_figures(output: str, generator: str, generator_seconds: float) -> Load:
    """The figures that a generator wrote to stderr. Raises ``BenchmarkFailed`` as ``run`` does."""
    figures = json.loads(output.strip().splitlines()[-1])
    if not (figures["requests"] or figures["refused"] or figures["broken"]):
        raise NothingInTime(f"{generator}: no answer came within {figures['seconds']:.1f} s.")
    if figures["refused"] or figures["broken"] or not figures["requests"]:
        raise BenchmarkFailed(
            f"{generator}: of {figures['requests']} answers {figures['refused']} were no 2xx, and "
            f"{figures['broken']} connections broke or timed out."
        )
    share = generator_seconds / figures["seconds"]
    return Load(
        figures["requests"],
        figures["seconds"],
        figures["p50_ms"],
        figures["p99_ms"],
        figures["max_ms"],
        share,
    )
