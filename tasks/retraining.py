"""What stands around a retrain: one at a time for each use case, the governor's word, and what the ledger and people are told."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectAlreadyExists
from prefect.runtime import flow_run

from blocks.registry import CHAMPION
from tasks.announcements import breaker_closed, metric_name, number, retrain_ended, retrain_skipped, retrain_started
from tasks.champions import read_manifest
from tasks.governor import Refusal, breaker_of, may_retrain
from tasks.ledger import Decision, read, record, root_run
from tasks.outside import PATIENT, RESUMED, artifact_key, lake, registry, tell
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
def ask_governor(use_case: str, reason: str, by_hand: bool) -> Refusal | None:
    """Note the start in the ledger, unless the governor refuses. A person's run is not refused, and counts as any other.

    A run that was lost and goes on finds its own start, and is not asked again. What a schedule starts nobody started by hand.
    """
    policy, entries, run = load(use_case).retrain, read(lake(), use_case), root_run()
    if run is not None and any((entry.kind, entry.verdict, entry.run) == ("retrain", "started", run) for entry in entries):
        return None
    context = FlowRunContext.get()
    scheduled = bool(context and context.flow_run and context.flow_run.auto_scheduled)
    refusal = None if by_hand and not scheduled else may_retrain(policy, entries, datetime.now(UTC))
    if refusal is None:
        who = "the schedule" if scheduled else "a person" if by_hand else "the automation"
        record(Decision(use_case=use_case, kind="retrain", verdict="started", reasons=[reason], facts={"started_by": who}))
        tell(retrain_started(use_case, reason=reason))
    return refusal


@task(**RESUMED)
def skip_retrain(use_case: str, reason: str, refusal: Refusal) -> None:
    """Into the ledger and to people. ``reason`` is why a retrain was wanted."""
    until = refusal.until.isoformat(timespec="milliseconds") if refusal.until else None
    facts: dict[str, float | str | None] = {"until": until, "wanted": reason}
    record(Decision(use_case=use_case, kind="refusal", verdict=refusal.verdict, reasons=[refusal.reason], facts=facts))
    get_run_logger().info("retrain use_case=%s refused=%s until=%s: %s", use_case, refusal.verdict, until, refusal.reason)
    tell(retrain_skipped(use_case, reason=refusal.reason))


@contextmanager
def failure_recorded(use_case: str) -> Iterator[None]:
    """A run that fails says so in the ledger, and then fails. One that is killed cannot: a start without an end stays."""
    try:
        yield
    except Exception as error:
        with suppress(ConnectionError):  # what the run failed of may be that the lake is away
            record_end(use_case, "failed", f"{type(error).__name__}: {error}")
        raise


@task(**RESUMED)
def record_end(use_case: str, verdict: str, said: str, version: str | None = None) -> None:
    """What a retrain came to, in a word of ``Decision`` and a sentence; ``version`` is the one that it crowned."""
    promoted = version is not None
    record(Decision(use_case=use_case, kind="retrain", verdict=verdict, reasons=[said], version=version, promoted=promoted))
    if verdict == "nothing to do":  # every other end has been told by what led to it
        tell(retrain_ended(use_case, outcome=said))


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


@task(**PATIENT)
def close(use_case: str, by: str, why: str) -> int:
    """Close the breaker. Returns how many rejections in a row are forgiven; 0, and nothing is recorded, where it never opened."""
    policy = load(use_case).retrain
    rejections = breaker_of(policy, read(lake(), use_case), datetime.now(UTC)).rejections
    if rejections < policy.breaker_rejections:
        return 0
    facts: dict[str, float | str | None] = {"by": by, "why": why, "rejections": rejections}
    record(Decision(use_case=use_case, kind="breaker", verdict="closed", reasons=[f"closed by {by}: {why}"], facts=facts))
    tell(breaker_closed(use_case, by=by, why=why, rejections=rejections))
    return rejections
