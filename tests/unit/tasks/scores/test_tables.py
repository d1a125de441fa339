"""Rows of a database, and scores in a table of one."""

import json
import re
import sqlite3
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects import registry

from blocks.settings import REPOSITORY
from blocks.warehouse import INSTALL_DUCKDB, Warehouse, WarehouseAway
from tasks.outside import blocks_of_run
from tasks.scores import inputs
from tasks.scores.request import ScoreError
from tasks.scores.table_output import TableOutput
from tests.fixtures import mariadb as mariadb_server
from tests.fixtures import postgres as postgres_server
from tests.fixtures.packages import write_package
from tests.fixtures.six_kinds import FEATURES as SIX
from tests.fixtures.six_kinds import write_six_kinds
from tests.unit.tasks.scores.conftest import World, parcels
from tests.unit.tasks.scores.test_batch import ROWS, parcel_rows
from usecases.definition import SourceError

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture(
    params=[
        "sqlite",
        "duckdb",
        pytest.param("mariadb", marks=pytest.mark.slow("starts MariaDB")),
        pytest.param("postgres", marks=pytest.mark.slow("starts PostgreSQL")),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
    elif request.param == "duckdb":
        yield f"duckdb:///{tmp_path / 'shop.duckdb'}"
    elif request.param == "mariadb":
        if not mariadb_server.installed():
            pytest.skip("MariaDB is not installed")
        (tmp_path / "server").mkdir()
        with mariadb_server.mariadb(tmp_path / "server", "a secret/1") as address:
            yield address
    else:
        if postgres_server.program("initdb") is None:
            pytest.skip("PostgreSQL is not installed")
        with postgres_server.postgres() as address:
            server = f"postgresql+psycopg2://{address}"
            engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(sa.text("CREATE DATABASE shop"))
            engine.dispose()
            yield f"{server}/shop"


def fill(url: str, rows: pl.DataFrame) -> None:
    """Write ``rows`` into the table ``parcels``."""
    engine = sa.create_engine(url)
    rows.to_pandas().to_sql("parcels", engine, index=False)
    engine.dispose()


def read(url: str, query: str) -> list[Any]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(sa.text(query))]
    engine.dispose()
    return found


def tables(url: str) -> set[str]:
    engine = sa.create_engine(url)
    names = {*sa.inspect(engine).get_table_names()}
    engine.dispose()
    return names


def test_a_query_is_scored_into_a_table_as_its_file_is_into_a_file(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "CHUNK_ROWS", 50)
    write_package(world.registry.package)
    rows = parcel_rows().with_columns(
        distance=pl.when(pl.int_range(pl.len()) == 7).then(-1.0).otherwise("distance")
    )
    fill(url, rows)
    query = "SELECT * FROM parcels ORDER BY parcel"
    asked = {"query": query, "to": url, "to_table": "scores", "at": AT}
    outcome = world.score(url, **asked)
    assert (outcome.record.scored, outcome.record.refused) == (ROWS - 1, 1)
    rows.write_parquet(world.folder / "june.parquet")
    world.score(world.folder / "june.parquet", to=f"{world.folder}/out.parquet")
    expected = pl.read_parquet(world.folder / "out.parquet")
    got = read(
        url,
        "SELECT parcel, score, decision, model_version, scored_at, run_id, time_hour FROM scores "
        "ORDER BY parcel",
    )
    assert [row[:2] for row in got] == expected.select("parcel", "score").rows()
    assert [bool(row[2]) for row in got] == expected["decision"].to_list()
    assert {str(row[3]) for row in got} == {"3"}
    assert {str(row[4])[:19] for row in got} == {"2026-11-30 12:00:00"}
    assert {row[5] for row in got} == {outcome.record.run}
    assert str(got[0][6])[:19] == "2026-06-01 00:00:00"
    ((number, sent, reason),) = read(url, "SELECT 7, inputs, reason FROM scores_refused")
    assert json.loads(sent)["parcel"] == "p00007"
    assert reason == "Field 'distance': expected `float` >= 0.0, got -1.0."
    again = world.score(url, **(asked | {"at": None}))
    assert again.again
    assert again.record == outcome.record
    assert read(url, "SELECT count(*) FROM scores") == [(ROWS - 1,)]
    assert tables(url) == {"parcels", "scores", "scores_refused"}


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


def test_runs_stand_beside_each_other_until_they_are_overwritten(
    world: World, sqlite_url: str
) -> None:
    url = sqlite_url
    write_package(world.registry.package)
    for name, count in (("a", 5), ("b", 7)):
        parcel_rows(count).write_parquet(world.folder / f"{name}.parquet")
        world.score(world.folder / f"{name}.parquet", to=url, to_table="scores")
    assert read(url, "SELECT count(*) FROM scores") == [(12,)]
    parcel_rows(9).write_parquet(world.folder / "c.parquet")
    world.score(world.folder / "c.parquet", to=url, to_table="scores", overwrite=True)
    assert read(url, "SELECT count(*) FROM scores") == [(9,)]


def test_a_table_is_read_in_the_order_of_its_key(world: World, sqlite_url: str) -> None:
    url = sqlite_url
    write_package(world.registry.package)
    fill(url, parcel_rows().sample(fraction=1, shuffle=True, seed=1))
    target = f"{world.folder}/out.parquet"
    outcome = world.score(url, table="parcels", to=target)
    assert pl.read_parquet(target)["parcel"].to_list() == parcel_rows()["parcel"].to_list()
    assert outcome.record.rows == "parcels"


def test_rows_of_the_warehouse_need_no_url(world: World, tmp_path: Path) -> None:
    write_package(world.registry.package)
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    fill(url, parcel_rows(3))
    with blocks_of_run.given(world.lake, Warehouse(url=SecretStr(url))):
        assert world.score(None, table="parcels").record.scored == 3
    with pytest.raises(blocks_of_run.NotRegistered, match="LAUREL_WAREHOUSE_URL"):
        world.score(None, table="parcels")


def test_a_killed_run_is_not_seen_and_its_rerun_removes_what_it_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    monkeypatch.setattr(inputs, "CHUNK_ROWS", 50)
    write_package(world.registry.package)
    parcel_rows().write_parquet(world.folder / "june.parquet")
    whole, written = TableOutput.write, []

    def killed(self: TableOutput, answers: pl.DataFrame, refused: pl.DataFrame) -> None:
        written.append(len(answers))
        if len(written) == 2:
            raise KeyboardInterrupt
        whole(self, answers, refused)

    with monkeypatch.context() as patch:
        patch.setattr(TableOutput, "write", killed)
        patch.setattr(TableOutput, "discard", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            world.score(world.folder / "june.parquet", to=url, to_table="scores")
    assert read(url, "SELECT count(*) FROM scores") == [(0,)]
    assert any(name.startswith("scores_staged_") for name in tables(url))
    world.score(world.folder / "june.parquet", to=url, to_table="scores")
    assert read(url, "SELECT count(*) FROM scores") == [(ROWS,)]
    assert tables(url) == {"scores"}


def test_duckdb_that_is_not_installed_is_told_with_what_to_install(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the rows, and of the scores."""
    monkeypatch.setitem(sys.modules, "duckdb_engine", None)
    monkeypatch.delitem(registry.impls, "duckdb", raising=False)
    write_package(world.registry.package)
    parcel_rows(3).write_parquet(world.folder / "june.parquet")
    url = f"duckdb:///{tmp_path / 'shop.duckdb'}"
    with pytest.raises(ScoreError, match=re.escape(INSTALL_DUCKDB)) as scores:
        world.score(world.folder / "june.parquet", to=url, to_table="scores")
    with pytest.raises(SourceError, match=re.escape(INSTALL_DUCKDB)):
        world.score(url, table="parcels")
    assert "shop" not in str(scores.value)


def test_what_to_install_for_duckdb_is_what_is_pinned() -> None:
    pinned = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert INSTALL_DUCKDB.split()[-2:] == pinned["optional-dependencies"]["duckdb"]


def test_a_table_of_a_person_is_left_alone(world: World, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    write_package(world.registry.package)
    fill(url, parcel_rows(3))
    with pytest.raises(ScoreError, match="Laurel changes no table of yours"):
        world.score(url, table="parcels", to=url, to_table="parcels", overwrite=True)
    assert read(url, "SELECT count(*) FROM parcels") == [(3,)]


def test_scores_of_other_columns_are_told(world: World, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    write_package(world.registry.package)
    parcel_rows(3).write_parquet(world.folder / "june.parquet")
    world.score(world.folder / "june.parquet", to=url, to_table="scores")
    with pytest.raises(ScoreError, match="has the columns .*name another table"):
        world.score(world.folder / "june.parquet", to=url, to_table="scores", keep=("carrier",))


def test_types_follow_the_use_case_whatever_the_first_rows_have(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has no types of columns: integers, then a fraction; nulls, then texts."""
    monkeypatch.setattr("blocks.warehouse.CHUNK_ROWS", 2)
    write_package(world.registry.package)
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE parcels (parcel, carrier, distance, wind)")
        connection.executemany(
            "INSERT INTO parcels VALUES (?, ?, ?, ?)",
            [(1, None, 10, None), (2, None, 20, None), (3, "UA", 30.5, 1), (4, "AA", 5, 2.5)],
        )
    world.score(f"sqlite:///{path}", table="parcels", to=f"{world.folder}/out.parquet")
    got = pl.read_parquet(world.folder / "out.parquet")
    assert got["parcel"].to_list() == [1, 2, 3, 4]
    assert got["score"].n_unique() == 4


def test_sets_of_classes_are_json_in_a_table(world: World, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    write_six_kinds(world.registry.package, "classes")
    world.use(parcels(SIX, event_time="arrived", key=("parcel",)))
    empty = {"carrier": pl.String, "fragile": pl.Boolean, "note": pl.String, "picture": pl.String}
    rows = pl.DataFrame({"parcel": [1], "distance": [3.0]}).with_columns(
        *(pl.lit(None, dtype).alias(name) for name, dtype in empty.items()),
        pl.lit(None, pl.Datetime).alias("sent"),
    )
    rows.write_parquet(world.folder / "six.parquet")
    world.score(world.folder / "six.parquet", to=url, to_table="scores")
    world.score(world.folder / "six.parquet", to=f"{world.folder}/out.parquet")
    ((found,),) = read(url, 'SELECT "set" FROM scores')
    assert json.loads(found) == pl.read_parquet(world.folder / "out.parquet")["set"][0].to_list()


@pytest.mark.parametrize("place", ["rows", "to"])
def test_a_wrong_address_never_shows_its_password(world: World, place: str) -> None:
    write_package(world.registry.package)
    parcel_rows(3).write_parquet(world.folder / "june.parquet")
    for bad, kind in (
        ("postgres://me:hush@localhost/shop", (SourceError, ScoreError)),
        ("postgresql://me:hush@127.0.0.1:1/shop", (WarehouseAway,)),
    ):
        with pytest.raises(kind) as told:
            if place == "rows":
                world.score(bad, table="parcels")
            else:
                world.score(world.folder / "june.parquet", to=bad, to_table="scores")
        assert "hush" not in str(told.value)
