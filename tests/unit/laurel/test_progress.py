"""A run while it lasts, where there is no terminal."""

from uuid import uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Failed, Pending, Running, Scheduled, State

from laurel import progress
from laurel.progress import Progress, in_words


def run(state: State | None, name: str = "a run") -> FlowRun:
    return FlowRun(flow_id=uuid4(), name=name, state=state, state_type=state and state.type)


def test_each_change_of_a_subflow_is_one_line() -> None:
    lines: list[str] = []
    with Progress("retrain", live=False, say=lines.append) as shown:
        shown.look(run(Pending()), [])
        for _ in range(3):
            shown.look(run(Running()), [("ingest", run(Completed()))])
        parts = [("ingest", run(Completed())), ("drift_check", run(Failed()))]
        shown.look(run(Running()), parts)
    assert lines == ["· retrain  pending", "✓ ingest  completed", "✗ drift-check  failed"]


def test_a_run_that_nobody_takes_is_told_with_where_to_look() -> None:
    lines: list[str] = []
    with Progress("retrain", live=False, say=lines.append) as shown:
        shown._begun -= progress.WAITS_SECONDS
        shown.look(run(Scheduled()), [])
        shown.look(run(Scheduled()), [])
    assert lines == ["· retrain  scheduled", "waits for a worker: laurel logs worker"]


def test_a_run_without_a_state_is_no_error() -> None:
    assert in_words("train", run(None)) == "· train"
