"""A stack of the benchmark: real servers in a folder that can be copied, and a process that runs
flows against them in the year's time."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

from benchmarks.soak.plan import USE_CASE, Calendar, at
from benchmarks.soak.runner import Took
from blocks.settings import Settings
from deployments.apply.command import apply_now
from deployments.demo.runs import schedules_paused
from deployments.local import stack
from deployments.local.settings import import_from
from deployments.servers.environment import environment
from deployments.servers.worker import POOL

REPOSITORY = Path(__file__).resolve().parents[2]
CALENDAR, LOG, OWN = "calendar.json", "runs.log", "own"
EVENT_DAYS = 7  # Prefect's own setting
_PATIENCE_SECONDS = 60


class FlowFailed(RuntimeError):
    """A flow of the played year did not complete."""


@dataclass
class Stack:
    """``settings`` of the running servers."""

    settings: Settings
    prefect: SyncPrefectClient
    service: httpx.Client
    _runner: "subprocess.Popen[str]"
    _began: list[tuple[date, float]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """Of all runs."""
        return self.settings.state.parent / LOG

    @property
    def calendar(self) -> Calendar:
        return Calendar(self.settings.state.parent / CALENDAR)

    def turn(self, played: datetime) -> None:
        """Turn the year's clock."""
        self.calendar.turn(time.time(), played)

    def flow(self, name: str, **parameters: Any) -> Took:
        """Run the deployment as the pool would. Raises ``FlowFailed``."""
        deployment = self.prefect.read_deployment_by_name(f"{name}/{USE_CASE}").id
        run = self.prefect.create_flow_run_from_deployment(deployment, parameters=parameters).id
        took = self._order({"run": str(run)})
        state = self.prefect.read_flow_run(run).state
        if state is None or not state.is_completed():
            raise FlowFailed(f"{name} ended as {state}: see {self.log}")
        return took

    def call(self, name: str) -> Took:
        """Call a function of ``calls.py`` in the year's time."""
        took = self._order({"call": name})
        if took.code:
            raise FlowFailed(f"{name} failed: see {self.log}")
        return took

    def _order(self, order: dict[str, str]) -> Took:
        inward, outward = self._pipes
        print(json.dumps(order), file=inward, flush=True)
        line = outward.readline()
        if not line:
            raise FlowFailed(f"The runner ended: see {self.log}")
        return Took(**json.loads(line))

    @property
    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._runner.stdin and self._runner.stdout
        return self._runner.stdin, self._runner.stdout

    def end_day(self, day: date, began: float) -> None:
        """Date what the servers wrote since ``began`` back to the day, and remove the events that
        Prefect would have removed by then: the clocks of the servers do not move."""
        self._began.append((day, began))
        noon = at(day, 12)
        with _open(self.settings.state / "prefect" / "prefect.db") as prefect:
            since, then = _as_prefect(datetime.fromtimestamp(began, UTC)), _as_prefect(noon)
            prefect.execute("UPDATE flow_run SET end_time = ? WHERE end_time >= ?", (then, since))
            kept = [real for played, real in self._began if day - played < timedelta(EVENT_DAYS)]
            first = _as_prefect(datetime.fromtimestamp(min(kept), UTC))
            for table in ("event_resources", "events"):
                prefect.execute(f"DELETE FROM {table} WHERE occurred < ?", (first,))  # noqa: S608
        with _open(self.settings.state / "mlflow" / "mlflow.db") as mlflow:
            mlflow.execute(
                "UPDATE runs SET start_time = ? + start_time - ? WHERE start_time >= ?",
                (int(1e3 * noon.timestamp()), int(1e3 * began), int(1e3 * began)),
            )

    def end_month(self) -> None:
        """Remove what Prefect's daily vacuum would have removed by now."""
        with _open(self.settings.state / "prefect" / "prefect.db") as prefect:
            for table in ("log", "artifact"):
                prefect.execute(
                    f"DELETE FROM {table} WHERE flow_run_id IS NOT NULL"  # noqa: S608
                    " AND flow_run_id NOT IN (SELECT id FROM flow_run)"
                )


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database, timeout=_PATIENCE_SECONDS)
    with closing(connection), connection:
        yield connection


def _as_prefect(moment: datetime) -> str:
    """As Prefect's tables have it, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


@contextmanager
def running(folder: Path, lake: str, first_port: int) -> Iterator[Stack]:
    """The stack of ``folder``, which it is laid out in if it is empty. ``lake``: *folder* or
    *seaweedfs*."""
    settings = stack.up(_settings(folder, lake, first_port))
    try:
        apply_now(settings, use_cases=[USE_CASE])
        with (
            SyncPrefectClient(settings.prefect_api_url) as prefect,
            httpx.Client(
                base_url=settings.serving_base_url, timeout=60, trust_env=False
            ) as service,
            schedules_paused(prefect, resume_after_errors=False),
            _runner_of(settings, folder / CALENDAR, folder / LOG) as runner,
        ):
            # Else the worker takes the runner's runs a second time.
            prefect.update_work_pool(POOL, WorkPoolUpdate(is_paused=True))
            _leave_drift_to_the_plan(prefect)
            yield Stack(settings, prefect, service, runner)
    finally:
        stack.down(settings)


def _settings(folder: Path, lake: str, first_port: int) -> Settings:
    own = folder.parent / OWN / "usecases"  # one place: two would be two use cases of a name
    own.mkdir(parents=True, exist_ok=True)
    init = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
    (own / "__init__.py").write_text(init)
    shutil.copy(Path(__file__).with_name("orders.py"), own)
    import_from([str(own.parent)])
    for name in [name for name in os.environ if name.startswith(("LAUREL_", "PREFECT_"))]:
        del os.environ[name]
    state = folder / "state"
    os.environ |= {
        "PYTHONPATH": str(own.parent),
        "LAUREL_STATE": str(state),
        "LAUREL_PREFECT_PORT": str(first_port),
        "LAUREL_MLFLOW_PORT": str(first_port + 1),
        "LAUREL_SERVING_PORT": str(first_port + 2),
        "LAUREL_S3_PORT": str(first_port + 10),
        "LAUREL_SERVING_USE_CASES": USE_CASE,
        # Flows run beside the worker.
        "LAUREL_WARM_RUNS": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    if lake == "folder":
        os.environ["LAUREL_LAKE"] = f"file://{state}/lake"
    state.mkdir(parents=True, exist_ok=True)
    return Settings.read()


@contextmanager
def _runner_of(settings: Settings, calendar: Path, log: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "benchmarks.soak.runner", str(calendar), str(log)]
    with (
        log.open("a") as written,
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **environment(settings)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
        ) as runner,
    ):
        assert runner.stdin and runner.stdout
        runner.stdout.readline()
        try:
            yield runner
        finally:
            runner.stdin.close()


def _leave_drift_to_the_plan(prefect: SyncPrefectClient) -> None:
    """Drift starts no retrain by itself: the plan says when there is one."""
    name = {"name": {"any_": [f"retrain {USE_CASE} on drift"]}}
    api = str(prefect.api_url).rstrip("/")
    found = httpx.post(f"{api}/automations/filter", json={"automations": name}, trust_env=False)
    for automation in found.raise_for_status().json():
        changed = {"enabled": False}
        httpx.patch(
            f"{api}/automations/{automation['id']}", json=changed, trust_env=False
        ).raise_for_status()
