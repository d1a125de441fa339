"""Where a request begins and ends: what is a body for its caller is never a request here, whatever
the parser treats as special.
"""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.fixtures.processes import REPOSITORY, ServiceProcess
from tests.fixtures.raw_http import Answer, exchange, read_answers
from tests.fixtures.toy_services import toy_service

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}
BODY = json.dumps({"rows": [ROW]}).encode()
FEEDBACK = json.dumps({"feedback": [{"id": "1", "label": 1}]}).encode()
HIDDEN = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
)
WEBSOCKET = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
)
UPGRADES = {
    "h2c": H2C,
    "websocket": WEBSOCKET,
    "anything": ("Upgrade: x/1, TLS/1.0", "connection: UPGRADE"),
    "two lines": ("Connection: keep-alive", "Connection: upgrade", "Upgrade: h2c"),
}
# The hot path, and two ways through ASGI.
PATHS = {"/v1/toy/predict": BODY, "/v1/toy/predict?log=false": BODY, "/v1/toy/feedback": FEEDBACK}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with toy_service(tmp_path_factory.mktemp("framing"), serving_request_seconds=3) as service:
        yield service


def post(path: str, body: bytes, *lines: str, version: str = "1.1") -> bytes:
    """A request whose body is framed by ``lines`` alone."""
    head = [
        f"POST {path} HTTP/{version}",
        "Host: localhost",
        "Content-Type: application/json",
        *lines,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def sized(path: str, body: bytes, *lines: str) -> bytes:
    return post(path, body, f"Content-Length: {len(body)}", *lines)


def chunked(body: bytes, trailers: bytes = b"") -> bytes:
    return b"%x;a=b\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers)


def ask(service: ServiceProcess, *pieces: bytes, pause_seconds: float = 0.0) -> list[Answer]:
    return read_answers(exchange(service.port, *pieces, pause_seconds=pause_seconds))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_request_that_wants_another_protocol_is_answered_as_if_it_did_not(
    service: ServiceProcess, path: str, upgrade: str
) -> None:
    whole = sized(path, PATHS[path], *UPGRADES[upgrade])
    in_chunks = post(path, chunked(PATHS[path]), "Transfer-Encoding: chunked", *UPGRADES[upgrade])
    assert [answer.status for answer in ask(service, whole + in_chunks + whole + LAST)] == [
        200,
        200,
        200,
        200,
    ]


def test_the_body_behind_an_upgrade_may_come_later_and_in_pieces(service: ServiceProcess) -> None:
    head, _, body = sized("/v1/toy/predict", BODY, *H2C).partition(b"\r\n\r\n")
    answers = ask(
        service, head[:50], head[50:] + b"\r\n\r\n", body[:7], body[7:] + LAST, pause_seconds=0.05
    )
    assert [answer.status for answer in answers] == [200, 200]
    assert json.loads(answers[0].body)["predictions"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_body_that_looks_like_a_request_is_none(
    service: ServiceProcess, path: str, upgrade: str
) -> None:
    for request in (
        sized(path, HIDDEN, *UPGRADES[upgrade]),
        post(path, chunked(HIDDEN), "Transfer-Encoding: chunked", *UPGRADES[upgrade]),
        sized(path, HIDDEN, "Expect: 100-continue", *UPGRADES[upgrade]),
    ):
        answers = [answer for answer in ask(service, request + LAST) if answer.status != 100]
        assert [answer.status for answer in answers] in ([400, 200], [422, 200]), request
        assert not any(b"onnxruntime" in answer.body for answer in answers), (
            "the hidden request was answered"
        )


AMBIGUOUS = (
    {
        "tunnel": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        % len(HIDDEN),
        "length and chunks": post(
            "/v1/toy/predict", b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"
        ),
        "chunks and length": post(
            "/v1/toy/predict", b"0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5"
        ),
        "two lengths": post("/v1/toy/predict", b"", "Content-Length: 0", "Content-Length: 40"),
        "equal lengths": post("/v1/toy/predict", b"{}", "Content-Length: 2", "Content-Length: 2"),
        "list of lengths": post("/v1/toy/predict", b"{}", "Content-Length: 2, 2"),
        "signed length": post("/v1/toy/predict", b"{}", "Content-Length: +2"),
        "two hosts": sized("/v1/toy/predict", BODY, "Host: evil.example"),
        "two hosts, without a body": (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
        ),
        "another host in the target": (
            b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ),
        "space before the colon": post("/v1/toy/predict", b"", "Content-Length : 40"),
        "folded": post("/v1/toy/predict", b"", "X-A: b", " c", "Content-Length: 0"),
        "bare line feeds": sized("/v1/toy/predict", BODY).replace(b"\r\n", b"\n"),
        "bare carriage return": post(
            "/v1/toy/predict", b"", "X-A: b\rTransfer-Encoding: chunked", "Content-Length: 0"
        ),
        "nul": post("/v1/toy/predict", b"", "X-A: b\0c", "Content-Length: 0"),
        "chunks in HTTP/1.0": post(
            "/v1/toy/predict",
            chunked(BODY),
            "Transfer-Encoding: chunked",
            "Connection: keep-alive",
            version="1.0",
        ),
        "HTTP/2.0": b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n",
        "HTTP/0.9": b"GET /health\r\n\r\n",
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "chunk of 2^64 bytes": post(
            "/v1/toy/predict", b"10000000000000002\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"
        ),
        "chunk size with 0x": post(
            "/v1/toy/predict", b"0x2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"
        ),
        "chunk that goes on": post(
            "/v1/toy/predict", b"2\r\n{}XX0\r\n\r\n", "Transfer-Encoding: chunked"
        ),
        "line feeds in chunks": post(
            "/v1/toy/predict", b"2\n{}\n0\n\n", "Transfer-Encoding: chunked"
        ),
        "length in a trailer": post(
            "/v1/toy/predict",
            chunked(BODY, b"Content-Length: 40\r\n"),
            "Transfer-Encoding: chunked",
        ),
    }
    | {
        f"coding {coding!r}": post("/v1/toy/predict", chunked(BODY), f"Transfer-Encoding: {coding}")
        for coding in (
            "identity",
            "chunked, identity",
            "identity, chunked",
            "gzip, chunked",
            "gzip",
            "xchunked",
            "chunked, chunked",
            "chunked;q=1",
            "\x0bchunked",
            "chunked\t",
            "",
        )
    }
    | {
        f"codings {first}, {second}": post(
            "/v1/toy/predict",
            chunked(BODY),
            f"Transfer-Encoding: {first}",
            f"Transfer-Encoding: {second}",
        )
        for first, second in (
            ("chunked", "chunked"),
            ("identity", "chunked"),
            ("chunked", "identity"),
        )
    }
    | {
        f"coding {coding} on GET": (
            f"GET /v1/toy HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n"
        ).encode()
        for coding in ("identity", "x")
    }
)


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_two_programs_could_read_in_two_ways_is_refused_and_the_connection_closed(
    service: ServiceProcess, case: str
) -> None:
    for before in (
        b"",
        sized("/v1/toy/predict", BODY),
        b"GET /v1/toy HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ):
        answers = ask(service, before + AMBIGUOUS[case] + HIDDEN + HIDDEN)
        *earlier, refusal = answers
        assert [answer.status for answer in earlier] == [200] * bool(before), (
            "each has its own answer, in order"
        )
        assert refusal.status in (400, 405) and refusal.headers["connection"] == "close"
        assert set(json.loads(refusal.body)["error"]) == {"code", "message"}


def test_trailers_change_nothing_of_what_was_admitted(service: ServiceProcess) -> None:
    trailers = (
        b"X-Forwarded-For: 203.0.113.7\r\nHost: evil.example\r\nContent-Type: text/csv\r\n"
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    )
    for path, body in PATHS.items():
        request = post(path, chunked(body, trailers), "Transfer-Encoding: Chunked")
        assert [answer.status for answer in ask(service, request + LAST)] == [200, 200]


@pytest.mark.parametrize("rest", [b"0\r\nX-A: ", b"2;a="], ids=["trailer", "chunk extension"])
def test_trailers_and_extensions_without_end_are_cut_off(
    service: ServiceProcess, rest: bytes
) -> None:
    request = post("/v1/toy/feedback", b"2\r\n{}\r\n" + rest, "Transfer-Encoding: chunked")
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as caller:
        caller.sendall(request)
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                caller.sendall(b"a" * 65536)


@pytest.mark.parametrize("path", PATHS)
def test_what_follows_a_request_that_closes_is_not_even_looked_at(
    service: ServiceProcess, path: str
) -> None:
    assert (
        len(ask(service, sized(path, PATHS[path], "Connection: close") + HIDDEN + b"garbage")) == 1
    )


def test_a_target_may_name_the_server_that_is_meant(service: ServiceProcess) -> None:
    for target in (b"http://localhost/v1/toy", b"HTTP://LOCALHOST/v1/toy?x=1"):
        (answer,) = ask(
            service, b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target
        )
        assert answer.status == 200


def test_a_refused_request_is_answered_once_though_its_body_turns_out_to_be_broken(
    service: ServiceProcess,
) -> None:
    head = post(
        "/v1/nothing/feedback", b"", "Transfer-Encoding: chunked", "X-Forwarded-For: 203.0.113.7"
    )
    answers = ask(service, head, b"zz\r\n" + HIDDEN, pause_seconds=0.3)
    assert [answer.status for answer in answers] == [403]


@pytest.mark.skipif(
    shutil.which("java") is None,
    reason="needs a JDK: java.net.http cannot be imitated to the letter",
)
def test_java_s_default_client_is_answered(service: ServiceProcess) -> None:
    source = REPOSITORY / "tests" / "fixtures" / "Client.java"
    addresses = [
        f"http://127.0.0.1:{service.port}{path}"
        for path in ("/v1/toy/predict", "/v1/toy/predict?log=false", "/v1/toy/predict")
    ]
    command = ["java", "-XX:TieredStopAtLevel=1", str(source), BODY.decode(), *addresses]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["200", "HTTP_1_1"]] * 3
    assert all('"predictions"' in line for line in lines)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_that_would_rather_speak_http_2_is_answered(service: ServiceProcess) -> None:
    command = [
        "curl",
        "--silent",
        "--http2",
        "--noproxy",
        "*",
        "--write-out",
        " %{http_code} %{http_version}",
        "--json",
        BODY.decode(),
    ]
    for path in ("/v1/toy/predict", "/v1/toy/predict?log=false"):
        said = subprocess.run(
            [*command, f"http://127.0.0.1:{service.port}{path}"],
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        assert said.endswith(" 200 1.1") and '"predictions"' in said


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/ready",
        "/ping",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/toy/ready",
        "/v1/toy",
        "/",
    ],
)
def test_head_answers_what_get_does_without_the_body(service: ServiceProcess, path: str) -> None:
    received = exchange(
        service.port,
        f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
    )
    (answer,) = read_answers(received, to_head=True)
    got = service.client.get(path, headers={"accept-encoding": "identity"})
    assert answer.status == got.status_code == 200 and received.endswith(b"\r\n\r\n")
    apart = 0 if path != "/v1/toy" else 200  # its figures change
    assert abs(int(answer.headers["content-length"]) - len(got.content)) <= apart


def test_after_all_this_nothing_unforeseen_is_in_the_log(service: ServiceProcess) -> None:
    assert "Traceback" not in service.output.read_text()
