"""Prefect and MLflow beyond loopback: no access without a password, and no server without one."""

import stat
from configparser import ConfigParser
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.settings import Settings
from deployments.servers import mlflow_server, passwords, prefect_server
from deployments.servers.errors import OpenServerError
from deployments.servers.seaweedfs import weed_command

EXPOSED = ["0.0.0.0", "::", "", "192.0.2.7", "no-such-name.invalid"]
GIVEN = {
    "prefect_auth": SecretStr("us:pre-fect"),
    "mlflow_username": "me",
    "mlflow_password": SecretStr("ml-flow-ml-flow"),
}
SECRETS = ("pre-fect", "ml-flow-ml-flow")


def silent(text: str) -> None:
    raise AssertionError(f"nothing was to be said: {text}")


@pytest.mark.parametrize("host", EXPOSED)
def test_no_server_listens_beyond_loopback_without_a_password(host: str) -> None:
    with pytest.raises(
        OpenServerError, match=r"Prefect's server would listen on .* Set LAUREL_PREFECT_AUTH"
    ):
        prefect_server.variables(Settings(host=host))
    with pytest.raises(
        OpenServerError,
        match=r"MLflow would listen on .* Set LAUREL_MLFLOW_USERNAME and LAUREL_MLFLOW_PASSWORD",
    ):
        mlflow_server.command(Settings(host=host))
    assert (
        prefect_server.variables(Settings(host=host, **GIVEN))["PREFECT_SERVER_API_AUTH_STRING"]
        == "us:pre-fect"
    )
    assert mlflow_server.command(Settings(host=host, **GIVEN))[-2:] == ["--app-name", "basic-auth"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_loopback_nobody_is_asked_unless_a_password_is_given(host: str) -> None:
    assert "PREFECT_SERVER_API_AUTH_STRING" not in prefect_server.variables(Settings(host=host))
    assert "basic-auth" not in mlflow_server.command(Settings(host=host))
    assert "PREFECT_SERVER_API_AUTH_STRING" in prefect_server.variables(
        Settings(host=host, **GIVEN)
    )
    assert "basic-auth" in mlflow_server.command(Settings(host=host, **GIVEN))


def test_a_password_that_mlflow_would_refuse_is_refused_by_the_name_of_its_setting() -> None:
    with pytest.raises(
        OpenServerError, match="LAUREL_MLFLOW_PASSWORD has fewer than 12 characters"
    ) as caught:
        mlflow_server.command(
            Settings(mlflow_username="me", mlflow_password=SecretStr("elevenchars"))
        )
    assert "elevenchars" not in str(caught.value)


def test_no_secret_is_on_a_command_line() -> None:
    urls = {
        name: SecretStr(f"postgresql://laurel:of-the-database@db/{name}")
        for name in ("prefect_database", "mlflow_store")
    }
    settings = Settings(host="0.0.0.0", **GIVEN, **urls)
    lines = " ".join([*prefect_server.command(settings), *mlflow_server.command(settings)])
    assert not [secret for secret in (*SECRETS, "of-the-database") if secret in lines]
    assert (
        mlflow_server.variables(settings)["MLFLOW_BACKEND_STORE_URI"]
        == "postgresql://laurel:of-the-database@db/mlflow_store"
    )


def test_passwords_are_made_once_for_a_stack_that_others_reach_and_only_their_owner_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    monkeypatch.setenv("LAUREL_HOST", "0.0.0.0")
    lines: list[str] = []
    settings = passwords.prepare(Settings.read(), lines.append)
    assert settings.prefect_auth and settings.mlflow_password and settings.serving_key
    secrets = [
        secret.get_secret_value()
        for secret in (settings.prefect_auth, settings.mlflow_password, settings.serving_key)
    ]
    assert settings.mlflow_username and len(set(secrets)) == 3 and min(map(len, secrets)) >= 32
    assert stat.S_IMODE((tmp_path / "env").stat().st_mode) == 0o600
    assert str(tmp_path / "env") in lines[0] and not [
        secret for secret in secrets if secret in lines[0]
    ]
    again = Settings.read()
    assert (again.prefect_auth, again.mlflow_password, again.serving_key) == (
        settings.prefect_auth,
        settings.mlflow_password,
        settings.serving_key,
    )
    assert passwords.prepare(again, silent) == again


def test_nothing_is_made_on_loopback_nor_for_servers_elsewhere_nor_in_place_of_what_was_given(
    tmp_path: Path,
) -> None:
    for settings in (
        Settings(state=tmp_path),
        Settings(state=tmp_path, host="0.0.0.0", **GIVEN, serving_key=SecretStr("k" * 32)),
        Settings(
            state=tmp_path,
            host="0.0.0.0",
            prefect_url="http://p/api",
            mlflow_url="http://m",
            serving_url="http://s",
        ),
    ):
        assert passwords.prepare(settings, silent) == settings
    assert not (tmp_path / "env").exists()


def test_seaweedfs_whose_inner_ports_ask_nobody_stays_on_this_machine() -> None:
    for host in EXPOSED:
        settings = Settings(host=host)
        assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1"} <= set(weed_command(settings))
        assert settings.s3_endpoint_url == "http://127.0.0.1:8333"
    assert "-ip.bind=127.0.0.2" in weed_command(Settings(host="127.0.0.2"))


def test_mlflow_s_file_on_its_users_is_its_owner_s_and_keeps_an_encoded_password_whole(
    tmp_path: Path,
) -> None:
    (tmp_path / "mlflow").mkdir()
    url = "postgresql://laurel:50%25%3Aoff@db/users"
    settings = Settings(state=tmp_path, **GIVEN, mlflow_auth_store=SecretStr(url))
    mlflow_server.write_authentication(settings)
    path = Path(mlflow_server.variables(settings)["MLFLOW_AUTH_CONFIG_PATH"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = ConfigParser()
    read.read(path)
    assert read["mlflow"]["database_uri"] == url
    assert read["mlflow"]["default_permission"] == "NO_PERMISSIONS"
    assert not [secret for secret in SECRETS if secret in path.read_text()]


def test_mlflow_answers_to_the_names_that_are_listed_and_its_pages_may_come_from_there() -> None:
    assert (
        mlflow_server.variables(Settings())
        .keys()
        .isdisjoint({"MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"})
    )
    listed = mlflow_server.variables(
        Settings(host="0.0.0.0", **GIVEN, mlflow_allowed_hosts="mlflow, box.example:8443")
    )
    hosts = listed["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"mlflow", "mlflow:*", "box.example:8443", "localhost:*", "10.*"} <= set(hosts)
    assert not {"box.example", "box.example:*", "*"} & set(hosts)
    origins = listed["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert {"http://mlflow:5000", "https://mlflow", "https://box.example:8443"} <= set(origins)
    assert not [origin for origin in origins if "*" in origin]
    by_default = mlflow_server.variables(Settings(host="192.0.2.7", **GIVEN))
    assert "192.0.2.7:5000" in by_default["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
