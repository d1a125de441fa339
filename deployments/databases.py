"""The PostgreSQL databases that the settings name, made where they are missing: RDS makes one only.

    python -m deployments.databases

Done again it changes nothing. Where a setting names another kind of database, there is nothing to make.
"""

import asyncio
import sys

import asyncpg
from pydantic import SecretStr, ValidationError
from sqlalchemy.engine import URL, make_url

from blocks.settings import Settings

# Every PostgreSQL server has it; a database can be made only from another one.
MAINTENANCE = "postgres"


async def make_missing(urls: list[URL]) -> list[str]:
    """Names of the databases that were made. Raises ``OSError`` or ``asyncpg.PostgresError`` where a server refuses."""
    made = []
    for url in urls:
        connection = await asyncpg.connect(
            host=url.host, port=url.port or 5432, user=url.username, password=url.password, database=MAINTENANCE
        )
        try:
            if url.database and not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", url.database):
                quoted = url.database.replace('"', '""')
                await connection.execute(f'CREATE DATABASE "{quoted}"')
                made.append(url.database)
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            pass  # Prefect and MLflow start at the same time, and the other one was quicker
        finally:
            await connection.close()
    return made


def addresses(settings: Settings) -> list[URL]:
    """Of the databases on PostgreSQL that the settings name."""
    named: list[SecretStr | None] = [settings.prefect_database, settings.mlflow_store, settings.mlflow_auth_store]
    found = [make_url(one.get_secret_value()) for one in named if one]
    return [url for url in found if url.get_backend_name() == "postgresql"]


def main() -> None:
    """Ends with code 1 and the reason where a server cannot be reached or refuses."""
    try:
        urls = addresses(Settings.read())
        made = asyncio.run(make_missing(urls))
    except (ValidationError, OSError, asyncpg.PostgresError) as error:
        sys.exit(f"The databases cannot be made: {error}")
    print(f"Made: {', '.join(made)}." if made else f"All {len(urls)} databases are there.")


if __name__ == "__main__":
    main()
