"""A query with a cursor column: what was read is not read again, and what has changed is, whoever
changed it and whenever the ingest was killed.
"""

import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr, ValidationError

from blocks.lake import Lake
from blocks.warehouse import Warehouse
from tasks.data import sources
from tasks.data.dataset import DatasetVersion, read_periods, write_version
from tasks.data.ingestion import ingest_if_changed
from tasks.data.tables import Query
from tasks.data.validation import BatchRefused
from tests.unit.tasks.data.files.test_file_source import case as shop
from usecases.definition import SourceError, SqlSource, UseCase

MONTHS = ["2024-01", "2024-02"]
UNCHANGED = "unchanged, not read again"


class Shop:
    """A database, the lake, and the months that were read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._path = folder, folder / "shop.db"
        self.execute(
            'CREATE TABLE orders ("order" TEXT, shipped_at TEXT, price REAL, department TEXT, '
            "returned INTEGER, updated_at TEXT)"
        )
        for month in MONTHS:
            for number in range(3):
                self.add(f"{month}-{number}", f"{month}-1{number} 12:00:00", f"{month}-20 10:00:00")
        warehouse = Warehouse(url=SecretStr(f"sqlite:///{self._path}"))
        monkeypatch.setattr(sources, "warehouse", lambda: warehouse)
        self.lake = Lake(url=(folder / "lake").as_uri())
        self.read: list[str] = []
        whole = Query.read

        def counted(query: Query, period: str) -> pl.DataFrame:
            self.read.append(period)
            return whole(query, period)

        monkeypatch.setattr(Query, "read", counted)

    def execute(self, statement: str, *values: Any) -> None:
        with sqlite3.connect(self._path) as connection:
            connection.execute(statement, values)

    def add(self, order: str, shipped: str, updated: str | None) -> None:
        values = (order, shipped, 5.0, "shoes", 0, updated)
        self.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", *values)

    def ingest(
        self, case: UseCase, publish: bool = True
    ) -> tuple[DatasetVersion | None, list[str]]:
        """The version, unless the ingest is killed before it is published, and what was done."""
        self.read.clear()
        files, words = zip(
            *(ingest_if_changed(self.lake, case, month) for month in MONTHS), strict=True
        )
        return write_version(self.lake, case, [*files])[0] if publish else None, [*words]


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def case(**changes: Any) -> UseCase:
    source = SqlSource(query="SELECT * FROM orders", cursor_column="updated_at")
    return shop("unused").model_copy(update={"source": source, **changes})


def test_what_was_read_is_not_read_again(orders: Shop) -> None:
    first, _ = orders.ingest(case())
    assert orders.read == MONTHS
    second, words = orders.ingest(case())
    assert orders.read == [] and words == [UNCHANGED, UNCHANGED]
    assert first and second and second.content == first.content


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET price = 9, updated_at = '2024-03-01 08:00:00' "
        "WHERE \"order\" = '2024-01-0'",
        "DELETE FROM orders WHERE \"order\" = '2024-01-1'",
        # committed late: its cursor is less than one that was read
        "INSERT INTO orders VALUES ('late', '2024-01-31 23:59:59', 1, 'shoes', 1, "
        "'2024-01-02 00:00:00')",
        # in the second that was the largest, after it was read
        "UPDATE orders SET price = 9, updated_at = '2024-01-20 10:00:01' "
        "WHERE \"order\" = '2024-01-0'",
    ],
    ids=["updated", "deleted", "committed late", "in the same second"],
)
def test_month_with_a_change_is_read_again_and_no_other(orders: Shop, change: str) -> None:
    if "10:00:01" in change:
        orders.execute(
            "UPDATE orders SET updated_at = '2024-01-20 10:00:01' WHERE \"order\" = '2024-01-2'"
        )
    orders.ingest(case())
    orders.execute(change)
    version, words = orders.ingest(case())
    assert orders.read == ["2024-01"] and words == ["ingested", UNCHANGED]
    assert version is not None
    now = read_periods(orders.lake, version, ["2024-01"])
    assert (9.0 in now["price"]) == ("price = 9" in change)
    assert len(now) == 3 + ("INSERT" in change) - ("DELETE" in change)


def test_row_that_moves_to_another_month_is_in_that_one_alone(orders: Shop) -> None:
    orders.ingest(case())
    orders.execute(
        "UPDATE orders SET shipped_at = '2024-02-03 00:00:00', updated_at = '2024-03-01 00:00:00' "
        "WHERE \"order\" = '2024-01-2'"
    )
    version, _ = orders.ingest(case())
    assert orders.read == MONTHS and version is not None
    rows = read_periods(orders.lake, version, MONTHS)
    assert rows["order"].is_unique().all() and len(rows) == 6


def test_killed_ingest_has_moved_nothing(orders: Shop) -> None:
    orders.ingest(case())
    orders.add("new", "2024-02-28 00:00:00", "2024-03-01 00:00:00")
    orders.ingest(case(), publish=False)
    version, _ = orders.ingest(case())
    assert orders.read == ["2024-02"] and version is not None
    assert read_periods(orders.lake, version, ["2024-02"])["order"].to_list().count("new") == 1


def test_changed_definition_reads_everything_again(orders: Shop) -> None:
    orders.ingest(case())
    price, *others = case().columns
    stricter = case(columns=(price.model_copy(update={"high": 4.0, "nullable": True}), *others))
    with pytest.raises(BatchRefused):
        orders.ingest(stricter)
    assert orders.read == ["2024-01"]


def test_file_that_is_gone_from_the_lake_is_read_again(orders: Shop) -> None:
    first, _ = orders.ingest(case())
    assert first is not None
    (orders.folder / "lake" / first.periods[0].path).unlink()
    orders.ingest(case())
    assert orders.read == ["2024-01"]


def test_cursor_that_goes_back_is_told_and_read_again(orders: Shop) -> None:
    orders.ingest(case())
    orders.execute(
        "UPDATE orders SET updated_at = '2023-01-01 00:00:00' WHERE shipped_at < '2024-02'"
    )
    _, words = orders.ingest(case())
    assert orders.read == ["2024-01"]
    assert "went back from 2024-01-20 10:00:00 to 2023-01-01 00:00:00" in words[0]


def test_row_without_a_cursor_is_refused(orders: Shop) -> None:
    orders.add("none", "2024-01-05 00:00:00", None)
    with pytest.raises(SourceError, match="1 of 4 rows of 2024-01 have no 'updated_at'"):
        orders.ingest(case())


def test_arrival_has_no_use_for_a_cursor() -> None:
    base = case()
    with pytest.raises(ValidationError, match="leave cursor_column out"):
        UseCase(
            name="orders",
            title="Orders",
            question="Is it sent back?",
            source=base.source,
            columns=base.columns,
            target=base.target,
            candidates=base.candidates,
            gate=base.gate,
            arrival=True,
        )
