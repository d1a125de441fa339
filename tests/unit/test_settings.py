import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from blocks import settings as module
from blocks.settings import Settings


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate state folder for the test, named in the environment."""
    for name in [name for name in os.environ if name.startswith("LAUREL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    return tmp_path


def test_the_defaults_are_the_local_stack(state: Path) -> None:
    settings = Settings.read()
    assert settings.state == state
    assert settings.prefect_api_url == "http://127.0.0.1:4200/api"
    assert settings.mlflow_tracking_uri == "http://127.0.0.1:5000"
    assert settings.serving_base_url == "http://127.0.0.1:5001"
    assert settings.s3_endpoint_url == "http://127.0.0.1:8333"
    assert settings.lake == "s3://laurel"


def test_no_secret_has_a_default(state: Path) -> None:
    secrets = [
        name
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    ]
    assert {"s3_access_key", "s3_secret_key", "slack_token"} <= set(secrets)
    assert [getattr(Settings.read(), name) for name in secrets] == [None] * len(secrets)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "env").write_text(
        "LAUREL_S3_PORT=7001\nLAUREL_MLFLOW_PORT=7002\nLAUREL_S3_ACCESS_KEY=of-the-file\n"
    )
    monkeypatch.setenv("LAUREL_S3_PORT", "8001")
    settings = Settings.read()
    assert (settings.s3_port, settings.mlflow_port, settings.prefect_port) == (8001, 7002, 4200)
    assert settings.s3_access_key == SecretStr("of-the-file")


def test_ports_and_host_make_the_addresses(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOST": "127.0.0.2",
        "PREFECT_PORT": "1",
        "MLFLOW_PORT": "2",
        "SERVING_PORT": "3",
        "S3_PORT": "4",
    }.items():
        monkeypatch.setenv(f"LAUREL_{name}", value)
    settings = Settings.read()
    assert [settings.prefect_api_url, settings.mlflow_tracking_uri] == [
        "http://127.0.0.2:1/api",
        "http://127.0.0.2:2",
    ]
    assert [settings.serving_base_url, settings.s3_endpoint_url] == [
        "http://127.0.0.2:3",
        "http://127.0.0.2:4",
    ]


def test_an_address_that_is_given_wins_over_the_port(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "PREFECT_URL": "https://p/api",
        "MLFLOW_URL": "https://m",
        "SERVING_URL": "https://s",
        "S3_ENDPOINT": "https://o",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"LAUREL_{name}", value)
    settings = Settings.read()
    assert [
        settings.prefect_api_url,
        settings.mlflow_tracking_uri,
        settings.serving_base_url,
        settings.s3_endpoint_url,
    ] == list(values.values())


def test_aws_itself_has_no_endpoint(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUREL_S3_ENDPOINT", "aws")
    assert Settings.read().s3_endpoint_url is None


def test_each_wrong_variable_is_named_at_once(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUREL_S3_PORT", "many")
    monkeypatch.setenv("LAUREL_SERVING_POLL_SECONDS", "0")
    monkeypatch.setenv("LAUREL_PROMOTE_TIMEOUT_SECONDS", "-1")
    with pytest.raises(ValidationError) as raised:
        Settings.read()
    assert {error["loc"][0] for error in raised.value.errors()} == {
        "s3_port",
        "serving_poll_seconds",
        "promote_timeout_seconds",
    }


def test_secrets_are_not_shown(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY", "SLACK_TOKEN"):
        monkeypatch.setenv(f"LAUREL_{name}", "hush-hush")
    settings = Settings.read()
    assert settings.slack_token is not None
    assert settings.slack_token.get_secret_value() == "hush-hush"
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hush-hush" not in text


def test_settings_do_not_change(state: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.read().s3_port = 1  # type: ignore[misc]


def test_every_setting_that_is_a_duration_or_an_amount_names_its_unit() -> None:
    numbers = [
        name for name, field in Settings.model_fields.items() if field.annotation in (int, float)
    ]
    assert [
        name
        for name in numbers
        if not name.endswith(
            (
                "_port",
                "_seconds",
                "_days",
                "_rows",
                "_megabytes",
                "_workers",
                "_connections",
                "_requests",
            )
        )
    ] == []


def test_nothing_else_reads_the_environment() -> None:
    """If every module may read the environment, variables multiply: one class is the only
    reader.
    """
    ours = [
        path
        for room in ("flows", "tasks", "blocks", "usecases", "serving")
        for path in (module.REPOSITORY / room).rglob("*.py")
    ]
    assert len(ours) > 30
    readers = [
        path.name
        for path in ours
        if "os.environ" in path.read_text() or "os.getenv" in path.read_text()
    ]
    assert readers == ["settings.py"]
