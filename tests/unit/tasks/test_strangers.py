"""Tables that nobody had in mind: each goes from its source to a package that the service answers
with.

They have no time, a time in a text, German spelling, thousands of categories, counts, hours; their
models come from each library."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from blocks.lake import Lake
from serving.package.model import load as load_package
from tasks.data import sources
from tasks.data.dataset import read_periods, write_version
from tasks.data.ingestion import ingest_period
from tasks.measures.metrics import score
from tasks.models.modelling import fit, labels, predict
from tasks.packages.packaging import Origin, make_package, score_rows
from tests.fixtures.openmp import skip_without_openmp
from usecases.definition import (
    AVERAGE_PRECISION,
    LOG_LOSS,
    MACRO_F1,
    MAE,
    POISSON_DEVIANCE,
    RMSE,
    ROC_AUC,
    Binary,
    Candidate,
    Classes,
    Column,
    FileSource,
    FrameSource,
    Gate,
    Layout,
    Metric,
    Number,
    Promotion,
    UseCase,
)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.slow("fits and packages models of four libraries"),
    pytest.mark.filterwarnings("ignore:categorical_feature keyword"),
]


@dataclass(frozen=True)
class Stranger:
    """A use case without its name, and how many rows its source has."""

    fields: Callable[[Path], dict[str, Any]]
    rows: int
    quarantined: int = 0


def numbers(names: list[str]) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind="number") for name in names)


def recipe(build: Callable[[dict[str, Any], Layout, int], Any]) -> tuple[Candidate, ...]:
    return (Candidate(name="own", build=build),)


def gate(metric: Metric, threshold: float) -> Gate:
    return Gate(metric=metric, threshold=threshold)


def logistic(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


def light(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    skip_without_openmp()
    from lightgbm import LGBMRegressor

    return LGBMRegressor(
        n_estimators=60, objective="l1", categorical_feature=list(layout.categories)
    )


def extreme(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(n_estimators=60, max_depth=3, objective="count:poisson")


def cat(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(iterations=60, depth=4, loss_function="MultiClass")


def boosting(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=40, early_stopping=False, random_state=seed)


def regression(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=60, early_stopping=False, random_state=seed)


def wine(folder: Path) -> dict[str, Any]:
    """Three classes of 178 wines, without a time; pandas."""
    from sklearn.datasets import load_wine

    bunch = load_wine(as_frame=True)
    names = [name.replace("/", "_") for name in bunch.feature_names]
    frame = bunch.frame.set_axis([*names, "cultivar"], axis=1)
    return {
        "source": FrameSource(function=lambda: frame),
        "arrival": True,
        "columns": numbers(names),
        "target": Classes(label="cultivar", classes=("0", "1", "2")),
        "candidates": recipe(cat),
        "gate": gate(MACRO_F1, 0.8),
        "minimum_training_rows": 100,
    }


def tumours(folder: Path) -> dict[str, Any]:
    """A yes or no of 569 patients, as Parquet without a time or a key."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    names = [name.replace(" ", "_") for name in bunch.feature_names]
    frame = pl.from_pandas(bunch.frame.set_axis([*names, "benign"], axis=1))
    path = folder / "tumours.parquet"
    frame.with_columns(
        diagnosis=pl.when(pl.col("benign") == 1).then(pl.lit("B")).otherwise(pl.lit("M"))
    ).drop("benign").write_parquet(path)
    return {
        "source": FileSource(path=path),
        "arrival": True,
        "columns": numbers(names),
        "target": Binary(label="diagnosis", positive="M"),
        "candidates": recipe(logistic),
        "gate": gate(AVERAGE_PRECISION, 0.9),
    }


def irises(folder: Path) -> dict[str, Any]:
    """A CSV from a German Excel: semicolons, decimal commas, cp1252."""
    from sklearn.datasets import load_iris

    bunch = load_iris()
    kinds = ("Borsten-Schwertlilie", "verschiedenfarbig", "Virginia, blau-violett: schön")
    lines = ["Blüte;Länge;Breite;Blattlänge;Blattbreite;Art"]
    for number, (row, kind) in enumerate(zip(bunch.data, bunch.target, strict=True)):
        cells = [f"{value:.1f}".replace(".", ",") for value in row]
        lines.append(";".join([f"Nr. {number}", *cells, kinds[kind]]))
    path = folder / "irises.csv"
    path.write_bytes("\r\n".join(lines).encode("cp1252"))
    return {
        "source": FileSource(path=path),
        "arrival": True,
        "key": ("Blüte",),
        "columns": numbers(["Länge", "Breite", "Blattlänge", "Blattbreite"]),
        "target": Classes(label="Art", classes=kinds),
        "candidates": recipe(logistic),
        "gate": gate(LOG_LOSS, 0.6),
        "minimum_training_rows": 100,
    }


def digits(folder: Path) -> dict[str, Any]:
    """Ten classes of 64 columns."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    names = [f"pixel_{number:02d}" for number in range(64)]
    frame = pl.DataFrame(bunch.data, schema=names).with_columns(digit=pl.Series(bunch.target))
    return {
        "source": FrameSource(function=lambda: frame),
        "arrival": True,
        "columns": numbers(names),
        "target": Classes(label="digit", classes=tuple("0123456789")),
        "candidates": recipe(logistic),
        "gate": gate(MACRO_F1, 0.9),
    }


def delays(folder: Path) -> dict[str, Any]:
    """Minutes of delay, skewed, by month, with categories and nulls; a file of JSON lines."""
    chance = np.random.default_rng(1)
    rows = 6000
    hour = chance.integers(5, 23, rows)
    carrier = chance.choice(["AA", "B6", "DL", "신공"], rows)
    delay = chance.exponential(5 + hour * (carrier == "B6"), rows) - 8
    path = folder / "delays.jsonl"
    pl.DataFrame(
        {
            "flight": np.arange(rows),
            "departs": [
                f"2024-{1 + i * 6 // rows:02d}-{1 + i % 28:02d}T{hour[i]:02d}:00:00"
                for i in range(rows)
            ],
            "hour": hour,
            "carrier": carrier,
            "seats": [
                None if i % 7 == 0 else int(seats)
                for i, seats in enumerate(chance.choice([80, 150, 300], rows))
            ],
            "delay": delay.round(),
        }
    ).write_ndjson(path)
    return {
        "source": FileSource(path=path),
        "event_time": "departs",
        "key": ("flight",),
        "columns": (
            Column(name="carrier", kind="category"),
            Column(name="hour", kind="number", low=0, high=23),
            Column(name="seats", kind="number", nullable=True, null_tolerance=0.3),
        ),
        "target": Number(label="delay", unit="minutes"),
        "candidates": recipe(light),
        "gate": gate(MAE, 9.0),
    }


def claims(folder: Path) -> dict[str, Any]:
    """Counts, most of them zero, of policies that began on a day; Arrow."""
    chance = np.random.default_rng(2)
    rows = 8000
    age, power = chance.integers(18, 90, rows), chance.integers(4, 15, rows)
    expected = np.exp(-2.2 + 0.02 * np.abs(age - 50) + 0.05 * power)
    frame = pl.DataFrame(
        {
            "policy": np.arange(rows),
            "began": [datetime(2024, 1 + i * 6 // rows, 1 + i % 28) for i in range(rows)],
            "age": age,
            "power": power,
            "claims": chance.poisson(expected),
        }
    ).to_arrow()
    return {
        "source": FrameSource(function=lambda: frame),
        "event_time": "began",
        "key": ("policy",),
        "columns": numbers(["age", "power"]),
        "target": Number(label="claims", low=0),
        "candidates": recipe(extreme),
        "gate": gate(POISSON_DEVIANCE, 0.9),
    }


def shops(folder: Path) -> dict[str, Any]:
    """Twenty thousand categories, many of which later months have and training has not."""
    chance = np.random.default_rng(3)
    rows = 40_000
    shop, basket = chance.integers(0, 20_000, rows), chance.gamma(2, 20, rows).round(2)
    month = np.sort(chance.integers(1, 6, rows))
    path = folder / "shops.csv.gz"
    import gzip

    frame = pl.DataFrame(
        {
            "sale": np.arange(rows),
            "sold": [f"{1 + i % 28:02d}/{month[i]:02d}/2024" for i in range(rows)],
            "shop": [f"shop {number}" for number in shop],
            "basket": basket,
            "returned": (chance.random(rows) < 1 / (1 + np.exp(-(basket - 60) / 15))).astype(int),
        }
    )
    path.write_bytes(gzip.compress(frame.write_csv().encode(), 1))
    return {
        "source": FileSource(path=path),
        "event_time": "sold",
        "key": ("sale",),
        "columns": (
            Column(name="shop", kind="category"),
            Column(name="basket", kind="number", low=0),
        ),
        "target": Binary(label="returned"),
        "candidates": recipe(boosting),
        "gate": gate(ROC_AUC, 0.75),
    }


def hours(folder: Path) -> dict[str, Any]:
    """A measurement each hour, with times in UTC, by days."""
    chance = np.random.default_rng(4)
    rows = 24 * 60
    hour = np.arange(rows) % 24
    load = 50 + 20 * np.sin((hour - 8) / 24 * 2 * np.pi) + chance.normal(0, 2, rows)
    path = folder / "hours.csv"
    stamps = pl.datetime_range(
        datetime(2024, 3, 1), datetime(2024, 4, 29, 23), "1h", eager=True
    ).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    pl.DataFrame({"at": stamps, "hour": hour, "before": np.roll(load, 24), "load": load}).write_csv(
        path
    )
    return {
        "source": FileSource(path=path, time_zone="UTC"),
        "event_time": "at",
        "key": ("at",),
        "period": "day",
        "columns": numbers(["hour", "before"]),
        "target": Number(label="load", unit="MW"),
        "candidates": recipe(regression),
        "gate": gate(RMSE, 5.0),
        "promotion": Promotion(holdout_periods=10),
    }


def subscribers(folder: Path) -> dict[str, Any]:
    """Births, sign-ups and a yes or no beside nulls, as pandas has them: moments of UTC, and true,
    false and None as objects."""
    import pandas as pd

    chance = np.random.default_rng(5)
    rows = 6000
    seen = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(
        np.sort(chance.integers(0, 182 * 24, rows)), unit="h"
    )
    waited = pd.to_timedelta(chance.integers(1, 24 * 365, rows), unit="h")
    signed_up, born = seen - waited, 1940 + chance.integers(0, 60, rows)
    paid = chance.random(rows) < 0.5
    evening = np.asarray(signed_up.tz_convert("Europe/Berlin").hour) >= 18
    margin = 2.0 * paid + 1.5 * evening + 0.05 * (born - 1970) - 1.5
    frame = pd.DataFrame(
        {
            "who": np.arange(rows),
            "seen": seen,
            "signed_up": signed_up,
            "born": [f"{year}-02-28" for year in born],
            "paid": [None if at % 11 == 0 else bool(one) for at, one in enumerate(paid)],
            "stayed": chance.random(rows) < 1 / (1 + np.exp(-margin)),
        }
    )
    return {
        "source": FrameSource(function=lambda: frame, time_zone="Europe/Berlin"),
        "event_time": "seen",
        "key": ("who",),
        "columns": (
            Column(name="paid", kind="boolean", nullable=True, null_tolerance=0.2),
            Column(name="signed_up", kind="datetime", parts=("hour", "week_cycle")),
            Column(name="born", kind="datetime", parts=("year",)),
        ),
        "target": Binary(label="stayed"),
        "candidates": recipe(boosting),
        "gate": gate(ROC_AUC, 0.75),
        "promotion": Promotion(slices=("paid",)),
    }


STRANGERS = {
    "wine": Stranger(wine, 178),
    "tumours": Stranger(tumours, 569),
    "irises": Stranger(irises, 150),
    "digits": Stranger(digits, 1797),
    "delays": Stranger(delays, 6000),
    "claims": Stranger(claims, 8000),
    "shops": Stranger(shops, 40_000),
    "hours": Stranger(hours, 1440),
    "subscribers": Stranger(subscribers, 6000),
}


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.nightly("large data", only=("shops", "claims"))
def test_table_goes_from_its_source_to_a_package_that_answers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = STRANGERS[name]
    case = UseCase(
        name=name, title=name, question=f"What of the {name}?", **stranger.fields(tmp_path)
    )
    lake = Lake(url=f"file://{tmp_path / 'lake'}", credentials=None)
    monkeypatch.setattr(sources, "lake", lambda: lake)
    periods = sources.source_of(case).periods()
    files = [ingest_period(lake, case, period) for period in periods]
    dataset, _ = write_version(lake, case, files)
    assert (dataset.rows, dataset.quarantined) == (stranger.rows, stranger.quarantined)

    held_out = case.promotion.holdout_periods
    training, holdout = periods[:-held_out], periods[-held_out:]
    rows = read_periods(lake, dataset, training, case.label)
    later = read_periods(lake, dataset, holdout, case.label)
    candidate = case.candidates[0]
    fitted = fit(case, candidate, candidate.params, rows, seed=7)
    reached = score(case.gate.metric, labels(case, later), predict(fitted, case, later))
    assert case.gate.passes(reached), reached

    origin = Origin(
        "own", {}, dataset.version, dataset.digests(training), {case.gate.metric.name: reached}
    )
    saved = make_package(tmp_path / "package", case, fitted, origin, rows, later, seed=7)
    assert saved.manifest.parity.changed_decisions == 0
    package = load_package(tmp_path / "package", saved.sha256)
    answers = score_rows(package, later.select(case.column_names))
    np.testing.assert_allclose(answers, predict(fitted, case, later), rtol=1e-5, atol=1e-5)
