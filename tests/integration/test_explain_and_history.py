"""What the page is made of, asked over HTTP: explanations, drift checks with their reports,
decisions.
"""

import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.registry import RegistryServer
from tests.fixtures.api_keys import put_key
from tests.fixtures.lake_records import write_check, write_decision
from tests.fixtures.processes import ServiceProcess, wait_until

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0, "time_hour": "2013-06-01T15:00:00"}


@pytest.fixture(scope="module")
def service(
    registry: RegistryServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    write_check(folder / "lake", "2013-05")
    write_check(folder / "lake", "2013-06", "drifted")
    write_check(folder / "lake", "2013-07", use_case="other")
    write_decision(folder / "lake", "2026-11-21T05:00:00.874+00:00")
    with ServiceProcess(folder, registry.url) as running:
        running.wait_for_version("1")
        yield running


def test_an_explanation_is_of_the_same_score_and_is_not_logged(service: ServiceProcess) -> None:
    before = service.describe()
    said = service.client.post("/v1/toy/explain", json={"rows": [ROW]}).json()
    after = service.describe()
    assert said["score"] == service.predict(ROW, log="false")["predictions"][0]["score"]
    assert said["base"] + sum(
        one["contribution"] for one in said["contributions"]
    ) == pytest.approx(said["score"], abs=1e-6)
    assert {one["field"]: one["value"] for one in said["contributions"]} == {
        "carrier": "AA",
        "distance": 800.0,
        "wind": 3.0,
    }
    assert (said["decision"], said["model_version"], said["use_case"]) == (True, "1", "toy")
    assert before["log"]["rows_waiting"] == after["log"]["rows_waiting"] == 0
    assert before["log"]["rows_uploaded"] == after["log"]["rows_uploaded"]


def test_a_row_of_csv_is_explained_like_the_same_row_of_json(service: ServiceProcess) -> None:
    csv = service.client.post(
        "/v1/toy/explain",
        content=b"carrier,distance,wind\nAA,800,3\n",
        headers={"content-type": "text/csv"},
    )
    assert csv.json() == service.client.post("/v1/toy/explain", json={"rows": [ROW]}).json()


@pytest.mark.parametrize(
    ("path", "content", "status", "told"),
    [
        ("/v1/toy/explain", b'{"rows": []}', 422, "at least"),
        ("/v1/toy/explain", b'{"rows": [{"distance": 1}, {"distance": 2}]}', 422, "at most 1 row"),
        ("/v1/toy/explain", b'{"rows": [{"distance": 9999}]}', 422, "'distance'"),
        ("/v1/toy/explain", b"{", 400, "JSON"),
        ("/v1/train/explain", b'{"rows": [{"distance": 1}]}', 404, "Served here: toy"),
    ],
)
def test_what_cannot_be_explained_is_refused_like_a_prediction(
    service: ServiceProcess, path: str, content: bytes, status: int, told: str
) -> None:
    answer = service.client.post(
        path, content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status and told in answer.json()["error"]["message"]


def test_more_explanations_at_once_than_can_wait_are_told_to_come_again(
    service: ServiceProcess,
) -> None:
    with ThreadPoolExecutor(40) as callers:
        answers = list(
            callers.map(
                lambda _: service.client.post("/v1/toy/explain", json={"rows": [ROW]}), range(200)
            )
        )
    assert Counter(answer.status_code for answer in answers).keys() <= {200, 503}
    assert all(
        int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 503
    )
    assert service.client.post("/v1/toy/explain", json={"rows": [ROW]}).status_code == 200


def test_without_a_champion_nothing_can_be_explained(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path, "http://127.0.0.1:1") as service:
        answer = service.client.post("/v1/toy/explain", json={"rows": [ROW]})
        assert answer.status_code == 503 and "retry-after" in answer.headers


def test_checks_and_decisions_are_listed_with_a_limit(service: ServiceProcess) -> None:
    said = service.client.get("/v1/toy/drift").json()
    assert said["use_case"] == "toy" and [check["window"] for check in said["drift"]] == [
        "2013-06",
        "2013-05",
    ]
    assert [
        check["window"] for check in service.client.get("/v1/toy/drift?limit=1").json()["drift"]
    ] == ["2013-06"]
    (item,) = service.client.get("/v1/toy/decisions").json()["items"]
    assert item["parts"][0]["contest"]["main"]["metric"] == item["metric"] == "roc_auc"


@pytest.mark.parametrize(
    "path", ["/v1/toy/drift?limit=0", "/v1/toy/drift?limit=201", "/v1/toy/decisions?limit=all"]
)
def test_a_limit_that_makes_no_sense_is_refused(service: ServiceProcess, path: str) -> None:
    answer = service.client.get(path)
    assert answer.status_code == 422 and "limit" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/v1/train/drift", "/v1/train/decisions", "/v1/train/drift/2013-06/report"]
)
def test_a_use_case_that_is_not_served_has_no_history(service: ServiceProcess, path: str) -> None:
    assert service.client.get(path).json()["error"]["code"] == "unknown_use_case"


def test_a_report_is_shut_off_from_the_service(service: ServiceProcess) -> None:
    answer = service.client.get(service.client.get("/v1/toy/drift").json()["drift"][0]["report"])
    assert answer.status_code == 200 and "report of 2013-06" in answer.text
    policy = answer.headers["content-security-policy"]
    assert (
        "sandbox allow-scripts;" in policy
        and "default-src 'none'" in policy
        and "allow-same-origin" not in policy
    )
    assert (
        answer.headers["content-type"] == "text/html; charset=utf-8"
        and answer.headers["x-content-type-options"] == "nosniff"
    )


@pytest.mark.parametrize(
    "window",
    [
        "2013-08",
        "..",
        "..%2f..",
        "..%2fother%2f2013-07",
        "%2e%2e/other/2013-07",
        "....//other/2013-07",
        "2013-06%00",
        "%2fetc",
        "%ff",
    ],
)
def test_no_path_leads_to_another_report(service: ServiceProcess, window: str) -> None:
    """Sent as it stands: a client would tidy the path."""
    with socket.create_connection(("127.0.0.1", service.port)) as caller:
        caller.sendall(
            (
                f"GET /v1/toy/drift/{window}/report HTTP/1.1\r\nHost: localhost\r\nConnection: "
                "close\r\n\r\n"
            ).encode()
        )
        answer = b"".join(iter(lambda: caller.recv(65536), b""))
    assert answer.split()[1] == b"404" and b"<title>" not in answer


def test_a_lake_that_is_away_is_told_without_a_path(
    registry: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, registry.url) as service:
        service.wait_for_version("1")
        service.lake.write_text("a file where the lake should be")
        for what in ("drift", "decisions", "drift/2013-06/report"):
            answer = service.client.get(f"/v1/toy/{what}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "lake_away")
            assert "retry-after" in answer.headers and str(tmp_path) not in answer.text
        assert service.predict(ROW)["predictions"]
        service.lake.unlink()
        write_check(service.lake, "2013-06")
        wait_until(
            lambda: service.client.get("/v1/toy/drift").status_code == 200, "the lake is back"
        )
        assert len(service.client.get("/v1/toy/drift").json()["drift"]) == 1


def test_explaining_needs_the_scope_of_predictions_and_history_that_of_operators(
    registry: RegistryServer, tmp_path: Path
) -> None:
    keys = tmp_path / "state" / "serving" / "keys.json"
    keys.parent.mkdir(parents=True)
    write_check(tmp_path / "lake", "2013-06")
    asked = {
        "predict": put_key(keys, name="web"),
        "operate": put_key(keys, name="team", scopes=["operate"]),
        "nobody": "",
    }
    wanted = {
        ("POST", "/v1/toy/explain"): [200, 403, 401],
        ("GET", "/v1/toy/drift"): [403, 200, 401],
        ("GET", "/v1/toy/decisions"): [403, 200, 401],
        ("GET", "/v1/toy/decisions/1"): [403, 404, 401],
        ("GET", "/v1/toy/series"): [403, 200, 401],
        ("GET", "/v1/toy/champions"): [403, 200, 401],
        ("GET", "/v1/toy/drift/2013-06/report"): [403, 200, 401],
        ("GET", "/"): [200, 200, 200],
    }
    with ServiceProcess(tmp_path, registry.url, serving_require_keys=True) as service:
        wait_until(lambda: service.client.get("/ready").status_code == 200, "a champion serves")
        for (method, path), statuses in wanted.items():
            body = {"rows": [ROW]} if method == "POST" else None
            found = [
                service.client.request(
                    method, path, json=body, headers={"x-api-key": key} if key else {}
                ).status_code
                for key in asked.values()
            ]
            assert (path, found) == (path, statuses)
