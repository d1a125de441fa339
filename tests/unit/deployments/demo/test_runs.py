"""The demo's requests to Prefect while servers are unreachable: it reports at once which server
died, and does not wait a minute for a dead one.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import FlowRun, Log
from prefect.states import Failed
from prefect.types._datetime import now

from blocks.settings import Settings
from deployments.demo.runs import DemoFailed, Runs
from deployments.local.watch import StackWatch
from deployments.servers.errors import StackError
from deployments.supervision.supervisor import Supervisor


@pytest.fixture
def prefect() -> SyncPrefectClient:
    """A client of a server that answered a moment ago, so the client would go on asking for a
    minute.
    """
    client = SyncPrefectClient("http://127.0.0.1:9/api")
    client._client._has_connected = True  # type: ignore[attr-defined]
    return client


def test_question_to_a_stack_that_is_gone_ends_with_what_happened_and_its_log(
    tmp_path: Path, prefect: SyncPrefectClient
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "supervisord.log").write_text("received SIGTERM\n")
    with StackWatch(Supervisor(tmp_path), lambda line: None) as watch:
        runs = Runs(Settings(state=tmp_path), prefect, "flights", watch)
        with pytest.raises(
            StackError, match=r"was stopped, or its supervisord died(.|\n)*    received SIGTERM"
        ):
            runs.known_retrains()


def test_question_is_asked_again_while_a_server_is_started_again(
    tmp_path: Path, prefect: SyncPrefectClient
) -> None:
    answers = iter([httpx.ConnectError("away"), httpx.ReadTimeout("still"), "there"])

    def question() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert Runs(Settings(state=tmp_path), prefect, "flights")._ask(question) == "there"


class PrefectWithALateLog:
    """Says that a run has failed a while before the run's process has sent its last lines."""

    def __init__(self, looks: int) -> None:
        self.run = FlowRun(flow_id="00000000-0000-0000-0000-000000000001", state=Failed())
        self.looks = looks

    def read_flow_run(self, _run_id: Any) -> FlowRun:
        return self.run

    def read_flows(self) -> list[Any]:
        return []

    def read_flow_runs(self, **_filters: Any) -> list[FlowRun]:
        return []

    def read_logs(self, **_filters: Any) -> list[Log]:
        self.looks -= 1
        if self.looks > 0:
            return []
        return [Log(name="", level=40, message="Finished in state Failed('why')", timestamp=now())]


def test_failed_run_is_told_with_the_lines_that_come_after_its_end(tmp_path: Path) -> None:
    prefect = PrefectWithALateLog(looks=4)
    with pytest.raises(DemoFailed, match=r"Finished in state Failed\('why'\)"):
        Runs(Settings(state=tmp_path), prefect, "flights").wait(prefect.run, "a run")  # type: ignore[arg-type]


class PrefectWithADeployment:
    """Keeps the parameters of one deployment, as Prefect does."""

    def __init__(self) -> None:
        self.id, self.parameters = uuid4(), {"use_case": "flights"}

    def read_deployment_by_name(self, _name: str) -> Any:
        return self

    def read_deployment(self, _id: Any) -> Any:
        return self

    def update_deployment(self, _id: Any, change: DeploymentUpdate) -> None:
        assert change.model_fields_set == {"parameters"}
        self.parameters = change.parameters or {}


@pytest.mark.parametrize("error", [False, True])
def test_parameters_are_the_deployments_own_again_afterwards(tmp_path: Path, error: bool) -> None:
    prefect = PrefectWithADeployment()
    runs = Runs(Settings(state=tmp_path), prefect, "flights")  # type: ignore[arg-type]
    with suppress(KeyError), runs.parameters("retrain", rollout="canary"):
        assert prefect.parameters == {"use_case": "flights", "rollout": "canary"}
        if error:
            raise KeyError
    assert prefect.parameters == {"use_case": "flights"}
