"""How long the loop takes, and where: imports, a run's start, ingest, and the CPU of a retrain and
of a drift check by part.

    python -m benchmarks.loop            all of it, on a stack of its own that is stopped at the end
    python -m benchmarks.loop imports ingest

Times are of this machine and this moment; compare them with each other and with the same run before
a change."""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.loop.stack import own_stack

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

    from blocks.settings import Settings


REPOSITORY = Path(__file__).resolve().parents[2]
FLOWS = sorted(
    path.stem
    for path in (REPOSITORY / "flows").glob("*.py")
    if path.stem not in ("__init__", "runs")
)


def imports() -> None:
    """Seconds that importing each flow costs beyond Prefect itself: medians of three fresh
    processes.
    """
    prefect = _import_seconds("import prefect, prefect.flows, prefect.tasks")
    print(f"import prefect {prefect:.2f} s")
    for name in FLOWS:
        print(f"import flows.{name}: {_import_seconds(f'import flows.{name}') - prefect:+.2f} s")


def _import_seconds(code: str) -> float:
    timed = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
    runs = [
        subprocess.run(
            [sys.executable, "-c", timed],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(3)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def ingest() -> None:
    """All 336,776 flights of 2013 into a lake in a folder, in a process of its own: seconds and
    peak memory.
    """
    code = "from benchmarks.loop.parts import ingest_here; ingest_here()"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def ingest_here() -> None:
    from blocks.lake import Lake
    from tasks.data.dataset import (
        write_version,
    )
    from tasks.data.ingestion import ingest_period
    from usecases.definition import TableSource, load

    start = time.perf_counter()
    case = load("flights")
    assert not isinstance(case.source, TableSource)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(url=f"file://{folder}", credentials=None)
        version, _ = write_version(
            lake, case, [ingest_period(lake, case, period) for period in case.source.periods()]
        )
    unit = 1024 if sys.platform == "darwin" else 1
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / unit
    print(
        f"ingest of {version.rows:,} rows: {time.perf_counter() - start:.1f} s, peak "
        f"{megabytes:.0f} MB"
    )


def retrain() -> None:
    """Two retrains of flights on a stack of their own, the first with HPO, the second against a
    champion; then two drift checks of a month, the second with Evidently's report. CPU by part.
    """
    with own_stack() as settings:
        _run_here("retrain_here('2013-03')")
        _run_here("retrain_here('2013-06')")
        log_month(settings, "2013-07")
        _run_here("check_drift_here('2013-07', report=False)")
        _run_here("check_drift_here('2013-07', report=True)")


def _run_here(call: str) -> None:
    """Call it in a fresh process, as on a work pool."""
    code = f"from benchmarks.loop.shares import check_drift_here, retrain_here; {call}"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def log_month(settings: "Settings", window: str) -> None:
    """Ask the champion about a month of flights, as callers do, and write answers into the lake's
    prediction log, a file for each day.
    """
    import io

    import polars as pl

    from blocks.clients.registry import CHAMPION
    from blocks.lake import Lake
    from blocks.registry import ModelRegistry
    from tasks.packages.packaging import score_rows
    from tasks.packages.registered import open_package
    from usecases.definition import SCORE, TableSource, load

    case, store, registry = load("flights"), Lake.of(settings), ModelRegistry.of(settings)
    champion = registry.at(case.name, CHAMPION)
    assert champion is not None and not isinstance(case.source, TableSource)
    rows = case.source.read(window)
    with open_package(registry, champion) as (package, _):
        scores = pl.Series(SCORE, score_rows(package, rows), dtype=pl.Float64)
    logged = rows.select(
        pl.int_range(pl.len()).cast(pl.String).alias("id"),
        pl.col(case.event_time).alias("event_time"),
        *case.column_names,
        scores,
        model_version=pl.lit(champion.number),
    )
    day = pl.col("event_time").dt.date().alias("_day")
    for (date,), part in logged.with_columns(day).partition_by("_day", as_dict=True).items():
        data = io.BytesIO()
        part.drop("_day").write_parquet(data)
        store.write(f"predictions/{case.name}/date={date}/benchmark.parquet", data.getvalue())


def starts(rounds: int = 6) -> None:
    """Seconds from "asked" to the first task of a small run on the pool, and the CPU of its
    process: as a fresh interpreter and forked from the warm parent, in turn.
    """
    from prefect.client.orchestration import SyncPrefectClient

    from deployments.apply.pools import ENGINE, LAUNCHER

    measured: dict[str, list[tuple[float, float]]] = {ENGINE: [], LAUNCHER: []}
    with own_stack() as settings, SyncPrefectClient(settings.prefect_api_url) as prefect:
        deployment = prefect.read_deployment_by_name("explain/flights").id
        log = settings.state / "logs" / "worker.log"
        while "Warm parent of runs: ready" not in log.read_text():
            time.sleep(1)
        for _ in range(rounds):
            for command, runs in measured.items():
                runs.append(_start(prefect, deployment, command))
    for command, runs in measured.items():
        seconds, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        least = min(seconds for seconds, _ in runs)
        print(
            f"{command}: first task after {seconds:.1f} s in the median of {rounds}, least "
            f"{least:.1f} s; CPU of the run {cpu:.2f} s"
        )


def clients(count: int = 20) -> None:
    """CPU milliseconds of one of Prefect's clients, with all authorities and with one."""
    from deployments.servers.environment import AUTHORITIES, NO_AUTHORITY

    code = (
        "import time\nfrom prefect.client.orchestration import get_client\nget_client()\n"
        f"start = time.process_time()\nfor _ in range({count}): get_client()\n"
        f"print((time.process_time() - start) / {count} * 1000)"
    )
    plain = {name: value for name, value in os.environ.items() if "SSL" not in name}
    plain["PREFECT_API_URL"] = "http://127.0.0.1:4200/api"
    for name, more in {"all authorities": {}, "one": {AUTHORITIES: str(NO_AUTHORITY)}}.items():
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**plain, **more},
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"a client of Prefect, {name}: {float(run.stdout):.1f} ms of CPU")


def _start(prefect: "SyncPrefectClient", deployment: "UUID", command: str) -> tuple[float, float]:
    """Run the deployment by this command. Returns the seconds until its first task runs, and the
    CPU seconds of its processes.
    """
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    run = prefect.create_flow_run_from_deployment(deployment, job_variables={"command": command})
    cpu: dict[int, float] = {}
    while run.state is None or not run.state.is_final():
        cpu |= _cpu_of_runs()
        time.sleep(0.02)
        run = prefect.read_flow_run(run.id)
    tasks = prefect.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    first = min((task.start_time for task in tasks if task.start_time), default=None)
    if first is None or run.created is None:
        raise RuntimeError(f"A run did not start: {run.state.message}")
    while processes := _cpu_of_runs():
        cpu |= processes
        time.sleep(0.02)
    return (first - run.created).total_seconds(), sum(cpu.values())


def _cpu_of_runs() -> dict[int, float]:
    """The CPU seconds of each process that a run consists of, by its number."""
    import psutil

    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = process.cmdline()
            parent = process.parent()
            forked = "deployments.launch.parent" in line and (
                parent is not None and "deployments.launch.parent" in parent.cmdline()
            )
            if forked or "prefect.engine" in line:
                times = process.cpu_times()
                found[process.pid] = times.user + times.system
    return found


PARTS: dict[str, Callable[[], None]] = {
    "imports": imports,
    "starts": starts,
    "clients": clients,
    "ingest": ingest,
    "retrain": retrain,
}


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="default: all")
    for name in parser.parse_args().parts or PARTS:
        PARTS[name]()
