"""``python -m deployments.servers.databases`` on a real PostgreSQL without Laurel's databases."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from blocks.settings import REPOSITORY
from tests.compose.images import database_images
from tests.containers.container import docker
from tests.fixtures.processes import wait_until

NAMES = ("prefect", "mlflow", "mlflow_auth")


@pytest.fixture(scope="module")
def server(engine: None) -> Iterator[str]:
    """``user:password@host:port`` of an empty PostgreSQL."""
    container = docker(
        "run",
        "--detach",
        "--publish",
        "127.0.0.1::5432",
        "--env=POSTGRES_PASSWORD=only-here",
        database_images()["POSTGRES_IMAGE"],
    ).strip()
    try:
        # The server that prepares the data does not listen on TCP.
        wait_until(lambda: is_ready(container), "PostgreSQL answers")
        yield f"postgres:only-here@{docker('port', container, '5432').splitlines()[0]}"
    finally:
        docker("rm", "--force", "--volumes", container)


def is_ready(container: str) -> bool:
    command = ["docker", "exec", container, "pg_isready", "--host", "127.0.0.1"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make(server: str, prefix: str = "") -> subprocess.CompletedProcess[str]:
    urls = {
        "LAUREL_PREFECT_DATABASE": f"postgresql+asyncpg://{server}/{prefix}prefect",
        "LAUREL_MLFLOW_STORE": f"postgresql://{server}/{prefix}mlflow",
        "LAUREL_MLFLOW_AUTH_STORE": f"postgresql://{server}/{prefix}mlflow_auth",
    }
    command = [sys.executable, "-m", "deployments.servers.databases"]
    return subprocess.run(
        command,
        env={**os.environ, **urls},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_databases_are_made_once(server: str) -> None:
    first, second = make(server), make(server)
    assert first.stdout == f"Created: {', '.join(NAMES)}.\n", first.stderr
    assert second.stdout == "All 3 databases exist.\n", second.stderr


def test_two_at_the_same_time_both_end_well(server: str) -> None:
    with ThreadPoolExecutor() as both:
        ended = list(both.map(make, [server, server], ["new_", "new_"]))
    assert [process.returncode for process in ended] == [0, 0], [
        process.stderr for process in ended
    ]


def test_a_server_that_refuses_is_named(server: str) -> None:
    refused = make(server.replace("only-here", "wrong"))
    assert refused.returncode == 1
    assert "password authentication failed" in refused.stderr
    assert "wrong" not in refused.stderr
