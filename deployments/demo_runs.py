"""Runs of the demo's deployments on the work pool: started, waited for, and found where the automation started them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun

from blocks.settings import Settings
from deployments.demo_story import USE_CASE


class DemoFailed(RuntimeError):
    """The loop did not do what it should; the message says which step, and where to look."""


class Runs:
    """The runs of ``<flow>/flights``, by the name of the flow."""

    def __init__(self, settings: Settings, prefect: SyncPrefectClient) -> None:
        self._settings, self._prefect = settings, prefect

    def start(self, name: str, **parameters: Any) -> FlowRun:
        """Start a run of ``<flow>/flights`` on the work pool."""
        return self._prefect.create_flow_run_from_deployment(self._deployment_id(name), parameters=parameters)

    def wait(self, run: FlowRun, name: str, timeout_seconds: float = 600) -> FlowRun:
        """Wait for the run to end. Raises ``DemoFailed`` where it does not complete, with the address of its page."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            run = self._prefect.read_flow_run(run.id)
            if run.state and run.state.is_final():
                if not run.state.is_completed():
                    raise DemoFailed(f"{name} ended as {run.state.name}: {run.state.message} See {self._page(run)}")
                return run
            time.sleep(0.25)
        raise DemoFailed(f"{name} did not end within {timeout_seconds:g} s. See {self._page(run)}")

    def subflows(self, run: FlowRun) -> list[tuple[str, FlowRun]]:
        """The runs inside of ``run``, in order, each with the name of its flow."""
        inside = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        names = {flow.id: flow.name for flow in self._prefect.read_flows()}
        parts = sorted(self._prefect.read_flow_runs(flow_run_filter=inside), key=lambda one: str(one.start_time))
        return [(names[part.flow_id], part) for part in parts]

    def known_retrains(self) -> set[Any]:
        """The ids of every retrain so far."""
        return {run.id for run in self._of(self._deployment_id("retrain"))}

    def await_automatic_retrain(self, known: set[Any], timeout_seconds: float = 120) -> FlowRun | None:
        """The retrain that the automation starts; None where none comes. ``known`` are the runs before the event."""
        deployment_id = self._deployment_id("retrain")
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for run in self._of(deployment_id):
                if run.id not in known:
                    return run
            time.sleep(0.25)
        return None

    def _deployment_id(self, name: str) -> Any:
        return self._prefect.read_deployment_by_name(f"{name}/{USE_CASE}").id

    def _of(self, deployment_id: Any) -> list[FlowRun]:
        return self._prefect.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])))

    def _page(self, run: FlowRun) -> str:
        return f"{self._settings.prefect_pages}/runs/flow-run/{run.id}"


@contextmanager
def schedules_paused(prefect: SyncPrefectClient) -> Iterator[None]:
    """No schedule fires while the demo plays: a daily check in the middle of a replayed month would judge half of it."""
    paused = [(d.id, schedule.id) for d in prefect.read_deployments() for schedule in d.schedules if schedule.active]
    for deployment_id, schedule_id in paused:
        prefect.update_deployment_schedule(deployment_id, schedule_id, active=False)
    try:
        yield
    finally:
        for deployment_id, schedule_id in paused:
            prefect.update_deployment_schedule(deployment_id, schedule_id, active=True)
