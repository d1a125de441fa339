"""``python -m deployments.servers.databases`` on a real PostgreSQL, with an administrator like that
of RDS, which is not a superuser.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from blocks.settings import REPOSITORY
from tests.fixtures.postgres import postgres, program, query

pytestmark = [
    pytest.mark.slow("starts PostgreSQL"),
    pytest.mark.skipif(
        program("initdb") is None,
        reason="needs PostgreSQL's server (Debian: apt-get install postgresql)",
    ),
]
PREFECT, MLFLOW = "pre-fect's", "ml-flow"


@pytest.fixture(scope="module")
def administrator() -> Iterator[str]:
    """``laurel:password@host:port``; the database prefect exists already, as on AWS."""
    with postgres() as login:
        yield login


def login(administrator: str, user: str, password: str) -> str:
    return f"{user}:{password}@{administrator.partition('@')[2]}"


def prepare(
    administrator: str, folder: Path, *, password: str = PREFECT, admin: bool = True
) -> subprocess.CompletedProcess[str]:
    """The command that both services run, here with the settings of both."""
    mlflow = login(administrator, "mlflow", MLFLOW)
    urls = {
        "LAUREL_PREFECT_DATABASE": (
            f"postgresql+asyncpg://{login(administrator, 'prefect', password)}/prefect"
        ),
        "LAUREL_MLFLOW_STORE": f"postgresql://{mlflow}/mlflow",
        "LAUREL_MLFLOW_AUTH_STORE": f"postgresql://{mlflow}/mlflow_auth",
        "LAUREL_STATE": str(folder),
    }
    if admin:
        urls["LAUREL_DATABASE_ADMIN"] = f"postgresql://{administrator}/postgres"
    command = [sys.executable, "-m", "deployments.servers.databases"]
    return subprocess.run(
        command,
        env={**os.environ, **urls},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_program_gets_a_user_who_owns_its_databases_and_reaches_no_other(
    administrator: str, tmp_path: Path
) -> None:
    # As an earlier version left it: the administrator's own tables in Prefect's database.
    query(
        administrator,
        "prefect",
        "CREATE TYPE state AS ENUM ('ready'); CREATE TABLE run (id serial PRIMARY KEY, state "
        "state)",
    )
    with ThreadPoolExecutor() as both:
        ended = list(both.map(lambda _: prepare(administrator, tmp_path), range(2)))
    assert [process.returncode for process in ended] == [0, 0], [
        process.stderr for process in ended
    ]
    # Whoever comes first creates one; nobody creates what is there.
    created = [
        name
        for process in ended
        for name in process.stdout.strip(".\n").partition("Created: ")[2].split(", ")
        if name
    ]
    assert sorted(created) == ["mlflow", "mlflow_auth"]
    owners = dict(
        query(
            administrator,
            "postgres",
            "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname ~ "
            "'flow|prefect'",
        )
    )
    assert owners == {"prefect": "prefect", "mlflow": "mlflow", "mlflow_auth": "mlflow"}
    prefect, mlflow = (
        login(administrator, "prefect", PREFECT),
        login(administrator, "mlflow", MLFLOW),
    )
    query(
        prefect,
        "prefect",
        "ALTER TABLE run ADD COLUMN name text; ALTER TYPE state ADD VALUE 'late'",
    )
    query(prefect, "prefect", "CREATE EXTENSION pg_trgm")
    query(mlflow, "mlflow_auth", "CREATE TABLE users (name text)")
    for user, database in ((prefect, "mlflow"), (mlflow, "prefect")):
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            query(user, database, "SELECT 1")
    for user in (prefect, mlflow):
        with pytest.raises(psycopg2.Error, match="permission denied"):
            query(
                user,
                database="mlflow" if user == mlflow else "prefect",
                statement="CREATE ROLE somebody",
            )


def test_a_new_password_reaches_the_user(administrator: str, tmp_path: Path) -> None:
    assert prepare(administrator, tmp_path, password="changed").returncode == 0
    assert query(login(administrator, "prefect", "changed"), "prefect", "SELECT 1") == [(1,)]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(login(administrator, "prefect", PREFECT), "prefect", "SELECT 1")


def test_no_password_is_in_a_statement_that_the_server_may_log(
    administrator: str, tmp_path: Path
) -> None:
    assert prepare(administrator, tmp_path, password="never-to-be-logged").returncode == 0
    superuser = administrator.replace("laurel:", "rdsadmin:")
    (folder,) = query(superuser, "postgres", "SELECT current_setting('unix_socket_directories')")[0]
    assert "ALTER ROLE" in (log := (Path(str(folder)) / "log").read_text())
    assert "never-to-be-logged" not in log


def test_without_an_administrator_databases_that_are_there_stay_as_they_are(
    administrator: str, tmp_path: Path
) -> None:
    prepare(administrator, tmp_path)
    ended = prepare(administrator, tmp_path, admin=False)
    assert (ended.returncode, ended.stdout) == (0, "All 3 databases exist.\n"), ended


def test_an_administrator_whom_the_server_refuses_is_told_without_a_password(
    administrator: str, tmp_path: Path
) -> None:
    ended = prepare(login(administrator, "laurel", "wrong-one"), tmp_path)
    assert ended.returncode == 1
    assert "password authentication failed" in ended.stderr and "wrong-one" not in ended.stderr
