"""The demo's requests to Prefect while servers are unreachable: it reports at once which server
died, and does not wait a minute for a dead one.
"""

from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient

from blocks.settings import Settings
from deployments.demo.runs import Runs
from deployments.local.watch import StackWatch
from deployments.servers.errors import StackError
from deployments.supervision.supervisor import Supervisor


@pytest.fixture
def prefect() -> SyncPrefectClient:
    """A client of a server that answered a moment ago, so the client would go on asking for a
    minute.
    """
    client = SyncPrefectClient("http://127.0.0.1:9/api")
    client._client._has_connected = True
    return client


def test_question_to_a_stack_that_is_gone_ends_with_what_happened_and_its_log(
    tmp_path: Path, prefect: SyncPrefectClient
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "supervisord.log").write_text("received SIGTERM\n")
    with StackWatch(Supervisor(tmp_path), lambda line: None) as watch:
        runs = Runs(Settings(state=tmp_path), prefect, watch)
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

    assert Runs(Settings(state=tmp_path), prefect)._ask(question) == "there"
