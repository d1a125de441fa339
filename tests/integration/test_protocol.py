"""The hot path over real sockets: what HTTP allows a caller to do, and what a caller may not do to
others.
"""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.packages import expected_score
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.toy_services import toy_service

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}
BODY = json.dumps({"rows": [ROW]}).encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    limits = {
        "serving_request_seconds": 2,
        "serving_idle_seconds": 3,
        "serving_connections": 20,
        "serving_max_body_megabytes": 1,
    }
    with toy_service(tmp_path_factory.mktemp("protocol"), **limits) as service:
        yield service


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service that lets nobody go while others connect, however long that takes on a busy
    machine.
    """
    with toy_service(tmp_path, serving_connections=20, serving_idle_seconds=250) as service:
        yield service


class Caller:
    """A connection that says exactly what it is told to say."""

    def __init__(self, service: ServiceProcess) -> None:
        self.socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of the next answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        body = self.file.read(int(headers["content-length"]))
        return status, headers, json.loads(body)

    def closed(self) -> bool:
        """Waits for it, as long as the socket's timeout lets it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def request(
    body: bytes = BODY, *headers: str, path: str = "/v1/toy/predict", version: str = "1.1"
) -> bytes:
    lines = [
        f"POST {path} HTTP/{version}",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def score(answer: Any) -> float:
    return answer["predictions"][0]["score"]


def test_hot_path_and_fastapi_give_the_same_answers(service: ServiceProcess) -> None:
    bodies = [
        BODY,
        b"{",
        b"",
        b'{"rows": []}',
        b'{"rows": [{}]}',
        b'{"rows": [{"distance": NaN}]}',
        b'{"rows": [{"distance": 1e9}]}',
        b"\xff",
    ]
    for body in bodies:
        hot = service.client.post(
            "/v1/toy/predict", content=body, headers={"content-type": "application/json"}
        )
        slow = service.client.post(
            "/v1/toy/predict?log=true", content=body, headers={"content-type": "application/json"}
        )
        assert hot.status_code == slow.status_code, body
        said = [answer.json() for answer in (hot, slow)]
        for one in said:
            for prediction in one.get("predictions", []):
                del prediction["id"]
        assert said[0] == said[1], body
        apart = {"date", "x-request-id", "content-length"}
        assert {k: v for k, v in hot.headers.items() if k not in apart} == {
            k: v for k, v in slow.headers.items() if k not in apart
        }


def test_pipelined_requests_are_answered_in_their_order(service: ServiceProcess) -> None:
    rows = [{**ROW, "distance": float(number)} for number in range(30)]
    with Caller(service) as caller:
        hot = [
            request(json.dumps({"rows": [row]}).encode(), f"X-Request-Id: {place}")
            for place, row in enumerate(rows)
        ]
        slow = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: health\r\n\r\n"
        large = request(json.dumps({"rows": [ROW] * 2000}).encode(), "X-Request-Id: large")
        caller.send(b"".join([*hot[:10], slow, *hot[10:20], large, *hot[20:]]))
        answers = [caller.receive() for _ in range(32)]
    assert [headers["x-request-id"] for _, headers, _ in answers] == [
        *map(str, range(10)),
        "health",
        *map(str, range(10, 20)),
        "large",
        *map(str, range(20, 30)),
    ]
    assert {status for status, _, _ in answers} == {200}
    scores = [score(said) for _, headers, said in answers if headers["x-request-id"].isdigit()]
    assert scores == pytest.approx([expected_score(row, bias=1.0) for row in rows], rel=1e-5)


@pytest.mark.parametrize("cut", [1, 30, 100, 170])
def test_a_request_that_comes_in_pieces_is_answered(service: ServiceProcess, cut: int) -> None:
    whole = request()
    with Caller(service) as caller:
        for start in range(0, len(whole), cut):
            caller.send(whole[start : start + cut])
            time.sleep(0.002)
        assert caller.receive()[0] == 200


def test_old_callers_chunks_and_expectations_take_the_other_way(service: ServiceProcess) -> None:
    chunked = (
        b"POST /v1/toy/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/json\r\n\r\n"
    )
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    with Caller(service) as caller:
        caller.send(chunked)
        assert caller.receive()[0] == 200
        caller.send(request(BODY, "Expect: 100-continue"))
        assert (
            caller.file.readline() == b"HTTP/1.1 100 Continue\r\n"
            and caller.file.readline() == b"\r\n"
        )
        assert caller.receive()[0] == 200
    with Caller(service) as caller:
        caller.send(request(version="1.0"))
        assert caller.receive()[0] == 200
        assert caller.closed()


def test_a_caller_that_wants_the_connection_closed_gets_it_closed(service: ServiceProcess) -> None:
    with Caller(service) as caller:
        caller.send(request(BODY, "Connection: close"))
        status, headers, _ = caller.receive()
        assert (status, headers["connection"]) == (200, "close")
        assert caller.closed()


def test_what_is_no_http_is_refused_and_the_connection_closed(service: ServiceProcess) -> None:
    with Caller(service) as caller:
        caller.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS, or so\r\n\r\n")
        assert caller.file.readline().startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/toy/predict HTTP/1.1\r\nHost: loc",
        request()[:-10],
        request(path="/v1/toy/feedback")[:-10],
    ],
)
def test_a_request_that_does_not_come_to_its_end_is_let_go(
    service: ServiceProcess, sent: bytes
) -> None:
    with Caller(service) as caller:
        caller.send(sent)
        status, headers, said = caller.receive()
        assert (status, headers["connection"], said["error"]["code"]) == (408, "close", "too_slow")
        assert caller.closed()


def test_a_connection_without_requests_is_closed_and_one_that_asks_now_and_then_is_not(
    service: ServiceProcess,
) -> None:
    with Caller(service) as idle, Caller(service) as busy:
        busy.send(request())
        assert busy.receive()[0] == 200
        idle.socket.settimeout(0.2)
        while not idle.closed():
            busy.send(request())
            assert busy.receive()[0] == 200
        busy.send(request())
        assert busy.receive()[0] == 200


def test_a_caller_that_does_not_read_its_answers_is_let_go_and_holds_up_nobody(
    service: ServiceProcess,
) -> None:
    with Caller(service) as caller:
        caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.socket.settimeout(0.5)
        large = request(json.dumps({"rows": [ROW] * 5000}).encode())
        with pytest.raises((TimeoutError, ConnectionError)):
            for _ in range(200):
                caller.send(large)
        assert service.client.post("/v1/toy/predict", json={"rows": [ROW]}).status_code == 200
        wait_until(lambda: connections(service) <= 2, "the caller is let go")


def test_more_connections_than_the_limit_are_told_to_come_back(patient: ServiceProcess) -> None:
    callers = [Caller(patient) for _ in range(19)]
    try:
        with Caller(patient) as last:
            status, headers, said = last.receive()
            assert (status, said["error"]["code"], int(headers["retry-after"]) > 0) == (
                503,
                "overloaded",
                True,
            )
            assert last.closed()
    finally:
        for caller in callers:
            caller.__exit__()
    wait_until(
        lambda: patient.client.post("/v1/toy/predict", json={"rows": [ROW]}).status_code == 200,
        "there is room again",
    )


def test_a_body_over_the_limit_is_refused_whether_it_is_announced_or_not(
    service: ServiceProcess,
) -> None:
    large = b" " * (2**20 + 1)
    pieces = (large[start : start + 65536] for start in range(0, len(large), 65536))
    for content in (large, pieces):
        answer = service.client.post(
            "/v1/toy/predict", content=content, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_a_caller_that_leaves_before_its_answer_does_no_harm(service: ServiceProcess) -> None:
    large = request(json.dumps({"rows": [ROW] * 9000}).encode())
    for _ in range(20):
        with Caller(service) as caller:
            caller.send(large)
    wait_until(lambda: connections(service) <= 2, "they are gone")
    assert service.client.post("/v1/toy/predict", json={"rows": [ROW] * 9000}).status_code == 200, (
        "their share of memory is given back"
    )
    assert "Traceback" not in service.output.read_text()


def connections(service: ServiceProcess) -> float:
    text = httpx.get(f"{service.client.base_url}/metrics", trust_env=False).text
    return float(
        next(
            line.split()[-1] for line in text.splitlines() if line.startswith("laurel_connections ")
        )
    )
