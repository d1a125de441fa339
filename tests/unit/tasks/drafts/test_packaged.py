"""A drafted file is ingested, fitted and packaged as it was written, whatever the table."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from blocks.settings import REPOSITORY
from tests.fixtures import drafted


def _orders(folder: Path) -> Path:
    drafted.write_semicolons(drafted.orders(), folder / "Orders 2023 (1).csv")
    return folder / "Orders 2023 (1).csv"


def _csv(table: pl.DataFrame, path: Path) -> Path:
    table.write_csv(path)
    return path


def _parquet(table: pl.DataFrame, path: Path) -> Path:
    table.write_parquet(path)
    return path


def _lines(table: pl.DataFrame, path: Path) -> Path:
    table.write_ndjson(path)
    return path


def _folder(table: pl.DataFrame, folder: Path) -> Path:
    folder.mkdir()
    table.head(900).write_csv(folder / "a.csv")
    table.tail(-900).write_csv(folder / "b.csv")
    return folder


FOLLOW = """
import sys, tempfile, time
from pathlib import Path
from laurel.main import main
from blocks.lake import Lake
from tasks.data.dataset import read_periods, write_version
from tasks.data.ingestion import ingest_period
from tasks.data import sources
from tasks.measures.metrics import score
from tasks.models.modelling import fit, labels, predict
from tasks.packages.packaging import Origin, make_package
from usecases.definition import load

name, *arguments = sys.argv[1:]
assert main(["new", *arguments, "--name", name]) == 0
case = load(name)
with tempfile.TemporaryDirectory() as folder:
    lake = Lake(url=f"file://{folder}", credentials=None)
    sources.lake = lambda: lake
    every = sources.source_of(case).periods()
    files = [ingest_period(lake, case, period) for period in every]
    dataset, _ = write_version(lake, case, files)
    labelled = dataset.labelled_periods
    held = labelled[-case.promotion.holdout_periods:]
    window = [period for period in labelled if period not in held]
    rows = read_periods(lake, dataset, window, case.label)
    later = read_periods(lake, dataset, held, case.label)
    best = None
    for candidate in case.candidates:
        fitted = fit(case, candidate, candidate.params, rows, seed=7)
        reached = score(case.gate.metric, labels(case, later), predict(fitted, case, later))
        passes = case.gate.passes(reached)
        print("reached", candidate.name, reached, passes)
        scores = {case.gate.metric.name: reached}
        origin = Origin(
            candidate.name, dict(candidate.params), dataset.version, dataset.digests(window), scores
        )
        package = make_package(
            Path(folder) / candidate.name, case, fitted, origin, rows, later, seed=7
        )
        assert package.manifest.parity.changed_decisions == 0
        best = passes or best
    assert best
    assert dataset.rows > 500
    print("packaged", len(rows) + len(later), "quarantined", dataset.quarantined)
"""


@pytest.mark.slow("a process that imports everything, and fits")
@pytest.mark.parametrize(
    ("name", "table", "expected"),
    [
        ("orders", _orders, ["event_time=", 'positive="ja"', 'key=("order_id",)']),
        (
            "doctor",
            lambda folder: _csv(drafted.visits(), folder / "doctor.csv"),
            ["arrival=True", "POISSON_DEVIANCE", "rownames: numbers the rows"],
        ),
        (
            "flowers",
            lambda folder: _parquet(drafted.flowers(), folder / "flowers.parquet"),
            ["arrival=True", "Classes("],
        ),
        (
            "houses",
            lambda folder: _folder(drafted.houses(), folder / "houses"),
            ['event_time="sold on"', 'name="방 수"', "RMSE"],
        ),
        (
            "messages",
            lambda folder: _lines(drafted.messages(), folder / "messages.jsonl"),
            ['kind="text"', "remainder="],
        ),
        (
            "trips",
            lambda folder: _csv(drafted.trips(), folder / "trips.csv"),
            ['period="day"', 'time_zone="UTC"', 'rename={"time": "time_", "role": "role_"}'],
        ),
    ],
)
@pytest.mark.nightly("a further variant", only=("doctor", "flowers", "houses", "messages", "trips"))
def test_a_drafted_file_is_ingested_fitted_and_packaged_without_an_edit(
    name: str, table: Callable[[Path], Path], expected: list[str], tmp_path: Path
) -> None:
    room = tmp_path / "my shop"
    (room / "usecases").mkdir(parents=True)
    line = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
    (room / "usecases" / "__init__.py").write_text(line)
    target = ["--target", "price"] if name == "houses" else []
    target = ["--target", "visits"] if name == "doctor" else target
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FOLLOW, name, str(table(room)), *target],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(room)])},
        cwd=room,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    # Two houses of the same day, size and heating are one row without an id.
    quarantined = int(process.stdout.split("quarantined ")[1])
    assert quarantined <= (20 if name == "houses" else 0)
    text = (room / "usecases" / f"{name}.py").read_text()
    for part in expected:
        assert part in text
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "100", "usecases"],
        cwd=room,
        capture_output=True,
        text=True,
        check=False,
    )
    assert formatted.returncode == 0, formatted.stdout
