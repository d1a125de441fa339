"""Waiting for the model service: as long as it works on the new champion, even on a slow
machine.
"""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from blocks.service import ModelService, ServiceAway


class Service(ThreadingHTTPServer):
    """A service that answers with each of ``descriptions`` for its seconds, and with the last one
    for ever.
    """

    descriptions: list[tuple[float, dict[str, Any]]]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.begun = time.monotonic()

    @property
    def now(self) -> dict[str, Any]:
        end = self.begun
        for seconds, answer in self.descriptions:
            end += seconds
            if time.monotonic() < end:
                return answer
        return self.descriptions[-1][1]


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        body = json.dumps(self.server.now).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def description(serves: str, alias: str, last_error: str | None = None) -> dict[str, Any]:
    return {"version": serves, "alias": {"version": alias}, "last_error": last_error}


def wait(service: Service, seconds: float) -> float:
    return ModelService(url=f"http://127.0.0.1:{service.server_port}").wait_until_serves(
        "toy", "2", seconds
    )


def test_service_that_is_at_work_on_the_version_is_waited_for_beyond_the_limit(
    service: Service,
) -> None:
    service.descriptions = [(3.0, description("1", "2")), (0.0, description("2", "2"))]
    assert wait(service, 1.0) >= 2.0


def test_each_change_in_what_it_says_begins_the_time_anew(service: Service) -> None:
    errors = [description("1", "1", f"MLflow is away, try {number}") for number in range(4)]
    service.descriptions = [*((1.0, error) for error in errors), (0.0, description("2", "2"))]
    assert wait(service, 2.5) >= 3.0


def test_service_that_refuses_the_version_is_not_waited_for_beyond_the_limit(
    service: Service,
) -> None:
    service.descriptions = [(0.0, description("1", "2", "Version 2 is refused: no smoke rows"))]
    with pytest.raises(
        ServiceAway,
        match="does not serve toy version 2 .* last error: Version 2 is refused: no smoke rows",
    ):
        wait(service, 0.5)
