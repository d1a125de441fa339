"""One retrain at a time for each use case."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
from prefect import task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.concurrency.sync import concurrency
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from tasks.announcements import retrain_skipped
from tasks.outside import PATIENT, tell

LEASE_SECONDS = 60


class AlreadyRunning(RuntimeError):
    """Another retrain of the use case holds the place; the message names it."""


@contextmanager
def one_at_a_time(use_case: str) -> Iterator[None]:
    """Hold the use case's place on the Prefect server, or raise ``AlreadyRunning`` at once.

    The place is leased and renewed: where its holder is killed, it is free again after ``LEASE_SECONDS``.
    """
    name = f"retrain-{use_case}"
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
    with ExitStack() as place:
        try:
            place.enter_context(concurrency(name, max_retries=0, lease_duration=LEASE_SECONDS, strict=True))
        except PrefectException as error:
            refused = error.__cause__
            if isinstance(refused, httpx.HTTPStatusError) and refused.response.status_code == httpx.codes.LOCKED:
                raise AlreadyRunning(f"another retrain of {use_case!r} holds the place: {_others(use_case)}") from error
            raise
        yield


def _others(use_case: str) -> str:
    """Names of the other running retrains of the use case."""
    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])), flow_run_filter=running)
    names = [run.name for run in runs if run.parameters.get("use_case") == use_case and str(run.id) != flow_run.id]
    return ", ".join(f"run {name!r}" for name in names) or f"a run that was killed; it is free again after {LEASE_SECONDS} s"


@task(**PATIENT)
def tell_skipped(use_case: str, reason: str) -> None:
    tell(retrain_skipped(use_case, reason=reason))
