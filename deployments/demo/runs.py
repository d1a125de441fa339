"""Runs of the demo's deployments on the work pool: how they are started, awaited, and found if the
automation started them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import LogSort
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from blocks.settings import Settings
from deployments.local.watch import StackWatch
from deployments.supervision.signs_of_life import LOG_LINES, Sign, Vigil, cpu_seconds

# A run counts as dead after this long without a log line, a new state or CPU use.
RUN_QUIET_SECONDS = 900.0
# How long Prefect may be unreachable, if nothing watches the servers.
AWAY_SECONDS = 300.0
AUTOMATION_SECONDS = 600.0
POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0
# A run's process sends its log in batches, the last one after it reported the run's end.
LAST_LINES_SECONDS = 10.0

T = TypeVar("T")


class DemoFailed(RuntimeError):
    """The loop did not do what it should; the message has the step and the end of its log."""


class Runs:
    """The runs of ``<flow>/<use case>``, by the flow's name.

    ``watch`` sees the local stack's programs, and is ``None`` if the servers are somebody else's;
    ``say`` reports progress while a run is awaited."""

    def __init__(
        self,
        settings: Settings,
        prefect: SyncPrefectClient,
        use_case: str,
        watch: StackWatch | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._settings, self._prefect, self._use_case = settings, prefect, use_case
        self._watch, self._say = watch, say

    def start(self, name: str, **parameters: Any) -> FlowRun:
        """Start a run of ``<flow>/<use case>`` on the work pool."""
        deployment_id, key = self._deployment_id(name), uuid4().hex
        start = self._prefect.create_flow_run_from_deployment
        return self._ask(lambda: start(deployment_id, parameters=parameters, idempotency_key=key))

    @contextmanager
    def parameters(self, name: str, **parameters: Any) -> Iterator[None]:
        """While the context is open, the deployment ``<flow>/<use case>`` has these parameters, and
        so have all its runs, whoever starts them. After an error its own come back only if the
        servers stay up."""
        deployment_id = self._deployment_id(name)
        before = self._ask(lambda: self._prefect.read_deployment(deployment_id)).parameters

        def become(those: dict[str, Any]) -> None:
            change = DeploymentUpdate(parameters=those)
            self._ask(lambda: self._prefect.update_deployment(deployment_id, change))

        become({**before, **parameters})
        completed = False
        try:
            yield
            completed = True
        finally:
            if completed or self._watch is None:
                become(before)

    def wait(self, run: FlowRun, name: str) -> FlowRun:
        """Wait for the run to end, as long as it shows signs of life.

        Raises ``DemoFailed`` with the last lines of its log if it does not complete.
        """
        vigil = self.vigil(run, name)
        while True:
            run = self.read(run)
            if run.state and run.state.is_final():
                if not run.state.is_completed():
                    self._await_last_lines(run)
                    raise DemoFailed(
                        f"{name} ended as {run.state.name}: {run.state.message}{self._traces(run)}"
                    )
                return run
            if vigil.quiet_seconds() > RUN_QUIET_SECONDS:
                state = run.state.name if run.state else "unknown"
                silence = f"{name} is {state} and has shown no activity for {RUN_QUIET_SECONDS:g} s"
                raise DemoFailed(f"{silence}.{self._traces(run)}")
            time.sleep(POLL_SECONDS)

    def vigil(self, run: FlowRun, name: str) -> Vigil:
        """A watch on the run's signs of life."""

        def say(seconds: float) -> None:
            state, subflows, lines = (
                self.read(run).state,
                self.subflows(run),
                self._log_lines(run, 1),
            )
            location = f", in {subflows[-1][0]}" if subflows else ""
            last = f" Its log: {lines[-1].strip()}" if lines else ""
            self._say(
                f"{name}: {state.name if state else 'unknown'}{location}, "
                f"for {seconds:.0f} s.{last}"
            )

        return Vigil(lambda: self._sign(run), say, LOOK_SECONDS)

    def read(self, run: FlowRun) -> FlowRun:
        return self._ask(lambda: self._prefect.read_flow_run(run.id))

    def subflows(self, run: FlowRun) -> list[tuple[str, FlowRun]]:
        """The subflow runs of ``run``, in order, each with the name of its flow."""
        of_run = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        runs = self._ask(lambda: self._prefect.read_flow_runs(flow_run_filter=of_run))
        # A run's flow may be registered by the run itself: the flows are read after the runs.
        names = {flow.id: flow.name for flow in self._ask(self._prefect.read_flows)}
        return [
            (names[part.flow_id], part)
            for part in sorted(runs, key=lambda part: str(part.start_time))
        ]

    def known_retrains(self) -> set[UUID]:
        """The ids of every retrain so far."""
        return {run.id for run in self._of(self._deployment_id("retrain"))}

    def await_automatic_retrain(self, known: set[UUID]) -> FlowRun | None:
        """The retrain that the automation starts, or None if none comes. ``known`` are the runs
        before the event.
        """
        deployment_id = self._deployment_id("retrain")
        deadline = time.monotonic() + AUTOMATION_SECONDS
        while time.monotonic() < deadline:
            for run in self._of(deployment_id):
                if run.id not in known:
                    return run
            time.sleep(POLL_SECONDS)
        return None

    def _deployment_id(self, name: str) -> UUID:
        deployment = f"{name}/{self._use_case}"
        return self._ask(lambda: self._prefect.read_deployment_by_name(deployment)).id

    def _of(self, deployment_id: UUID) -> list[FlowRun]:
        of_deployment = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
        return self._ask(lambda: self._prefect.read_flow_runs(deployment_filter=of_deployment))

    def _ask(self, question: Callable[[], T]) -> T:
        """The answer to ``question``, repeated while Prefect is unreachable and may come back.
        Raises ``StackError`` if it will not.

        Prefect's client would wait for a minute by itself, without a message."""
        since = time.monotonic()
        while True:
            if self._watch:
                self._watch.check()
            try:
                with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                    return question()
            except httpx.TransportError:
                if self._watch is None and time.monotonic() - since > AWAY_SECONDS:
                    raise
            time.sleep(POLL_SECONDS)

    def _sign(self, run: FlowRun) -> Sign:
        state = self.read(run).state
        lines = self._logs(run, 1)
        processes = _processes_of(run) if self._watch else []
        return Sign(
            (state.id if state else None, lines[-1].id if lines else None), cpu_seconds(processes)
        )

    def _logs(self, run: FlowRun, limit: int) -> list[Log]:
        """The latest log lines of the run and its subflows, in order."""
        ids = [run.id, *(part.id for _, part in self.subflows(run))]
        of_runs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=ids))
        latest = self._ask(
            lambda: self._prefect.read_logs(
                log_filter=of_runs, limit=limit, sort=LogSort.TIMESTAMP_DESC
            )
        )
        return latest[::-1]

    def _await_last_lines(self, run: FlowRun) -> None:
        """Wait until the engine's last word on a run that has ended is in its log; a run whose
        process died has none.
        """
        deadline = time.monotonic() + LAST_LINES_SECONDS
        while time.monotonic() < deadline:
            latest = self._logs(run, 1)
            if latest and latest[0].message.startswith("Finished in state"):
                return
            time.sleep(POLL_SECONDS)

    def _log_lines(self, run: FlowRun, limit: int = LOG_LINES) -> list[str]:
        return [line for log in self._logs(run, limit) for line in log.message.splitlines()][
            -limit:
        ]

    def _traces(self, run: FlowRun) -> str:
        """What a person reads about a failed run. A link helps only if the servers stay up."""
        pages = (self._settings.prefect_pages, self._settings.mlflow_pages) if self._watch else ()
        lines = [line for line in self._log_lines(run) if not any(page in line for page in pages)]
        text = "".join(f"\n    {line}" for line in lines)
        log = f"\nThe last lines of its log:{text}" if lines else " It left no log."
        return (
            log
            if self._watch
            else f"{log}\nSee {self._settings.prefect_pages}/runs/flow-run/{run.id}"
        )


def _processes_of(run: FlowRun) -> list[Any]:
    """The processes on this machine that execute the run."""
    import psutil

    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id):
                processes.append(process)
        except (psutil.Error, OSError):
            continue
    return processes


@contextmanager
def schedules_paused(prefect: SyncPrefectClient, resume_after_errors: bool) -> Iterator[None]:
    """No schedule of a deployment that is there fires while the demo runs: a daily check in the
    middle of a replayed month would judge half of it.

    After an error they are resumed only if the servers stay up.
    """
    paused = [
        (d.id, schedule.id)
        for d in prefect.read_deployments()
        for schedule in d.schedules
        if schedule.active
    ]
    for deployment_id, schedule_id in paused:
        prefect.update_deployment_schedule(deployment_id, schedule_id, active=False)
    completed = False
    try:
        yield
        completed = True
    finally:
        for deployment_id, schedule_id in paused if completed or resume_after_errors else []:
            prefect.update_deployment_schedule(deployment_id, schedule_id, active=True)
