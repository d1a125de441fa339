"""What one more use case, and one more flow run, costs Prefect and MLflow: the figures of
docs/scale.md, measured on a stack of its own, and what many of them come to.

python -m benchmarks.scale"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.loop.stack import own_stack
from blocks.clients.registry import CHAMPION, Limits, RegistryApi
from deployments.supervision.signs_of_life import cpu_seconds, family
from deployments.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from blocks.settings import Settings

LOOKS, RUNS, IDLE_SECONDS = 500, 20, 30
USE_CASES = (1, 100, 10_000)
RUNS_A_DAY = 4  # ingest, drift_check, rollout and tidy, by prefect.yaml
KEPT_DAYS = 90  # LAUREL_KEEP_RUNS_DAYS
LOOKS_A_POLL = 1.2  # the champion, and with every fifth poll a rollout
_DAY = 86_400


class Servers:
    """The CPU seconds of the stack's programs, with all their processes."""

    def __init__(self, settings: "Settings") -> None:
        states = Supervisor(settings.state).states()
        self._pids = {name: state["pid"] for name, state in states.items()}

    @contextmanager
    def spent(self, name: str) -> Iterator[Callable[[], float]]:
        """What a program has spent since the context was entered."""
        before = self.total(name)
        yield lambda: self.total(name) - before

    def total(self, name: str) -> float:
        return cpu_seconds(family(self._pids[name]))


def main() -> None:
    with own_stack() as settings:
        servers = Servers(settings)
        look = _look(settings, servers)
        run, stored = _run(settings, servers)
        _idle(settings, servers)
    _reckon(look, run, stored, settings.serving_poll_seconds)


def _look(settings: "Settings", servers: Servers) -> float:
    """CPU seconds of MLflow for one look at an alias."""
    api = RegistryApi(settings.mlflow_tracking_uri, Limits(5, 30), trust_env=False)
    api.at("flights", CHAMPION)
    with servers.spent("mlflow") as spent:
        start = time.perf_counter()
        for _ in range(LOOKS):
            api.at("flights", CHAMPION)
        seconds = time.perf_counter() - start
        cpu = spent() / LOOKS
    print(f"a look at an alias: {1e3 * cpu:.1f} ms of MLflow's CPU, {1e3 * seconds / LOOKS:.1f} ms")
    return cpu


def _run(settings: "Settings", servers: Servers) -> tuple[float, float]:
    """CPU seconds of Prefect's server for a small flow run, and the bytes that it leaves."""
    from prefect.client.orchestration import SyncPrefectClient

    with (
        SyncPrefectClient(settings.prefect_api_url) as prefect,
        servers.spent("prefect") as server,
        servers.spent("worker") as worker,
    ):
        deployment = prefect.read_deployment_by_name("explain/flights").id
        before = _pages_of(settings.state / "prefect" / "prefect.db")
        for _ in range(RUNS):
            run = prefect.create_flow_run_from_deployment(deployment)
            while run.state is None or not run.state.is_final():
                time.sleep(0.2)
                run = prefect.read_flow_run(run.id)
        time.sleep(5)  # events come last
        cpu, own = server() / RUNS, worker() / RUNS
        stored = (_pages_of(settings.state / "prefect" / "prefect.db") - before) / RUNS
    print(
        f"a small flow run: {cpu:.2f} s of the CPU of Prefect's server, {own:.2f} s of the "
        f"worker, {stored / 1e3:.0f} KB of Prefect's database"
    )
    return cpu, stored


def _idle(settings: "Settings", servers: Servers) -> None:
    """What each program takes while nothing happens."""
    names = ("prefect", "mlflow", "worker", "service")
    before = {name: servers.total(name) for name in names}
    time.sleep(IDLE_SECONDS)
    shares = ((servers.total(name) - before[name]) / IDLE_SECONDS for name in names)
    words = ", ".join(f"{name} {share:.0%}" for name, share in zip(names, shares, strict=True))
    print(f"of a core while idle: {words}")


def _reckon(look: float, run: float, stored: float, poll_seconds: float) -> None:
    """What use cases come to that run by their schedules, for one worker of the service."""
    print("use cases   looks/s (cores)   runs a day (cores)   database after 90 days")
    for cases in USE_CASES:
        looks, runs = cases * LOOKS_A_POLL / poll_seconds, cases * RUNS_A_DAY
        kept = runs * KEPT_DAYS * stored / 1e9
        cores = looks * look, runs * run / _DAY
        print(
            f"{cases:9,}   {looks:7,.1f} ({cores[0]:6.2f})   {runs:8,} ({cores[1]:5.2f})   "
            f"{kept:8.2f} GB"
        )


def _pages_of(database: Path) -> int:
    """The bytes of an SQLite database, with what still is in its log."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        pages, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "page_size")
        )
    return int(pages) * int(size)


if __name__ == "__main__":
    main()
