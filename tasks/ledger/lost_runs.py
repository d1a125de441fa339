"""Runs that died silently: which they are, and what the ledger and people learn of them."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_run_logger, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Crashed

from serving.records.ledger import Decision
from serving.records.reasons import because
from tasks.ledger.entries import now, read_back, record
from tasks.ledger.governor import has_start, open_starts
from tasks.ledger.reign import end_crowning
from tasks.messages.announcements import flow_failed, run_cancelled
from tasks.outside.blocks_of_run import PATIENT, lake, run_page, tell, thread_of

SILENT = "No heartbeat"
"""The state in which the automation puts a run that stopped beating
(``deployments/apply/automations.py``).
"""
PREFECTS_HEARTBEAT = timedelta(seconds=180)
BEAT_LATE = timedelta(seconds=15)
MISSED_HEARTBEATS = 3
SETTLED_SECONDS = 20
"""A run that crashed is reported twice, and a lost instance's run is scheduled again, within this
time.
"""
LOOK_SECONDS = 1


@dataclass(frozen=True)
class Loss:
    """A run that is over, and whose end nobody has reported: ``verdict`` is the ledger's word,
    ``run`` is ``None`` if Prefect has none."""

    run_id: str
    verdict: str
    reason: str
    run: FlowRun | None = None


def find_run(run_id: str | None) -> FlowRun | Loss | None:
    """Return the flow run if it lives (or will go on), its loss if it does not, ``None`` for an id
    of no flow run.

    It lives as long as it has a state that is not final and beats. A run that an automation crashed
    for its silence is checked once more, for a heartbeat and a little longer: a server that was
    unreachable, or a machine that slept, received none. If it beats, it gets its state back. Waits
    for that, and for a crash whose final state Prefect has not set yet."""
    try:
        flow_run_id = UUID(str(run_id))
    except ValueError:
        return None
    settled = time.monotonic() + SETTLED_SECONDS  # Prefect's server has another clock
    with get_client(sync_client=True) as client:
        while True:
            try:
                run = client.read_flow_run(flow_run_id)
            except ObjectNotFound:
                return Loss(str(flow_run_id), "crashed", because("run_forgotten"))
            state = run.state
            if state is None or not state.is_final():
                return (
                    run
                    if state is None or _beats(client, run)
                    else _lost(run, "crashed", because("run_silent"))
                )
            if state.name == SILENT and _revive(client, run):
                return client.read_flow_run(flow_run_id)
            age = datetime.now(UTC) - state.timestamp
            if (
                state.is_crashed()
                and age.total_seconds() < SETTLED_SECONDS
                and time.monotonic() < settled
            ):
                time.sleep(LOOK_SECONDS)
                continue
            return _lost(
                run,
                {"CANCELLED": "cancelled", "CRASHED": "crashed"}.get(state.type.value, "failed"),
                _words(state),
            )


def _words(state: State[object]) -> str:
    name = str(state.name)
    return (
        (state.message or name)
        if state.name in ("Crashed", "Cancelled", SILENT)
        else f"{name}: {state.message or 'no message'}"
    )


def _lost(run: FlowRun, verdict: str, reason: str) -> Loss:
    return Loss(str(run.id), verdict, reason, run)


def _beats(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Return whether a run that claims to be running was heard of lately. One that waits to begin
    or to go on is not checked.

    The automation judges sooner, by the frequency that Laurel's deployments have. Here no frequency
    is known, as for a run that somebody started by hand, so that Prefect's own is the least."""
    if run.state is None or run.state.type.value not in ("RUNNING", "CANCELLING"):
        return True
    own = timedelta(seconds=get_current_settings().flows.heartbeat_frequency or 0)
    limit = (MISSED_HEARTBEATS + 1) * max(own, PREFECTS_HEARTBEAT)
    latest = max([run.state.timestamp, *_heartbeats(client, run)])
    if datetime.now(UTC) - latest < limit:
        return True
    return _beats_again(
        client, run, datetime.now(UTC) - BEAT_LATE
    )  # after an outage the next heartbeat decides


def _revive(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Give a silenced run its former state, if it only waits, or beats again."""
    assert run.state is not None
    states = sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
    former = next((state for state in reversed(states) if state.name != SILENT), None)
    if former is None or former.is_final():
        return False
    if not (former.is_paused() or _beats_again(client, run, run.state.timestamp)):
        return False
    if (now := client.read_flow_run(run.id).state) is None or now.id == run.state.id:
        back: State[object] = State(
            type=former.type,
            name=former.name,
            message=former.message,
            state_details=former.state_details,
        )
        client.set_flow_run_state(run.id, back, force=True)
    return True


def _beats_again(client: SyncPrefectClient, run: FlowRun, since: datetime) -> bool:
    """Return whether a heartbeat younger than ``since``, or a new one, comes by the time the next
    one is due.

    The run's machine may have another clock than the server, which set ``since``."""
    beats = previous = _heartbeats(client, run)
    between = beats[0] - beats[1] if len(beats) > 1 else PREFECTS_HEARTBEAT
    until = time.monotonic() + (min(between, PREFECTS_HEARTBEAT) + BEAT_LATE).total_seconds()
    while not (beats and (beats[0] > since or beats[:1] != previous[:1])):
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_SECONDS)
        beats = _heartbeats(client, run)
    return True


def _heartbeats(client: SyncPrefectClient, run: FlowRun) -> list[datetime]:
    """Return when the run beat, the latest two first."""
    heartbeats = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "any_resource": {"id": [f"prefect.flow-run.{run.id}"]},
    }
    answer = client.request(
        "POST", "/events/filter", json={"filter": {**heartbeats, "order": "DESC"}, "limit": 2}
    )
    return [datetime.fromisoformat(event["occurred"]) for event in answer.json()["events"]]


def report_loss(use_case: str, loss: Loss) -> None:
    """End the run's start in the ledger, its subflows and itself in Prefect, and tell people in its
    thread.

    Repeating it changes nothing."""
    entries = read_back(lake(), use_case, has_start)
    if any(start.run == loss.run_id for start in open_starts(entries)):
        by = run_page(loss.run_id) or "a direct call"
        record(
            Decision(
                use_case=use_case,
                time=now(),
                kind="retrain",
                verdict=loss.verdict,
                reasons=[loss.reason],
                by=by,
                run=loss.run_id,
            )
        )
    if loss.run is None:
        return
    is_over = loss.run.state is not None and loss.run.state.is_final()
    _end_in_prefect(loss, is_over)
    # A run that ended on its own reported it, and so did a crash that no automation watches.
    if is_over and (loss.verdict == "failed" or loss.run.deployment_id is None):
        return
    try:
        lake().create(f"slack/{loss.run_id}/{loss.run.run_count}.lost", loss.reason.encode())
    except FileExistsError:
        return
    page = run_page(loss.run_id)
    with get_client(sync_client=True) as client:
        flow = client.read_flow(loss.run.flow_id).name
    if loss.verdict == "cancelled":
        message = run_cancelled(use_case, flow=flow, why=loss.reason, run_url=page)
    else:
        message = flow_failed(use_case, flow=flow, error=loss.reason, run_url=page)
    tell(message, thread=thread_of(loss.run))


def _end_in_prefect(loss: Loss, is_over: bool) -> None:
    """End a dead run that takes a place in the pool, and its subflows, which died with it: nobody
    watches them."""
    run = loss.run
    assert run is not None
    inside = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
    with get_client(sync_client=True) as client:
        if not is_over:
            # Not as "Crashed": an automation would start that one again, and its place has gone to
            # another.
            client.set_flow_run_state(run.id, Crashed(name="Lost", message=loss.reason))
        for subflow in client.read_flow_runs(flow_run_filter=inside):
            if subflow.state is not None and not subflow.state.is_final():
                client.set_flow_run_state(
                    subflow.id, Crashed(message=f"Run {run.name!r} ended without it."), force=True
                )


@task(**PATIENT)
def close_run(use_case: str, run: str) -> str | None:
    """Report the loss of ``run``. Returns what became of it; ``None`` if nothing is lost: it goes
    on, or never began."""
    loss = find_run(run)
    if not isinstance(loss, Loss):
        return None
    if loss.run is not None and loss.run.start_time is None and loss.verdict == "cancelled":
        return None
    report_loss(use_case, loss)
    get_run_logger().info(
        "lost use_case=%s run=%s verdict=%s: %s", use_case, run, loss.verdict, loss.reason
    )
    return f"{loss.verdict}: {loss.reason}"


@task(**PATIENT)
def take_crown_back(use_case: str) -> None:
    """Take the crown back from an unproven champion that a killed run left in service: the next
    flow may be a day away."""
    end_crowning(use_case)
