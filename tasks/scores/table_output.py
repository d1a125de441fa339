"""Scores in a table of a SQL database: they are staged in a table of the run's own, a transaction a
chunk, and put into the table that people read in one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from blocks.warehouse import WarehouseAway, unusable
from tasks.scores.request import ScoreError
from tasks.scores.run import Done, Run
from tasks.scores.scorer import ROW, SCORED_AT, VERSION

if TYPE_CHECKING:
    import sqlalchemy as sa

_RUN = "run_id"
_REFUSED, _STAGED = "_refused", "_staged_"


class TableOutput:
    """The table ``name`` of the database at ``url``; refused rows are in ``<name>_refused``, their
    columns as JSON. Each row has the id of its run.

    Tables are made with the first scores. Scores of several runs stand beside each other;
    overwriting replaces those of all earlier runs. A killed run leaves its staged rows, in
    ``<name>_staged_<run>``, which its rerun removes."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._run: Run | None = None
        self._overwrite = False
        self._staged: dict[str, sa.Table] = {}

    @property
    def place(self) -> str:
        return f"table {self._name}"

    @property
    def refused_place(self) -> str:
        return f"table {self._name}{_REFUSED}"

    def begin(self, run: Run, overwrite: bool) -> Done | None:
        import sqlalchemy as sa

        self._run, self._overwrite = run, overwrite
        with self._reach() as engine:
            for ending in ("", _REFUSED):
                self._drop(engine, f"{self._name}{_STAGED}{run.id}{ending}")
            counts, time = [], run.time
            for ending in ("", _REFUSED):
                table = self._existing(engine, f"{self._name}{ending}")
                if table is None:
                    counts.append(0)
                    continue
                self._check_ours(table)
                own = sa.select(sa.func.count(), sa.func.min(table.c[SCORED_AT]))
                with engine.connect() as connection:
                    count, at = connection.execute(own.where(table.c[_RUN] == run.id)).one()
                counts.append(count)
                time = at.replace(tzinfo=UTC) if at else time
        if not any(counts):
            return None
        before = Run(
            id=run.id, use_case=run.use_case, version=run.version, rows=run.rows, time=time
        )
        return Done(before, *counts)

    def write(self, answers: pl.DataFrame, refused: pl.DataFrame) -> None:
        self._write("", answers)
        if len(refused):
            own = (ROW, "reason")
            values = refused.select(pl.exclude(own)).rows(named=True)
            told = pl.Series("inputs", map(_as_json, values), dtype=pl.String)
            assert self._run is not None
            self._write(
                _REFUSED,
                refused.select(
                    ROW,
                    told,
                    "reason",
                    pl.lit(self._run.version).alias(VERSION),
                    pl.lit(self._run.time, pl.Datetime("us", "UTC")).alias(SCORED_AT),
                ),
            )

    def _write(self, ending: str, rows: pl.DataFrame) -> None:
        assert self._run is not None
        rows = _for_sql(rows.with_columns(pl.lit(self._run.id).alias(_RUN)))
        with self._reach() as engine:
            if ending not in self._staged:
                self._staged[ending] = self._make(engine, ending, rows.schema)
            if len(rows):
                with engine.begin() as connection:
                    connection.execute(self._staged[ending].insert(), rows.to_dicts())

    def _make(self, engine: "sa.Engine", ending: str, schema: pl.Schema) -> "sa.Table":
        """The staging table; that of people as well, if it is not there."""
        assert self._run is not None
        name = f"{self._name}{ending}"
        table = self._existing(engine, name)
        if table is None:
            self._table(engine, name, schema).create(engine)
        elif {*table.columns.keys()} != {*schema.names()}:
            raise ScoreError(
                f"The table {name} has the columns {table.columns.keys()}, and these scores have "
                f"{schema.names()}: name another table."
            )
        staged = self._table(engine, f"{self._name}{_STAGED}{self._run.id}{ending}", schema)
        staged.create(engine)
        return staged

    def publish(self, done: Done) -> None:
        import sqlalchemy as sa

        with self._reach() as engine:
            with engine.begin() as connection:
                for ending in ("", _REFUSED):
                    table = self._existing(engine, f"{self._name}{ending}")
                    if table is not None and self._overwrite:
                        connection.execute(table.delete())
                    if table is not None and ending in self._staged:
                        staged = self._staged[ending]
                        names = staged.columns.keys()
                        rows = sa.select(*(staged.c[name] for name in names))
                        connection.execute(table.insert().from_select(names, rows))
            self.discard()

    def discard(self) -> None:
        with self._reach() as engine:
            for table in self._staged.values():
                table.drop(engine, checkfirst=True)
        self._staged = {}

    @cached_property
    def _engine(self) -> "sa.Engine":
        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool

        return sa.create_engine(self._url, poolclass=NullPool, hide_parameters=True)

    @contextmanager
    def _reach(self) -> "Iterator[sa.Engine]":
        from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

        try:
            yield self._engine
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            # The original error may show the URL, and so the password.
            raise ScoreError(unusable(self._url, "the URL of the scores", error)) from None
        except OperationalError as error:
            raise WarehouseAway(
                f"The database of the scores did not answer: {error.orig}"
            ) from error
        except DBAPIError as error:
            raise ScoreError(f"The database refused the scores: {error.orig}") from error

    def _table(self, engine: "sa.Engine", name: str, schema: pl.Schema) -> "sa.Table":
        import sqlalchemy as sa

        place, _, own = name.rpartition(".")
        columns = [
            sa.Column(
                column,
                _sql_type(engine, column, dtype),
                primary_key=column in (_RUN, ROW),
                quote=True,  # a name may be a word of the database that SQLAlchemy does not know
            )
            for column, dtype in schema.items()
        ]
        return sa.Table(own, sa.MetaData(schema=place or None), *columns)

    def _existing(self, engine: "sa.Engine", name: str) -> "sa.Table | None":
        import sqlalchemy as sa

        place, _, own = name.rpartition(".")
        inspector = sa.inspect(engine)
        if not inspector.has_table(own, schema=place or None):
            return None
        # The columns alone: SQLAlchemy cannot read the keys of a table of DuckDB.
        columns = [
            sa.Column(column["name"], column["type"], quote=True)
            for column in inspector.get_columns(own, schema=place or None)
        ]
        return sa.Table(own, sa.MetaData(schema=place or None), *columns)

    def _drop(self, engine: "sa.Engine", name: str) -> None:
        left = self._existing(engine, name)
        if left is not None:
            left.drop(engine)

    def _check_ours(self, table: "sa.Table") -> None:
        if missing := [name for name in (_RUN, ROW, VERSION, SCORED_AT) if name not in table.c]:
            raise ScoreError(
                f"The table {table.name} is no table of scores: it has no column "
                f"{', '.join(map(repr, missing))}. Laurel changes no table of yours: name another."
            )


def _for_sql(rows: pl.DataFrame) -> pl.DataFrame:
    """Times in UTC without their zone, lists as JSON, and what SQL has no type for as text."""
    changed = []
    for column in rows:
        dtype = column.dtype
        if isinstance(dtype, pl.List):
            texts = [None if value is None else _as_json(value.to_list()) for value in column]
            changed.append(pl.Series(column.name, texts, dtype=pl.String))
        elif isinstance(dtype, pl.Datetime) and dtype.time_zone:
            changed.append(column.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
        elif not (
            dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Date) or dtype == pl.Datetime
        ):
            changed.append(column.cast(pl.String))
    return rows.with_columns(changed)


def _as_json(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()


def _sql_type(engine: "sa.Engine", name: str, dtype: pl.DataType) -> "sa.types.TypeEngine[Any]":
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    if name == _RUN:
        return sa.String(16)
    if dtype.is_integer():
        return sa.BigInteger()
    if dtype.is_numeric():
        return sa.Double()
    if dtype == pl.Boolean:
        return sa.Boolean()
    if dtype == pl.Date:
        return sa.Date()
    if isinstance(dtype, pl.Datetime):
        # MySQL's own has no fractions of a second.
        return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    return sa.Text()
