"""The service as strangers meet it: who gets in, what they are told, how long they may take, and
what is left in the logs.
"""

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from blocks.settings import REPOSITORY
from serving.keys.command import main as keys_command
from serving.keys.file import make_key, read_keys
from tests.fakes.registry import RegistryServer
from tests.fixtures.api_keys import put_key
from tests.fixtures.processes import ServiceProcess, start_in_vain, wait_until

ROW = {"carrier": "ZQ", "distance": 812.25, "wind": 3.0, "time_hour": "2013-06-01T15:00:00"}
BODY = json.dumps({"rows": [ROW]}).encode()
JSON = {"content-type": "application/json"}
API = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
REQUEST_SECONDS = 2
LIMITS = {
    "serving_request_seconds": REQUEST_SECONDS,
    "serving_max_body_megabytes": 1,
    "serving_queue_requests": 1,
}


@contextmanager
def started(folder: Path, registry: RegistryServer, **settings: object) -> Iterator[ServiceProcess]:
    """A service with a key for everything, which ``service.client`` sends."""
    everything = put_key(
        keys_file(folder), name="all", scopes=["predict", "feedback", "operate", "decide"]
    )
    service = ServiceProcess(folder, registry.url, **settings)
    service.client.headers["authorization"] = f"Bearer {everything}"
    with service:
        service.wait_for_version("1")
        yield service


@pytest.fixture(scope="module")
def exposed(
    registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """On every address, so with keys; with small limits."""
    with started(tmp_path_factory.mktemp("exposed"), registry, host="0.0.0.0", **LIMITS) as service:
        yield service


@pytest.fixture(scope="module")
def loopback(
    registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """As a developer starts it: on loopback, without keys."""
    with ServiceProcess(tmp_path_factory.mktemp("loopback"), registry.url) as service:
        service.wait_for_version("1")
        yield service


def keys_file(folder: Path) -> Path:
    return folder / "state" / "serving" / "keys.json"


def predict(service: ServiceProcess, key: str | None = None, **headers: str) -> httpx.Response:
    """With another client than the service's, which has a key."""
    shown = {} if key is None else {"authorization": f"Bearer {key}"}
    address = f"{service.client.base_url}/v1/toy/predict"
    return httpx.post(
        address, content=BODY, headers={**JSON, **shown, **headers}, trust_env=False, timeout=30
    )


# A service that others could reach does not start without keys


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"serving_require_keys": True},
        {"host": "0.0.0.0", "serving_workers": 2},
    ],
)
def test_a_service_that_others_could_reach_does_not_start_without_a_key_and_says_how_to_make_one(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    code, said = start_in_vain(tmp_path, **settings)
    assert code not in (0, None) and "Traceback" not in said
    assert re.search(
        r"keys\.json.*python -m serving\.keys add NAME --scope predict --scope feedback", said
    )


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda file: file.write_text("["), "is not a key file"),
        (lambda file: file.chmod(0o644), "chmod 600"),
        (lambda file: file.write_text("[]\n"), "python -m serving.keys add"),
    ],
)
def test_a_file_of_keys_that_cannot_be_trusted_stops_the_start(
    tmp_path: Path, broken: Any, told: str
) -> None:
    put_key(keys_file(tmp_path))
    broken(keys_file(tmp_path))
    code, said = start_in_vain(tmp_path, host="0.0.0.0")
    assert code not in (0, None) and told in said and "Traceback" not in said


def test_keys_may_be_kept_elsewhere(tmp_path: Path, registry: RegistryServer) -> None:
    elsewhere = tmp_path / "mounted" / "keys"
    secret = put_key(elsewhere)
    service = ServiceProcess(tmp_path, registry.url, host="0.0.0.0", serving_keys_file=elsewhere)
    service.client.headers["x-api-key"] = secret
    with service:
        service.wait_for_version("1")
        assert predict(service).status_code == 401


# Keys


ROUTES = {
    "POST /v1/toy/predict": "predict",
    "POST /v1/{use_case}/explain": "predict",
    "POST /v1/toy/feedback": "feedback",
    "GET /v1/{use_case}": "predict",
    "GET /v1": "predict",
    "GET /v1/{use_case}/drift": "operate",
    "GET /v1/{use_case}/drift/{window}/report": "operate",
    "GET /v1/{use_case}/decisions": "operate",
    "GET /v1/{use_case}/decisions/{decision}": "operate",
    "GET /v1/{use_case}/champions": "operate",
    "GET /v1/{use_case}/series": "operate",
    "GET /v1/{use_case}/approvals": "operate",
    "POST /v1/{use_case}/approvals/{run}": "decide",
    "POST /v1/{use_case}/rollback": "decide",
    "GET /v1/{use_case}/rollout": "operate",
    "POST /v1/{use_case}/rollout": "decide",
    "GET /metrics": "operate",
    "POST /invocations": "predict",
    "GET /v2": "predict",
    "GET /v2/models/{model}": "predict",
    "GET /v2/models/{model}/versions/{version}": "predict",
    "POST /v2/models/{model}/infer": "predict",
    "POST /v2/models/{model}/versions/{version}/infer": "predict",
    "GET /health": "",
    "GET /ready": "",
    "GET /ping": "",
    "GET /version": "",
    "GET /v2/health/live": "",
    "GET /v2/health/ready": "",
    "GET /v2/models/{model}/ready": "",
    "GET /v2/models/{model}/versions/{version}/ready": "",
    "POST /webhooks/mlflow": "",  # signed
    "POST /slack/actions": "",  # signed
}
UNDOCUMENTED = {
    "GET /": "",
    "GET /docs": "",
    "GET /openapi.json": "",
    "POST /v1/toy/predict?log=false": "predict",
    "GET /nothing": "predict",
}


def test_for_every_documented_route_it_was_decided_who_may_call_it(exposed: ServiceProcess) -> None:
    paths = exposed.client.get("/openapi.json").json()["paths"]
    assert {
        f"{method.upper()} {path}" for path, methods in paths.items() for method in methods
    } == set(ROUTES)


@pytest.mark.parametrize(
    ("route", "scope"),
    [(route, scope) for route, scope in (ROUTES | UNDOCUMENTED).items() if scope],
)
def test_each_route_asks_for_its_scope_and_takes_no_other(
    exposed: ServiceProcess, route: str, scope: str
) -> None:
    def ask(**headers: str) -> httpx.Response:
        return ask_route(exposed, route, {**JSON, **headers})

    file = keys_file(exposed.folder)
    secrets = {
        name: put_key(file, name=f"only-{name}", scopes=[name])
        for name in ("predict", "feedback", "operate", "decide")
    }
    wait_until(
        lambda: all(ask(**{"x-api-key": secret}).status_code != 401 for secret in secrets.values()),
        "the new keys are taken",
    )
    without = ask()
    assert (without.status_code, without.headers["www-authenticate"].lower()) == (401, "bearer")
    assert ask(**{"x-api-key": make_key()}).status_code == 401
    for other in secrets.keys() - {scope}:
        answer = ask(authorization=f"Bearer {secrets[other]}")
        assert (answer.status_code, f"lacks the scope '{scope}'" in answer.text) == (403, True)


@pytest.mark.parametrize(
    "route", [route for route, scope in (ROUTES | UNDOCUMENTED).items() if not scope]
)
def test_load_balancers_and_browsers_get_their_first_answer_without_a_key(
    exposed: ServiceProcess, route: str
) -> None:
    answer = ask_route(exposed, route)
    signed = (
        "webhooks" in route or "slack" in route
    )  # and this service has no secret to know the signatures by
    assert answer.status_code == (404 if signed else 200), answer.text


def ask_route(
    service: ServiceProcess, route: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    """With another client than the service's, which has a key."""
    method, path = route.split()
    for name, value in {
        "use_case": "toy",
        "model": "toy",
        "version": "1",
        "window": "2013-06",
    }.items():
        path = path.replace(f"{{{name}}}", value)
    content = b"{}" if method == "POST" else None
    return httpx.request(
        method,
        f"{service.client.base_url}{path}",
        content=content,
        headers=headers,
        trust_env=False,
    )


@pytest.mark.nightly("traffic through many changes")
def test_keys_change_without_a_restart_and_without_a_lost_request_in_every_worker(
    tmp_path: Path,
    registry: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path / "state"))
    file = keys_file(tmp_path)
    current, over = [put_key(file, name="caller")], threading.Event()
    statuses: list[int] = []

    def call() -> None:
        while not over.is_set():
            statuses.append(predict(service, current[-1]).status_code)

    def all_workers(key: str, status: int) -> bool:
        return {predict(service, key).status_code for _ in range(20)} == {status}

    with (
        started(tmp_path, registry, host="0.0.0.0", serving_workers=2) as service,
        ThreadPoolExecutor(2) as callers,
    ):
        running = [callers.submit(call) for _ in range(2)]
        capsys.readouterr()
        keys_command(["rotate", "caller"])
        new = capsys.readouterr().out.strip()
        wait_until(lambda: all_workers(new, 200), "both workers take the new key")
        assert all_workers(current[0], 200)
        current.append(new)
        wait_until(lambda: len(statuses) > 50, "requests go on")
        over.set()
        for one in running:
            one.result()
        assert set(statuses) == {200}
        keys_command(["rotate", "caller", "--keep-hours", "0"])
        wait_until(lambda: all_workers(new, 401), "both workers refuse the key that ended")
        assert "expired at" in predict(service, new).json()["error"]["message"]
        keys_command(["remove", "caller"])
        wait_until(
            lambda: "key is unknown" in predict(service, new).text, "the removal is heard of"
        )


def test_a_key_ends_by_itself_when_its_time_is_over(exposed: ServiceProcess) -> None:
    brief = put_key(
        keys_file(exposed.folder), name="brief", expires=datetime.now(UTC) + timedelta(seconds=4)
    )
    wait_until(lambda: predict(exposed, brief).status_code == 200, "the key is taken")
    wait_until(lambda: "of 'brief' expired at" in predict(exposed, brief).text, "the key ends")


def test_a_file_that_breaks_or_vanishes_lets_nobody_else_in_and_nobody_out(
    tmp_path: Path, registry: RegistryServer
) -> None:
    file = keys_file(tmp_path)
    with started(tmp_path, registry, serving_require_keys=True) as service:
        whole = file.read_bytes()
        for damage in (
            lambda: file.write_bytes(whole[:-10]),
            lambda: file.chmod(0o666),
            file.unlink,
        ):
            before = service.output.read_text().count("keys unchanged")
            damage()
            wait_until(
                lambda before=before: service.output.read_text().count("keys unchanged") > before,
                "the log tells it",
            )
            assert service.predict(ROW)["model_version"] == "1"
            assert predict(service).status_code == predict(service, make_key()).status_code == 401


def test_no_key_reaches_a_log_or_an_answer(exposed: ServiceProcess) -> None:
    file = keys_file(exposed.folder)
    secret = put_key(file, name="secretive", scopes=["feedback"])
    wait_until(lambda: predict(exposed, secret).status_code == 403, "the key is known")
    address = exposed.client.base_url
    answers = [
        predict(exposed, secret),
        predict(exposed, secret[:-1]),
        predict(exposed, f"{secret}{secret}"),
        predict(exposed, authorization=f"Basic {secret}"),
        predict(exposed, authorization=secret),
        predict(exposed, **{"x-request-id": "id-1", "x-api-key": secret}),
        httpx.post(
            f"{address}/v1/toy/predict?key={secret}", content=BODY, headers=JSON, trust_env=False
        ),
        httpx.post(
            f"{address}/v1/toy/feedback",
            content=f'{{"key": "{secret}"'.encode(),
            headers={**JSON, "x-api-key": secret},
            trust_env=False,
        ),
    ]
    wait_until(
        lambda: '"path":"/v1/toy/feedback"' in exposed.output.read_text(),
        "the last one is in the access log",
    )
    for text in (
        exposed.output.read_text(),
        *(str(answer.headers) + answer.text for answer in answers[:-1]),
    ):
        assert secret not in text and secret[7:40] not in text
        assert not any(key.sha256[:16] in text for key in read_keys(file)[0])


# Web pages in the browser of a developer


@pytest.mark.parametrize(
    "path", ["/v1/toy/predict", "/v1/toy/predict?log=false", "/v1/toy/feedback", "/invocations"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {
            "host": "evil.example:80",
            "origin": "http://evil.example:80",
            "sec-fetch-site": "same-origin",
        },
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "content-type": "text/plain"},
        {"sec-fetch-site": "same-site"},
        {"x-forwarded-for": "203.0.113.7"},
    ],
)
def test_on_loopback_no_page_of_another_origin_and_no_proxy_gets_through(
    loopback: ServiceProcess, path: str, headers: dict[str, str]
) -> None:
    answer = loopback.client.post(path, content=BODY, headers={**JSON, **headers})
    code = answer.json().get("error_code") or answer.json()["error"]["code"]
    assert (answer.status_code, code) == (
        403,
        "PERMISSION_DENIED" if path == "/invocations" else "forbidden",
    )
    assert "access-control-allow-origin" not in answer.headers


def test_a_name_that_was_made_to_lead_here_reads_nothing(loopback: ServiceProcess) -> None:
    for path in ("/", "/v1", "/metrics", "/openapi.json", "/health"):
        assert loopback.client.get(path, headers={"host": "evil.example"}).status_code == 403


def test_preflights_of_other_origins_are_not_granted(loopback: ServiceProcess) -> None:
    asked = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    answer = loopback.client.options("/v1/toy/predict", headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_service_s_own_page_may_send(loopback: ServiceProcess) -> None:
    own = {"origin": f"http://127.0.0.1:{loopback.port}", "sec-fetch-site": "same-origin"}
    assert predict(loopback, **own).status_code == 200


# What every answer has, and what none has


def every_kind_of_answer(service: ServiceProcess) -> dict[str, httpx.Response]:
    client, wrong = service.client, {"authorization": f"Bearer {make_key()}"}
    return {
        "200 hot": client.post("/v1/toy/predict", content=BODY, headers=JSON),
        "200 fastapi": client.get("/v1/toy"),
        "400 hot": client.post("/v1/toy/predict", content=b"{", headers=JSON),
        "400 fastapi": client.post("/v1/toy/feedback", content=b"{", headers=JSON),
        "401 hot": client.post("/v1/toy/predict", content=BODY, headers=JSON | wrong),
        "401 fastapi": client.get("/metrics", headers=wrong),
        "404 use case": client.post("/v1/flihgts/predict", content=BODY, headers=JSON),
        "404 path": client.get(f"/{'x' * 2000}/../../etc/passwd%0a%00"),
        "405": client.post("/health", content=b"{}"),
        "413": client.post("/v1/toy/predict", content=b" " * (2**20 + 1), headers=JSON),
        "415 gzip": client.post(
            "/v1/toy/predict", content=b"\x1f\x8b", headers=JSON | {"content-encoding": "gzip"}
        ),
        "422 hot": client.post("/v1/toy/predict", json={"rows": [{**ROW, "distance": -1}]}),
        "422 fastapi": client.post("/v1/toy/predict?log=maybe", json={"rows": [ROW]}),
    }


def test_every_answer_has_its_request_id_and_its_security_headers(exposed: ServiceProcess) -> None:
    for kind, answer in every_kind_of_answer(exposed).items():
        assert answer.status_code == int(kind[:3]), (kind, answer.text)
        assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", answer.headers["x-request-id"]), kind
        assert {name: answer.headers.get(name) for name in API} == API, kind
        assert not {"server", "x-powered-by"} & set(answer.headers)
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error"} and set(answer.json()["error"]) <= {
                "code",
                "message",
                "row",
                "field",
            }, kind


def test_no_error_tells_of_code_paths_or_other_callers(exposed: ServiceProcess) -> None:
    for kind, answer in every_kind_of_answer(exposed).items():
        for secret in (
            "Traceback",
            'File "',
            ".py",
            str(REPOSITORY),
            str(exposed.folder),
            "site-packages",
            "0x",
            "msgspec",
            "uvicorn",
        ):
            assert answer.status_code == 200 or secret not in answer.text, (kind, secret)


def test_pages_run_only_their_own_scripts_and_stand_in_no_frame(exposed: ServiceProcess) -> None:
    for path in ("/", "/docs"):
        headers = exposed.client.get(path).headers
        policy = headers["content-security-policy"]
        assert (
            "default-src 'none'" in policy
            and "frame-ancestors 'none'" in policy
            and "unsafe" not in policy
        ), path
        assert (
            "'sha256-" in policy
            and headers["x-frame-options"] == "DENY"
            and headers["referrer-policy"] == "no-referrer"
        )


def test_addresses_with_a_slash_too_many_are_not_redirected_to_where_the_caller_says(
    exposed: ServiceProcess,
) -> None:
    answer = exposed.client.get("/v1/toy/", headers={"host": "evil.example"})
    assert "evil.example" not in str(answer.headers)


def test_the_access_log_says_who_asked_what_and_nothing_of_the_rows(
    exposed: ServiceProcess,
) -> None:
    exposed.client.post("/v1/toy/predict", content=BODY, headers=JSON | {"x-request-id": "seen-1"})
    exposed.client.get("/v1/toy?private=812.25", headers={"x-request-id": "seen-2"})
    predict(exposed, **{"x-request-id": "seen-3"})
    wait_until(lambda: '"seen-3"' in exposed.output.read_text(), "the log is written")
    text = exposed.output.read_text()
    lines = {
        line["id"]: line
        for line in map(json.loads, (line for line in text.splitlines() if line.startswith("{")))
    }
    told = {
        id: tuple(lines[id][name] for name in ("method", "path", "status", "rows", "key", "client"))
        for id in ("seen-1", "seen-2", "seen-3")
    }
    assert told == {
        "seen-1": ("POST", "/v1/toy/predict", 200, 1, "all", "127.0.0.1"),
        "seen-2": ("GET", "/v1/toy", 200, 0, "all", "127.0.0.1"),
        "seen-3": ("POST", "/v1/toy/predict", 401, 0, "", "127.0.0.1"),
    }
    assert not [word for word in ("812.25", "ZQ", "carrier", "laurel_") if word in text]


# Callers that take their time, too much room, or too many turns


def drip(service: ServiceProcess, head: bytes, rest: bytes) -> tuple[float, bytes]:
    """Send ``head``, then a byte at a time for ever: how many seconds that was suffered, and the
    answer.
    """
    began, received = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=0.1) as caller:
        caller.sendall(head)
        for byte in rest:
            try:
                caller.sendall(bytes([byte]))
                if not (piece := caller.recv(65536)):
                    break
                received += piece
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return time.monotonic() - began, received


@pytest.mark.parametrize(
    "way", ["head", "head of an open route", "body on the hot path", "body through FastAPI"]
)
def test_a_caller_that_drips_is_told_and_let_go(exposed: ServiceProcess, way: str) -> None:
    authorization = exposed.client.headers["authorization"]
    head = (
        "POST /v1/toy/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: {authorization}\r\n"
    )
    sent = {
        "head": ((head % "predict").encode(), b"X-Slow: " + b"a" * 500),
        "head of an open route": (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
            b"X-Slow: " + b"a" * 500,
        ),
        "body on the hot path": (
            (head % "predict" + "Content-Length: 500\r\n\r\n").encode(),
            b" " * 500,
        ),
        "body through FastAPI": (
            (head % "feedback" + "Content-Length: 500\r\n\r\n").encode(),
            b" " * 500,
        ),
    }[way]
    seconds, answer = drip(exposed, *sent)
    assert (
        answer.startswith(b"HTTP/1.1 408 ")
        and b'"too_slow"' in answer
        and b"connection: close" in answer
    )
    assert seconds < REQUEST_SECONDS + 10


def memory_megabytes(service: ServiceProcess) -> float:
    assert service._process is not None
    status = Path(f"/proc/{service._process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"GET /health HTTP/1.1\r\n", b"X-A: " + b"a" * 60_000 + b"\r\n"),
        (b"GET /health HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
        (b"GET /health HTTP/1.1\r\nX-A: ", b"a" * 60_000),
        (b"GET /", b"a" * 60_000),
    ],
    ids=["large headers", "many headers", "one header", "path"],
)
def test_a_head_without_end_is_cut_off_before_it_fills_the_memory(
    exposed: ServiceProcess, head: bytes, more: bytes
) -> None:
    before, received = memory_megabytes(exposed), b""
    with socket.create_connection(("127.0.0.1", exposed.port), timeout=10) as caller:
        try:
            caller.sendall(head)
            for _ in range(800):
                caller.sendall(more)
            sent_all = True
        except ConnectionError:
            sent_all = False
        with suppress(ConnectionError):
            received = caller.recv(65536)
    assert not sent_all, "48 MB of head were taken"
    assert received == b"" or received.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert memory_megabytes(exposed) - before < 16
    assert exposed.client.get("/health").status_code == 200


def test_strangers_who_announce_large_bodies_keep_nobody_with_a_key_waiting(
    exposed: ServiceProcess,
) -> None:
    size = 2**20
    head = (
        b"POST /v1/toy/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n{"
    ) % size
    strangers = [
        socket.create_connection(("127.0.0.1", exposed.port), timeout=10) for _ in range(40)
    ]
    try:
        for stranger in strangers:
            stranger.sendall(head)
        large = json.dumps({"rows": [ROW] * 5000}).encode()
        assert (
            exposed.client.post("/v1/toy/predict", content=large, headers=JSON).status_code == 200
        )
    finally:
        for stranger in strangers:
            stranger.close()


def test_under_overload_callers_are_told_when_to_come_back_and_the_small_are_still_served(
    exposed: ServiceProcess,
) -> None:
    large = json.dumps({"rows": [ROW] * 9000}).encode()
    headers = JSON | {"authorization": exposed.client.headers["authorization"]}
    over, answers, small = threading.Event(), [], []

    def ask_much(_: int) -> None:
        with httpx.Client(base_url=exposed.client.base_url, trust_env=False, timeout=60) as client:
            answers.extend(
                client.post("/v1/toy/predict", content=large, headers=headers) for _ in range(15)
            )

    def ask_little() -> None:
        while not over.is_set():
            small.append(
                exposed.client.post("/v1/toy/predict", content=BODY, headers=JSON).status_code
            )

    with ThreadPoolExecutor(9) as pool:
        little = pool.submit(ask_little)
        list(pool.map(ask_much, range(8)))
        over.set()
        little.result()
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(
        int(answer.headers["retry-after"]) > 0 and answer.json()["error"]["code"] == "overloaded"
        for answer in refused
    )
    assert small and set(small) == {200}


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http:///health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n",
        (
            b"POST /v1/toy/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        (
            b"POST /v1/toy/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Content-Length: 6\r\n\r\n"
        ),
        (
            b"POST /v1/toy/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"\r\nfffffffffffffffffff\r\n"
        ),
    ],
)
def test_what_is_no_http_gets_a_400_in_the_same_shape(exposed: ServiceProcess, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", exposed.port), timeout=10) as caller:
        caller.sendall(raw)
        answer = b""
        while piece := caller.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (
        head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 "))
        and b"x-content-type-options: nosniff" in head.lower()
    )
    assert json.loads(body)["error"]["code"] in ("malformed_request", "unauthorized")


def test_after_all_this_nothing_unforeseen_is_in_the_log(
    exposed: ServiceProcess, loopback: ServiceProcess
) -> None:
    for service in (exposed, loopback):
        service.end(signal.SIGTERM)
        assert "Traceback" not in service.output.read_text()
