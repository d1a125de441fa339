"""How the demo begins, and how it ends if it cannot begin."""

import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

from blocks.settings import Settings
from deployments.demo import command
from deployments.demo.stages import Stages
from deployments.local import stack


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Deployments are applied by a client that goes on asking until the test is over; set once it
    has begun.
    """
    started, over = threading.Event(), threading.Event()

    def ask(settings: Settings) -> None:
        started.set()
        over.wait(60)

    monkeypatch.setattr(command, "apply_now", ask)
    yield started
    over.set()


def test_failed_start_is_told_though_deployments_are_still_being_applied(
    asking: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_fail(settings, on_ready, say):
        on_ready("prefect", 1.0)
        assert asking.wait(10)
        raise stack.StackError("mlflow died; everything was stopped.")

    monkeypatch.setattr(stack, "up", start_and_fail)
    ended = threading.Event()

    def start() -> None:
        with (
            pytest.raises(stack.StackError, match="mlflow died"),
            Stages(Console(quiet=True)) as stages,
        ):
            command.start_stack(Settings(), stages)
        ended.set()

    threading.Thread(target=start, daemon=True).start()
    assert ended.wait(30), "the start waited for the client"


def test_deployment_that_cannot_be_applied_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: Settings) -> None:
        raise ConnectionError("Prefect is away")

    monkeypatch.setattr(command, "apply_now", refuse)
    monkeypatch.setattr(
        stack, "up", lambda settings, on_ready, say: (on_ready("prefect", 1.0), settings)[1]
    )
    with (
        pytest.raises(ConnectionError, match="Prefect is away"),
        Stages(Console(quiet=True)) as stages,
    ):
        command.start_stack(Settings(), stages)
