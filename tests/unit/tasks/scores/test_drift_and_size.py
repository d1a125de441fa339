"""What drifted is told of the rows that were scored; a killed run leaves nothing, and a large one
needs little memory."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows

from blocks.lake import Lake
from blocks.settings import REPOSITORY
from serving.package.model import load
from serving.records.record import decode
from serving.records.scores import ScoreRun
from tasks.drift.examine import examine, yardstick_of
from tasks.drift.verdict import judge
from tasks.models.modelling import fit
from tasks.outside import blocks_of_run
from tasks.packages.packaging import Origin, make_package, score_rows
from tasks.scores.batch import Outcome, score_batch
from tasks.scores.request import Request
from tests.unit.tasks.scores.conftest import FolderRegistry
from usecases.definition import SCORE

ROWS_A_DAY = 60


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of ``toy`` that knows January to March."""
    folder = tmp_path_factory.mktemp("toy") / "package"
    training = pl.concat([toy_rows(f"2024-0{month}") for month in (1, 2, 3)])
    fitted = fit(TOY, TOY.candidate("logistic"), {}, training, 7)
    digests = {f"2024-0{month}": str(month) for month in (1, 2, 3)}
    origin = Origin("logistic", {}, "2024-03-abc", digests, {"roc_auc": 0.8})
    make_package(folder, TOY, fitted, origin, training, toy_rows("2024-04"), 7)
    return folder


def score(package: Path, folder: Path, **fields: Any) -> Outcome:
    registry: Any = FolderRegistry(package)
    version = replace(registry.version(), use_case="toy")
    lake = Lake(url=f"file://{folder / 'lake'}", credentials=None)
    with blocks_of_run.given(lake):
        return score_batch(Request(use_case="toy", **fields), version, lake, registry)


@pytest.mark.parametrize(("month", "outcome"), [("2024-04", "stable"), ("2024-06", "drifted")])
def test_a_period_is_judged_as_the_drift_check_judges_its_predictions(
    package: Path, tmp_path: Path, month: str, outcome: str
) -> None:
    scored = score(package, tmp_path, period=month)
    (verdict,) = scored.record.drift
    model, rows = load(package), toy_rows(month)
    logged = rows.with_columns(pl.Series(SCORE, score_rows(model, rows)))
    evidence = examine(
        TOY,
        yardstick_of(model.manifest, package),
        logged,
        window=month,
        counted=len(logged),
    )
    expected = judge(TOY.drift, evidence)
    assert verdict.outcome == expected.outcome == outcome
    assert verdict.distances == pytest.approx(expected.distances, abs=1e-6)
    assert verdict.window == month
    lake = Lake(url=f"file://{tmp_path / 'lake'}", credentials=None)
    (path,) = lake.list("reports/toy/scores")
    assert decode(ScoreRun, lake.read(path)) == scored.record
    again = score(package, tmp_path, period=month)
    assert again.again and again.record.drift == scored.record.drift


def test_each_window_of_the_rows_has_its_verdict(package: Path, tmp_path: Path) -> None:
    for month in ("2024-04", "2024-06"):
        (tmp_path / "rows").mkdir(exist_ok=True)
        toy_rows(month).write_parquet(tmp_path / "rows" / f"{month}.parquet")
    scored = score(package, tmp_path, rows=str(tmp_path / "rows"))
    assert [(one.window, one.outcome) for one in scored.record.drift] == [
        ("2024-04", "stable"),
        ("2024-06", "drifted"),
    ]


def test_rows_without_times_are_too_few_days_to_judge(package: Path, tmp_path: Path) -> None:
    toy_rows("2024-06").drop("at").write_parquet(tmp_path / "june.parquet")
    (verdict,) = score(package, tmp_path, rows=str(tmp_path / "june.parquet")).record.drift
    assert verdict.outcome == "inconclusive"
    assert verdict.reasons[0].startswith("1 day in the window")


_KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.scores import inputs
from tasks.scores.parquet_output import ParquetOutput
from tests.unit.tasks.scores.test_drift_and_size import score

inputs.CHUNK_ROWS = 500
whole, written = ParquetOutput.{method}, []

def killed(self, *arguments):
    written.append(arguments)
    if len(written) == {calls}:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, *arguments)

ParquetOutput.{method} = killed
package, folder = map(Path, sys.argv[1:])
score(package, folder, period="2024-04", to=str(folder / "out.parquet"))
"""


@pytest.mark.slow("a process that is killed")
@pytest.mark.parametrize(("method", "calls"), [("write", 2), ("publish", 1)])
def test_a_killed_run_leaves_no_output_and_its_rerun_writes_it_whole(
    package: Path, tmp_path: Path, method: str, calls: int
) -> None:
    code = _KILLED.format(method=method, calls=calls)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(package), str(tmp_path)],
        cwd=REPOSITORY,
        env={"PYTHONPATH": "tests/fixtures", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "out.parquet").exists()
    again = score(package, tmp_path, period="2024-04", to=str(tmp_path / "out.parquet"))
    assert not again.again
    assert len(pl.read_parquet(tmp_path / "out.parquet")) == 28 * ROWS_A_DAY


_LARGE = """
import sys
from pathlib import Path
import polars as pl, pyarrow.parquet as pq, pyarrow, evidently, sqlalchemy
from tests.unit.tasks.scores.test_drift_and_size import score
from usecases.toy import toy_rows

def largest():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

package, folder = map(Path, sys.argv[1:])
rows = toy_rows("2024-04", rows_a_day=500).drop("won").to_arrow()
with pq.ParquetWriter(folder / "rows.parquet", rows.schema) as writer:
    for _ in range(72):
        writer.write_table(rows)
before = largest()
done = score(package, folder, rows=str(folder / "rows.parquet"), to=str(folder / "out.parquet"))
assert done.record.scored == 72 * 14_000, done
print(largest() - before)
"""


@pytest.mark.slow("a million rows in a process of its own")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.nightly("large data")
def test_a_million_rows_need_little_memory(package: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LARGE, str(package), str(tmp_path)],
        cwd=REPOSITORY,
        env={"PYTHONPATH": "tests/fixtures", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 500, "MB beyond the imports"
