"""The runs of the deployment ``approve`` behind a question, on Prefect's server: one waits for the
answer, others end the wait.

They are rows of the server's database, and no process stays alive for them: the first is suspended,
the others are scheduled for the time limit, when they answer the first with no. A restart of server
or worker loses none that has not begun. One that begins while the server restarts crashes, so a
second one follows."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Scheduled, State

from tasks.outside.blocks_of_run import NotRegistered

BEGINS_WITHIN_SECONDS = 30
NOT_NEEDED = "Not needed: "
"""By this the automation that tells of lost runs knows that nothing is lost
(``deployments/apply/automations.py``).
"""
SECOND_TRY = timedelta(minutes=15)


def open_runs(use_case: str, version: str, asked_by: str, until: datetime) -> tuple[str, list[str]]:
    """Create the waiting run and those of the time limit, and return their ids. The same run always
    gets the same ones.

    All are scheduled for ``until`` or later; ``begin`` starts the first."""
    parameters = {"use_case": use_case, "version": version, "asked_by": asked_by}
    key = f"approve {asked_by} {version}"
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(f"approve/{use_case}").id
        except ObjectNotFound as error:
            raise NotRegistered(
                f"Prefect has no deployment 'approve/{use_case}'. Register it: python -m "
                "deployments.apply"
            ) from error

        def create(key: str, name: str, at: datetime, **more: str) -> str:
            later: State[Any] = Scheduled(scheduled_time=at)
            flow_run = client.create_flow_run_from_deployment(
                deployment,
                parameters={**parameters, **more},
                state=later,
                idempotency_key=key,
                name=name,
            )
            return str(flow_run.id)

        name = f"{use_case} version {version}"
        waiting = create(key, name, until)
        limits = {"time limit": until, "time limit again": until + SECOND_TRY}
        return waiting, [
            create(f"{key} {limit}", f"{name}, {limit}", at, time_limit_of=waiting)
            for limit, at in limits.items()
        ]


def begin(run: str) -> None:
    """Let the waiting run start now, if it has not started yet."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(run))
        if flow_run.state is not None and flow_run.state.is_scheduled() and flow_run.run_count == 0:
            client.set_flow_run_state(flow_run.id, Scheduled())


def call_off(run: str, why: str) -> None:
    """Cancel a run that has not started."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(run))
        if flow_run.state is not None and flow_run.state.is_scheduled():
            client.set_flow_run_state(
                flow_run.id, Cancelled(message=f"{NOT_NEEDED}{why}"), force=True
            )


def say_no(run: str, by: str, why: str) -> str | None:
    """Answer the waiting run with no. ``None``: it took the answer; otherwise the name of its state
    instead.

    A run that has begun and does not wait yet is waited for."""
    start = time.monotonic()
    with get_client(sync_client=True) as client:
        while True:
            answer = client.resume_flow_run(
                UUID(run), run_input={"approved": False, "by": by, "why": why}
            )
            if answer.status == SetStateStatus.ACCEPT:
                return None
            state = _state(client, run)
            if (
                not (state.is_running() or state.is_pending() or state.is_paused())
                or time.monotonic() - start > BEGINS_WITHIN_SECONDS
            ):
                return str(state.name)
            time.sleep(0.5)


def answered_at(run: str) -> datetime:
    """Return when the answer was taken, by the clock of Prefect's server; now for a run that did
    not wait."""
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(run))
    resumed = [state.timestamp for state in states if state.name == "Resuming"]
    return max(resumed, default=datetime.now(UTC))


def ended_as(run: str) -> str | None:
    """Return the name of the run's last state; ``None`` while it is not over, or not begun."""
    with get_client(sync_client=True) as client:
        state = _state(client, run)
    return str(state.name) if state.is_final() else None


def _state(client: SyncPrefectClient, run: str) -> State[Any]:
    state = client.read_flow_run(UUID(run)).state
    if state is None:
        raise LookupError(f"Prefect knows no state of the run {run}.")
    return state
