"""A SQLite file as the warehouse: its times are texts."""

import sqlite3
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from blocks.warehouse import Warehouse
from tasks.data.tables import Query
from tasks.data.validation import BatchRefused, validate
from tests.unit.tasks.data.files.test_file_source import case, with_kinds
from usecases.definition import MONTHS, SourceError

ROWS = [
    ("a0", "2023-12-31 23:59:59", 1, "shoes", 0),
    ("a1", "2024-01-01 00:00:00", 12.5, "shoes", 0),
    ("a2", "2024-01-31 23:59:59.5", None, "books", 1),
    ("a3", "2024-02-01 00:00:00", 3, "shoes", None),
]


@pytest.fixture
def query(tmp_path: Path) -> Query:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            'CREATE TABLE orders ("order" TEXT, shipped_at TEXT, price REAL, department TEXT, '
            "returned INTEGER)"
        )
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", ROWS)
    warehouse = Warehouse(url=SecretStr(f"sqlite:///{path}"))
    return Query(warehouse, "SELECT * FROM orders", "shipped_at", MONTHS)


def test_months_are_read_and_times_are_times(query: Query) -> None:
    assert query.periods() == ["2023-12", "2024-01", "2024-02"]
    january = query.read("2024-01")
    assert january["order"].to_list() == ["a1", "a2"]
    assert january.schema["shipped_at"] == pl.Datetime("us")
    assert len(validate(case("unused"), "2024-01", january).good) == 2


def test_text_that_is_no_time_is_told(query: Query) -> None:
    url = query.warehouse.url.get_secret_value().removeprefix("sqlite:///")
    with sqlite3.connect(url) as connection:
        connection.execute("UPDATE orders SET shipped_at = '2024-01-02 soon'")
    with pytest.raises(SourceError, match="have no form of a time"):
        query.read("2024-01")


def test_booleans_and_dates_are_taken_as_sqlite_has_them(query: Query) -> None:
    kinds = with_kinds(Path("unused"))
    january = query.read("2024-01")
    born = ["1980-05-04", "1980-05-04 10:30:00.000000"]
    rows = january.with_columns(member=pl.Series([1, None]), born=pl.Series(born))
    good = validate(kinds, "2024-01", rows).good
    assert good["member"].to_list() == [True, None]
    assert good["born"].to_list() == [datetime(1980, 5, 4), datetime(1980, 5, 4, 10, 30)]
    with pytest.raises(BatchRefused, match="'member' has numbers other than 1 and 0, such as 2"):
        validate(kinds, "2024-01", rows.with_columns(member=pl.lit(2)))
