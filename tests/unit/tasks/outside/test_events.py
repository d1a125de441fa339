"""An event is with Prefect's server when ``emit`` returns, or it says that it is not."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.outside.events import emit
from tests.fakes.loopback import Handler, LoopbackServer


class EventsIn(Handler):
    """Prefect's server, as far as events go: it is busy once, and takes no WebSocket."""

    def do_GET(self) -> None:
        self.reply(404, b"no WebSocket here")

    def do_POST(self) -> None:
        self.owner.requests.append((self.path, json.loads(self.body())))
        status = self.owner.statuses.pop(0)
        self.reply(status, b"", {"Retry-After": "0"})


class Prefect(LoopbackServer):
    def __init__(self, *statuses: int) -> None:
        super().__init__(EventsIn)
        self.statuses = list(statuses)
        self.requests: list[tuple[str, list[dict[str, Any]]]] = []


@pytest.fixture
def busy() -> Iterator[Prefect]:
    with (
        Prefect(503, 204) as server,
        temporary_settings({PREFECT_API_URL: f"{server.url}/api"}),
    ):
        yield server


def test_event_is_with_the_server_when_emit_returns(busy: Prefect) -> None:
    emit("laurel.drift.detected", "flights", {"share": 0.5})
    first, second = busy.requests
    assert first == second, "the event keeps its id, by which the server knows it again"
    path, (event,) = second
    assert path == "/api/events"
    assert (event["event"], event["payload"]) == (
        "laurel.drift.detected",
        {"use_case": "flights", "share": 0.5},
    )
    assert event["resource"]["prefect.resource.id"] == "laurel.use-case.flights"


def test_event_that_the_server_refuses_is_an_error() -> None:
    with (
        Prefect(422) as server,
        temporary_settings({PREFECT_API_URL: f"{server.url}/api"}),
        pytest.raises(httpx.HTTPStatusError),
    ):
        emit("laurel.drift.detected", "flights", {})
