"""Run Prefect's server as the settings say: its address, its database, and its password.

    python -m deployments.servers.prefect_server

The same command serves the local stack, Compose and ECS. The process becomes ``prefect server
start``."""

import os
import sys
from typing import NoReturn
from urllib.parse import quote

from pydantic import ValidationError

from blocks.settings import Settings
from deployments.servers.environment import environment, prefect_auth
from deployments.servers.errors import OpenServerError
from deployments.servers.passwords import insist_on_prefect

# A live worker ends a run within 30 s, the run's own grace period.
CANCELLING_SECONDS = 60


def command(settings: Settings) -> list[str]:
    return [
        "prefect",
        "server",
        "start",
        "--host",
        settings.host,
        "--port",
        str(settings.prefect_port),
    ]


def variables(settings: Settings) -> dict[str, str]:
    """The server's own variables, in addition to those of every process. Raises
    ``OpenServerError``.
    """
    insist_on_prefect(settings)
    # By default any web page may call the API from a browser, and the worker would run the code of
    # a deployment that it makes.
    origins = {
        f"http://{settings.own_host}:{settings.prefect_port}",
        f"http://localhost:{settings.prefect_port}",
    }
    auth = prefect_auth(settings)
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": _database(settings),
        # A cancelled run whose worker is gone stays "Cancelling" for this long; the default is five
        # minutes.
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "true",
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": str(
            CANCELLING_SECONDS
        ),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(sorted(origins)),
        # The pages call the API by the same host name that they were opened with.
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # The second UI calls amplitude.com on every page, whatever the analytics setting is.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        **({"PREFECT_SERVER_API_AUTH_STRING": auth} if auth else {}),
    }


def _database(settings: Settings) -> str:
    if settings.prefect_database:
        return settings.prefect_database.get_secret_value()
    # Prefect keeps a single connection to a database whose address contains ":memory:". With
    # several connections SQLite answers "database is locked", events are lost and clients wait two
    # seconds before they retry (docs/decisions/0009-prefect-on-sqlite.md).
    file = quote(str(settings.state / "prefect" / "prefect.db"))
    return f"sqlite+aiosqlite:///file:{file}?uri=true&one_connection=:memory:"


def main() -> NoReturn:
    """This process becomes the server, or exits with 1 and the reason."""
    try:
        settings = Settings.read()
        settings = settings.model_copy(update={"state": settings.state.resolve()})
        own = variables(settings)
    except (OpenServerError, ValidationError) as error:
        sys.exit(str(error))
    (settings.state / "prefect").mkdir(mode=0o700, parents=True, exist_ok=True)
    line = [sys.executable, "-m", *command(settings)]
    os.execve(sys.executable, line, {**os.environ, **environment(settings), **own})  # noqa: S606


if __name__ == "__main__":
    main()
