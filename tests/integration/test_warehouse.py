"""Rows from a SQL database, a real MariaDB: what is read, in which months, and what is said when it
cannot be.
"""

import re
from collections.abc import Iterator
from datetime import datetime

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows

from blocks.settings import Settings
from blocks.warehouse import CHUNK_ROWS, Warehouse, WarehouseAway, WarehouseError
from flows.ingest import ingest
from tasks.data.tables import Query
from tasks.data.validation import validate
from tests.fixtures import mariadb
from tests.integration.planting import Loop
from usecases.definition import MONTHS, Column, SourceError
from usecases.definition.period_kinds import HOURS

pytestmark = pytest.mark.skipif(
    not mariadb.installed(), reason="needs MariaDB: apt-get install mariadb-server"
)
COLUMNS = (
    "id BIGINT PRIMARY KEY, at DATETIME, first DOUBLE, second DOUBLE, steady DOUBLE, "
    "`group` "
    "VARCHAR(8), won TINYINT, counted BOOL"
)
QUERY = "SELECT * FROM games WHERE counted;"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with a table of games: January has more rows than are fetched at once, and rows
    that do not count.
    """
    with mariadb.mariadb(tmp_path_factory.mktemp("mariadb"), "p@ss:w/rd") as found:
        engine = create_engine(found)
        with engine.begin() as connection:
            connection.execute(text(f"CREATE TABLE games ({COLUMNS})"))
            for month in ("2024-01", "2024-02"):
                rows = games(month).with_columns(counted=pl.lit(True))
                left_out = rows.head(10).with_columns(id=-pl.col("id"), counted=pl.lit(False))
                connection.execute(
                    text(
                        "INSERT INTO games VALUES (:id, :at, :first, :second, :steady, "
                        ":group, :won, :counted)"
                    ),
                    pl.concat([rows, left_out]).to_dicts(),
                )
        engine.dispose()
        yield found


def games(month: str) -> pl.DataFrame:
    return toy_rows(month, rows_a_day=2000 if month == "2024-01" else 60)


@pytest.fixture
def warehouse(url: str) -> Warehouse:
    found = Warehouse.of(Settings.model_validate({"warehouse_url": url}))
    assert found is not None
    return found


def test_without_an_address_there_is_no_warehouse() -> None:
    assert Warehouse.of(Settings.model_validate({})) is None
    assert Warehouse.of(Settings.model_validate({"warehouse_url": ""})) is None


@pytest.mark.parametrize(
    ("now", "over"),
    [
        (datetime(2024, 3, 2), ["2024-01", "2024-02"]),
        (datetime(2024, 3, 1, 12), ["2024-01"]),
        (datetime(2024, 1, 31), []),
    ],
)
def test_a_month_counts_from_the_day_after_its_end(
    warehouse: Warehouse, now: datetime, over: list[str]
) -> None:
    assert Query(warehouse, QUERY, "at", MONTHS).periods(now) == over


def test_all_rows_of_a_month_are_read_in_pieces_and_no_others(warehouse: Warehouse) -> None:
    found = Query(warehouse, QUERY, "at", MONTHS).read("2024-01").sort("id")
    wanted = games("2024-01").sort("id")
    assert len(found) == len(wanted) > CHUNK_ROWS
    assert found["id"].to_list() == wanted["id"].to_list()
    assert found["second"].to_list() == wanted["second"].to_list()
    assert found["at"].to_list() == wanted["at"].to_list()


def test_all_rows_are_read_where_rows_have_no_time(warehouse: Warehouse) -> None:
    found = Query(warehouse, QUERY, "arrived_at", MONTHS).rows().collect().sort("id")
    wanted = pl.concat([games("2024-01"), games("2024-02")]).sort("id")
    assert found["id"].to_list() == wanted["id"].to_list()


def test_a_day_without_a_time_is_one_at_midnight(warehouse: Warehouse) -> None:
    days = "SELECT id, DATE(at) AS day FROM games"
    found = warehouse.read(days, "day", datetime(2024, 2, 1), datetime(2024, 3, 1))
    assert found.schema["day"] == pl.Datetime("us") and found["day"].dt.hour().max() == 0


def test_booleans_and_dates_are_taken_as_the_database_has_them(warehouse: Warehouse) -> None:
    """Its booleans are tinyints."""
    query = "SELECT *, DATE(at) AS day, TIMESTAMP(at) AS moment FROM games"
    rows = Query(warehouse, query, "at", MONTHS).read("2024-02").sort("id")
    assert rows.schema["counted"].is_integer()
    columns = (
        *TOY.columns,
        Column(name="counted", kind="boolean"),
        Column(name="day", kind="datetime", parts=("day",)),
        Column(name="moment", kind="datetime", parts=("hour",)),
    )
    good = validate(TOY.model_copy(update={"columns": columns}), "2024-02", rows).good.sort("id")
    assert good["counted"].to_list() == (rows["id"] > 0).to_list()
    assert good["moment"].to_list() == rows["at"].to_list()
    assert good["day"].to_list() == rows["at"].dt.truncate("1d").to_list()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM gaems", "gaems"),
        ("SELECT id, won FROM games", "at"),
        ("SELECT *", "SELECT *"),
    ],
)
def test_a_query_that_is_refused_is_told_with_itself(
    warehouse: Warehouse, query: str, said: str
) -> None:
    with pytest.raises((SourceError, WarehouseAway), match=re.escape(said)) as refused:
        Query(warehouse, query, "at", MONTHS).periods()
    assert query in str(refused.value)


def test_hours_are_found_and_read(warehouse: Warehouse) -> None:
    hours = Query(warehouse, QUERY, "at", HOURS).periods()
    assert hours and {name[10:] for name in hours} == {"T12"}  # all rows of the toy are at noon
    rows = Query(warehouse, QUERY, "at", HOURS).read(hours[0])
    assert set(rows["at"].dt.strftime("%Y-%m-%dT%H")) == {hours[0]}


def test_a_month_without_rows_is_told(warehouse: Warehouse) -> None:
    with pytest.raises(SourceError, match="no rows for 2023-12"):
        Query(warehouse, QUERY, "at", MONTHS).read("2023-12")


@pytest.mark.parametrize(
    ("pattern", "other", "kind"),
    [
        (r":\d+/shop", ":1/shop", WarehouseAway),
        ("reader:", "reader:not", WarehouseAway),
        (r"\+pymysql", "+nothing", WarehouseError),
    ],
    ids=["nobody there", "another password", "no such driver"],
)
def test_a_warehouse_that_cannot_be_used_is_told_without_its_password(
    url: str, pattern: str, other: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as refused:
        Warehouse(url=SecretStr(re.sub(pattern, other, url))).days(QUERY, "at")
    shown = "".join(str(error) for error in (refused.value, refused.value.__cause__) if error)
    assert shown and "w/rd" not in shown and "w%2Frd" not in shown


def test_rows_of_a_table_make_the_dataset_that_the_same_rows_of_files_make(
    loop: Loop, warehouse: Warehouse
) -> None:
    warehouse.save("warehouse", overwrite=True, _sync=True)  # type: ignore[call-arg]
    taken = loop.run(ingest, "toy_sql", through="2024-02", since="2024-02").result
    assert taken.source == "SqlSource" and taken.rows == len(games("2024-02"))
    other = loop.run(ingest, "toy", through="2024-02", since="2024-02").result
    assert taken.periods[-1].sha256 == other.periods[-1].sha256
