"""A DuckDB file as the warehouse: read like any database, and never written."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from pydantic import SecretStr

from blocks.warehouse import Warehouse, WarehouseAway
from tasks.data.tables import Cursor, Query
from usecases.definition import MONTHS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT i AS id, TIMESTAMP '2024-01-01' + to_hours(i) AS at, "
            "i * 1.5::DOUBLE AS price, i % 2 = 0 AS returned, (i * 0.01)::DECIMAL(9, 2) AS fee "
            "FROM range(1000) numbers(i)"
        )
    return path


def query(path: Path) -> Query:
    warehouse = Warehouse(url=SecretStr(f"duckdb:///{path}"))
    return Query(warehouse, "SELECT * FROM orders", "at", MONTHS, Cursor("id", "rules"))


def test_months_are_read_with_their_types(path: Path) -> None:
    orders = query(path)
    assert orders.periods(datetime(2024, 4, 1)) == ["2024-01", "2024-02"]
    january = orders.read("2024-01")
    assert len(january) == 31 * 24 and january["at"].max() == datetime(2024, 1, 31, 23)
    assert january.schema["returned"] == pl.Boolean and january["price"].dtype == pl.Float64
    assert len(orders.rows().collect()) == 1000
    mark = orders.mark("2024-01")
    assert mark is not None and (mark.rows, mark.cursor) == (31 * 24, 31 * 24 - 1)


def test_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(WarehouseAway, match="did not answer"):
        query(tmp_path / "none.duckdb").periods()
    assert not (tmp_path / "none.duckdb").exists()


@pytest.mark.parametrize("mode", ["reads", "writes"])
def test_file_that_another_process_writes_is_waited_for_and_one_that_it_reads_is_read(
    path: Path, mode: str
) -> None:
    held = (
        f"import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only={mode == 'reads'}); "
        "print('has it', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", held, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == b"has it\n"
        if mode == "writes":
            with pytest.raises(WarehouseAway, match="lock"):
                query(path).periods()
        else:
            assert len(query(path).read("2024-02")) == 1000 - 31 * 24
        other.stdin.close()
    assert query(path).periods(datetime(2024, 4, 1))
