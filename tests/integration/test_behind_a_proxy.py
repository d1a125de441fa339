"""A proxy on the same machine: what a service without keys notices of it, and what one that trusts
it is told.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.registry import RegistryServer
from tests.fixtures.api_keys import put_key
from tests.fixtures.nginx import needs_nginx, proxied
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.raw_http import exchange, read_answers

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}
JSON = {"content-type": "application/json"}
PREFIX = "/models/laurel"


@pytest.fixture(scope="module")
def keyless(
    registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """As a developer starts it."""
    with ServiceProcess(tmp_path_factory.mktemp("keyless"), registry.url) as service:
        service.wait_for_version("1")
        yield service


@pytest.fixture(scope="module")
def published(
    registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """With keys, below a path of the proxy's, which says who its callers are."""
    folder = tmp_path_factory.mktemp("published")
    key = put_key(
        folder / "state" / "serving" / "keys.json",
        name="all",
        scopes=["predict", "feedback", "operate", "decide"],
    )
    settings = {"serving_trusted_proxies": "127.0.0.0/8, 10.0.0.0/8", "serving_path_prefix": PREFIX}
    service = ServiceProcess(folder, registry.url, serving_require_keys=True, **settings)
    service.client.headers["authorization"] = f"Bearer {key}"
    with service:
        service.wait_for_version("1")
        yield service


def get(port: int, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, trust_env=False)


BARE = "location / {{ proxy_pass http://127.0.0.1:{port}; }}"
KEPT = (
    "location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; "
    "proxy_set_header "
    "Connection ''; }}"
)


@needs_nginx
@pytest.mark.parametrize("location", [BARE, KEPT], ids=["proxy_pass alone", "with HTTP/1.1"])
@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root starts nginx for another user, as systems do"
)
def test_a_proxy_of_another_user_opens_no_service_without_keys(
    keyless: ServiceProcess, tmp_path: Path, location: str
) -> None:
    with proxied(tmp_path / "nginx", location.format(port=keyless.port), user="nobody") as port:
        answers = [get(port, path) for path in ("/", "/v1/toy", "/metrics", "/health")]
        answers.append(
            httpx.post(
                f"http://127.0.0.1:{port}/v1/toy/predict", json={"rows": [ROW]}, trust_env=False
            )
        )
    assert [answer.status_code for answer in answers] == [403] * 5
    assert "LAUREL_SERVING_REQUIRE_KEYS=true" in answers[-1].json()["error"]["message"]
    assert keyless.predict(ROW)["model_version"] == "1"


@needs_nginx
def test_nginx_with_proxy_pass_alone_is_told_whoever_runs_it(
    keyless: ServiceProcess, tmp_path: Path
) -> None:
    with proxied(tmp_path / "nginx", BARE.format(port=keyless.port)) as port:
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/toy/predict", json={"rows": [ROW]}, trust_env=False
        )
        assert (answer.status_code, get(port, "/v1/toy").status_code) == (403, 403)
    assert "A proxy forwarded this" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "X-Forwarded-For: 203.0.113.7",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Anything: 1",
            "Forwarded: for=203.0.113.7",
        ),
        *(
            "Via: 1.1 example",
            "X-Real-IP: 203.0.113.7",
            "CF-Connecting-IP: 203.0.113.7",
            "X-Envoy-External-Address: 203.0.113.7",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/v1/toy/predict", "/v1/toy/predict?log=false"])
def test_any_mark_of_a_proxy_is_enough(keyless: ServiceProcess, line: str, path: str) -> None:
    body = json.dumps({"rows": [ROW]})
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{keyless.port}\r\nContent-Type: "
        "application/json\r\nConnection: close\r\n"
    )
    (answer,) = read_answers(
        exchange(
            keyless.port, f"{head}Content-Length: {len(body)}\r\n{line}\r\n\r\n{body}".encode()
        )
    )
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (403, "forbidden")


@needs_nginx
def test_below_a_path_prefix_pages_links_and_document_lead_back_to_it(
    published: ServiceProcess, tmp_path: Path
) -> None:
    key = {"authorization": published.client.headers["authorization"]}
    kept = f"location {PREFIX}/ {{ proxy_pass http://127.0.0.1:{published.port}; }}"
    cut = f"location {PREFIX}/ {{ proxy_pass http://127.0.0.1:{published.port}/; }}"
    for number, location in enumerate((kept, cut)):
        with proxied(tmp_path / f"nginx-{number}", location) as port:
            document = get(port, f"{PREFIX}/openapi.json").json()
            assert document["servers"] == [{"url": PREFIX}]
            assert get(port, f"{PREFIX}/v1/toy", **key).json()["version"] == "1"
            answer = httpx.post(
                f"http://127.0.0.1:{port}{PREFIX}/v1/toy/predict",
                json={"rows": [ROW]},
                headers=key,
                trust_env=False,
            )
            assert answer.status_code == 200
            for page in ("/", "/docs"):
                html = get(port, f"{PREFIX}{page}").text
                links = re.findall(r'href="(/[^"]*)', html)
                assert links and all(link.startswith(f"{PREFIX}/") for link in links)
            assert get(port, f"{PREFIX}/v2/nothing").json().keys() == {"error"}
            assert isinstance(get(port, f"{PREFIX}/v2/nothing").json()["error"], str)


def test_a_prefix_is_never_believed_of_a_request(
    keyless: ServiceProcess, published: ServiceProcess
) -> None:
    claims = {
        "x-forwarded-prefix": "/evil",
        "x-script-name": "/evil",
        "x-forwarded-host": "evil.example",
    }
    assert published.client.get("/openapi.json", headers=claims).json()["servers"] == [
        {"url": PREFIX}
    ]
    assert "servers" not in keyless.client.get("/openapi.json").json()
    assert "evil" not in published.client.get("/", headers=claims).text


def logged_client(service: ServiceProcess, request_id: str) -> str:
    wait_until(
        lambda: f'"{request_id}"' in service.output.read_text(), "the request is in the access log"
    )
    (line,) = (
        line for line in service.output.read_text().splitlines() if f'"id":"{request_id}"' in line
    )
    return json.loads(line)["client"]


@pytest.mark.parametrize("path", ["/v1/toy/predict", "/v1/toy/predict?log=false"])
def test_a_trusted_proxy_s_word_on_its_caller_is_in_the_access_log(
    published: ServiceProcess, path: str
) -> None:
    said = {
        "x-forwarded-for": "198.51.100.1, 203.0.113.7, 10.1.2.3",
        "x-request-id": f"via-{len(path)}",
    }
    assert published.client.post(path, json={"rows": [ROW]}, headers=said).status_code == 200
    assert logged_client(published, f"via-{len(path)}") == "203.0.113.7"


def test_the_word_of_others_is_not(registry: RegistryServer, tmp_path: Path) -> None:
    key = put_key(tmp_path / "state" / "serving" / "keys.json")
    with ServiceProcess(
        tmp_path, registry.url, serving_require_keys=True, serving_trusted_proxies="10.0.0.0/8"
    ) as service:
        told = {
            "authorization": f"Bearer {key}",
            "x-forwarded-for": "203.0.113.7",
            "x-request-id": "spoofed",
        }
        service.client.get("/v1/toy", headers=told)
        assert logged_client(service, "spoofed") == "127.0.0.1"
