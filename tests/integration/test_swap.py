"""A new champion under load, with several workers; what keeps it out, and who hears of it; MLflow's
own webhook.
"""

import base64
import json
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from blocks.settings import Settings
from deployments.apply.webhook import NAME, Refused, apply_webhook
from serving.outside.registry import Registry
from serving.package.manifest import MANIFEST, digest
from tests.fakes.registry import RegistryServer
from tests.fakes.slack import SlackServer
from tests.fixtures.callers import Callers
from tests.fixtures.mlflow_server import mlflow_server, register
from tests.fixtures.packages import expected_score, write_package
from tests.fixtures.processes import ServiceProcess, wait_until

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0, "time_hour": "2013-06-01T15:00:00"}
NOWHERE = "http://127.0.0.1:1"
SECRET = "a secret of the test"


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "artifacts") as server:
        for version in range(1, 6):
            server.register(
                "toy", version, lambda folder, bias=version: write_package(folder, bias=float(bias))
            )
        server.crown("toy", 1)
        yield server


def test_swaps_under_load_with_two_workers_fail_no_request(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, mlflow.url, serving_workers=2) as service:
        service.wait_for_version("1", workers=2)
        with Callers(str(service.client.base_url), ROW, 16) as callers:
            for crowned in (2, 3, 4, 5, 4, 5, 1):
                mlflow.crown("toy", crowned)
                service.wait_for_version(str(crowned), workers=2)
                callers.wait_for(100)
        asked = Counter(path for path in mlflow.requests if path.endswith("model.onnx"))
    assert not callers.refused and not callers.broken
    expected = {
        (str(version), round(expected_score(ROW, bias=float(version)), 5))
        for version in range(1, 6)
    }
    assert {(one.version, round(one.score, 5)) for one in callers.predictions} == expected
    assert max(asked.values()) <= 2, (
        "one fetch of each version for both workers; version 1 was pruned and fetched again"
    )


@pytest.mark.nightly("as of one worker in test_service.py")
def test_a_flipped_byte_is_refused_by_all_workers_and_slack_hears_of_it_once(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    model = mlflow.package_folder("toy", 2) / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with (
        SlackServer() as slack,
        ServiceProcess(
            tmp_path,
            mlflow.url,
            serving_workers=2,
            slack_token=slack.token,
            slack_api_url=slack.url,
        ) as service,
    ):
        service.wait_for_version("1", workers=2)
        mlflow.crown("toy", 2)
        wait_until(
            lambda: service.output.read_text().count("Version 2 is refused") == 2,
            "both workers have refused it",
        )
        wait_until(lambda: len(slack.messages) == 1, "Slack is told")
        assert "toy: version 2 cannot be served" in slack.messages[0]["text"]
        said = service.describe()
        assert (
            said["version"] == "1"
            and said["alias"]["version"] == "2"
            and "model.onnx was changed" in said["last_error"]
        )
        assert service.predict(ROW)["model_version"] == "1"
        mlflow.crown("toy", 3)
        service.wait_for_version("3", workers=2)
        assert slack.statuses == [200] and service.describe()["last_error"] is None


@pytest.mark.nightly("as the flipped byte of test_service.py")
def test_a_package_of_another_format_is_refused_and_told(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    manifest = mlflow.package_folder("toy", 2) / MANIFEST
    manifest.write_bytes(
        msgspec.json.encode(msgspec.json.decode(manifest.read_bytes()) | {"format": 99})
    )
    mlflow.versions["toy", 2]["laurel.package_sha256"] = digest(manifest.read_bytes())
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        mlflow.crown("toy", 2)
        wait_until(
            lambda: "format 99" in str(service.describe()["last_error"]), "the refusal is told"
        )
        assert service.predict(ROW)["model_version"] == "1"


@pytest.mark.nightly("as of one worker in test_service.py")
def test_all_workers_start_from_this_disk_with_the_registry_away_and_follow_when_it_is_back(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
    mlflow.broken = True
    with ServiceProcess(tmp_path, mlflow.url, serving_workers=2) as service:
        service.wait_for_version("1", workers=2)
        wait_until(
            lambda: "answers 500" in str(service.describe()["last_error"]),
            "the registry's absence is told",
        )
        mlflow.crown("toy", 2)
        mlflow.broken = False
        service.wait_for_version("2", workers=2)


@pytest.fixture(scope="module")
def calling_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that may call the service, as the local stack's may."""
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    allowed = {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",
    }
    with mlflow_server(
        tmp_path_factory.mktemp("mlflow"), **allowed, MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=key
    ) as url:
        yield url


def settings_of(service: ServiceProcess, mlflow_url: str, secret: str = SECRET) -> Settings:
    given = {
        "mlflow_url": mlflow_url,
        "serving_port": service.port,
        "serving_webhook_secret": SecretStr(secret),
    }
    return Settings.model_validate(given)


def webhooks(url: str) -> list[dict[str, Any]]:
    return httpx.get(f"{url}/api/2.0/mlflow/webhooks", trust_env=False).json().get("webhooks", [])


@pytest.mark.nightly("waits for real seconds")
def test_mlflow_s_webhook_brings_the_champion_to_all_workers_without_a_poll(
    calling_mlflow: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(calling_mlflow)
    versions = [
        register(calling_mlflow, tmp_path / f"package {bias}", bias) for bias in (1.0, -2.0)
    ]
    never = {"serving_workers": 2, "serving_poll_seconds": 3600, "serving_webhook_secret": SECRET}
    with ServiceProcess(tmp_path, calling_mlflow, **never) as service:
        wait_until(lambda: len(service.describe()["workers"]) == 2, "both workers are there")
        settings = settings_of(service, calling_mlflow)
        assert [apply_webhook(settings), apply_webhook(settings)] == ["created", "unchanged"]
        for version in [*versions, versions[0]]:
            client.set_registered_model_alias("toy", "champion", version)
            service.wait_for_version(version, workers=2)
        client.delete_registered_model_alias("toy", "champion")
        wait_until(
            lambda: "Version 1 keeps serving" in str(service.describe()["last_error"]),
            "the alias's absence is told",
        )


def test_the_service_follows_the_alias_of_a_real_mlflow(
    calling_mlflow: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(calling_mlflow)
    client.create_registered_model("of another team")
    with ServiceProcess(tmp_path, calling_mlflow) as service:
        wait_until(
            lambda: service.describe()["last_error"] is not None, "a missing champion is told"
        )
        answers: dict[str, Any] = {}
        for bias in (1.0, -2.0):
            version = register(calling_mlflow, tmp_path / f"package {bias}", bias)
            assert Registry(calling_mlflow).models() == ["toy"]
            client.set_registered_model_alias("toy", "champion", version)
            service.wait_for_version(version)
            answers[version] = (bias, service.predict(ROW)["predictions"][0]["score"])
        assert [score for _, score in answers.values()] == pytest.approx(
            [expected_score(ROW, bias) for bias, _ in answers.values()], rel=1e-5
        )
        client.delete_registered_model_alias("toy", "champion")
        wait_until(
            lambda: "keeps serving" in str(service.describe()["last_error"]),
            "the alias's absence is told",
        )
        assert (
            json.loads((tmp_path / "state" / "serving" / "toy" / "champion.json").read_bytes())[
                "version"
            ]
            == version
        )


def test_the_webhook_is_kept_as_the_settings_want_it(
    calling_mlflow: str, tmp_path: Path, mlflow: RegistryServer
) -> None:
    with ServiceProcess(tmp_path, mlflow.url, serving_webhook_secret="another secret") as service:
        api = f"{calling_mlflow}/api/2.0/mlflow/webhooks"
        settings = settings_of(service, calling_mlflow)
        apply_webhook(settings)
        # The service knows another secret: the test call is refused, and only then is MLflow given
        # the secret again.
        assert apply_webhook(settings) == "updated"
        right = settings_of(service, calling_mlflow, "another secret")
        assert [apply_webhook(right), apply_webhook(right)] == ["updated", "unchanged"]
        for change in ({"status": "DISABLED"}, {"url": "http://127.0.0.1:1/elsewhere"}):
            httpx.patch(
                f"{api}/{webhooks(calling_mlflow)[0]['webhook_id']}", json=change, trust_env=False
            ).raise_for_status()
            assert [apply_webhook(right), apply_webhook(right)] == ["updated", "unchanged"]
        twin = {name: webhooks(calling_mlflow)[0][name] for name in ("name", "url", "events")}
        httpx.post(api, json=twin, trust_env=False).raise_for_status()
        assert apply_webhook(right) in ("updated", "unchanged")
        assert [(one["name"], one["url"]) for one in webhooks(calling_mlflow)] == [
            (NAME, f"http://127.0.0.1:{service.port}/webhooks/mlflow")
        ]


def test_an_mlflow_that_refuses_the_webhook_is_said_to_and_polling_is_enough(
    calling_mlflow: str, tmp_path: Path, mlflow: RegistryServer
) -> None:
    """By default MLflow refuses HTTP as this one refuses FTP."""
    with ServiceProcess(tmp_path, mlflow.url, serving_webhook_secret=SECRET) as service:
        strange = {"serving_url": f"ftp://127.0.0.1:{service.port}"}
        refused = r"answered 400 \(Invalid webhook URL scheme.*found by polling"
        with pytest.raises(Refused, match=refused):
            apply_webhook(settings_of(service, calling_mlflow).model_copy(update=strange))
        for old in (mlflow.url, NOWHERE):
            with pytest.raises(Refused, match="found by polling"):
                apply_webhook(settings_of(service, old))
        service.wait_for_version("1")
