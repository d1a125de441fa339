import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from blocks.settings import Settings
from deployments.local import webhook
from deployments.servers import mlflow_server
from deployments.servers.environment import environment


def settings_in(state: Path, **values: object) -> Settings:
    return Settings.model_validate({"state": state, **values})


def test_the_secrets_are_made_once_and_only_their_owner_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    settings = webhook.prepare(Settings.read())
    assert (
        settings.serving_webhook_secret
        and len(settings.serving_webhook_secret.get_secret_value()) == 64
    )
    assert settings.mlflow_webhook_key
    Fernet(settings.mlflow_webhook_key.get_secret_value())  # as MLflow uses it
    assert stat.S_IMODE((tmp_path / "env").stat().st_mode) == 0o600
    again = Settings.read()
    assert (again.serving_webhook_secret, again.mlflow_webhook_key) == (
        settings.serving_webhook_secret,
        settings.mlflow_webhook_key,
    )
    assert webhook.prepare(again) == again


def test_mlflow_and_the_service_are_given_them(tmp_path: Path) -> None:
    settings = webhook.prepare(settings_in(tmp_path))
    assert settings.serving_webhook_secret and settings.mlflow_webhook_key
    mlflow = mlflow_server.variables(settings)
    assert (
        mlflow["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"]
        == settings.mlflow_webhook_key.get_secret_value()
    )
    assert mlflow["MLFLOW_WEBHOOK_ALLOWED_SCHEMES"] == "http,https"
    assert (
        environment(settings)["LAUREL_SERVING_WEBHOOK_SECRET"]
        == settings.serving_webhook_secret.get_secret_value()
    )


@pytest.mark.parametrize(
    "elsewhere", [{"mlflow_url": "http://mlflow:5000"}, {"serving_url": "http://service:5001"}]
)
def test_nobody_makes_a_secret_for_servers_that_run_elsewhere(
    tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    assert webhook.prepare(settings_in(tmp_path, **elsewhere)).serving_webhook_secret is None


def test_a_secret_that_was_given_stays(tmp_path: Path) -> None:
    settings = webhook.prepare(settings_in(tmp_path, serving_webhook_secret="given"))
    assert (
        settings.serving_webhook_secret
        and settings.serving_webhook_secret.get_secret_value() == "given"
    )
    assert "LAUREL_SERVING_WEBHOOK_SECRET" not in (tmp_path / "env").read_text()
