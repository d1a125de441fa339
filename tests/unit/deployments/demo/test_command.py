"""How the demo begins, and how it ends if it cannot begin."""

import threading
from collections.abc import Iterator
from typing import Any

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

    def ask(settings: Settings, use_cases: list[str]) -> None:
        started.set()
        over.wait(60)

    monkeypatch.setattr(command, "apply_now", ask)
    yield started
    over.set()


def start_at_once(settings: Settings, on_ready: Any, say: Any) -> Settings:
    for name in ("prefect", "mlflow"):
        on_ready(name, 1.0)
    return settings


def test_failed_start_is_told_though_deployments_are_still_being_applied(
    asking: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_fail(settings, on_ready, say):
        on_ready("mlflow", 1.0)
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
            command.start_stack(Settings(), stages, "flights")
        ended.set()

    threading.Thread(target=start, daemon=True).start()
    assert ended.wait(30), "the start waited for the client"


def test_deployment_that_cannot_be_applied_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: Settings, use_cases: list[str]) -> None:
        raise ConnectionError("Prefect is away")

    monkeypatch.setattr(command, "apply_now", refuse)
    monkeypatch.setattr(stack, "up", start_at_once)
    with (
        pytest.raises(ConnectionError, match="Prefect is away"),
        Stages(Console(quiet=True)) as stages,
    ):
        command.start_stack(Settings(), stages, "flights")


def test_story_waits_for_its_own_deployments_and_not_for_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    applied: list[list[str]] = []
    played = threading.Event()

    def apply(settings: Settings, use_cases: list[str]) -> None:
        if "flights" not in use_cases:
            assert played.wait(30)
        applied.append(use_cases)

    monkeypatch.setattr(command, "apply_now", apply)
    monkeypatch.setattr(stack, "up", start_at_once)
    with Stages(Console(quiet=True)) as stages:
        _, others = command.start_stack(Settings(), stages, "flights")
    assert applied == [["flights"]] and not others.done()
    played.set()
    others.result(30)
    assert "flights" not in applied[1] and "diabetes" in applied[1]
