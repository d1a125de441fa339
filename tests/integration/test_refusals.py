"""What is refused before a route is known, in the shape of the protocol that its caller speaks; and
coded bodies and answers.
"""

import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator
from urllib.parse import unquote

import httpx
import pytest

from serving.keys.file import make_key
from tests.fixtures.api_keys import put_key
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.raw_http import exchange, read_answers
from tests.fixtures.toy_services import toy_registry

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}
BODY = json.dumps({"rows": [ROW]}).encode()
JSON = {"content-type": "application/json"}
CONNECTIONS = 30
REQUEST_SECONDS = 2
PREFIX = "/models"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("refusals")
    key = put_key(
        folder / "state" / "serving" / "keys.json",
        name="all",
        scopes=["predict", "feedback", "operate", "decide"],
    )
    limits = {
        "serving_connections": CONNECTIONS,
        "serving_request_seconds": REQUEST_SECONDS,
        "serving_max_body_megabytes": 1,
        "serving_path_prefix": PREFIX,
        "serving_require_keys": True,
    }
    with toy_registry(folder / "artifacts") as registry:
        process = ServiceProcess(folder, registry.url, **limits)
        # As on systems that begin with few: what is needed beyond is the service's own affair.
        process.command = ["bash", "-c", 'ulimit -Sn 64; exec "$@"', "bash", *process.command]
        process.is_fork = False
        process.client.headers["authorization"] = f"Bearer {key}"
        with process:
            process.wait_for_version("1")
            yield process


def check_shape(path: str, body: bytes) -> None:
    """The shape is that of the protocol below whose path the request came."""
    said, first = (
        json.loads(body),
        unquote(path.removeprefix(PREFIX)).lower().partition("?")[0].split("/")[1],
    )
    if first == "v2":
        assert set(said) == {"error"} and isinstance(said["error"], str) and said["error"]
    elif first == "invocations":
        assert (
            set(said) == {"error_code", "message"}
            and said["error_code"].isupper()
            and said["message"]
        )
    else:
        assert (
            set(said["error"]) <= {"code", "message", "row", "field"} and said["error"]["message"]
        )


PLACES = (
    *(
        "/v2/models/toy/infer",
        "/v2/models/nothing/infer",
        "/v2/nothing",
        "/V2/models/toy/infer",
        "/%762/models/toy/infer",
        "/v2",
    ),
    *("/invocations", "/invocations/", "/INVOCATIONS", "/%69nvocations", "/invocations?log=false"),
    *("/v1/toy/predict", "/v1/toy/feedback", "/nothing", "/v22", "/invocationsx"),
    *(
        f"{PREFIX}/v2/models/toy/infer",
        f"{PREFIX}/invocations",
        f"{PREFIX}/v1/toy/predict",
        f"{PREFIX}/v2",
    ),
)


@pytest.mark.parametrize("path", PLACES)
def test_each_refusal_has_the_shape_of_its_protocol(service: ServiceProcess, path: str) -> None:
    client, nobody = service.client, {**JSON, "authorization": f"Bearer {make_key()}"}
    refusals = [
        client.post(path, content=BODY, headers=nobody),
        client.post(path, content=BODY, headers={**JSON, "sec-fetch-site": "cross-site"}),
        client.request("DELETE", path, content=b"{}"),
        client.post(path, content=b" " * (2**20 + 1), headers=JSON),
        client.post(path, content=b"{", headers={"content-type": "application/x-nothing"}),
        client.post(path, content=BODY, headers={**JSON, "content-encoding": "br"}),
        client.post(
            path, content=BODY, headers={"content-type": "application/json; charset=utf-16"}
        ),
        client.post(path, content=b"{", headers=JSON),
    ]
    assert [answer.status_code for answer in refusals[:2]] == [401, 403]
    for answer in refusals:
        assert 400 <= answer.status_code < 500, answer.text
        check_shape(path, answer.content)
    assert client.head(path, headers=nobody).content == b""


@pytest.mark.parametrize(
    "path",
    ["/v2/models/toy/infer", "/invocations", "/v1/toy/predict", f"{PREFIX}/v2/models/toy/infer"],
)
@pytest.mark.nightly("a further variant", only=("/invocations", "/v1/", f"{PREFIX}/v2"))
def test_what_is_refused_before_it_is_a_request_has_it_too(
    service: ServiceProcess, path: str
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Authorization: {service.client.headers['authorization']}\r\n"
    sent = {
        "no HTTP": (head + "Content-Length: x\r\n\r\n", 400),
        "ambiguous": (head + "Transfer-Encoding: identity\r\n\r\n", 400),
        "two hosts": (head + "Host: x\r\nContent-Length: 0\r\n\r\n", 400),
        "head without end": (head, 408),
        "body without end": (head + "Content-Length: 9\r\n\r\n{", 408),
    }
    for case, (data, status) in sent.items():
        (answer,) = read_answers(exchange(service.port, data.encode()))
        assert answer.status == status, case
        check_shape(path, answer.body)
    pieces = [head.encode(), *[f"X-{number}: {'a' * 20_000}\r\n".encode() for number in range(10)]]
    (answer,) = read_answers(exchange(service.port, *pieces, pause_seconds=0.05))
    assert answer.status == 431
    check_shape(path, answer.body)


def test_triton_s_client_reads_every_refusal_and_speaks_gzip_both_ways(
    service: ServiceProcess,
) -> None:
    triton = pytest.importorskip("tritonclient.http")
    import numpy as np

    def tensors() -> list[object]:
        made = []
        for name, value, kind in (
            ("carrier", "AA", "BYTES"),
            ("distance", 800.0, "FP64"),
            ("wind", 3.0, "FP64"),
        ):
            tensor = triton.InferInput(name, [40], kind)
            tensor.set_data_from_numpy(
                np.array([value] * 40, object if kind == "BYTES" else "float64")
            )
            made.append(tensor)
        return made

    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        key = {"Authorization": service.client.headers["authorization"]}
        for coding in ("gzip", None):
            packed = {
                "request_compression_algorithm": coding,
                "response_compression_algorithm": coding,
            }
            answer = client.infer("toy", tensors(), headers=dict(key), **packed)
            assert answer.as_numpy("score").shape == (40,)
        for what, told in (
            (lambda: client.infer("toy", tensors()), "A key is required"),
            (lambda: client.infer("nothing", tensors(), headers=dict(key)), "Unknown use case"),
            (lambda: client.get_trace_settings(headers=dict(key)), "There is nothing at"),
            (
                lambda: client.infer(
                    "toy", tensors(), headers=dict(key), request_compression_algorithm="deflate"
                ),
                "Content-Encoding",
            ),
            (
                lambda: client.get_model_metadata("toy", model_version="9", headers=dict(key)),
                "has version",
            ),
        ):
            with pytest.raises(triton.InferenceServerException, match=told):
                what()


PROBES = ("/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready", f"{PREFIX}/health")


def test_when_all_connections_are_taken_probes_are_answered_and_others_told_to_come_back(
    service: ServiceProcess,
) -> None:
    address, url = ("127.0.0.1", service.port), service.client.base_url
    key = {"authorization": service.client.headers["authorization"]}
    idle = [socket.create_connection(address, timeout=20) for _ in range(CONNECTIONS + 100)]
    try:
        for path in PROBES:
            for method in ("GET", "HEAD"):
                answer = httpx.request(method, f"{url}{path}", trust_env=False)
                assert (answer.status_code, answer.headers["connection"]) == (200, "close"), path
        for path in ("/v1/toy/predict", "/v2/models/toy/infer", "/invocations"):
            answer = httpx.post(
                f"{url}{path}", content=BODY, headers={**JSON, **key}, trust_env=False
            )
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
            check_shape(path, answer.content)
    finally:
        for connection in idle:
            connection.close()
    wait_until(
        lambda: service.client.post("/v1/toy/predict", json={"rows": [ROW]}).status_code == 200,
        "there is room again",
    )


def test_a_connection_too_many_that_asks_nothing_is_told_and_closed(
    service: ServiceProcess,
) -> None:
    address = ("127.0.0.1", service.port)
    idle = [socket.create_connection(address, timeout=20) for _ in range(CONNECTIONS)]
    try:
        time.sleep(0.2)
        (answer,) = read_answers(exchange(service.port))
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "overloaded")
    finally:
        for connection in idle:
            connection.close()


# Bodies and answers in other codings


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "Identity", "identity, gzip"])
@pytest.mark.parametrize("path", ["/v1/toy/predict", "/v1/toy/explain", "/invocations"])
def test_bodies_may_be_gzip_and_codings_are_named_in_any_case(
    service: ServiceProcess, path: str, coding: str
) -> None:
    body = json.dumps(
        {"dataframe_records": [ROW]} if path == "/invocations" else {"rows": [ROW]}
    ).encode()
    sent = gzip.compress(body) if "gzip" in coding.lower() else body
    answer = service.client.post(path, content=sent, headers={**JSON, "content-encoding": coding})
    assert answer.status_code == 200, answer.text


def test_a_small_body_that_would_become_a_large_one_is_cut_off(service: ServiceProcess) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([packer.compress(b" " * 2**20) for _ in range(300)] + [packer.flush()])
    assert len(bomb) < 2**20
    for path in ("/v1/toy/predict", "/v1/toy/feedback", "/v2/models/toy/infer", "/invocations"):
        answer = service.client.post(
            path, content=bomb, headers={**JSON, "content-encoding": "gzip"}
        )
        assert answer.status_code == 413, answer.text


@pytest.mark.parametrize(
    ("coding", "damage"),
    [
        ("gzip", lambda body: body),
        ("gzip", lambda body: gzip.compress(body)[:-6]),
        ("gzip", lambda body: gzip.compress(body)[:12] + b"\xff" * 30),
        ("gzip", lambda body: gzip.compress(body) + b"more"),
        ("gzip", lambda body: b""),
        ("deflate", zlib.compress),
        ("br", lambda body: body),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    ],
)
def test_what_is_no_gzip_is_refused_by_name(
    service: ServiceProcess, coding: str, damage: object
) -> None:
    answer = service.client.post(
        "/v1/toy/predict", content=damage(BODY), headers={**JSON, "content-encoding": coding}
    )  # type: ignore[operator]
    assert answer.status_code == 415 and "Content-Encoding" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        *(
            ("gzip", True),
            ("GZIP;q=0.5", True),
            ("br, gzip;q=0.1", True),
            ("*", True),
            ("x-gzip", True),
        ),
        *(
            ("gzip;q=0", False),
            ("gzip;q=0.0", False),
            ("identity", False),
            ("br", False),
            ("gzip;q=0.5, identity;q=0.9", False),
        ),
        *(("*;q=0", False), ("gzip;q=0, *", False), ("", False), ("gzip;q=nonsense", False)),
    ],
)
def test_answers_are_gzip_for_those_who_ask_for_it(
    service: ServiceProcess, accepted: str, packed: bool
) -> None:
    many = json.dumps({"rows": [ROW] * 500}).encode()
    for path in ("/v1/toy/predict", "/v1/toy/predict?log=false", "/openapi.json"):
        headers = {**JSON, "accept-encoding": accepted}
        answer = service.client.request(
            "GET" if "openapi" in path else "POST", path, content=many, headers=headers
        )
        assert answer.status_code == 200
        told = [answer.headers.get(name) for name in ("content-encoding", "vary")]
        assert told == (["gzip", "Accept-Encoding"] if packed else [None, None])
        assert answer.json()


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8", "us-ascii"])
@pytest.mark.parametrize("path", ["/v1/toy/predict", "/invocations"])
def test_utf_8_may_be_named_in_any_way(service: ServiceProcess, path: str, charset: str) -> None:
    if path == "/invocations" and charset == "us-ascii":
        return
    body = {"dataframe_records": [ROW]} if path == "/invocations" else {"rows": [ROW]}
    told = {"content-type": f"application/json; charset={charset}"}
    assert (
        service.client.post(path, content=json.dumps(body).encode(), headers=told).status_code
        == 200
    )


@pytest.mark.parametrize(
    "charset", ["iso-8859-1", "utf-16", "Windows-1252", "nonsense", "utf-8; charset=latin-1"]
)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/toy/predict", "application/json"),
        ("/v1/toy/predict", "text/csv"),
        ("/invocations", "text/csv"),
        ("/v1/toy/feedback", "application/json"),
    ],
)
def test_another_alphabet_is_refused_by_name(
    service: ServiceProcess, path: str, kind: str, charset: str
) -> None:
    answer = service.client.post(
        path, content=b'{"rows": []}', headers={"content-type": f"{kind}; charset={charset}"}
    )
    assert answer.status_code == 415 and "charset" in answer.text


def test_after_all_this_nothing_unforeseen_is_in_the_log(service: ServiceProcess) -> None:
    assert "Traceback" not in service.output.read_text()
