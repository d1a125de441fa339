"""Create the missing PostgreSQL databases that the settings name: RDS creates only one.

    python -m deployments.servers.databases

With ``LAUREL_DATABASE_ADMIN`` each database also gets an owner: the user of its URL, with the URL's
password. Other users of the server cannot connect to it, and what the administrator owned in it
before is handed over. A second run changes nothing. Settings that name another kind of database are
left alone."""

import asyncio
import hashlib
import hmac
import secrets
import sys
from base64 import b64encode

import asyncpg
from pydantic import SecretStr, ValidationError
from sqlalchemy.engine import URL, make_url

from blocks.settings import Settings

# Every PostgreSQL server has it; a database can be created only from another database.
MAINTENANCE = "postgres"
# Both services prepare at the same time; with this lock of the maintenance database they take
# turns.
_LOCK = 0x1A03E1
_ROUNDS = 4096  # PostgreSQL's own number

# What the administrator made in the current database outside of extensions. Indexes follow their
# table, and so do sequences of columns.
_OWNED = """
SELECT format('ALTER %s %s.%I OWNER TO ', CASE relkind
  WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
         ELSE 'TABLE' END, relnamespace::regnamespace, relname)
  FROM pg_class c
 WHERE relkind IN ('r', 'p', 'S', 'v', 'm') AND relowner = $1::regrole
   AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
   AND NOT EXISTS (SELECT FROM pg_depend
     WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i', 'e'))
UNION ALL
SELECT format('ALTER TYPE %s.%I OWNER TO ', typnamespace::regnamespace, typname)
  FROM pg_type t
 WHERE typtype IN ('e', 'd') AND typowner = $1::regrole
   AND typnamespace::regnamespace::text !~ '^(pg_|information_schema)'
   AND NOT EXISTS (SELECT FROM pg_depend
     WHERE classid = 'pg_type'::regclass AND objid = t.oid AND deptype = 'e')
"""


async def make_missing(urls: list[URL], administrator: URL | None = None) -> list[str]:
    """Names of the databases that were created. Raises ``OSError`` or ``asyncpg.PostgresError`` if
    a server refuses.
    """
    created = []
    for url in urls:
        connection = await _connect(administrator or url, MAINTENANCE)
        try:
            await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
            if administrator:
                await _make_user(connection, url)
            if url.database and not await connection.fetchval(
                "SELECT 1 FROM pg_database WHERE datname = $1", url.database
            ):
                owner = f" OWNER {_quoted(url.username or '')}" if administrator else ""
                await connection.execute(f"CREATE DATABASE {_quoted(url.database)}{owner}")
                created.append(url.database)
            if administrator:
                await _hand_over(connection, url, administrator)
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            pass  # another client without the lock was quicker
        finally:
            await connection.close()
    return created


async def _make_user(connection: asyncpg.Connection, url: URL) -> None:
    """Create the user of the URL, or give it the URL's password.

    The administrator becomes a member of its role: only a member may hand a database over to it.
    """
    name = _quoted(url.username or "")
    exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", url.username)
    verb = "ALTER" if exists else "CREATE"
    # The server may log statements: it gets its stored form of the password, and not the password.
    await connection.execute(f"{verb} ROLE {name} LOGIN PASSWORD '{_verifier(url.password or '')}'")
    await connection.execute(f"GRANT {name} TO CURRENT_USER")


async def _hand_over(connection: asyncpg.Connection, url: URL, administrator: URL) -> None:
    """Give the database, and what the administrator has in it, to the user of the URL; nobody else
    may connect.
    """
    database, owner = _quoted(url.database or ""), _quoted(url.username or "")
    await connection.execute(f"ALTER DATABASE {database} OWNER TO {owner}")
    await connection.execute(f"REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC")
    database_connection = await _connect(administrator, url.database or "")
    try:
        # Since PostgreSQL 15 the database's owner owns it by default.
        await database_connection.execute(f"GRANT ALL ON SCHEMA public TO {owner}")
        for (statement,) in await database_connection.fetch(_OWNED, administrator.username):
            await database_connection.execute(f"{statement}{owner}")
    finally:
        await database_connection.close()


def _verifier(password: str) -> str:
    """What PostgreSQL keeps instead of the password (RFC 5803)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (
        b64encode(part).decode() for part in (salt, stored, server)
    )
    return f"SCRAM-SHA-256${_ROUNDS}:{salt_text}${stored_text}:{server_text}"


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


async def _connect(url: URL, database: str) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=url.host,
        port=url.port or 5432,
        user=url.username,
        password=url.password,
        database=database,
    )


def addresses(settings: Settings) -> list[URL]:
    """URLs of the PostgreSQL databases that the settings name."""
    stores: list[SecretStr | None] = [
        settings.prefect_database,
        settings.mlflow_store,
        settings.mlflow_auth_store,
        settings.search_database,
    ]
    urls = [make_url(secret.get_secret_value()) for secret in stores if secret]
    return [url for url in urls if url.get_backend_name() == "postgresql"]


def main() -> None:
    """Exits with 1 and the reason if a server cannot be reached or refuses."""
    try:
        settings = Settings.read()
        urls = addresses(settings)
        administrator = (
            make_url(settings.database_admin.get_secret_value())
            if settings.database_admin
            else None
        )
        created = asyncio.run(make_missing(urls, administrator))
    except (ValidationError, OSError, asyncpg.PostgresError) as error:
        sys.exit(f"The databases cannot be created: {error}")
    print(f"Created: {', '.join(created)}." if created else f"All {len(urls)} databases exist.")


if __name__ == "__main__":
    main()
