"""The MariaDB of the demo, started as supervisord starts it: who reaches it and what they may do,
and what a use case reads of its tables.
"""

import subprocess
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from blocks.settings import Settings
from blocks.warehouse import Warehouse
from deployments.demo.stories._departures_tables import fill
from deployments.servers import mariadb
from deployments.servers.errors import StackError
from deployments.supervision.programs import programs
from tests.fixtures.mariadb import installed
from tests.fixtures.processes import wait_until
from usecases.definition import load

needs_mariadb = pytest.mark.skipif(
    not installed(),
    reason="needs MariaDB: apt-get install mariadb-server",
)
CASE = load("departures")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running MariaDB with two days of departures."""
    state = tmp_path_factory.mktemp("db") / "their state"
    settings = mariadb.prepare(Settings.model_validate({"state": state}))
    server = subprocess.Popen(mariadb.command(settings), cwd=state, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: mariadb.is_readable(settings), "MariaDB answers")
        fill(mariadb.owner_url(settings), date(2013, 1, 2), date(2013, 1, 3))
        yield settings
    finally:
        server.terminate()
        server.wait(30)


def reader(settings: Settings) -> Warehouse:
    warehouse = Warehouse.of(settings)
    assert warehouse is not None
    return warehouse


def rows_of(settings: Settings, day: date) -> pl.DataFrame:
    start = datetime(day.year, day.month, day.day)
    return reader(settings).read(CASE.source.query, "at", start, start + timedelta(days=1))


def test_program_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mariadb, "_PLACES", (str(tmp_path),))
    with pytest.raises(StackError, match="not installed. On Debian .*apt-get install mariadb-serv"):
        mariadb.prepare(Settings.model_validate({"state": tmp_path / "state"}))
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "url",
    [
        None,
        "mysql+pymysql://reader@db.example/shop",
        "sqlite:////data/shop.db",
        "not an address",
        "mysql+pymysql://reader@localhost/shop?unix_socket=/run/mysqld/mysqld.sock",
    ],
)
def test_stack_starts_no_database_for_a_warehouse_elsewhere(url: str | None) -> None:
    settings = Settings.model_validate({"warehouse_url": url})
    assert "mariadb" not in [program.name for program in programs(settings)]


@needs_mariadb
def test_folder_whose_socket_would_have_too_long_a_path_is_refused(tmp_path: Path) -> None:
    state = tmp_path / ("long" * 30)
    with pytest.raises(StackError, match="too long for a Unix socket. Name a shorter folder"):
        mariadb.prepare(Settings.model_validate({"state": state}))


@needs_mariadb
@pytest.mark.slow("starts MariaDB")
class TestRunning:
    def test_it_is_a_program_of_the_stack(self, settings: Settings) -> None:
        assert mariadb.is_local(settings)
        assert "mariadb" in [program.name for program in programs(settings)]

    def test_settings_are_kept_for_the_next_shell(self, settings: Settings) -> None:
        again = Settings.read(settings.state)
        assert again.warehouse_url == settings.warehouse_url
        assert (settings.state / "env").stat().st_mode & 0o077 == 0

    def test_flows_may_read_and_not_write(self, settings: Settings) -> None:
        assert settings.warehouse_url
        engine = create_engine(settings.warehouse_url.get_secret_value())
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM departure_hours"))
            with pytest.raises(DBAPIError, match="command denied"):
                connection.execute(text("DELETE FROM departure_hours"))

    def test_nobody_reads_without_the_password(self, settings: Settings) -> None:
        assert settings.warehouse_url
        url = settings.warehouse_url.get_secret_value()
        other = url.replace(url.partition("reader:")[2].partition("@")[0], "guessed")
        with pytest.raises(DBAPIError, match="Access denied"):
            create_engine(other).connect()

    def test_it_listens_on_no_port(self, settings: Settings) -> None:
        with create_engine(mariadb.owner_url(settings)).connect() as connection:
            assert connection.scalar(text("SELECT @@skip_networking"))

    def test_row_knows_only_what_was_known_as_its_hour_began(self, settings: Settings) -> None:
        engine = create_engine(mariadb.owner_url(settings))
        rows = rows_of(settings, date(2013, 1, 3))
        row = rows.filter(airport="JFK", local_hour=12).to_dicts()[0]
        assert row["at"] == datetime(2013, 1, 3, 17)
        with engine.connect() as connection:
            two_before, last = (
                connection.execute(text(query), {"at": row["at"] - timedelta(hours=hours)}).scalar()
                for query, hours in (
                    ("SELECT late FROM departure_hours WHERE airport = 'JFK' AND at = :at", 2),
                    ("SELECT temperature_f FROM weather WHERE airport = 'JFK' AND at = :at", 1),
                )
            )
        assert (row["late_before"], row["temperature_f"]) == (two_before, last)

    def test_each_hour_of_an_airport_is_one_row(self, settings: Settings) -> None:
        rows = rows_of(settings, date(2013, 1, 3))
        assert len(rows) == rows.n_unique(CASE.key) > 50
        assert set(rows.columns) >= {*CASE.column_names, CASE.label, CASE.event_time}
        assert rows["temperature_f"].null_count() < 3

    def test_the_same_days_again_change_nothing(self, settings: Settings) -> None:
        before = rows_of(settings, date(2013, 1, 2)).sort(CASE.key)
        fill(mariadb.owner_url(settings), date(2013, 1, 2), date(2013, 1, 3))
        assert rows_of(settings, date(2013, 1, 2)).sort(CASE.key).equals(before)

    def test_older_rows_are_removed_on_request(self, settings: Settings) -> None:
        url = mariadb.owner_url(settings)
        fill(url, date(2013, 1, 5), date(2013, 1, 5), keep=False)
        assert reader(settings).days(CASE.source.query, "at") == [date(2013, 1, 5)]
