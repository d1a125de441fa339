"""How long the loop takes, and where: imports, a run's start, ingest, and the share of a retrain
that is not fit, score or bootstrap.

    python -m benchmarks.loop            all of it, on a stack of its own that is stopped at the end
    python -m benchmarks.loop imports ingest

Times are of this machine and this moment; compare them with each other and with the same run before
a change."""

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from tasks.data.dataset import ingest_period, write_version
    from usecases.definition import SqlSource, load

    start = time.perf_counter()
    case = load("flights")
    assert not isinstance(case.source, SqlSource)
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


class Spent:
    """Wall time inside the functions that are the work itself, without counting one inside another
    twice.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = False

    def watch(self, module: Any, function: str, name: str) -> None:
        """Replace ``module.function`` by one that adds its wall time under ``name``."""
        original: Callable[..., Any] = getattr(module, function)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return original(*args, **kwargs)
            self._inside, start = True, time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self._inside = False
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

        setattr(module, function, timed)


def retrain() -> None:
    """Two retrains of flights on a stack of their own: the first with HPO, the second against a
    champion.
    """
    with _own_stack():
        for through in ("2013-03", "2013-06"):
            # A fresh process each, as on a work pool: imports belong to the wall time.
            code = f"from benchmarks.loop.parts import retrain_here; retrain_here({through!r})"
            subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def starts(rounds: int = 6) -> None:
    """Seconds from "created" to "running" of a run on the pool: started by Prefect's supervisor,
    and by the worker itself, in turn.
    """
    from prefect.client.orchestration import SyncPrefectClient

    from deployments.apply.pools import ENGINE

    seconds_by_module: dict[str | None, list[float]] = {None: [], ENGINE: []}
    with _own_stack() as settings, SyncPrefectClient(settings.prefect_api_url) as prefect:
        deployment_id = prefect.read_deployment_by_name("explain/flights").id
        for _ in range(rounds):
            for command, seconds in seconds_by_module.items():
                variables = {} if command else {"command": None}
                run = prefect.create_flow_run_from_deployment(
                    deployment_id, job_variables=variables
                )
                while run.state is None or not run.state.is_final():
                    time.sleep(0.1)
                    run = prefect.read_flow_run(run.id)
                if run.start_time is None or run.created is None:
                    raise RuntimeError(f"A run did not start: {run.state.message}")
                seconds.append((run.start_time - run.created).total_seconds())
    for command, seconds in seconds_by_module.items():
        summary = (
            f"median {statistics.median(seconds):.1f} s, least {min(seconds):.1f} s of {rounds}"
        )
        print(f"start of a run, {command or 'by the supervisor'}: {summary}")


@contextmanager
def _own_stack() -> Iterator["Settings"]:
    """A stack with all deployments in a folder of its own, in force in this process's
    environment.
    """
    from blocks.settings import Settings
    from deployments.apply.command import apply_now
    from deployments.local import stack
    from deployments.servers.environment import environment

    ports = {
        "LAUREL_PREFECT_PORT": "4290",
        "LAUREL_MLFLOW_PORT": "5090",
        "LAUREL_S3_PORT": "8390",
        "LAUREL_SERVING_PORT": "5091",
    }
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**ports, "LAUREL_STATE": folder}
        start = time.perf_counter()
        settings = stack.up(Settings.read())
        print(f"stack ready: {time.perf_counter() - start:.1f} s")
        try:
            os.environ |= environment(settings)
            start = time.perf_counter()
            apply_now(settings)
            print(f"deployments applied: {time.perf_counter() - start:.1f} s")
            yield settings
        finally:
            stack.down(settings)


def retrain_here(through: str) -> None:
    start = time.perf_counter()
    from flows.retrain import retrain as flow
    from tasks.models import modelling
    from tasks.steps import evaluate, promote

    spent = Spent()
    spent.watch(modelling, "fit", "fit")
    spent.watch(evaluate, "tune", "fit (HPO)")
    spent.watch(evaluate, "score_holdout", "score")
    spent.watch(promote, "score_rows", "score")
    spent.watch(promote, "judge_rows", "bootstrap")
    asyncio.run(flow("flights", through))
    wall = time.perf_counter() - start
    inside = sum(spent.seconds.values())
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.seconds.items())
    print(
        f"retrain through {through}: {wall:.1f} s, of which {parts}; outside of them "
        f"{1 - inside / wall:.0%}"
    )


PARTS: dict[str, Callable[[], None]] = {
    "imports": imports,
    "starts": starts,
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
