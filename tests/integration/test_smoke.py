"""The smoke request of a deployment, against a real service: what passes, and what must not."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deployments.checks.smoke import SmokeFailed, judge_answer, main
from tests.fakes.registry import RegistryServer
from tests.fixtures.api_keys import put_key
from tests.fixtures.packages import OUTPUTS, write_package
from tests.fixtures.processes import ServiceProcess, free_port


@pytest.fixture
def service(
    tmp_path: Path, mlflow: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServiceProcess]:
    monkeypatch.setenv("LAUREL_MLFLOW_URL", mlflow.url)
    with ServiceProcess(tmp_path, mlflow.url) as process:
        process.wait_for_version("1")
        yield process


def url(service: ServiceProcess) -> str:
    return f"http://127.0.0.1:{service.port}"


def test_champion_that_answers_passes_and_nothing_gets_into_the_prediction_log(
    service: ServiceProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["toy", "--url", url(service), "--version", "1", "--timeout-seconds", "0"]) == 0
    assert capsys.readouterr().out.startswith("toy: version 1 answers, 2 rows, scores 0.")
    assert main(["toy", "--url", url(service), "--timeout-seconds", "0"]) == 0
    assert (
        service.describe()["log"]["rows_waiting"] + service.describe()["log"]["rows_uploaded"] == 0
    )


def test_another_version_than_the_expected_one_does_not_pass(
    service: ServiceProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["toy", "--url", url(service), "--version", "2", "--timeout-seconds", "0"]) == 1
    assert "toy: version 1 answered, not 2" in capsys.readouterr().err


def test_new_version_is_waited_for(service: ServiceProcess, mlflow: RegistryServer) -> None:
    mlflow.crown("toy", 2)
    assert main(["toy", "--url", url(service), "--version", "2", "--timeout-seconds", "30"]) == 0


def test_use_case_that_the_service_does_not_serve_is_refused_at_once(
    service: ServiceProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["other", "--url", url(service), "--timeout-seconds", "600"]) == 1
    assert "Add the use case to LAUREL_SERVING_USE_CASES" in capsys.readouterr().err


def test_service_that_is_away_does_not_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toy", "--url", f"http://127.0.0.1:{free_port()}", "--timeout-seconds", "0"]) == 1
    assert "does not answer /v1/toy" in capsys.readouterr().err


def test_service_that_asks_for_a_key_passes_with_one_and_not_without(
    tmp_path: Path,
    mlflow: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = put_key(tmp_path / "keys.json")
    with ServiceProcess(
        tmp_path, mlflow.url, serving_require_keys=True, serving_keys_file=tmp_path / "keys.json"
    ) as process:
        assert main(["toy", "--url", url(process), "--timeout-seconds", "600"]) == 1
        assert "Set LAUREL_SERVING_KEY" in capsys.readouterr().err
        monkeypatch.setenv("LAUREL_SERVING_KEY", key)
        assert (
            main(["toy", "--url", url(process), "--version", "1", "--timeout-seconds", "30"]) == 0
        )
    assert key not in "".join(capsys.readouterr())


def test_stack_on_which_nobody_was_crowned_passes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        RegistryServer(tmp_path / "artifacts") as empty,
        ServiceProcess(tmp_path, empty.url) as process,
    ):
        monkeypatch.setenv("LAUREL_MLFLOW_URL", empty.url)
        monkeypatch.setenv("LAUREL_SERVING_USE_CASES", "toy")
        assert main(["--url", url(process), "--timeout-seconds", "0"]) == 0
        assert capsys.readouterr().out == "toy: the service answers; there was no champion yet\n"
        assert main(["toy", "--version", "1", "--url", url(process), "--timeout-seconds", "0"]) == 1


def test_crowned_champion_that_the_service_cannot_load_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with RegistryServer(tmp_path / "artifacts") as registry:
        registry.register("toy", 1, lambda folder: write_package(folder)[::-1])
        registry.crown("toy", 1)
        monkeypatch.setenv("LAUREL_MLFLOW_URL", registry.url)
        with ServiceProcess(tmp_path, registry.url) as process:
            assert main(["toy", "--url", url(process), "--timeout-seconds", "0"]) == 1
    assert "the service has no champion yet, last error:" in capsys.readouterr().err


GOOD = {"id": "a", "score": 0.5, "decision": True}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"model_version": "1", "predictions": []}, "0 predictions for 1 rows"),
        ({"model_version": "1", "predictions": [GOOD, GOOD]}, "2 predictions for 1 rows"),
        ({"model_version": "1", "predictions": [{**GOOD, "score": 1.2}]}, "not a prediction"),
        (
            {"model_version": "1", "predictions": [{**GOOD, "score": float("nan")}]},
            "not a prediction",
        ),
        ({"model_version": "1", "predictions": [{**GOOD, "score": None}]}, "not a prediction"),
        ({"model_version": "1", "predictions": [{**GOOD, "decision": "yes"}]}, "not a prediction"),
        ({"predictions": [GOOD]}, "version None answered, not 1"),
    ],
)
def test_answer_that_is_none_does_not_pass(answer: dict[str, object], said: str) -> None:
    with pytest.raises(SmokeFailed, match=said):
        judge_answer("toy", "1", 1, answer, msgspec.to_builtins(OUTPUTS))
