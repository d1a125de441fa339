"""A MariaDB in the state folder: the warehouse of a use case that is read from a database, for the
demo on a machine without one.

It listens on a Unix socket in the state folder, which only the folder's owner may enter, and on no
port. Flows read it as a user who may only select."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from pydantic import SecretStr

from blocks.settings import Settings
from deployments.servers.errors import StackError
from deployments.servers.seaweedfs import remember

FOLDER, DATABASE, READER = "mariadb", "warehouse", "reader"
SOCKET = f"{FOLDER}/sock"
# A Unix socket's path may have 104 bytes on macOS, with the end of the text.
LONGEST_SOCKET = 103
# Debian keeps servers away from a user's PATH.
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")


def is_local(settings: Settings) -> bool:
    """Whether the warehouse of these settings is the MariaDB of their state folder."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if settings.warehouse_url is None:
        return False
    try:
        url = make_url(settings.warehouse_url.get_secret_value())
    except ArgumentError:
        return False  # the flows say what is wrong with it
    return url.query.get("unix_socket") == str(_socket(settings))


def prepare(settings: Settings) -> Settings:
    """The settings in force: a new, empty database in the state folder, and its address in
    ``.laurel/env``. Raises ``StackError`` if MariaDB is not installed, or cannot be set up.
    """
    install = _find("mariadb-install-db")
    _find("mariadbd")
    if len(os.fsencode(_socket(settings))) > LONGEST_SOCKET:
        raise StackError(
            f"The path of MariaDB's socket, {_socket(settings)}, is too long for a Unix socket. "
            "Name a shorter folder: LAUREL_STATE=..."
        )
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    process = subprocess.run(
        [
            install,
            *_own(),
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ],
        cwd=settings.state,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise StackError(
            f"mariadb-install-db failed: {(process.stderr or process.stdout).strip()[-500:]}"
        )
    url = _url(settings, READER, secrets.token_hex(20))
    remember(settings.state, {"LAUREL_WAREHOUSE_URL": url})
    return settings.model_copy(update={"warehouse_url": SecretStr(url)})


def command(settings: Settings) -> list[str]:
    """``mariadbd``, to be run in the state folder."""
    return [
        _find("mariadbd"),
        *_own(),
        "--skip-networking",
        f"--socket={_socket(settings)}",
        f"--pid-file={settings.state.resolve() / FOLDER / 'pid'}",
        "--character-set-server=utf8mb4",
        "--innodb-buffer-pool-size=32M",
    ]


def is_readable(settings: Settings) -> bool:
    """Whether the server answers; its database and the user who reads it are made if missing."""
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    assert settings.warehouse_url
    password = make_url(settings.warehouse_url.get_secret_value()).password
    statements = (
        f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
        f"CREATE OR REPLACE USER {READER}@localhost IDENTIFIED BY :password",
        f"GRANT SELECT ON {DATABASE}.* TO {READER}@localhost",
    )
    engine = create_engine(_url(settings, "root", database=""), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            for statement in statements:
                values = {"password": password} if ":password" in statement else {}
                connection.execute(text(statement), values)
    except DBAPIError:
        return False
    return True


def owner_url(settings: Settings) -> str:
    """The database's address for whoever fills it."""
    return _url(settings, "root")


def _own() -> list[str]:
    """No configuration of this machine, and the data in the state folder, which is the working
    directory: mariadb-install-db fails on an absolute path with a space.
    """
    own = ["--no-defaults", f"--datadir=./{FOLDER}"]
    return [*own, "--user=root"] if os.geteuid() == 0 else own


def _find(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path=os.pathsep.join(_PLACES))
    if path is None:
        raise StackError(
            f"This needs MariaDB, and {program} is not installed. On Debian and Ubuntu: "
            "apt-get install mariadb-server; on macOS: brew install mariadb."
        )
    return path


def _socket(settings: Settings) -> Path:
    return settings.state.resolve() / SOCKET


def _url(
    settings: Settings, user: str, password: str | None = None, database: str = DATABASE
) -> str:
    from sqlalchemy import URL

    url = URL.create(
        "mysql+pymysql",
        user,
        password,
        "localhost",
        database=database,
        query={"unix_socket": str(_socket(settings))},
    )
    return url.render_as_string(hide_password=False)
