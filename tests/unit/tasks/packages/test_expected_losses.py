"""The errors of a number before its labels come: learned on the hold-out, kept in the package, and
compared with what comes."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from serving.package.model import Package
from serving.package.model import load as load_package
from tasks.drift.performance import judge_performance
from tasks.models import modelling
from tasks.packages.expected_losses import expected_losses, fit_losses, losses_of
from tasks.packages.judging import judge_holdout
from tasks.packages.packaging import Origin, make_package
from usecases.definition import RMSE, Candidate, Column, FileSource, Gate, Number, UseCase

ROWS = 3000


def ridge(params: dict[str, Any], layout: Any, seed: int) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def case(**fields: Any) -> UseCase:
    given: dict[str, Any] = {
        "name": "spread",
        "title": "Spread",
        "question": "How much?",
        "source": FileSource(path="none.csv"),
        "columns": (
            Column(name="size", kind="number"),
            Column(name="kind", kind="category", categories=("calm", "wild")),
        ),
        "target": Number(label="price"),
        "event_time": "at",
        "key": ("id",),
        "candidates": (Candidate(name="ridge", build=ridge),),
        "gate": Gate(metric=RMSE, threshold=50.0),
    }
    return UseCase(**{**given, **fields})


def draw(seed: int, wild: float, rows: int = ROWS) -> pl.DataFrame:
    """Prices whose errors are five times as large for wild rows, of which there is a share."""
    chance = np.random.default_rng(seed)
    size, is_wild = chance.normal(10, 2, rows), chance.random(rows) < wild
    return pl.DataFrame(
        {
            "id": [f"{seed}-{number}" for number in range(rows)],
            "at": pl.datetime_range(
                pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 28), "1d", eager=True
            )[np.arange(rows) % 28],
            "size": size,
            "kind": np.where(is_wild, "wild", "calm"),
            "price": 3 * size + chance.normal(0, 1, rows) * np.where(is_wild, 10, 2),
        }
    )


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> tuple[UseCase, Package, Path]:
    own, training, holdout = case(), draw(1, wild=0.3), draw(2, wild=0.3)
    fitted = modelling.fit(own, own.candidates[0], {}, training, 0)
    judged = judge_holdout(own, fitted, "2024-02", holdout, 0)
    origin = Origin("ridge", {}, "2024-01-a", {"2024-01": "a"}, {"rmse": 1.0}, judged)
    folder = tmp_path_factory.mktemp("package")
    saved = make_package(folder, own, fitted, origin, training, holdout, 0, watched=False)
    return own, load_package(folder, saved.sha256), folder


def logged(package: Package, rows: pl.DataFrame) -> pl.DataFrame:
    columns = {name: rows[name].to_list() for name in package.names}
    value = package.predict(columns)
    return rows.select("id", "size", "kind", event_time="at").with_columns(
        value=pl.Series(value), low=pl.Series(value - 1), high=pl.Series(value + 1)
    )


@pytest.mark.parametrize("wild", [0.05, 0.3, 0.9])
def test_estimate_follows_the_share_of_rows_that_are_hard(
    spread: tuple[UseCase, Package, Path], wild: float
) -> None:
    own, package, folder = spread
    rows = draw(3, wild)
    log = logged(package, rows)
    expected = expected_losses(package, losses_of(folder), log)
    labels = rows.select("id", label="price", time=pl.col("at").dt.replace_time_zone("UTC"))
    before = judge_performance(
        own, package.manifest, log, labels.head(0), 0, expected=expected
    ).estimates
    assert {*before} >= {"rmse", "mae"} and before["rmse"].error is None
    after = judge_performance(own, package.manifest, log, labels, 0, expected=expected)
    for name in ("rmse", "mae"):
        realised = after.metrics[name].value
        assert realised is not None and before[name].value is not None
        assert before[name].value == pytest.approx(realised, rel=0.1)
        assert after.estimates[name].error == pytest.approx(before[name].value - realised, abs=1e-9)


def test_errors_that_nothing_tells_have_no_model() -> None:
    chance = np.random.default_rng(5)
    truth, days = chance.normal(0, 1, ROWS), np.arange(ROWS) % 28
    matrix = chance.normal(0, 1, (ROWS, 2))
    assert fit_losses(case(), matrix, np.arange(2), np.zeros(ROWS), truth, days) == b"{}"


@pytest.mark.parametrize("rows", [0, 50])
def test_few_rows_have_no_model(rows: int) -> None:
    chance = np.random.default_rng(6)
    truth = chance.normal(0, 1, rows)
    matrix = chance.normal(0, 1, (rows, 2))
    assert (
        fit_losses(case(), matrix, np.arange(2), np.zeros(rows), truth, np.arange(rows) % 28)
        == b"{}"
    )


def test_log_that_lacks_an_input_has_no_estimate(spread: tuple[UseCase, Package, Path]) -> None:
    _, package, folder = spread
    log, losses = logged(package, draw(4, 0.3, rows=40)), losses_of(folder)
    assert len(expected_losses(package, losses, log)) == 40
    assert expected_losses(package, losses, log.drop("size")).is_empty()
    assert expected_losses(package, losses, log, partly=["kind"]).is_empty()
    assert expected_losses(package, b"", log).is_empty()
    assert expected_losses(package, losses, log.head(0)).is_empty()


def test_column_that_is_not_logged_is_no_input(tmp_path: Path) -> None:
    from usecases.definition import PredictionLogPolicy

    own = case(prediction_log=PredictionLogPolicy(leave_out=("size",)))
    training, holdout = draw(1, wild=0.3), draw(2, wild=0.3)
    fitted = modelling.fit(own, own.candidates[0], {}, training, 0)
    judged = judge_holdout(own, fitted, "2024-02", holdout, 0)
    origin = Origin("ridge", {}, "2024-01-a", {"2024-01": "a"}, {"rmse": 1.0}, judged)
    saved = make_package(tmp_path, own, fitted, origin, training, holdout, 0, watched=False)
    package = load_package(tmp_path, saved.sha256)
    log = logged(package, holdout).drop("size")
    expected = expected_losses(package, losses_of(tmp_path), log)
    wild = (log["kind"] == "wild").to_numpy()
    assert expected["mae"].to_numpy()[wild].mean() > 3 * expected["mae"].to_numpy()[~wild].mean()
