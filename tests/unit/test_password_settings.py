"""Passwords among the settings: complete or refused by name, and never shown."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks.settings import Settings


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))


@pytest.mark.parametrize(
    "given", ["hush-hush", "hush-hush:", ":hush-hush", "", "user:hüsh-hush", "user:hush-hush\nmore"]
)
def test_a_prefect_auth_that_no_client_could_show_is_refused_and_not_shown(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_PREFECT_AUTH", given)
    with pytest.raises(ValidationError, match="prefect_auth") as caught:
        Settings.read()
    assert "hush" not in str(caught.value)


def test_a_colon_in_prefect_s_password_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUREL_PREFECT_AUTH", "user:with:colons")
    auth = Settings.read().prefect_auth
    assert auth and auth.get_secret_value() == "user:with:colons"


@pytest.mark.parametrize(
    "given",
    [
        {"USERNAME": "me"},
        {"PASSWORD": "hush-hush-hush"},
        {"USERNAME": "me:too", "PASSWORD": "hush-hush-hush"},
    ],
)
def test_half_of_mlflow_s_user_is_refused_and_no_secret_shown(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_S3_SECRET_KEY", "hush-hush of s3")
    for name, value in given.items():
        monkeypatch.setenv(f"LAUREL_MLFLOW_{name}", value)
    with pytest.raises(ValidationError, match="LAUREL_MLFLOW_USERNAME") as caught:
        Settings.read()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["PREFECT_URL", "MLFLOW_URL", "SERVING_URL", "S3_ENDPOINT"])
def test_an_address_with_a_password_in_it_is_refused_and_not_shown(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LAUREL_{name}", "https://me:hush-hush@server.example/api")
    with pytest.raises(ValidationError, match=name.lower()) as caught:
        Settings.read()
    assert "hush" not in str(caught.value)


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = dict.fromkeys(
        ("PREFECT_DATABASE", "MLFLOW_STORE", "MLFLOW_AUTH_STORE"), "postgresql://me:hush-hush@db/x"
    )
    values = {
        "PREFECT_AUTH": "me:hush-hush",
        "MLFLOW_USERNAME": "me",
        "MLFLOW_PASSWORD": "hush-hush-hush",
    }
    for name, value in (values | urls).items():
        monkeypatch.setenv(f"LAUREL_{name}", value)
    settings = Settings.read()
    assert settings.mlflow_store and "hush" in settings.mlflow_store.get_secret_value()
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hush" not in text


def test_a_server_on_every_address_is_reached_by_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, reached in {
        "0.0.0.0": "127.0.0.1",
        "::": "127.0.0.1",
        "192.0.2.7": "192.0.2.7",
    }.items():
        monkeypatch.setenv("LAUREL_HOST", host)
        settings = Settings.read()
        assert settings.is_exposed
        assert (settings.prefect_api_url, settings.mlflow_tracking_uri) == (
            f"http://{reached}:4200/api",
            f"http://{reached}:5000",
        )
