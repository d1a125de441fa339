"""One retrain at a time for each use case."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
from prefect import task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.runtime import flow_run

from tasks.announcements import retrain_skipped
from tasks.outside import PATIENT, tell


class AlreadyRunning(RuntimeError):
    """Another retrain of the use case holds the place; the message names it."""


@contextmanager
def one_at_a_time(use_case: str) -> Iterator[None]:
    """Hold the use case's place on the Prefect server, or raise ``AlreadyRunning`` at once.

    The place is a row of the server's database, taken in one step. A run that is killed leaves it taken; whoever finds
    it so, and no retrain running, clears it. Leases would do that too, but a server that is restarted forgets them.
    """
    name, since = f"retrain-{use_case}", time.monotonic()
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):  # another run made it between the two steps of the upsert
            client.upsert_global_concurrency_limit_by_name(name, 1)
        if not _take(client, name):
            _clear(client, name, use_case)
            if not _take(client, name):
                raise AlreadyRunning(f"another retrain of {use_case!r} took the place first")
    try:
        yield
    finally:
        with get_client(sync_client=True) as client:
            client.release_concurrency_slots([name], 1, time.monotonic() - since)


def _take(client: SyncPrefectClient, name: str) -> bool:
    try:
        client.increment_concurrency_slots([name], 1, "concurrency")
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.LOCKED:
            raise
        return False
    return True


def _clear(client: SyncPrefectClient, name: str, use_case: str) -> None:
    """Make the place free that a killed run left taken. Raises ``AlreadyRunning`` where a retrain of the use case runs."""
    busy = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])
    wanted = FlowRunFilter(state=FlowRunFilterState(type=busy))
    runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])), flow_run_filter=wanted)
    others = [run for run in runs if run.parameters.get("use_case") == use_case and str(run.id) != flow_run.id]
    if others:
        names = ", ".join(f"{run.name!r} ({run.id})" for run in others)
        raise AlreadyRunning(f"another retrain of {use_case!r} is at work: run {names}")
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))


@task(**PATIENT)
def tell_skipped(use_case: str, reason: str) -> None:
    tell(retrain_skipped(use_case, reason=reason))
