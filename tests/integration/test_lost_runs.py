"""Runs that die without a word, on a real Prefect server and worker: who is crashed, who is told,
and who gets the place.

Heartbeats are told by requests, a second apart, so that the limit can be short. In the order of the
file: what falls silent does so together, and what ends by itself is asked for when it has ended.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Cancelling, Running

from blocks.lake import Lake, LakeAway
from blocks.registry import ModelRegistry
from blocks.settings import REPOSITORY, Settings
from deployments.apply import automations
from deployments.apply.command import apply_now
from deployments.servers.environment import environment
from deployments.servers.seaweedfs import BIN
from flows.runs import OPTIONS
from serving.records.ledger import Decision
from tasks.ledger.entries import add_entry, now, read
from tasks.ledger.governor import Refusal
from tasks.outside.blocks_of_run import PATIENT
from tasks.steps.retrain import ask_governor, close, record_end, skip_retrain
from tests.fakes.slack import SlackServer
from tests.fixtures.mlflow_server import mlflow_server
from tests.fixtures.prefect_database import lay_prefect_database
from tests.fixtures.processes import free_port, wait_until

pytestmark = pytest.mark.nightly("a small server of its own, and outages")

BEAT = 1
LOST_AFTER = 10
"""The least that Prefect takes."""
CANCELLING_SECONDS = 20
START = (
    "from deployments.servers import prefect_server\n"
    f"prefect_server.CANCELLING_SECONDS = {CANCELLING_SECONDS}\nprefect_server.main()"
)
CASE = "toy_retrain"


class Server:
    """Prefect's server as the product starts it, except that it waits for less than a minute until
    it ends a cancelled run.
    """

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._health, self._options = f"{settings.prefect_api_url}/health", options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", START], **self._options)
        wait_until(
            lambda: httpx.get(self._health).status_code == 200, "Prefect answers", seconds=120
        )

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)


class Stack:
    """Prefect's server with a worker, a lake in a folder, Slack, and an MLflow without models."""

    def __init__(
        self, settings: Settings, slack: SlackServer, prefect: SyncPrefectClient, server: Server
    ) -> None:
        self.settings, self.slack, self.prefect, self.server = settings, slack, prefect, server
        self.lake, self.registry = Lake.of(settings), ModelRegistry.of(settings)

    def deployment(self, name: str) -> DeploymentResponse:
        return self.prefect.read_deployment_by_name(name)

    def run(self, name: str = f"retrain/{CASE}") -> FlowRun:
        """A run of the deployment as it is while it works, and whose process nobody sees."""
        made = self.prefect.create_flow_run_from_deployment(
            self.deployment(name).id, state=Running()
        )
        return self.prefect.read_flow_run(made.id)

    def start(self, run: FlowRun) -> None:
        """What ``retrain`` notes when it begins."""
        start = Decision(
            use_case=CASE,
            time=now(),
            kind="retrain",
            verdict="started",
            reasons=["drift"],
            by="a test",
            run=str(run.id),
        )
        add_entry(self.lake, self.registry, start)

    def beat(self, run: FlowRun, *tags: str) -> None:
        """As Prefect's engine does."""
        related = [
            {
                "prefect.resource.id": f"prefect.deployment.{run.deployment_id}",
                "prefect.resource.role": "deployment",
            }
        ]
        related += [
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
            for tag in tags or run.tags
        ]
        event = {
            "occurred": datetime.now(UTC).isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
            "related": related,
            "id": str(uuid4()),
        }
        httpx.post(f"{self.settings.prefect_api_url}/events", json=[event]).raise_for_status()

    def state(self, run: FlowRun) -> str:
        state = self.prefect.read_flow_run(run.id).state
        return str(state and state.name)

    def verdicts(self, run: FlowRun) -> list[str]:
        return [entry.verdict for entry in read(self.lake, CASE) if entry.run == str(run.id)]

    def told(self, run: FlowRun) -> list[str]:
        return [
            one["text"].splitlines()[0]
            for one in self.slack.messages
            if str(run.id) in str(one["blocks"])
        ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, shared: Path | None) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("lost")
    (folder / "mlflow").mkdir()
    lay_prefect_database(folder / "prefect", shared)
    with mlflow_server(folder / "mlflow") as mlflow, SlackServer() as slack:
        settings = Settings.model_validate(
            {
                "state": folder,
                "prefect_port": free_port(),
                "mlflow_url": mlflow,
                "lake": f"file://{folder}/lake",
                "slack_token": slack.token,
                "slack_api_url": slack.url,
                "PYTHONPATH": str(REPOSITORY / "tests" / "fixtures"),
            }
        )
        whole = {
            **os.environ,
            **environment(settings),
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        }
        log = (folder / "log").open("ab")
        options: dict[str, Any] = {
            "env": whole,
            "cwd": REPOSITORY,
            "stdout": log,
            "stderr": subprocess.STDOUT,
        }
        server = Server(settings, options)
        workers = []
        try:
            server.start()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("deployments.apply.command.known", lambda: ["flights", CASE])
                patch.setattr(automations, "lost_after_seconds", lambda _: LOST_AFTER)
                apply_now(settings)
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "deployments.servers.worker", "--name", "test"],
                    **options,
                )
            )
            with (
                mock.patch.dict(os.environ, environment(settings)),
                temporary_settings({PREFECT_API_URL: settings.prefect_api_url}),
                SyncPrefectClient(settings.prefect_api_url) as prefect,
            ):
                yield Stack(settings, slack, prefect, server)
        finally:
            for process in workers:
                process.terminate()
                process.wait(60)
            server.stop()
            log.close()


@pytest.fixture(scope="module")
def cancelling(alone: Stack) -> FlowRun:
    """A run that somebody cancelled, and whose worker is gone."""
    run = alone.run()
    alone.start(run)
    alone.prefect.set_flow_run_state(run.id, Cancelling(), force=False)
    return run


@pytest.fixture(scope="module")
def foreign(alone: Stack, cancelling: FlowRun) -> FlowRun:
    """A run that is none of Laurel's, and beats once."""
    run = alone.run()
    alone.beat(run, "another-team")
    time.sleep(BEAT)
    return run


@pytest.fixture(scope="module")
def killed(alone: Stack, foreign: FlowRun) -> FlowRun:
    """A run that beat, and then no more."""
    run = alone.run()
    alone.start(run)
    alone.beat(run)
    time.sleep(BEAT)
    alone.beat(run)
    return run


@flow(name="retrain")
async def begin(use_case: str, held: threading.Barrier) -> Refusal | None:
    """The beginning of ``retrain``: it is at work until all have asked."""
    refusal = ask_governor(use_case, "asked for", True)
    await asyncio.to_thread(held.wait, 120)
    return refusal


def test_place_of_a_dead_run_goes_to_one_of_five_that_start_at_once(alone: Stack) -> None:
    dead = alone.run()
    alone.start(dead)
    alone.prefect.set_flow_run_state(dead.id, Cancelled(message="by hand"), force=True)
    held = threading.Barrier(5)

    def call() -> Refusal | None:
        return asyncio.run(begin(CASE, held))

    with ThreadPoolExecutor(5) as threads:
        answers = [
            future.result()
            for future in [threads.submit(copy_context().run, call) for _ in range(5)]
        ]
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", *["Refusal"] * 4]
    assert alone.verdicts(dead) == ["started", "cancelled"]
    starts = [
        entry
        for entry in read(alone.lake, CASE)
        if entry.verdict == "started" and entry.run != str(dead.id)
    ]
    (holder,) = {entry.run for entry in starts}
    for refusal in answers:
        if refusal is not None:
            assert refusal.reason.startswith(f"another retrain of {CASE!r} is running: run ")
            assert refusal.reason.endswith(
                f"Wait for it to end, or cancel it: laurel cancel {holder}"
            )


def test_run_that_beats_again_after_an_outage_gets_its_state_back_and_nobody_is_told(
    alone: Stack, killed: FlowRun
) -> None:
    """It falls silent together with the run that was killed."""
    run = alone.run()
    alone.start(run)
    alone.beat(run)
    wait_until(lambda: alone.state(run) == automations.SILENT, "it was not heard", seconds=60)

    def beats_and_runs() -> bool:
        alone.beat(run)
        time.sleep(BEAT)
        return alone.state(run) == "Running"

    wait_until(beats_and_runs, "it has its state back", seconds=120)
    assert (alone.verdicts(run), alone.told(run)) == (["started"], [])


def test_run_that_stops_beating_is_crashed_told_once_and_ended_in_the_ledger(
    alone: Stack, killed: FlowRun
) -> None:
    wait_until(
        lambda: alone.state(killed) == automations.SILENT, "the automation crashes it", seconds=60
    )
    wait_until(
        lambda: alone.verdicts(killed) == ["started", "crashed"],
        "the ledger has its end",
        seconds=120,
    )
    wait_until(lambda: len(alone.told(killed)) == 1, "people are told")
    assert alone.told(killed) == [f"{CASE}: flow retrain failed: No heartbeat for {LOST_AFTER} s."]


def test_run_of_somebody_else_is_left_alone_however_seldom_it_beats(
    alone: Stack, foreign: FlowRun, killed: FlowRun
) -> None:
    """It began to beat before the other, which was crashed a while ago."""
    assert alone.state(killed) == automations.SILENT
    assert alone.state(foreign) == "Running"


@pytest.mark.parametrize("step", ["record_end", "skip_retrain", "close"])
def test_event_stands_once_in_the_ledger_though_its_answer_was_lost(
    alone: Stack, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The lake writes, and the answer does not arrive: the step is tried again."""
    create, lost = Lake.create, []

    def lose_answer(lake: Lake, path: str, data: bytes) -> None:
        create(lake, path, data)
        if path.startswith("decisions/") and not lost:
            lost.append(path)
            raise LakeAway("the answer was lost")

    @flow(name=f"tries {step}")
    async def tries(use_case: str) -> Any:
        match step:
            case "record_end":
                return record_end(use_case, "kept", "it is no better")
            case "skip_retrain":
                return skip_retrain(
                    use_case, "drift", Refusal("cooldown", "too soon", datetime.now(UTC))
                )
        return close(use_case, "Kim", "mended")

    case, before = "flights", len(read(alone.lake, "flights"))
    if step == "close":
        for number in range(9):
            fields = {"challenger": str(number), "champion": "1", "by": "a test", "run": None}
            add_entry(
                alone.lake,
                alone.registry,
                Decision(
                    use_case=case,
                    time=now(),
                    kind="contest",
                    verdict="keep",
                    reasons=["planted"],
                    **fields,
                ),
            )
            before += 1
    monkeypatch.setattr(Lake, "create", lose_answer)
    asyncio.run(tries(case))
    assert lost and len(read(alone.lake, case)) == before + 1


def test_run_id_of_another_prefect_is_a_loss(alone: Stack) -> None:
    from tasks.ledger.lost_runs import Loss, find_run

    found = find_run(str(UUID(int=7)))
    assert isinstance(found, Loss) and found.verdict == "crashed"


def test_flow_runs_beat_as_often_as_the_automation_counts(alone: Stack, tmp_path: Path) -> None:
    for name in (f"retrain/{CASE}", "drift_check/flights"):
        variables = alone.deployment(name).job_variables["env"]
        assert variables["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(
            alone.settings.heartbeat_seconds
        )


def test_cancelled_run_without_a_worker_ends_and_is_told(alone: Stack, cancelling: FlowRun) -> None:
    wait_until(lambda: alone.state(cancelling) == "Cancelled", "the server ends it", seconds=120)
    wait_until(
        lambda: alone.verdicts(cancelling) == ["started", "cancelled"],
        "the ledger has its end",
        seconds=120,
    )
    wait_until(lambda: len(alone.told(cancelling)) == 1, "people are told")
    assert alone.told(cancelling) == [f"{CASE}: flow retrain was cancelled"]


def test_run_waits_for_prefect_where_its_server_is_away(alone: Stack) -> None:
    """In a step, where one ends and the next begins, and in a subflow."""

    @task(**PATIENT)
    def report(text: str) -> str:
        create_markdown_artifact(text, key="of-a-run-that-waited")
        return text

    @flow(name="a part of it")
    async def part() -> str:
        return report("part")

    def send_away() -> threading.Thread:
        alone.server.stop()
        thread = threading.Thread(target=alone.server.start)
        thread.start()
        return thread

    @flow(name="waits", **OPTIONS)
    async def waits(use_case: str) -> list[str]:
        threads, texts = [send_away()], [report("step")]
        threads[-1].join()
        threads.append(send_away())
        texts.append(await part())
        threads[-1].join()
        return texts

    assert asyncio.run(waits("toy")) == ["step", "part"]
