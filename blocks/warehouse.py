"""The warehouse: a SQL database that use cases read their rows from. Laurel never writes to it.

A use case defines the rows (``usecases.definition.SqlSource``); the settings have the database's
address and user."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.settings import Settings

if TYPE_CHECKING:
    import polars as pl
    from sqlalchemy import ColumnElement, Engine, Executable, Select, Subquery

BLOCK = "warehouse"
CHUNK_ROWS = 50_000
_DAY = ("year", "month", "day")
_SECOND = timedelta(seconds=1)
# As pyproject.toml pins them: a test holds the two together.
INSTALL_DUCKDB = "Install it: pip install duckdb==2.0.1 duckdb-engine==0.17.0"


class WarehouseAway(ConnectionError):
    """The database is unreachable, or its answer broke off; a retry may help."""


class WarehouseError(RuntimeError):
    """The query is impossible: no such table or column, no driver."""


class Warehouse(Block):
    """A database by its SQLAlchemy URL, read by a column with local dates and times."""

    _block_type_name = "Laurel warehouse"
    _block_type_slug = "laurel-warehouse"
    _description = "The SQL database that use cases with a SqlSource read."

    url: SecretStr = Field(
        description="SQLAlchemy URL, such as mysql+pymysql://reader:...@host/database"
    )
    named: str = Field("LAUREL_WAREHOUSE_URL", description="what people call the URL")

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the warehouse of these settings; ``None`` if they name none."""
        return cls(url=settings.warehouse_url) if settings.warehouse_url else None

    def days(self, query: str, event_time: str) -> list[date]:
        """Return the days that ``query`` has rows of, oldest first. Raises ``WarehouseAway``,
        ``WarehouseError``.
        """
        return sorted(date(*row) for row in self._distinct(query, event_time, *_DAY))

    def hours(self, query: str, event_time: str) -> list[datetime]:
        """Return the begins of the hours that ``query`` has rows of, oldest first. Raises
        ``WarehouseAway``, ``WarehouseError``.
        """
        rows = self._distinct(query, event_time, *_DAY, "hour")
        return sorted(datetime(year, month, day, hour) for year, month, day, hour in rows)

    def _distinct(self, query: str, event_time: str, *names: str) -> list[tuple[int, ...]]:
        """Return the distinct values of these parts of the event times."""
        from sqlalchemy import extract, select

        rows = _rows(query, event_time)
        parts = [extract(part, rows.c[event_time]) for part in names]
        statement = select(*parts).where(rows.c[event_time].is_not(None)).distinct()
        with self._reach(query) as engine, engine.connect() as connection:
            return [tuple(map(int, row)) for row in connection.execute(statement)]

    def read(self, query: str, event_time: str, start: datetime, end: datetime) -> "pl.DataFrame":
        """Fetch every row from ``start`` to before ``end`` in chunks; a frame without columns if
        there is none. Of times that are texts, some from a second before may come too. Raises
        ``WarehouseAway``, ``WarehouseError``.
        """
        import polars as pl
        from sqlalchemy import select, text

        rows = _rows(query, event_time)
        within = self._within(rows.c[event_time], start, end)
        statement = select(text("*")).select_from(rows).where(*within)
        frame = self._fetch(statement, query)
        # A date without a time means midnight.
        return (
            frame.with_columns(pl.col(event_time).cast(pl.Datetime("us")))
            if frame.schema.get(event_time) == pl.Date
            else frame
        )

    def extent(
        self, query: str, event_time: str, start: datetime, end: datetime, cursor: str
    ) -> tuple[int, int, int | float | str | None, int]:
        """Return how many rows there are from ``start`` to before ``end``, how many of them have a
        value in the column ``cursor``, its largest one, and how many have that one. Raises as
        ``read`` does.
        """
        from sqlalchemy import func, select

        rows = _rows(query, event_time, cursor)
        found = rows.c[cursor]
        within = self._within(rows.c[event_time], start, end)
        whole = select(func.count(), func.count(found), func.max(found)).where(*within)
        with self._reach(query) as engine, engine.connect() as connection:
            count, known, largest = connection.execute(whole).one()
            having = select(func.count()).where(*within, found == largest)
            latest = connection.execute(having).scalar_one()
        as_read = largest if isinstance(largest, int | float | None) else str(largest)
        return count, known, as_read, latest

    def _within(self, moment: "ColumnElement[Any]", start: datetime, end: datetime) -> list[Any]:
        # SQLite compares texts, and one without microseconds comes before the same time with them.
        is_text = self.url.get_secret_value().startswith("sqlite")
        return [moment >= (start - _SECOND if is_text else start), moment < end]

    def read_all(self, query: str) -> "pl.DataFrame":
        """Fetch every row of ``query``; otherwise as ``read``."""
        from sqlalchemy import select, text

        return self._fetch(select(text("*")).select_from(_rows(query)), query)

    def chunks(self, query: str) -> "Iterator[pl.DataFrame]":
        """Fetch the rows of ``query`` as they come, 50,000 in a frame; one frame without rows if
        there is none. Raises as ``read`` does, perhaps after some frames.
        """
        from sqlalchemy import text

        # The query itself, and not one around it: that would not keep its order.
        yield from self._stream(text(query.strip().rstrip(";")), query)

    def query_of_table(self, name: str, order: Sequence[str]) -> str:
        """The query that has the rows of a table, perhaps ``schema.table``, in this order."""
        from sqlalchemy import column, select, table, text

        schema, _, own = name.rpartition(".")
        rows = select(text("*")).select_from(table(own, schema=schema or None))
        with self._reach(name) as engine:
            return str(rows.order_by(*map(column, order)).compile(engine))

    def _fetch(self, statement: "Select[Any]", query: str) -> "pl.DataFrame":
        import polars as pl

        chunks = [chunk for chunk in self._stream(statement, query) if len(chunk)]
        if not chunks:
            return pl.DataFrame()
        return pl.concat(chunks, how="vertical_relaxed")

    def _stream(self, statement: "Executable", query: str) -> "Iterator[pl.DataFrame]":
        with (
            self._reach(query) as engine,
            engine.connect().execution_options(yield_per=CHUNK_ROWS) as connection,
        ):
            result = connection.execute(statement)
            names, some = list(result.keys()), False
            for part in result.partitions():
                some = True
                yield _frame([tuple(row) for row in part], names)
            if not some:
                yield _frame([], names)

    @cached_property
    def _engine(self) -> "Engine":
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        url = self.url.get_secret_value()
        # DuckDB locks its file for whoever may write, and a missing one would be made.
        reading = {"read_only": True} if url.startswith("duckdb") else {}
        return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=reading)

    @contextmanager
    def _reach(self, query: str) -> Iterator["Engine"]:
        from sqlalchemy.exc import (
            ArgumentError,
            DBAPIError,
            InterfaceError,
            NoSuchModuleError,
            OperationalError,
        )

        try:
            yield self._engine
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            # The original error may show the URL, and so the password.
            url = self.url.get_secret_value()
            raise WarehouseError(unusable(url, self.named, error)) from None
        except (OperationalError, InterfaceError) as error:
            raise WarehouseAway(
                f"The warehouse did not answer: {error.orig}. The query: {query}"
            ) from error
        except DBAPIError as error:
            raise WarehouseError(
                f"The warehouse rejected the query: {error.orig}. The query: {query}"
            ) from error


def unusable(url: str, named: str, error: Exception) -> str:
    """Return why SQLAlchemy cannot use ``url``, which is not told: it may hold a password."""
    sentence = f"SQLAlchemy cannot use {named} ({type(error).__name__})."
    if url.startswith("duckdb"):
        return f"{sentence} {INSTALL_DUCKDB}"
    return (
        f"{sentence} The URL must begin with the kind of database and its driver, such as "
        "mysql+pymysql:// or postgresql://, and the driver must be installed."
    )


def _rows(query: str, *names: str) -> "Subquery":
    """Return ``query`` as a table to select from, with these columns known by name."""
    from sqlalchemy import column, text

    return (
        text(query.strip().rstrip(";"))
        .columns(*(column(name) for name in names))
        .subquery("laurel_rows")
    )


def _frame(rows: list[tuple[Any, ...]], names: list[str]) -> "pl.DataFrame":
    import polars as pl

    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
