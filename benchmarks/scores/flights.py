"""Flights scored from a Parquet file into another, beside what the model's session takes alone.

Each measurement is a process of its own that uses one core: CPU seconds are counted, so that other
work on the machine does not count, and the memory is the largest resident set. The floor is the
session's time on the same rows, encoded before."""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.serving.model import REPOSITORY, make_package_alone

USE_CASE, PERIOD = "flights", "2013-06"
FLOOR_ROWS = 200_000
_ONE_CORE = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_NUM_THREADS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


class _Folder:
    """A registry with one package."""

    def __init__(self, package: Path) -> None:
        self._package = package

    def download_package(self, version: Any, folder: Path) -> Path:
        return Path(shutil.copytree(self._package, folder / "package"))


def write_rows(path: Path, count: int) -> None:
    """``count`` rows of a month of flights, which come again."""
    import pyarrow.parquet as pq

    from usecases.definition import TableSource, load

    case = load(USE_CASE)
    assert not isinstance(case.source, TableSource)
    rows = case.source.read(PERIOD).drop(case.label).to_arrow()
    with pq.ParquetWriter(path, rows.schema) as writer:
        for at in range(0, count, len(rows)):
            writer.write_table(rows.slice(0, min(len(rows), count - at)))


def make(package: Path, rows: Path, count: int) -> dict[str, float]:
    """The package and the file of rows."""
    make_package_alone(package)
    write_rows(rows, count)
    return {}


@contextmanager
def _measured() -> Iterator[dict[str, float]]:
    """CPU seconds of the block, and the process's largest resident set in MB at its end."""
    figures: dict[str, float] = {}
    before = time.process_time()
    yield figures
    figures["cpu_seconds"] = time.process_time() - before
    figures["largest_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def score(package: Path, rows: Path, check_drift: bool) -> dict[str, float]:
    """Score the file as ``laurel score`` does."""
    from blocks.clients.registry import DIGEST_TAG, PACKAGE_TAG
    from blocks.lake import Lake
    from blocks.registry import ModelVersion
    from serving.package.manifest import MANIFEST, digest
    from tasks.outside.blocks_of_run import given
    from tasks.scores.batch import score_batch
    from tasks.scores.request import Request

    sha256 = digest((package / MANIFEST).read_bytes())
    version = ModelVersion(USE_CASE, "1", "", {DIGEST_TAG: sha256, PACKAGE_TAG: ""})
    registry: Any = _Folder(package)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(url=f"file://{folder}", credentials=None)
        request = Request(
            use_case=USE_CASE,
            rows=str(rows),
            to=f"{folder}/scores.parquet",
            check_drift=check_drift,
        )
        with given(lake), _measured() as figures:
            outcome = score_batch(request, version, lake, registry)
    return {"rows": outcome.record.scored, "refused": outcome.record.refused, **figures}


def floor(package: Path, rows: Path) -> dict[str, float]:
    """The session alone, on rows that are encoded already, 50,000 at a time."""
    import polars as pl

    from serving.package.model import load
    from tasks.scores.inputs import CHUNK_ROWS

    model, frame = load(package), pl.read_parquet(rows, n_rows=CHUNK_ROWS)
    matrix = model.encode({name: frame[name].to_list() for name in model.names})
    with _measured() as figures:
        for _ in range(FLOOR_ROWS // CHUNK_ROWS):
            model.score(matrix)
    return {"rows": FLOOR_ROWS, "refused": 0, **figures}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scores", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, package, rows = arguments.measure[0], *map(Path, arguments.measure[1:])
        kinds = {
            "floor": lambda: floor(package, rows),
            "score": lambda: score(package, rows, False),
            "score and drift": lambda: score(package, rows, True),
            "make": lambda: make(package, rows, arguments.rows),
        }
        print(json.dumps(kinds[what]()))
        return
    with tempfile.TemporaryDirectory() as folder:
        package, rows = Path(folder) / "package", Path(folder) / "rows.parquet"
        # A process of its own as well: another starts with the largest size of its parent.
        _in_own_process("make", package, rows, arguments.rows)
        figures = {
            what: _in_own_process(what, package, rows, arguments.rows)
            for what in ("floor", "score", "score and drift")
        }
    print(report(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def _in_own_process(what: str, package: Path, rows: Path, count: int) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scores", "--rows", str(count)]
    done = subprocess.run(
        [*command, "--measure", what, str(package), str(rows)],
        cwd=REPOSITORY,
        env={**os.environ, **_ONE_CORE},
        check=True,
        stdout=subprocess.PIPE,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(figures: dict[str, dict[str, float]]) -> str:
    """A Markdown table; a row's cost as a multiple of the session's own."""
    least = figures["floor"]["cpu_seconds"] / figures["floor"]["rows"]
    lines = [
        "| | rows | million rows a minute of a core | times the session | MB |",
        "|---|---|---|---|---|",
    ]
    for what, figure in figures.items():
        rows = figure["rows"] + figure["refused"]
        cost = figure["cpu_seconds"] / rows
        lines.append(
            f"| {what} | {rows:,.0f} | {60 / cost / 1e6:.2f} | {cost / least:.2f} | "
            f"{figure['largest_mb']:,.0f} |"
        )
    return "\n".join(lines)
