"""Run MLflow's server as the settings say: its address, its databases, its artifact store, and its
users.

    python -m deployments.servers.mlflow_server

The same command serves the local stack, Compose and ECS. With a password MLflow runs its app
``basic-auth``; its administrator has the settings' name and password, which each start sets again.
Other users are created through MLflow's API, and may do nothing until they are granted
permissions."""

import io
import os
import runpy
import secrets
import sys
from configparser import ConfigParser
from typing import NoReturn
from urllib.parse import quote

from pydantic import ValidationError

from blocks.settings import Settings
from deployments.servers.environment import environment
from deployments.servers.errors import OpenServerError
from deployments.servers.passwords import insist_on_mlflow
from deployments.servers.seaweedfs import write_private

# Relative: the server runs in the state folder, whose name may have a special meaning in a URL.
STORE, USERS = "sqlite:///mlflow/mlflow.db", "sqlite:///mlflow/users.db"
AUTHENTICATION = "mlflow/basic_auth.ini"
# Verifying a password takes tens of milliseconds of hashing. The result is cached for this long; a
# change through MLflow's API takes effect at once, since a single process answers.
BELIEVED_SECONDS = 300


def command(settings: Settings) -> list[str]:
    """The arguments of ``mlflow``. They contain no secret: anyone who lists processes can read
    them. Raises ``OpenServerError``.
    """
    insist_on_mlflow(settings)
    # By default four processes answer and more run jobs: 45 s to start, 1.4 GB.
    line = [
        "server",
        "--host",
        settings.host,
        "--port",
        str(settings.mlflow_port),
        "--workers",
        "1",
        "--serve-artifacts",
    ]
    if settings.mlflow_password:
        line += ["--app-name", "basic-auth"]
    return line


def variables(settings: Settings) -> dict[str, str]:
    """The server's own variables, in addition to those of every process."""
    store = settings.mlflow_store.get_secret_value() if settings.mlflow_store else STORE
    values = {
        "MLFLOW_BACKEND_STORE_URI": store,
        # With its own address as tracking store the server would send requests to itself.
        "MLFLOW_TRACKING_URI": store,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # The service is on this machine or this network and speaks HTTP, which MLflow refuses to
        # call by default. The list of webhooks is cached for this many seconds.
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",
        **_artifacts(settings),
        **_names(settings),
    }
    if settings.mlflow_webhook_key:
        # Without it MLflow could not read its own webhooks after a restart.
        values["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] = (
            settings.mlflow_webhook_key.get_secret_value()
        )
    if settings.mlflow_username and settings.mlflow_password:
        values["MLFLOW_AUTH_CONFIG_PATH"] = str(settings.state / AUTHENTICATION)
        values["MLFLOW_AUTH_ADMIN_USERNAME"] = settings.mlflow_username
        values["MLFLOW_AUTH_ADMIN_PASSWORD"] = settings.mlflow_password.get_secret_value()
        # It signs only the form that creates users, and nothing that outlives this process.
        values["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secrets.token_hex(32)
    return values


def _artifacts(settings: Settings) -> dict[str, str]:
    lake = settings.lake.rstrip("/")
    if not lake.startswith("s3://"):
        # MLflow decodes a folder's address, but the lake takes it literally.
        return {
            "MLFLOW_ARTIFACTS_DESTINATION": f"file://{quote(lake.removeprefix('file://'))}/mlflow"
        }
    values = {
        "MLFLOW_ARTIFACTS_DESTINATION": f"{lake}/mlflow",
        "AWS_DEFAULT_REGION": settings.s3_region,
    }
    if settings.s3_endpoint_url:
        values |= {
            "MLFLOW_S3_ENDPOINT_URL": settings.s3_endpoint_url,
            "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
        }
    if settings.s3_access_key and settings.s3_secret_key:
        values |= {"AWS_ACCESS_KEY_ID": settings.s3_access_key.get_secret_value()}
        values |= {"AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value()}
    return values


def _names(settings: Settings) -> dict[str, str]:
    """The host names that MLflow accepts, and the origins of its own pages. Empty if its defaults
    are enough.
    """
    names = [name.strip() for name in settings.mlflow_allowed_hosts.split(",") if name.strip()]
    if (
        settings.is_exposed and settings.host == settings.own_host
    ):  # otherwise it listens on every address, and none is known
        names.append(f"{settings.host}:{settings.mlflow_port}")
    if not names:
        return {}
    from mlflow.server.security_utils import get_default_allowed_hosts

    hosts = [
        *get_default_allowed_hosts(),
        *names,
        *(f"{name}:*" for name in names if ":" not in name),
    ]
    # Complete origins: flask-cors treats an origin with a star as a prefix of any other.
    ports = ("", f":{settings.mlflow_port}")
    addresses = [name if ":" in name else f"{name}{port}" for name in names for port in ports]
    origins = [
        f"{scheme}://{name}" for name in dict.fromkeys(addresses) for scheme in ("http", "https")
    ]
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
    }


def write_authentication(settings: Settings) -> None:
    """Write MLflow's configuration of users. The database's address may contain a password, so only
    the owner may read it.
    """
    users = settings.mlflow_auth_store.get_secret_value() if settings.mlflow_auth_store else USERS
    parser = ConfigParser()
    parser["mlflow"] = {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": users.replace("%", "%%"),
        "auth_cache_ttl_seconds": str(BELIEVED_SECONDS),
    }
    with io.StringIO() as text:
        parser.write(text)
        write_private(settings.state / AUTHENTICATION, text.getvalue())


def take_over_password(settings: Settings) -> None:
    """Give the administrator the settings' password, which MLflow uses only to create the user."""
    from mlflow.server.auth import bootstrap_admin_user, store

    assert settings.mlflow_username and settings.mlflow_password
    name, password = settings.mlflow_username, settings.mlflow_password.get_secret_value()
    bootstrap_admin_user()
    if not store.authenticate_user(name, password, use_primary=True):
        store.update_user(name, password=password, is_admin=True)


def answer_here(line: list[str], extra_env: dict[str, str], **_: object) -> NoReturn:
    """Run the module of ``python -m`` in this process. MLflow's command would start a second one,
    which imports everything again (docs/decisions/0044-one-mlflow-process.md).
    """
    os.environ.update(extra_env)
    sys.argv = line[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    sys.exit()


def main() -> None:
    """Runs until it is stopped; exits with 1 and the reason if it may not run."""
    try:
        settings = Settings.read()
        settings = settings.model_copy(update={"state": settings.state.resolve()})
        line = command(settings)
    except (OpenServerError, ValidationError) as error:
        sys.exit(str(error))
    (settings.state / "mlflow").mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(settings.state)
    os.environ.update({**environment(settings), **variables(settings)})
    if settings.mlflow_password:
        write_authentication(settings)
        take_over_password(settings)
    import mlflow.server
    from mlflow.cli import cli

    mlflow.server._exec_cmd = answer_here  # type: ignore[assignment]
    cli(line, prog_name="mlflow")


if __name__ == "__main__":
    main()
