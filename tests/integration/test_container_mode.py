"""The service as a container starts it: a key in its environment, a model in a folder, and
SageMaker's ``serve``; without Docker.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from blocks.settings import REPOSITORY
from serving.keys.file import make_key
from tests.fakes.registry import RegistryServer
from tests.fixtures.packages import expected_score, write_package
from tests.fixtures.processes import ServiceProcess, free_port, start_in_vain, wait_until

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0, "time_hour": "2013-06-01T15:00:00"}
ROWS: dict[str, Any] = {"dataframe_records": [ROW]}
NOWHERE = "http://127.0.0.1:1"
Served = Callable[..., ServiceProcess]


def invoke(service: ServiceProcess, **headers: str) -> httpx.Response:
    return service.client.post("/invocations", json=ROWS, headers=headers)


def bias_of(service: ServiceProcess) -> float:
    """Which of the test's packages answers."""
    (answer,) = invoke(service).json()["predictions"]
    return min((0.0, 1.0, 2.0), key=lambda bias: abs(expected_score(ROW, bias) - answer[1]))


def write_model(folder: Path, bias: float, version: str | None = None) -> Path:
    """A package as SageMaker unpacks it; its registry's version is told where one is given."""
    sha256 = write_package(folder, bias=bias)
    if version is not None:
        (folder / "champion.json").write_bytes(
            msgspec.json.encode({"version": version, "sha256": sha256})
        )
    return folder


@pytest.fixture
def sagemaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """``sagemaker(**settings)``: a service that was started as SageMaker does, on a port that
    SageMaker chose.
    """
    started: list[ServiceProcess] = []

    def start(mlflow_url: str = NOWHERE, **settings: object) -> ServiceProcess:
        service = ServiceProcess(tmp_path, mlflow_url, ("serve",), **settings)
        service._environment["SAGEMAKER_BIND_TO_PORT"] = service._environment.pop(
            "LAUREL_SERVING_PORT"
        )
        del service._environment["LAUREL_LAKE"]
        started.append(service.__enter__())
        return started[-1]

    yield start
    for service in started:
        service.__exit__()


# A key in the service's own environment


def test_with_a_key_in_its_environment_the_service_is_open_on_every_address_to_that_key_alone(
    tmp_path: Path, mlflow: RegistryServer
) -> None:
    key = make_key()
    with ServiceProcess(tmp_path, mlflow.url, host="0.0.0.0", serving_key=key) as service:
        assert service.client.get("/v1/toy").status_code == 401
        assert service.client.get("/v1/toy", headers={"x-api-key": make_key()}).status_code == 401
        service.client.headers["authorization"] = f"Bearer {key}"
        service.wait_for_version("1")
        (answer,) = service.predict(ROW)["predictions"]
        feedback = {"feedback": [{"id": answer["id"], "label": True}]}
        assert service.client.post("/v1/toy/feedback", json=feedback).status_code == 200
        assert service.client.get("/metrics").status_code == 200
        assert list(tmp_path.rglob("keys.json")) == []
        service.end(signal.SIGTERM)
        said = service.output.read_text()
        assert (
            '"key":"environment"' in said
            and key not in said
            and key.removeprefix("laurel_") not in said
        )


@pytest.mark.parametrize(
    "key", ["", "short", "words with spaces are something that people make up"]
)
def test_a_key_that_could_be_guessed_opens_nothing_and_is_not_shown(
    tmp_path: Path, key: str
) -> None:
    code, said = start_in_vain(tmp_path, host="0.0.0.0", serving_key=key)
    assert code == 1 and "Traceback" not in said and "LAUREL_SERVING_KEY" in said
    assert not key or key not in said


# A model in a folder


def test_a_package_in_a_folder_is_served_without_a_registry_and_the_next_one_as_soon_as_it_is_there(
    tmp_path: Path,
) -> None:
    model = write_model(tmp_path / "model", bias=1.0, version="7")
    with ServiceProcess(
        tmp_path, NOWHERE, serving_model_folder=model, serving_use_cases="another"
    ) as service:
        service.wait_for_version("7")
        (answer,) = service.predict(ROW)["predictions"]
        assert answer["score"] == pytest.approx(expected_score(ROW, bias=1.0), rel=1e-5)
        write_model(model, bias=2.0, version="8")
        service.wait_for_version("8")
        assert service.describe()["last_error"] is None
        service.wait_until_uploaded()
        assert [row["model_version"] for row in service.in_lake("predictions")] == ["7"]


def test_a_package_that_is_not_the_one_that_was_packed_is_refused_and_the_old_one_serves_on(
    tmp_path: Path,
) -> None:
    model = write_model(tmp_path / "model", bias=1.0, version="7")
    with ServiceProcess(tmp_path, NOWHERE, serving_model_folder=model) as service:
        service.wait_for_version("7")
        write_package(model, bias=2.0)
        (model / "champion.json").write_bytes(
            msgspec.json.encode({"version": "8", "sha256": "0" * 64})
        )
        wait_until(lambda: service.describe()["last_error"] is not None, "the change is noticed")
        assert (
            "Version 8 is refused: package.json is not the one that was registered"
            in service.describe()["last_error"]
        )
        assert service.describe()["version"] == "7"


def test_a_package_without_a_record_has_its_digest_for_a_version(tmp_path: Path) -> None:
    sha256 = write_package(tmp_path / "model", bias=1.0)
    with ServiceProcess(tmp_path, NOWHERE, serving_model_folder=tmp_path / "model") as service:
        service.wait_for_version(sha256[:12])


def test_where_the_folder_has_no_package_the_service_says_so_and_does_not_start(
    tmp_path: Path,
) -> None:
    code, said = start_in_vain(tmp_path, serving_model_folder=tmp_path / "empty")
    assert code == 1 and "Traceback" not in said
    assert f"There is no model package in {tmp_path / 'empty'}: package.json" in said


# SageMaker


def test_serve_answers_sagemaker_s_two_requests_without_a_key_by_whatever_name_it_is_called(
    sagemaker: Served, tmp_path: Path
) -> None:
    service = sagemaker(serving_model_folder=write_model(tmp_path / "model", bias=1.0, version="7"))
    wait_until(lambda: service.client.get("/ping").status_code == 200, "it is ready")
    assert bias_of(service) == 1.0
    odd = {
        "host": "model.example:8080",
        "x-forwarded-for": "10.0.0.7",
        "x-amzn-sagemaker-custom-attributes": "trace=1",
    }
    assert invoke(service, **odd).status_code == 200
    assert service.client.get("/ping", headers=odd).status_code == 200


def test_serve_opens_nothing_else_and_no_web_page_gets_in(
    sagemaker: Served, tmp_path: Path
) -> None:
    service = sagemaker(serving_model_folder=write_model(tmp_path / "model", bias=1.0))
    wait_until(lambda: service.client.get("/ping").status_code == 200, "it is ready")
    statuses = {
        path: service.client.get(path).status_code
        for path in ("/v1", "/v1/toy", "/metrics", "/v2/models/toy")
    }
    assert set(statuses.values()) == {401}, statuses
    assert service.client.post("/v1/toy/predict", json={"rows": [ROW]}).status_code == 401
    assert service.client.post("/v1/toy/feedback", json={}).status_code == 401
    assert invoke(service, origin="https://elsewhere.example").status_code == 403
    assert invoke(service, **{"sec-fetch-site": "cross-site"}).status_code == 403
    document = service.client.get("/openapi.json").json()["paths"]
    assert (
        document["/invocations"]["post"]["security"] == []
        and "security" not in document["/v1"]["get"]
    )


def test_without_serve_invocations_ask_for_a_key_as_everything_does(
    tmp_path: Path, mlflow: RegistryServer
) -> None:
    with ServiceProcess(tmp_path, mlflow.url, host="0.0.0.0", serving_key=make_key()) as service:
        assert invoke(service).status_code == 401


@pytest.mark.nightly("a further variant")
def test_all_workers_of_serve_answer_alike(sagemaker: Served, tmp_path: Path) -> None:
    service = sagemaker(
        serving_workers=2, serving_model_folder=write_model(tmp_path / "model", bias=1.0)
    )
    wait_until(lambda: service.client.get("/ping").status_code == 200, "it is ready")

    def asked() -> set[int]:
        address = f"{service.client.base_url}/invocations"
        return {
            httpx.post(
                address, json=ROWS, headers={"host": "a.example"}, trust_env=False
            ).status_code
            for _ in range(20)
        }

    wait_until(lambda: asked() == {200}, "both workers are ready")
    assert service.end(signal.SIGTERM) == 0


def test_serve_without_a_model_of_sagemaker_s_follows_the_registry(
    sagemaker: Served, mlflow: RegistryServer
) -> None:
    service = sagemaker(mlflow.url)
    wait_until(lambda: service.client.get("/ping").status_code == 200, "it is ready")
    assert bias_of(service) == 1.0
    mlflow.crown("toy", 2)
    wait_until(lambda: bias_of(service) == 2.0, "the next champion serves")


def test_serve_keeps_no_prediction_log_until_it_is_told_where_the_lake_is(
    sagemaker: Served, tmp_path: Path
) -> None:
    key = make_key()
    service = sagemaker(
        serving_model_folder=write_model(tmp_path / "model", bias=1.0), serving_key=key
    )
    wait_until(lambda: service.client.get("/ping").status_code == 200, "it is ready")
    assert invoke(service).status_code == 200
    service.client.headers["x-api-key"] = key
    (answer,) = service.predict(ROW)["predictions"]
    said = service.describe()["log"]
    assert (said["rows_waiting"], said["rows_dropped"], said["last_error"]) == (0, 0, None)
    assert list(tmp_path.rglob("*.jsonl")) == []
    feedback = service.client.post(
        "/v1/toy/feedback", json={"feedback": [{"id": answer["id"], "label": True}]}
    )
    assert feedback.status_code == 503


def test_serve_logs_to_the_lake_that_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", str(port))
    model = write_model(tmp_path / "model", bias=1.0, version="7")
    service = ServiceProcess(tmp_path, NOWHERE, ("serve",), serving_model_folder=model)
    service.client.base_url = httpx.URL(f"http://127.0.0.1:{port}")
    with service:
        wait_until(lambda: service.client.get("/ping").status_code == 200, "it is ready")
        assert invoke(service).status_code == 200
    assert [row["model_version"] for row in service.in_lake("predictions")] == ["7"]


def test_an_argument_that_nobody_knows_is_told(tmp_path: Path) -> None:
    for argument in ("train", "serve train", "1"):
        code, said = start_in_vain(tmp_path, tuple(argument.split()))
        assert code == 1 and "the only argument is 'serve'" in said


# Docker's health check


def test_the_health_check_tells_a_service_that_answers_from_one_that_does_not(
    tmp_path: Path,
) -> None:
    def check(port: int) -> int:
        return subprocess.run(
            [sys.executable, "-m", "serving.health", str(port)], cwd=REPOSITORY, check=False
        ).returncode

    with ServiceProcess(tmp_path, NOWHERE) as service:
        assert check(service.port) == 0
    assert check(service.port) == 1
    with RegistryServer(tmp_path / "another") as unwell:
        unwell.broken = True  # it answers 500
        assert check(unwell.port) == 1
