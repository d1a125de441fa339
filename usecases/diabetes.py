"""How far will a patient's diabetes have progressed in a year? Predicted at the first visit.

442 patients (Efron, Hastie, Johnstone & Tibshirani 2004), from scikit-learn. The table says nothing
of when a patient came, so its rows arrive: ``arrival=True``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from usecases.definition import (
    MAE,
    RMSE,
    Candidate,
    Column,
    DriftPolicy,
    FrameSource,
    Gate,
    Guard,
    Layout,
    Number,
    Promotion,
    Range,
    Search,
    UseCase,
)

if TYPE_CHECKING:
    import polars as pl
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import Pipeline

_MEASUREMENTS = {
    "age": "years",
    "body_mass_index": "weight by height squared",
    "blood_pressure": "mean arterial pressure, mm Hg",
    "total_cholesterol": "in serum, mg/dl",
    "ldl": "low-density lipoproteins, mg/dl",
    "hdl": "high-density lipoproteins, mg/dl",
    "cholesterol_ratio": "total cholesterol by hdl",
    "log_triglycerides": "logarithm of triglycerides in serum",
    "glucose": "blood sugar, mg/dl",
}


def patients() -> "pl.DataFrame":
    """A row for each patient, in the units of the clinic."""
    import polars as pl
    from sklearn.datasets import load_diabetes

    table = pl.from_pandas(load_diabetes(as_frame=True, scaled=False).frame)
    named = dict(zip(table.columns, ["age", "sex", *list(_MEASUREMENTS)[1:]], strict=False))
    return table.rename({**named, "target": "progression"}).with_columns(
        pl.col("sex").cast(pl.Int8).cast(pl.String)
    )


def forest(params: Mapping[str, Any], layout: Layout, seed: int) -> "RandomForestRegressor":
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(random_state=seed, **params)


def ridge(params: Mapping[str, Any], layout: Layout, seed: int) -> "Pipeline":
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge(**params))


USE_CASE = UseCase(
    name="diabetes",
    title="Diabetes a year later",
    question="How far will a patient's diabetes have progressed in a year?",
    source=FrameSource(function=patients),
    arrival=True,
    columns=(
        Column(name="sex", kind="category", categories=("1", "2"), description="as recorded"),
        *(
            Column(name=name, kind="number", low=0, description=description)
            for name, description in _MEASUREMENTS.items()
        ),
    ),
    target=Number(label="progression", low=0),
    candidates=(
        Candidate(
            name="forest",
            build=forest,
            params={"n_estimators": 50, "max_depth": 10, "max_features": 5},
            search=Search(
                space={
                    "max_depth": Range(low=3, high=12, integer=True),
                    "max_features": Range(low=2, high=8, integer=True),
                    "min_samples_leaf": Range(low=1, high=10, integer=True),
                },
                resource=("n_estimators", (25, 50, 100)),
                trials=10,
            ),
        ),
        Candidate(name="ridge", build=ridge, params={"alpha": 10.0}),
    ),
    gate=Gate(metric=RMSE, threshold=65.0),
    promotion=Promotion(holdout_periods=2, guards=(Guard(metric=MAE, tolerance=3.0),)),
    # A clinic sees fewer patients in a week than the default asks for.
    drift=DriftPolicy(minimum_rows=200),
)
