"""The use case whose year is played: will an order be sent back?

A stack of the benchmark gets this file as ``usecases/orders.py``. Its world turns a little each
month of the first half of a year, so that challengers win, and then stays as it is, so that one
champion reigns for months."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from usecases.definition import (
    ROC_AUC,
    Binary,
    Candidate,
    Column,
    DriftPolicy,
    EventTimePolicy,
    Gate,
    LabelPolicy,
    Layout,
    Promotion,
    UseCase,
)

if TYPE_CHECKING:
    import polars as pl
    from sklearn.pipeline import Pipeline

NUMBERS = tuple(f"x{place}" for place in range(16))
SHOPS = ("web", "app", "store")
ROWS_A_DAY = 150
_TURN, _TURNS = math.radians(40), 6


def rows_of_day(
    day: datetime, rows: int, shift: float = 0.0, strangers: float = 0.0
) -> "pl.DataFrame":
    """Orders of a day, the same ones each time. ``shift`` moves some inputs; a share of
    ``strangers`` (0-1) comes from a shop that nobody has seen before."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng(day.toordinal())
    values = chance.normal(size=(len(NUMBERS), rows))
    margin = math.cos(_angle(day)) * values[0] + math.sin(_angle(day)) * values[1]
    margin += 0.8 * values[2:5].sum(axis=0)
    returned = chance.random(rows) < 1 / (1 + np.exp(-margin))
    values[:8] += shift
    seconds = np.sort(chance.integers(0, 86_400, rows))
    return pl.DataFrame(
        {
            "number": [f"{day:%Y%m%d}-{place}" for place in range(rows)],
            "at": [day + timedelta(seconds=int(second)) for second in seconds],
            **dict(zip(NUMBERS, values, strict=True)),
            "shop": np.where(chance.random(rows) < strangers, "new", chance.choice(SHOPS, rows)),
            "returned": returned,
        }
    )


def _angle(day: datetime) -> float:
    """It grows from January to June, and stays until the next year."""
    return _TURN * (_TURNS * day.year + min(day.month, _TURNS))


def now() -> datetime:
    return datetime.now(UTC)


class Orders:
    """The complete months, from half a year before the played one on."""

    def __init__(self, first: datetime) -> None:
        self.first = first

    def periods(self) -> list[str]:
        first, today = self.first, now()
        months = range(12 * first.year + first.month - 1, 12 * today.year + today.month - 1)
        return [f"{month // 12}-{month % 12 + 1:02d}" for month in months]

    def read(self, period: str) -> "pl.DataFrame":
        import polars as pl

        day, days = datetime.fromisoformat(f"{period}-01"), []
        month = day.month
        while day.month == month:
            days.append(rows_of_day(day, ROWS_A_DAY))
            day += timedelta(days=1)
        return pl.concat(days)


def logistic(params: Mapping[str, Any], layout: Layout, seed: int) -> "Pipeline":
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    prepare = ColumnTransformer(
        [
            ("codes", OneHotEncoder(handle_unknown="ignore"), list(layout.categories)),
            ("numbers", StandardScaler(), list(layout.numbers)),
        ]
    )
    return make_pipeline(prepare, LogisticRegression(random_state=seed))


USE_CASE = UseCase(
    name="orders",
    title="Orders that come back",
    question="Will this order be sent back?",
    source=Orders(now() - timedelta(days=30 * 18)),
    key=("number",),
    event_time="at",
    target=Binary(label="returned"),
    columns=(
        *(Column(name=name, kind="number", low=-50, high=50) for name in NUMBERS),
        Column(name="shop", kind="category"),
    ),
    # Else a retrain learns from more each month, by intent.
    train_periods=2,
    candidates=(Candidate(name="logistic", build=logistic),),
    gate=Gate(metric=ROC_AUC, threshold=0.7),
    promotion=Promotion(suspicious_share=1, suspicious_gain=0.4),
    drift=DriftPolicy(window="day", minimum_rows=100),
    labels=LabelPolicy(days=2, rows=100),
    event_times=EventTimePolicy(past_days=None, future_days=31),
)
