"""Whose server is away, and that Prefect's is waited for: a client that never reached it does not
wait by itself.
"""

import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed

from tasks.outside.blocks_of_run import _is_outage
from tests.fakes.loopback import Handler, LoopbackServer
from tests.fixtures.processes import free_port


class Healthy(Handler):
    """Prefect's server, as far as its health goes."""

    def do_GET(self) -> None:
        self.reply(200, b"true", {"Content-Type": "application/json"})


@pytest.fixture
def port() -> Iterator[int]:
    """Where Prefect's server is to be, and is not."""
    port = free_port()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        yield port


def failed(error: Exception) -> State:
    return Failed(data=error)


def refused_by_prefect() -> Exception:
    with get_client(sync_client=True) as client, pytest.raises(httpx.ConnectError) as refused:
        client.request("GET", "/flow_runs/count")
    return refused.value


def test_prefects_server_is_waited_for_and_then_the_step_is_tried_again(port: int) -> None:
    error = refused_by_prefect()

    def come_back() -> None:
        time.sleep(1)
        server = LoopbackServer(Healthy, port)
        servers.append(server.__enter__())

    servers: list[LoopbackServer] = []
    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        assert _is_outage(None, None, failed(error))
        assert servers, "it was not waited for"
    finally:
        thread.join()
        servers[0].__exit__()


def test_somebody_elses_server_is_no_outage_of_prefect(port: int) -> None:
    with pytest.raises(httpx.ConnectError) as refused:
        httpx.get(f"http://127.0.0.1:{free_port()}/")
    assert not _is_outage(None, None, failed(refused.value))


def test_an_answer_of_prefect_is_no_outage(port: int) -> None:
    request = httpx.Request("GET", f"http://127.0.0.1:{port}/api/flow_runs")
    error = httpx.HTTPStatusError(
        "422", request=request, response=httpx.Response(422, request=request)
    )
    assert not _is_outage(None, None, failed(error))
