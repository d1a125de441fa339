"""Which days and hours a query has rows of, in a real database."""

from datetime import date, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from blocks.warehouse import Warehouse

QUERY = "SELECT id, at FROM games;"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    url = f"sqlite:///{tmp_path}/shop.db"
    times = ("2024-02-29 23:59:59", "2024-02-29 23:00:00", "2024-03-01 00:00:00", None)
    with create_engine(url).begin() as connection:
        connection.execute(text("CREATE TABLE games (id INTEGER, at DATETIME)"))
        for number, time in enumerate(times):
            row = {"id": number, "at": time}
            connection.execute(text("INSERT INTO games VALUES (:id, :at)"), row)
    return Warehouse(url=SecretStr(url))


def test_each_day_and_each_hour_with_rows_comes_once_in_order(warehouse: Warehouse) -> None:
    assert warehouse.days(QUERY, "at") == [date(2024, 2, 29), date(2024, 3, 1)]
    assert warehouse.hours(QUERY, "at") == [datetime(2024, 2, 29, 23), datetime(2024, 3, 1)]
