"""A run of a use case's flow on the work pool, started and awaited from elsewhere, through the
Prefect API alone.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkPoolStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from deployments.apply.automations import RERUN_AFTER_SECONDS

APPLY = "Register it: python -m deployments.apply"


class RunProblem(RuntimeError):
    """The run did not start, did not end in time, or did not complete. The message says why, and
    what to do.
    """


@dataclass(frozen=True)
class Patience:
    """How long to wait: for the end, for a worker if the pool has none, for an unreachable server;
    and between two polls.

    A working run has no limit of its own: Prefect marks a silent run as crashed. ``crash_seconds``:
    a run that lost its instance is scheduled again a little later
    (``deployments/apply/automations.py``)."""

    timeout_seconds: float = math.inf
    worker_seconds: float = 300
    outage_seconds: float = 600
    crash_seconds: float = 2 * RERUN_AFTER_SECONDS
    poll_seconds: float = 5


@dataclass(frozen=True)
class RemoteRuns:
    """Runs of ``<flow>/<use case>``, as the server of ``prefect`` sees them. ``say`` gets a line
    for every step, unless ``look`` sees the run and its subflows at each poll.
    """

    prefect: SyncPrefectClient
    ui_url: str
    say: Callable[[str], None]
    look: Callable[[FlowRun, list[tuple[str, FlowRun]]], None] | None = None

    def start(
        self, flow: str, use_case: str, parameters: dict[str, Any], image: str | None = None
    ) -> FlowRun:
        """Start a run, in a container of ``image`` if given. Raises ``RunProblem`` if there is no
        deployment.

        A use case that is new in ``image`` has no deployment yet: another use case's deployment of
        the same flow starts it, since deployments of a flow differ only in the use case's name."""
        deployment = self._deployment(flow, use_case, borrow=image is not None)
        run = self.prefect.create_flow_run_from_deployment(
            deployment.id,
            parameters={**parameters, "use_case": use_case},
            job_variables={"image": image} if image else None,
            tags=["laurel", use_case],
        )
        self.say(
            f"Started {flow} of {use_case} on the work pool {deployment.work_pool_name}: "
            f"{self.page(run)}"
        )
        return run

    def wait(self, run: FlowRun, patience: Patience) -> FlowRun:
        """Return the run when it is over, however it ended.

        Raises ``RunProblem`` if it does not start or end in time, and ``httpx.HTTPError`` if the
        server stays unreachable. A run that has not started by then is cancelled, so that it does
        not start unexpectedly later."""
        started, last_answer = time.monotonic(), time.monotonic()
        lines: set[str] = set()
        crashed_at: float | None = None
        while True:
            waited = time.monotonic() - started
            try:
                run = self.prefect.read_flow_run(run.id)
                self._tell(run, waited, lines)
                if run.state is not None and run.state.is_crashed():
                    crashed_at = crashed_at or time.monotonic()
                    if (
                        time.monotonic() - crashed_at >= patience.crash_seconds
                        or waited >= patience.timeout_seconds
                    ):
                        return run
                elif run.state is not None and run.state.is_final():
                    return run
                else:
                    crashed_at = None
                self._check(run, waited, patience)
                last_answer = time.monotonic()
            except httpx.TransportError:
                if time.monotonic() - last_answer > patience.outage_seconds:
                    raise
            time.sleep(patience.poll_seconds)

    def parts(self, run: FlowRun) -> list[tuple[str, FlowRun]]:
        """The subflow runs of ``run``, in order, each with the name of its flow."""
        of_run = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        parts = sorted(
            self.prefect.read_flow_runs(flow_run_filter=of_run),
            key=lambda part: str(part.start_time),
        )
        return [(self.prefect.read_flow(part.flow_id).name, part) for part in parts]

    def cancel(self, run: FlowRun) -> None:
        """Ask for the run's end: its worker stops it, and a run that has not started never does."""
        state = self.prefect.read_flow_run(run.id).state
        if state is None or state.is_final():
            return
        started = state.is_running() or state.type == StateType.PENDING
        self.prefect.set_flow_run_state(run.id, Cancelling() if started else Cancelled())

    def page(self, run: FlowRun) -> str:
        return f"{self.ui_url}/runs/flow-run/{run.id}"

    def _deployment(self, flow: str, use_case: str, borrow: bool) -> DeploymentResponse:
        try:
            return self.prefect.read_deployment_by_name(f"{flow}/{use_case}")
        except ObjectNotFound as error:
            deployments = (
                self.prefect.read_deployments(
                    flow_filter=FlowFilter(name=FlowFilterName(any_=[flow]))
                )
                if borrow
                else []
            )
            if not deployments:
                raise RunProblem(f"There is no deployment '{flow}/{use_case}'. {APPLY}") from error
            return min(deployments, key=lambda candidate: candidate.name)

    def _tell(self, run: FlowRun, waited: float, lines: set[str]) -> None:
        parts = self.parts(run)
        if self.look is not None:
            self.look(run, parts)
            return
        for name, part in [("run", run), *parts]:
            line = f"{name}: {part.state.name if part.state else 'unknown'}"
            if line not in lines:
                lines.add(line)
                self.say(f"{waited:6.0f} s  {line}")

    def _check(self, run: FlowRun, waited: float, patience: Patience) -> None:
        state = run.state.type if run.state else None
        pool = str(run.work_pool_name)
        if waited > patience.worker_seconds and state == StateType.SCHEDULED:
            reason = self._idle(pool)
            if reason:
                self._cancel(run, reason)
                raise RunProblem(
                    f"The run was not started within {patience.worker_seconds:g} s and was "
                    f"cancelled: {reason}"
                )
        if waited > patience.timeout_seconds:
            problem = f"The run did not end within {patience.timeout_seconds:g} s"
            if state in (StateType.SCHEDULED, StateType.PENDING):
                self._cancel(run, "the caller no longer waits for it")
                raise RunProblem(
                    f"{problem}; it had not started (no machine free in the work pool {pool!r}?) "
                    "and was cancelled."
                )
            raise RunProblem(f"{problem} and continues unwatched.")

    def _idle(self, pool: str) -> str | None:
        """Why no run of the pool starts; ``None`` if it has a worker, which is then just busy."""
        status = self.prefect.read_work_pool(pool).status
        if status == WorkPoolStatus.PAUSED:
            return f"the work pool {pool!r} is paused. Resume it: prefect work-pool resume {pool}"
        if status == WorkPoolStatus.NOT_READY:
            return (
                f"no worker of the work pool {pool!r} is online. Start one: "
                f"prefect worker start --pool {pool}"
            )
        return None

    def _cancel(self, run: FlowRun, reason: str) -> None:
        self.prefect.set_flow_run_state(run.id, Cancelled(message=reason))
