"""Contests of numbers and of classes: who wins, what is suspicious, and what a model must do."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from usecases.toy_classes import NAMES, weather_rows
from usecases.toy_classes import USE_CASE as WEATHER
from usecases.toy_number import USE_CASE as PRICE
from usecases.toy_number import price_rows

from serving.package.model import Package, load
from tasks.contest.behaviour import try_behaviours
from tasks.contest.leaks import column_doubts, gain_doubts, strongest_column
from tasks.contest.verdict import hold, too_little
from tasks.models import modelling
from tasks.models.cross_fitting import cross_fit
from tasks.packages.packaging import Origin, make_package
from usecases.definition import (
    LOG_LOSS,
    MAE,
    R2,
    RMSE,
    Direction,
    Invariance,
    MinimumFunction,
    Promotion,
    UseCase,
)

DAYS, A_DAY = 40, 100
DAY = np.repeat(np.arange(DAYS), A_DAY)


def prices(error: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of forty days, and what a model of this error says of them; the numbers are the same
    for each seed."""
    truth = np.random.default_rng(0).gamma(3, 40, DAYS * A_DAY)
    return truth, truth + np.random.default_rng(seed).normal(0, error, len(truth))


def chances(sure: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes of forty days, and the probabilities of a model this sure of the right one."""
    truth = np.random.default_rng(0).choice(3, DAYS * A_DAY, p=[0.6, 0.3, 0.1])
    likelihood = np.random.default_rng(seed).dirichlet(np.ones(3), len(truth))
    likelihood[np.arange(len(truth)), truth] += sure
    return truth, likelihood / likelihood.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", [RMSE, MAE, R2], ids=lambda metric: metric.name)
def test_number_nearer_to_the_truth_wins(metric: Any) -> None:
    truth, champion = prices(30, 1)
    _, challenger = prices(25, 2)
    policy = Promotion()
    better = hold(policy, metric, truth, champion, challenger, DAY)
    assert better.verdict == "promote" and better.main.gain is not None and better.main.gain > 0
    worse = hold(policy, metric, truth, challenger, champion, DAY)
    assert worse.verdict == "keep"


def test_class_that_is_likelier_wins() -> None:
    truth, champion = chances(0.6, 1)
    _, challenger = chances(0.65, 2)
    policy = Promotion(suspicious_share=1)
    assert hold(policy, LOG_LOSS, truth, champion, challenger, DAY).verdict == "promote"
    assert hold(policy, LOG_LOSS, truth, challenger, champion, DAY).verdict == "keep"


def test_equal_models_of_numbers_are_rarely_crowned() -> None:
    """In at most 5 % of contests, give or take three standard errors, though errors of a day hang
    together and are skewed."""
    chance = np.random.default_rng(3)
    crowned = 0
    for _ in range(300):
        truth = chance.gamma(3, 40, 2000)
        day = np.repeat(np.arange(20), 100)
        both = [
            truth + chance.normal(0, 8, 20)[day] + chance.exponential(20, 2000) for _ in range(2)
        ]
        contest = hold(Promotion(replicates=4000), RMSE, truth, both[0], both[1], day)
        crowned += contest.verdict == "promote"
    assert crowned / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_slice_may_lose_a_share_of_the_champion_s_error() -> None:
    """2 % of an error of 30 is .6, and not .02."""
    assert Promotion().tolerated(RMSE, 30.0) == pytest.approx(0.6)
    assert Promotion().tolerated(R2, 0.8) == Promotion().tolerated(LOG_LOSS, 0.8) == 0.02


def test_rarest_class_decides_whether_rows_suffice() -> None:
    truth, chances_of_three = np.array([0] * 600 + [1] * 390 + [2] * 10), np.ones((1000, 3)) / 3
    assert too_little(Promotion(), LOG_LOSS, truth, chances_of_three, 30) is None
    for few in ([0] * 600 + [1] * 395 + [2] * 5, [0] * 600 + [1] * 400):
        rarest = len(few) - 600 - few.count(1)
        assert too_little(Promotion(), LOG_LOSS, np.array(few), chances_of_three, 30) == (
            f"{rarest} of a class of 1000; the rule requires at least 10 of each class."
        )
    assert too_little(Promotion(), RMSE, np.zeros(1000), np.zeros(1000), 30) is None


def test_gain_that_takes_most_of_the_error_is_suspicious() -> None:
    truth, champion = prices(30, 1)
    _, honest = prices(25, 2)
    _, learned = prices(15, 3)
    assert gain_doubts(Promotion(), RMSE, truth, champion, honest) == []
    (doubt,) = gain_doubts(Promotion(), RMSE, truth, champion, learned)
    assert "The gain in R²" in doubt and "more than 50% is too good to be true" in doubt


def test_column_that_says_the_label_is_found_for_each_target() -> None:
    price = price_rows("2024-02").with_columns(age=pl.col("price"))
    alone = strongest_column(PRICE, price)
    assert alone.column == "age" and alone.score > 0.97 and np.isnan(alone.agreement)
    (doubt,) = column_doubts(Promotion(), RMSE, alone, 0.99, 0.9)
    assert "'age' alone has R² " in doubt
    weather = weather_rows("2024-02").with_columns(place=pl.col("weather"))
    alone = strongest_column(WEATHER, weather)
    assert (alone.column, alone.score) == ("place", 1.0)
    (doubt,) = column_doubts(Promotion(), LOG_LOSS, alone, 1.0, 0.9)
    assert "'place' alone has ROC AUC 1.0000" in doubt


def package_of(case: UseCase, rows: pl.DataFrame, folder: Path) -> Package:
    candidate = case.candidate("boosting")
    fitted = modelling.fit(case, candidate, candidate.params, rows, seed=1)
    origin = Origin("boosting", {}, "1", {"2024-01": "0"}, {})
    made = make_package(folder, case, fitted, origin, rows, rows, seed=1, watched=False)
    return load(folder, made.sha256)


def test_behaviours_of_a_number_and_of_a_class(tmp_path: Path) -> None:
    rows = price_rows("2024-01")
    price = PRICE.model_copy(
        update={
            "behaviours": (
                Direction(name="up", column="size", moves="up", add=60, mean=60, tolerance=20),
                Direction(name="down", column="size", moves="down", add=60),
                MinimumFunction(
                    name="dear", rows=({"size": 100.0, "quarter": "south"},), low=200.0
                ),
            )
        }
    )
    tried = try_behaviours(price, package_of(price, rows, tmp_path / "price"), rows, 1)
    assert [result.passed for result in tried] == [True, False, True]
    rows = weather_rows("2024-01")
    storm = {"pressure": 5.0, "wind": 3.0, "place": "hill"}
    weather = WEATHER.model_copy(
        update={
            "behaviours": (
                Invariance(name="place", column="place", to=("hill",), tolerance=0.5, share=0.9),
                Invariance(name="wind", column="wind", to=(3.0,), tolerance=0.5),
                MinimumFunction(name="storm", rows=(storm,), of="storm", low=0.6),
                MinimumFunction(name="calm", rows=(storm,), of="calm", low=0.6),
            )
        }
    )
    tried = try_behaviours(weather, package_of(weather, rows, tmp_path / "weather"), rows, 1)
    assert [result.passed for result in tried] == [True, False, True, False]


def test_answers_out_of_sample_are_those_that_drift_is_watched_on() -> None:
    rows = pl.concat([weather_rows("2024-01"), weather_rows("2024-02")])
    candidate = WEATHER.candidate("boosting")
    fitted = modelling.fit(WEATHER, candidate, {"max_iter": 10}, rows, seed=1)
    answers = cross_fit(WEATHER, fitted, rows, seed=1).answers
    assert answers.dtype == pl.String and set(answers) == set(NAMES)
    assert (answers == rows["weather"]).mean() > 0.75
    rows = pl.concat([price_rows("2024-01"), price_rows("2024-02")])
    candidate = PRICE.candidate("boosting")
    fitted = modelling.fit(PRICE, candidate, {"max_iter": 40}, rows, seed=1)
    answers = cross_fit(PRICE, fitted, rows, seed=1).answers
    assert answers.dtype == pl.Float64
    assert ((answers - rows["price"]) ** 2).mean() ** 0.5 < 20
