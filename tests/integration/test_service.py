"""The service as a user starts it, against a registry, a lake and callers that behave and
misbehave.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.registry import RegistryServer
from tests.fixtures.packages import expected_score
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.toy_services import toy_service

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0, "time_hour": "2013-06-01T15:00:00"}
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for all tests that only ask it something."""
    with toy_service(tmp_path_factory.mktemp("shared")) as service:
        yield service


def test_predictions_and_feedback_reach_the_lake(mlflow: RegistryServer, tmp_path: Path) -> None:
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        answer = service.predict(ROW, {**ROW, "carrier": "unheard of", "wind": None})
        assert (answer["model_version"], answer["use_case"]) == ("1", "toy")
        first, second = answer["predictions"]
        assert first["score"] == pytest.approx(expected_score(ROW, bias=1.0), rel=1e-5)
        assert first["decision"] is True
        labels = [
            {"id": first["id"], "label": 1, "event_time": ROW["time_hour"]},
            {"id": second["id"], "label": False},
        ]
        accepted = service.client.post("/v1/toy/feedback", json={"feedback": labels})
        assert accepted.json() == {"accepted": 2}
        service.wait_until_uploaded()
        logged = {row["id"]: row for row in service.in_lake("predictions")}
        assert {row["id"]: row["label"] for row in service.in_lake("feedback")} == {
            first["id"]: True,
            second["id"]: False,
        }
        assert (
            logged[first["id"]]["score"] == first["score"] and logged[second["id"]]["wind"] is None
        )
        assert len(list((service.lake / "predictions" / "toy" / "date=2013-06-01").iterdir())) == 1
        assert len(list((service.lake / "feedback" / "toy").iterdir())) == 2


def test_smoke_requests_are_answered_and_not_logged(shared: ServiceProcess) -> None:
    before = shared.describe()["log"]
    assert len(shared.predict(ROW, log="false")["predictions"]) == 1
    after = shared.describe()["log"]
    assert (
        before["rows_waiting"] + before["rows_uploaded"]
        == after["rows_waiting"] + after["rows_uploaded"]
    )


def test_a_swap_under_traffic_fails_no_request_and_both_versions_answer(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    seen: list[tuple[str, float]] = []
    failed: list[str] = []
    over = threading.Event()

    def call(address: str) -> None:
        with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
            while not over.is_set():
                answer = client.post("/v1/toy/predict", json={"rows": [ROW]})
                if answer.status_code != 200:
                    failed.append(answer.text)
                    continue
                said = answer.json()
                seen.append((said["model_version"], said["predictions"][0]["score"]))

    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        callers = [
            threading.Thread(target=call, args=(str(service.client.base_url),)) for _ in range(4)
        ]
        for caller in callers:
            caller.start()
        for crowned in (2, 1, 2):
            mlflow.crown("toy", crowned)
            service.wait_for_version(str(crowned))
            reached = len(seen) + 50
            wait_until(
                lambda reached=reached: len(seen) > reached, "some more requests are answered"
            )
        over.set()
        for caller in callers:
            caller.join()
        service.wait_until_uploaded()
        said = service.describe()
        logged = service.in_lake("predictions")
    assert not failed
    scores = {version: expected_score(ROW, bias=float(version)) for version in ("1", "2")}
    assert {version for version, _ in seen} == {"1", "2"}
    assert all(score == pytest.approx(scores[version], rel=1e-5) for version, score in seen)
    assert said["traffic"]["requests"] == said["traffic"]["rows"] == len(seen) == len(logged)
    assert all(
        row["score"] == pytest.approx(scores[row["model_version"]], rel=1e-5) for row in logged
    )


def test_a_flipped_byte_in_the_model_keeps_the_old_champion_and_is_said(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    model = mlflow.package_folder("toy", 2) / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        mlflow.crown("toy", 2)
        wait_until(lambda: service.describe()["last_error"] is not None, "the refusal is told")
        said = service.describe()
        assert said["version"] == "1" and said["alias"]["version"] == "2"
        assert "model.onnx was changed" in said["last_error"]
        assert service.predict(ROW)["model_version"] == "1"
        assert metric(service, "laurel_swap_failures_total", use_case="toy", reason="package") >= 1


def test_with_the_registry_away_at_the_start_the_last_good_champion_serves(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
    with ServiceProcess(tmp_path, NOWHERE) as service:
        assert service.client.get("/ready").status_code == 200
        assert service.predict(ROW)["model_version"] == "1"
        wait_until(
            lambda: "cannot be reached" in str(service.describe()["last_error"]),
            "the registry's absence is told",
        )


@pytest.mark.nightly("as in test_prediction_log.py")
def test_what_was_acknowledged_before_a_kill_is_uploaded_after_the_restart(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    service = ServiceProcess(tmp_path, mlflow.url, log_flush_seconds=2)
    with service:
        service.wait_for_version("1")
        service.predict(ROW)
        service.wait_until_uploaded()  # so that the kill comes early in the life of a segment
        ids = [said["id"] for _ in range(40) for said in service.predict(ROW, ROW)["predictions"]]
        service.client.post(
            "/v1/toy/feedback", json={"feedback": [{"id": ids[0], "label": 1}]}
        ).raise_for_status()
        assert service.end(signal.SIGKILL) == -signal.SIGKILL
        service.start()
        service.wait_until_uploaded()
        assert set(ids) <= {row["id"] for row in service.in_lake("predictions")}
        assert [row["id"] for row in service.in_lake("feedback")] == [ids[0]]


def test_an_ordinary_stop_uploads_what_waits(mlflow: RegistryServer, tmp_path: Path) -> None:
    with ServiceProcess(tmp_path, mlflow.url, log_flush_seconds=3600) as service:
        service.wait_for_version("1")
        (said,) = service.predict(ROW)["predictions"]
        assert service.describe()["log"]["rows_waiting"] == 1
        service.end(signal.SIGTERM)
        assert [row["id"] for row in service.in_lake("predictions")] == [said["id"]]
        assert "Traceback" not in service.output.read_text()


@pytest.mark.nightly("waits for real seconds")
def test_while_the_lake_is_away_answers_go_out_and_rows_arrive_later(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.lake.write_text("a file where the lake should be")
        service.wait_for_version("1")
        ids = [service.predict(ROW)["predictions"][0]["id"] for _ in range(5)]
        wait_until(
            lambda: service.describe()["log"]["last_error"] is not None,
            "the lake's absence is told",
        )
        assert service.describe()["log"]["rows_waiting"] == 5
        service.lake.unlink()
        service.wait_until_uploaded()
        assert sorted(row["id"] for row in service.in_lake("predictions")) == ids


def test_without_a_champion_predictions_wait_and_feedback_does_not(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    del mlflow.champions["toy"]
    with ServiceProcess(tmp_path, mlflow.url) as service:
        assert service.client.get("/health").status_code == 200
        for answer in (
            service.client.post("/v1/toy/predict", json={"rows": [ROW]}),
            service.client.get("/ready"),
        ):
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
            assert "toy" in answer.json()["error"]["message"]
        assert (
            service.client.post(
                "/v1/toy/feedback", json={"feedback": [{"id": "a", "label": 0}]}
            ).status_code
            == 200
        )
        # A number or a class may be right, of a champion that is not known yet.
        unknown = service.client.post(
            "/v1/toy/feedback", json={"feedback": [{"id": "a", "label": 3.5}]}
        )
        assert unknown.status_code == 503 and "no champion" in unknown.text
        wait_until(lambda: service.describe()["last_error"] is not None, "the reason is told")
        assert service.describe()["version"] is None
        mlflow.crown("toy", 1)
        service.wait_for_version("1")
        assert service.client.get("/ready").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/v1/toy/predict", b"{", {}, 400, "malformed_json"),
        ("/v1/toy/predict", b"", {}, 400, "malformed_json"),
        ("/v1/toy/predict", b'{"rows": []}', {}, 422, "invalid_input"),
        ("/v1/toy/predict", b'{"rows": [{"distance": NaN}]}', {}, 422, "invalid_input"),
        ("/v1/toy/predict", b'{"rows": [{"distance": 1, "extra": 1}]}', {}, 422, "invalid_input"),
        ("/v1/toy/predict?log=perhaps", b'{"rows": [{"distance": 1}]}', {}, 422, "invalid_input"),
        (
            "/v1/toy/predict",
            b"<rows/>",
            {"content-type": "application/xml"},
            415,
            "unsupported_media_type",
        ),
        (
            "/v1/toy/predict",
            b"distance,wind\n-1,2",
            {"content-type": "text/csv"},
            422,
            "invalid_input",
        ),
        (
            "/v1/toy/predict",
            b"\x1f\x8b",
            {"content-encoding": "gzip"},
            415,
            "unsupported_media_type",
        ),
        ("/v1/toy/predict", b" " * (16 * 2**20 + 1), {}, 413, "body_too_large"),
        ("/v1/flight/predict", b'{"rows": [{"distance": 1}]}', {}, 404, "unknown_use_case"),
        ("/v1/flight/feedback", b"{}", {}, 404, "unknown_use_case"),
        (
            "/v1/toy/feedback",
            b'{"feedback": [{"id": "a", "label": "yes"}]}',
            {},
            422,
            "invalid_input",
        ),
        ("/v1/toy", b"{}", {}, 405, "method_not_allowed"),
        ("/v3/models/toy/infer", b"{}", {}, 404, "not_found"),
    ],
)
def test_a_bad_request_is_refused_in_one_shape(
    shared: ServiceProcess, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = shared.client.post(
        path, content=body, headers={"content-type": "application/json"} | headers
    )
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.headers["x-request-id"]


def test_a_refusal_names_row_and_field(shared: ServiceProcess) -> None:
    answer = shared.client.post("/v1/toy/predict", json={"rows": [ROW, {**ROW, "distance": 9999}]})
    assert answer.json()["error"] == {
        "code": "invalid_input",
        "message": "Row 1, field 'distance': expected `float` <= 5000.0, got 9999.",
        "row": 1,
        "field": "distance",
    }


def test_an_unknown_use_case_is_answered_with_the_known_ones(shared: ServiceProcess) -> None:
    assert (
        shared.client.get("/v1/flihgts").json()["error"]["message"]
        == "Unknown use case 'flihgts'. Served here: toy."
    )


def test_a_body_of_unknown_length_that_grows_too_large_is_refused(shared: ServiceProcess) -> None:
    pieces = (b" " * 2**20 for _ in range(20))
    answer = shared.client.post(
        "/v1/toy/predict", content=pieces, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


def test_a_caller_that_goes_away_in_the_middle_is_no_failure_of_the_service(
    shared: ServiceProcess,
) -> None:
    with socket.create_connection(("127.0.0.1", shared.port)) as caller:
        head = (
            b"POST /v1/toy/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
            b"application/json\r\nContent-Length: 100\r\n"
        )
        caller.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert caller.recv(100).startswith(b"HTTP/1.1 100 ")  # whose process calls is known by then
        caller.sendall(b"{")
    wait_until(
        lambda: (
            metric(shared, "laurel_requests_total", route="/v1/{use_case}/predict", status="499")
            == 1
        ),
        "it is counted",
    )
    assert "Traceback" not in shared.output.read_text()


def test_many_rows_are_scored_in_order(shared: ServiceProcess) -> None:
    rows = [{**ROW, "distance": number} for number in range(5000)]
    scores = [said["score"] for said in shared.predict(*rows)["predictions"]]
    assert scores == sorted(scores) and len(set(scores)) > 2000
    assert scores[::1000] == pytest.approx(
        [expected_score(row, bias=1.0) for row in rows[::1000]], rel=1e-5
    )


def test_the_caller_s_request_id_comes_back_unless_it_is_unfit(shared: ServiceProcess) -> None:
    assert (
        shared.client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"]
        == "abc-1"
    )
    assert (
        shared.client.get("/health", headers={"x-request-id": "a b<script>"}).headers[
            "x-request-id"
        ]
        != "a b<script>"
    )


def test_metrics_are_those_of_the_traffic(shared: ServiceProcess) -> None:
    before = metric(shared, "laurel_rows_total", use_case="toy")
    shared.predict(ROW, ROW, ROW)
    assert metric(shared, "laurel_rows_total", use_case="toy") == before + 3
    assert metric(shared, "laurel_model_info", use_case="toy", version="1") == 1
    assert metric(shared, "laurel_request_seconds_count", route="/v1/{use_case}/predict") > 0
    assert metric(shared, "laurel_log_rows_waiting", use_case="toy") >= 0


def test_unknown_paths_and_use_cases_make_no_new_series(shared: ServiceProcess) -> None:
    for path in ("/a", "/b", "/v1/c", "/v1/d"):
        shared.client.get(path)
    text = shared.client.get("/metrics").text
    assert not any(f'"{name}"' in text for name in ("/a", "/b", "c", "d", "/v1/c"))


def test_the_champion_is_described_with_an_example_that_can_be_sent(shared: ServiceProcess) -> None:
    said = shared.describe()
    assert (said["version"], said["recipe"], said["trained_through"]) == (
        "1",
        "logistic(1)",
        "2013-03",
    )
    assert [feature["name"] for feature in said["schema"]["features"]] == [
        "carrier",
        "distance",
        "wind",
    ]
    assert said["last_error"] is None
    assert shared.predict(said["example"])["predictions"]
    assert shared.client.get("/v1").json()["use_cases"][0]["use_case"] == "toy"
    assert shared.client.get("/version").json()["laurel"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_outside(shared: ServiceProcess, path: str) -> None:
    page = shared.client.get(path).text
    for reference in ("src=", "@import", "url(", "//cdn", '<link rel="stylesheet"'):
        assert reference not in page


def test_the_openapi_document_has_every_route_and_its_bodies(shared: ServiceProcess) -> None:
    document = shared.client.get("/openapi.json").json()
    assert {
        "/v1/toy/predict",
        "/v1/toy/feedback",
        "/v1/{use_case}",
        "/health",
        "/ready",
        "/metrics",
    } <= set(document["paths"])
    body = document["paths"]["/v1/toy/predict"]["post"]["requestBody"]["content"][
        "application/json"
    ]
    assert body["schema"]["anyOf"][0]["properties"]["rows"]["items"]["required"] == ["distance"]
    assert shared.client.post("/v1/toy/predict", json=body["example"]).status_code == 200


def metric(service: ServiceProcess, name: str, **labels: str) -> float:
    """The sum of the samples with these labels; 0 where there is none."""
    families = text_string_to_metric_families(service.client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())
