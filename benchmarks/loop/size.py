"""How much memory the loop needs for many rows, step by step.

    python -m benchmarks.loop.size --rows 10000000

A made-up use case (ten numbers, five categories, a dated yes or no, twelve months) is written as
Parquet files, ingested, trained on with LightGBM, judged against a champion, refitted with its
drift profile, and watched over a logged month of as many rows. Each step is a process of its own,
with what the flow's step calls and without servers: CPU seconds, and the largest resident set with
the imports in it. A step that takes more than ``--limit`` is ended, and said to."""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from blocks.lake import Lake
    from tasks.data.dataset import DatasetVersion
    from usecases.definition import UseCase

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = 7
WINDOW = "2025-01"
_VALUES = {"shop": 3, "group": 12, "country": 40, "article": 200, "street": 1000}
_NUMBERS = tuple(f"number_{number}" for number in range(10))
_PIECE = 250_000
_GIB = 1 << 30


def use_case(folder: Path) -> "UseCase":
    from usecases.definition import (
        LOG_LOSS,
        ROC_AUC,
        Binary,
        Candidate,
        Column,
        FileSource,
        Gate,
        Guard,
        Promotion,
        UseCase,
    )

    return UseCase(
        name="sized",
        title="Many rows",
        question="Will it come late?",
        source=FileSource(path=str(folder / "source")),
        key=("id",),
        event_time="at",
        target=Binary(label="late"),
        columns=(
            *(
                Column(name=name, kind="number", nullable=True, null_tolerance=0.2)
                for name in _NUMBERS
            ),
            *(Column(name=name, kind="category") for name in _VALUES),
        ),
        candidates=(Candidate(name="light", build=_light, params={"n_estimators": 100}),),
        gate=Gate(metric=ROC_AUC, threshold=0.6),
        promotion=Promotion(guards=(Guard(metric=LOG_LOSS, tolerance=0.01),)),
    )


def _light(params: Any, layout: Any, seed: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(num_leaves=31, **params)


def make(folder: Path, rows: int, months: int) -> None:
    """A file of rows for each of the first months of 2024."""
    import pyarrow.parquet as pq

    chance = np.random.default_rng(SEED)
    (folder / "source").mkdir()
    each = -(-rows // months)
    for month in range(months):
        start, end = (
            datetime(2024, month + 1, 1),
            datetime(2024 + (month + 1) // 12, (month + 1) % 12 + 1, 1),
        )
        writer = None
        for at in range(0, each, _PIECE):
            frame = _rows(chance, min(_PIECE, each - at), start, end, month * each + at).to_arrow()
            writer = writer or pq.ParquetWriter(
                folder / f"source/{month + 1:02}.parquet", frame.schema
            )
            writer.write_table(frame)
        assert writer is not None
        writer.close()


def _rows(
    chance: np.random.Generator, count: int, start: datetime, end: datetime, first: int
) -> "pl.DataFrame":
    import polars as pl

    numbers = chance.normal(size=(count, len(_NUMBERS)))
    codes = {name: chance.integers(0, many, count) for name, many in _VALUES.items()}
    logit = (
        numbers[:, 0]
        + 0.5 * numbers[:, 1] * numbers[:, 2]
        + (codes["group"] % 3 - 1) * 0.6
        + np.where(codes["article"] % 7 == 0, 0.8, -0.1)
        - 2.6
    )
    late = chance.random(count) < 1 / (1 + np.exp(-logit))
    columns: dict[str, Any] = {
        name: np.where(chance.random(count) < 0.05 * (at < 2), np.nan, numbers[:, at])
        for at, name in enumerate(_NUMBERS)
    }
    seconds = chance.integers(0, int((end - start).total_seconds()), count)
    return pl.DataFrame(
        {
            "id": np.arange(first, first + count),
            "at": np.datetime64(start, "us") + seconds.astype("timedelta64[s]"),
            **columns,
            **{name: pl.Series(_names(name))[codes[name]] for name in _VALUES},
            "late": late.astype(np.int8),
        }
    )


def _names(column: str) -> list[str]:
    return [f"{column} {value}" for value in range(_VALUES[column])]


def _lake(folder: Path) -> "Lake":
    from blocks.lake import Lake

    return Lake(url=f"file://{folder / 'lake'}", credentials=None)


def _dataset(folder: Path) -> "tuple[Lake, DatasetVersion]":
    from tasks.data.dataset import read_version

    return _lake(folder), read_version(_lake(folder), "sized")


def ingest(folder: Path, case: "UseCase") -> str:
    from tasks.data.dataset import write_version
    from tasks.data.ingestion import ingest_if_changed
    from tasks.data.sources import source_of

    lake = _lake(folder)
    periods = source_of(case, lake).periods()
    files = [ingest_if_changed(lake, case, period)[0] for period in periods]
    version, _ = write_version(lake, case, files)
    return f"{version.rows:,} rows"


def _training(case: "UseCase", folder: Path, through: int) -> "pl.DataFrame":
    from tasks.data.dataset import read_periods

    lake, dataset = _dataset(folder)
    names = [file.period for file in dataset.periods]
    return read_periods(lake, dataset, names[:through], case.label)


def train(folder: Path, case: "UseCase") -> str:
    import skops.io

    from tasks.models import modelling

    rows = _training(case, folder, -1)
    recipe = case.candidates[0]
    fitted = modelling.fit(case, recipe, recipe.params, rows, SEED)
    skops.io.dump(fitted, folder / "challenger.skops")
    few = rows.sample(50_000, seed=SEED)
    weak = modelling.fit(case, recipe, {"n_estimators": 30}, few, SEED)
    skops.io.dump(weak, folder / "champion.skops")
    return f"fitted on {len(rows):,} rows"


def judge(folder: Path, case: "UseCase") -> str:
    from functools import partial

    from serving.package.model import load
    from tasks.contest.decide import Contestant, decide
    from tasks.contest.fairness import why_unfair
    from tasks.data.dataset import read_periods
    from tasks.data.row_digests import HoldoutOverlap, rows_in
    from tasks.packages.judging import package_challenger, score_holdout
    from tasks.packages.packaging import Origin, make_package

    lake, dataset = _dataset(folder)
    *learned, last = [file.period for file in dataset.periods]
    training, holdout = _training(case, folder, -1), read_periods(lake, dataset, [last], case.label)
    challenger = _load(folder / "challenger.skops")
    scores = score_holdout(case, challenger, holdout)
    origin = Origin(
        "light", dict(case.candidates[0].params), dataset.version, dataset.digests(learned), scores
    )
    strong, weak = folder / "challenger", folder / "champion"
    for package in (strong, weak):
        shutil.rmtree(package, ignore_errors=True)
    package_challenger(strong, case, challenger, origin, training, last, holdout, SEED)
    some = training.head(50_000)
    make_package(weak, case, _load(folder / "champion.skops"), origin, some, some, SEED, False)
    del training, some
    overlap = HoldoutOverlap(case, holdout, rows_in(lake, case))
    unfair = why_unfair("challenger", origin.trained_on, dataset.digests([last]), overlap)
    read = partial(_training, case, folder, -1)
    judgement = decide(
        case,
        Contestant(load(strong), holdout, unfair, training=read),
        Contestant(load(weak), holdout),
        SEED,
    )
    return f"{judgement.verdict} on {len(holdout):,} rows"


def refit(folder: Path, case: "UseCase") -> str:
    from tasks.models import modelling
    from tasks.packages.packaging import Origin, make_package

    _, dataset = _dataset(folder)
    names = [file.period for file in dataset.periods]
    rows = _training(case, folder, len(names))
    recipe = case.candidates[0]
    fitted = modelling.fit(case, recipe, recipe.params, rows, SEED)
    proof = rows.filter(case.period_of_rows == names[-1])
    origin = Origin(recipe.name, dict(recipe.params), dataset.version, dataset.digests(names), {})
    shutil.rmtree(folder / "package", ignore_errors=True)
    make_package(folder / "package", case, fitted, origin, rows, proof, SEED)
    return f"fitted on {len(rows):,} rows, with cross-fit, thresholds and profile"


def log(folder: Path, case: "UseCase", rows: int) -> str:
    """Rows of December, asked again in January: a file for each day."""
    import polars as pl

    from serving.package.model import load
    from tasks.data.dataset import read_periods
    from tasks.packages.packaging import score_rows
    from usecases.definition import SCORE

    lake, dataset = _dataset(folder)
    december = read_periods(lake, dataset, [dataset.periods[-1].period]).head(200_000)
    scores = pl.Series(SCORE, score_rows(load(folder / "package"), december), dtype=pl.Float64)
    scored = december.select(case.event_time, *case.column_names).with_columns(scores)
    each = -(-rows // 31)
    for day in range(31):
        start = datetime(2025, 1, 1 + day)
        some = scored.sample(each, with_replacement=True, seed=day).select(
            pl.format("{}-{}", pl.lit(day), pl.int_range(pl.len())).alias("id"),
            pl.lit(start).alias("time"),
            (start + (pl.col(case.event_time) - pl.col(case.event_time).dt.truncate("1d"))).alias(
                "event_time"
            ),
            *case.column_names,
            SCORE,
            (pl.col(SCORE) >= 0.5).alias("decision"),
            pl.lit("1").alias("model_version"),
        )
        path = folder / f"lake/predictions/sized/date={start.date()}/benchmark.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        some.write_parquet(path)
    return f"{31 * each:,} predictions"


def watch(folder: Path, case: "UseCase") -> str:
    from serving.package.model import load
    from tasks.drift.examine import yardstick_of
    from tasks.log.windows import read_window
    from tasks.outside.blocks_of_run import given
    from tasks.steps.drift_check.judge import judge_window

    lake, package = _lake(folder), load(folder / "package")
    with given(lake):
        read = read_window(lake, case, WINDOW, case.drift.sample_rows, SEED)
        yardstick = yardstick_of(package.manifest, folder / "package")
        verdict = judge_window(case, package, yardstick, read, "1")
    return f"{verdict.outcome}: {read.how}"


def _load(path: Path) -> Any:
    import skops.io

    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


STEPS: dict[str, Callable[..., str | None]] = {
    "make": make,
    "ingest": ingest,
    "train": train,
    "judge": judge,
    "refit": refit,
    "log": log,
    "watch": watch,
}
PREPARED = ("make", "log")  # what the loop itself would not do


def measure(step: str, given: list[str], limit: float) -> dict[str, Any]:
    """Run the step with the arguments ``given`` in a process of its own, and end it if it takes
    more than ``limit`` GiB."""
    import psutil

    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.loop.size", "--step", step]
    process = subprocess.Popen(
        [*command, *given],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    largest = 0
    while process.poll() is None:
        with suppress(psutil.Error):
            largest = max(largest, psutil.Process(process.pid).memory_info().rss)
        if largest > limit * _GIB:
            process.kill()
            return {
                "done": f"ended at {limit:g} GiB",
                "largest_bytes": largest,
                "cpu_seconds": None,
            }
        time.sleep(0.05)
    output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise ChildProcessError(f"{step} failed: {output[-500:]}")
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


def run(step: str, folder: Path, rows: int, months: int) -> None:
    """The step, in this process; prints its figures."""
    case = use_case(folder)
    own = {"make": (folder, rows, months), "log": (folder, case, rows)}
    arguments: tuple[Any, ...] = own.get(step, (folder, case))
    before = time.process_time()
    done = STEPS[step](*arguments)
    unit = 1 if sys.platform == "darwin" else 1024
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "done": done,
                "cpu_seconds": time.process_time() - before,
                "largest_bytes": used.ru_maxrss * unit,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", help=f"default: all of {', '.join(STEPS)}")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=12, help="of which the last is the hold-out")
    parser.add_argument("--limit", type=float, default=10.0, help="GiB of a step")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        run(given.step, given.folder, given.rows, given.months)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        arguments = ["--folder", str(folder.resolve()), "--rows", str(given.rows)]
        arguments += ["--months", str(given.months)]
        print("| step | what | CPU seconds | largest GiB |\n|---|---|---|---|", flush=True)
        for step in given.steps or STEPS:
            figures = measure(step, arguments, given.limit)
            if step in PREPARED:
                continue
            seconds = figures["cpu_seconds"]
            cpu = "–" if seconds is None else f"{seconds:,.0f}"
            print(
                f"| {step} | {figures['done']} | {cpu} | {figures['largest_bytes'] / _GIB:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
