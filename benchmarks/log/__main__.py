"""Write a day of the prediction log as a service with little traffic does, a file each five
seconds, and time what flows do with it, before and after it is compacted.

    python -m benchmarks.log [--files 17280] [--rows 25] [--lake file:///folder]

Without ``--lake`` the lake is that of the running stack. What it wrote it removes at the end."""

import argparse
import io
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import numpy as np
import polars as pl

from blocks.lake import Lake
from blocks.settings import Settings
from tasks.log.compaction import compact
from tasks.log.files import find_files, for_each, read_batches

USE_CASE = "benchmark_of_the_log"
DAY = date(2024, 6, 1)
T = TypeVar("T")


def main() -> None:
    """Run the benchmark and print a line for each step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log", description=__doc__)
    parser.add_argument("--files", type=int, default=17_280, help="of the day")
    parser.add_argument("--rows", type=int, default=25, help="of each file")
    parser.add_argument("--lake", help="file:///folder; default: the running stack's")
    arguments = parser.parse_args()
    settings = Settings.of_stack()
    lake = Lake(url=arguments.lake, credentials=None) if arguments.lake else Lake.of(settings)
    print(f"{arguments.files:,} files of {arguments.rows} rows, {lake.url}")
    print(f"{'step':34} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}")
    try:
        timed("write", lambda: write(lake, arguments.files, arguments.rows))
        rows = read_twice(lake, "as written")
        now = datetime.now(UTC) + timedelta(hours=2)
        done = timed("compact", lambda: compact(lake, "predictions", USE_CASE, now))
        assert (done.segments, done.rows, rows) == (arguments.files, rows, done.rows)
        read_twice(lake, "compacted, not yet deleted")
        later = now + timedelta(hours=8)
        timed("delete", lambda: compact(lake, "predictions", USE_CASE, later))
        assert read_twice(lake, "compacted") == rows
    finally:
        prefixes = (f"predictions/{USE_CASE}", f"compacted/predictions/{USE_CASE}")
        lake.remove([path for prefix in prefixes for path in lake.list(prefix)])


def timed(step: str, work: Callable[[], T]) -> T:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{step:34} {wall:8.2f} {cpu:8.2f} {peak:8.0f}", flush=True)
    return result


def read_twice(lake: Lake, state: str) -> int:
    """List the day's files, then read their rows. Returns how many rows they have."""
    files = timed(f"list, {state}", lambda: find_files(lake, "predictions", USE_CASE, DAY, DAY))
    counts = list[int]()

    def read() -> None:
        for_each(
            files,
            lambda file: counts.extend(
                len(batch) for batch in read_batches(lake, file.path, lambda schema: schema.names)
            ),
        )

    timed(f"read {len(files):,}, {state}", read)
    return sum(counts)


def write(lake: Lake, files: int, rows: int) -> None:
    """Thirty numbers, a text, and what the log says of each row."""
    chance = np.random.default_rng(7)
    moment = datetime(2024, 6, 1, tzinfo=UTC)

    def put(number: int, values: np.ndarray) -> None:
        columns = {f"x{place}": values[place] for place in range(30)}
        frame = pl.DataFrame(
            {
                "id": [f"{number:06d}-{row}" for row in range(rows)],
                "time": [moment] * rows,
                "event_time": [datetime(2024, 6, 1)] * rows,
                **columns,
                "group": ["abc"[row % 3] for row in range(rows)],
                "score": values[30],
                "model_version": ["7"] * rows,
                "sample_rate": [1.0] * rows,
                "role": ["champion"] * rows,
            }
        )
        data = io.BytesIO()
        frame.write_parquet(data)
        name = f"20240601T000000-ab12cd34-{number:06d}.parquet"
        lake.write(f"predictions/{USE_CASE}/date={DAY}/{name}", data.getvalue())

    with ThreadPoolExecutor(4) as writers:
        for start in range(0, files, 500):
            numbers = range(start, min(start + 500, files))
            values = [chance.normal(size=(31, rows)) for _ in numbers]
            list(writers.map(put, numbers, values))


if __name__ == "__main__":
    main()
