"""What the check of a large window costs: one is generated from real rows, and judged in a process
of its own.
"""

import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.drift.world import Champion

_FILE_ROWS = 50_000  # the service's own default of a segment
_DAYS = 30


def cost(champion: Champion, rows: int, seed: int) -> dict[str, Any]:
    """Seconds and peak memory of reading and judging ``rows`` predictions; imports, which are paid
    once a process, apart.
    """
    with tempfile.TemporaryDirectory(prefix="laurel-drift-cost-") as folder:
        store, champion_file = Path(folder) / "lake", Path(folder) / "champion.pickle"
        start = time.perf_counter()
        generate(champion, store, rows, seed)
        generated = time.perf_counter() - start
        megabytes = sum(path.stat().st_size for path in store.rglob("*.parquet")) / 1e6
        champion_file.write_bytes(pickle.dumps((champion.case.name, champion.yardstick)))
        code = (
            f"from benchmarks.drift.cost import judge_here; judge_here({str(store)!r}, "
            f"{str(champion_file)!r}, {seed})"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise RuntimeError(f"The check of {rows:,} rows failed: {run.stderr[-2000:]}")
        return {
            **json.loads(run.stdout.splitlines()[-1]),
            "lake megabytes": round(megabytes),
            "generated in seconds": round(generated, 1),
        }


def generate(champion: Champion, folder: Path, rows: int, seed: int) -> None:
    """A prediction log of June: the champion's training rows again and again, each with its own id,
    in files of 50,000.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    case = champion.case
    chance = np.random.default_rng(seed)
    world = champion.training.select(*case.column_names, "score")
    repeated = [column.name for column in case.columns if column.kind == "category"] + [
        "model_version",
        "sample_rate",
    ]
    files = -(-rows // _FILE_ROWS)
    for number in range(files):
        count, day = min(_FILE_ROWS, rows - number * _FILE_ROWS), number * _DAYS // files + 1
        sample = world[chance.integers(0, len(world), count)]
        seconds = pl.Series(np.sort(chance.integers(0, 86_400, count)) * 1_000_000).cast(
            pl.Duration("us")
        )
        at = pl.select(pl.datetime(2013, 6, day)).item() + seconds
        whole = sample.select(
            pl.Series(
                "id",
                [f"019aa3f2c1b-4fa2c1-{number * _FILE_ROWS + row:08x}" for row in range(count)],
            ),
            at.dt.replace_time_zone("UTC").alias("time"),
            at.alias("event_time"),
            *case.column_names,
            "score",
            (pl.col("score") >= case.decision_threshold).alias("decision"),
            pl.lit("1").alias("model_version"),
            pl.lit(1.0).alias("sample_rate"),
        )
        path = (
            folder
            / f"predictions/{case.name}/date=2013-06-{day:02d}"
            / f"20130601T000000-ab12cd34-{number:06d}.parquet"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        table: pa.Table = whole.to_arrow()
        pq.write_table(
            table, path, compression="zstd", use_dictionary=repeated, row_group_size=25_000
        )


def judge_here(folder: str, champion_file: str, seed: int) -> None:
    """The pure part of the task ``check_window``, Evidently's report with it. Prints what it
    took.
    """
    start = time.perf_counter()
    import evidently  # noqa: F401

    from blocks.lake import Lake
    from tasks.drift.evidently_report import run_evidently
    from tasks.drift.examine import examine
    from tasks.drift.thresholds import monitored
    from tasks.drift.verdict import judge
    from tasks.log.windows import read_window
    from usecases.definition import load

    imported = time.perf_counter()
    name, yardstick = pickle.loads(Path(champion_file).read_bytes())  # noqa: S301
    case = load(name)
    read = read_window(
        Lake(url=f"file://{folder}", credentials=None),
        case,
        "2013-06",
        case.drift.sample_rows,
        seed,
    )
    reading = time.perf_counter()
    evidence = examine(
        case,
        yardstick,
        read.rows,
        window="2013-06",
        counted=read.counted,
        problems=read.problems,
    )
    verdict = judge(case.drift, evidence)
    judging = time.perf_counter()
    limits = yardstick.thresholds
    columns = monitored(case, limits)
    run_evidently(columns, yardstick.reference, read.rows, limits, yardstick.methods)
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "rows": read.counted,
                "judged on": read.how,
                "verdict": verdict.outcome,
                "read seconds": round(reading - imported, 1),
                "judge seconds": round(judging - reading, 1),
                "report seconds": round(time.perf_counter() - judging, 1),
                "import seconds": round(imported - start, 1),
                "processor seconds": round(used.ru_utime + used.ru_stime, 1),
                "peak megabytes": round(used.ru_maxrss / unit),
            }
        )
    )
