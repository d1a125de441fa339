"""One retrain at a time for each use case."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.runtime import flow_run

from blocks.registry import CHAMPION
from tasks.announcements import metric_name, number, retrain_skipped
from tasks.champions import read_manifest
from tasks.outside import RESUMED, artifact_key, registry, tell
from usecases.definition import load


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


@task(**RESUMED)
def report_retrain(use_case: str, reason: str, outcome: str | None) -> None:
    """What a retrain came to, on one card: why it ran, how it ended, and who is champion now."""
    store, case = registry(), load(use_case)
    lines = [f"# {case.title}", f"**Why:** {reason}", f"**Outcome:** {outcome}"]
    champion = store.at(use_case, CHAMPION)
    if champion is None:
        lines.append("**Champion now:** none")
    else:
        manifest = read_manifest(store, champion)
        scores = ", ".join(f"{metric_name(name)} {number(value)}" for name, value in manifest.metrics.items())
        page = store.version_url(champion)
        lines.append(f"**Champion now:** [version {champion.number}]({page}), {manifest.recipe} through {manifest.trained_through}")
        lines.append(f"**Its recipe on the hold-out:** {scores}")
    create_markdown_artifact("\n\n".join(lines), key=artifact_key(use_case, "retrain"), description=outcome)
    get_run_logger().info("retrain use_case=%s reason=%r: %s", use_case, reason, outcome)


@task(**RESUMED)
def tell_skipped(use_case: str, reason: str) -> None:
    tell(retrain_skipped(use_case, reason=reason))
