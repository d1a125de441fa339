"""Runs that died: what Prefect, the ledger and people learn of them. A small fake stands in for
Prefect's client."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from blocks.lake import Lake
from blocks.message import Message
from serving.records.ledger import Decision
from tasks.ledger import lost_runs
from tasks.ledger.entries import now, read, record
from tasks.ledger.lost_runs import SILENT, Loss, find_run, report_loss
from tests.unit.tasks.ledger.test_reign import Registry

CASE = "toy"
HOUR = timedelta(hours=1)


class Prefect:
    """A server with one flow run, and the times of its heartbeats: each query adds one."""

    def __init__(self) -> None:
        self.states: list[State[Any]] = []
        self.beats: list[datetime] = []
        self.to_come: list[datetime] = []
        self.run = FlowRun(
            id=uuid4(),
            flow_id=uuid4(),
            name="brisk-finch",
            deployment_id=uuid4(),
            start_time=datetime.now(UTC),
        )

    def become(self, kind: str, name: str, at: datetime, message: str = "") -> FlowRun:
        self.states.append(State(type=StateType[kind], name=name, timestamp=at, message=message))
        self.run = self.run.model_copy(update={"state": self.states[-1]})
        return self.run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read_flow_run(self, run: UUID) -> FlowRun:
        return self.run

    def read_flow_run_states(self, run: UUID) -> list[State[Any]]:
        return self.states

    def read_flow_runs(self, **_: object) -> list[FlowRun]:
        return []

    def read_flow(self, flow: UUID) -> SimpleNamespace:
        return SimpleNamespace(name="retrain")

    def set_flow_run_state(self, run: UUID, state: State[Any], force: bool = False) -> None:
        self.become(state.type.name, str(state.name), datetime.now(UTC), str(state.message))

    def request(self, method: str, path: str, json: object) -> SimpleNamespace:
        if self.to_come:
            self.beats.append(self.to_come.pop(0))
        events = [{"occurred": beat.isoformat()} for beat in reversed(self.beats[-2:])]
        return SimpleNamespace(json=lambda: {"events": events})


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Prefect:
    server = Prefect()
    monkeypatch.setattr(lost_runs, "get_client", lambda **_: server)
    monkeypatch.setattr(lost_runs, "LOOK_SECONDS", 0.01)
    return server


@pytest.fixture
def messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts that people get; the ledger is in ``tmp_path``."""
    texts: list[str] = []
    models = Registry()
    for module in ("tasks.ledger.lost_runs", "tasks.ledger.entries"):
        monkeypatch.setattr(f"{module}.lake", lambda: Lake(url=f"file://{tmp_path}"))
    monkeypatch.setattr("tasks.ledger.entries.registry", lambda: models)
    monkeypatch.setattr(lost_runs, "run_page", lambda run: None)

    def tell(message: Message, thread: str | None = None) -> None:
        texts.append(message.headline)

    monkeypatch.setattr(lost_runs, "tell", tell)
    yield texts


def start(run: FlowRun) -> None:
    """The entry of ``retrain`` when it begins, as its ``run_count``-th try."""
    reasons = [f"try {run.run_count}"]
    record(
        Decision(
            use_case=CASE,
            time=now(),
            kind="retrain",
            verdict="started",
            reasons=reasons,
            by="a test",
            run=str(run.id),
        ),
    )


def verdicts(folder: Path) -> list[str]:
    return [entry.verdict for entry in read(Lake(url=f"file://{folder}"), CASE)]


def found_loss(run: FlowRun) -> Loss:
    found_run = find_run(str(run.id))
    assert isinstance(found_run, Loss)
    return found_run


def test_crash_is_settled_soon_though_the_server_s_clock_is_an_hour_ahead(
    prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_runs, "SETTLED_SECONDS", 0.05)
    run = prefect.become("CRASHED", "Crashed", datetime.now(UTC) + HOUR, "killed")
    assert (found_loss(run).verdict, found_loss(run).reason) == ("crashed", "killed")


def test_silenced_run_that_beats_by_a_clock_of_an_hour_ago_gets_its_state_back(
    prefect: Prefect,
) -> None:
    now = datetime.now(UTC)
    prefect.become("RUNNING", "Running", now - HOUR / 2)
    run = prefect.become("CRASHED", SILENT, now)
    prefect.beats = [now - HOUR - timedelta(seconds=120), now - HOUR - timedelta(seconds=90)]
    prefect.to_come = [prefect.beats[-1], now - HOUR]
    found_run = find_run(str(run.id))
    assert (
        isinstance(found_run, FlowRun)
        and found_run.state is not None
        and found_run.state.name == "Running"
    )


def test_run_that_is_found_dead_ends_in_prefect_and_frees_its_place_in_the_pool(
    prefect: Prefect, messages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_runs, "PREFECTS_HEARTBEAT", timedelta(0))
    monkeypatch.setattr(lost_runs, "BEAT_LATE", timedelta(seconds=0.05))
    run = prefect.become("RUNNING", "Running", datetime.now(UTC) - HOUR)
    start(run)
    report_loss(CASE, found_loss(run))
    assert [(state.type.name, state.name) for state in prefect.states] == [
        ("RUNNING", "Running"),
        ("CRASHED", "Lost"),
    ]
    assert verdicts(tmp_path) == ["started", "crashed"] and len(messages) == 1


def test_run_that_failed_while_the_lake_was_away_has_told_it_and_is_not_told_again(
    prefect: Prefect, messages: list[str], tmp_path: Path
) -> None:
    run = prefect.become("FAILED", "Failed", datetime.now(UTC), "LakeAway")
    start(run)
    report_loss(CASE, found_loss(run))
    assert verdicts(tmp_path) == ["started", "failed"] and messages == []


def test_run_that_crashes_twice_alike_ends_twice(
    prefect: Prefect, messages: list[str], tmp_path: Path
) -> None:
    """Somebody started it again in between. Without its second end it would hold its place for
    ever."""
    for count in (1, 2):
        prefect.run = prefect.run.model_copy(update={"run_count": count})
        run = prefect.become("CRASHED", "Crashed", datetime.now(UTC) - HOUR, "killed")
        start(run)
        report_loss(CASE, found_loss(run))
        report_loss(CASE, found_loss(run))
    assert verdicts(tmp_path) == ["started", "crashed"] * 2 and len(messages) == 2
