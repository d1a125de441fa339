"""Rows that count less the older they are, in a world that turns round half-way."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.models.cross_fitting import cross_fit
from tasks.models.executors import core_threads
from tasks.models.fingerprint import recipes_of
from tasks.models.modelling import fit, predict
from tasks.models.tuning import tune
from tasks.models.weights import age_weights, fit_arguments
from tasks.outside.user_code import UseCaseFailed
from usecases.definition import Candidate, Layout, Range, Search, UseCase, load

Build = Callable[[Any, Layout, int], Any]


def boosting(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(**params, early_stopping=False, random_state=seed)


def logistic(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaled = make_pipeline(StandardScaler(), LogisticRegression())
    return make_pipeline(SimpleImputer(keep_empty_features=True), scaled)


def light(params: Any, layout: Layout, seed: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=30, verbose=-1)


def neighbours(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier()


def case(build: Build, half_life_days: float | None, **candidate: Any) -> UseCase:
    recipe = Candidate(name="only", build=build, **candidate)
    return load("toy").model_copy(
        update={"candidates": (recipe,), "half_life_days": half_life_days}
    )


def turning(rows: int = 2400) -> pl.DataFrame:
    """``first`` means yes in the last quarter of a year, and no before."""
    chance = np.random.default_rng(7)
    start, first = datetime(2024, 1, 1), chance.normal(size=rows)
    late = np.arange(rows) >= rows * 3 // 4
    return pl.DataFrame(
        {
            "id": range(rows),
            "at": [start + timedelta(days=360 * row / rows) for row in range(rows)],
            "first": first,
            "second": chance.normal(size=rows),
            "steady": [5.0] * rows,
            "group": ["a", "b"] * (rows // 2),
            "won": ((first > 0) == late).astype(int),
        }
    )


def test_row_of_twice_the_age_counts_a_quarter() -> None:
    rows = turning().filter(pl.col("id").is_in([0, 1200, 2399]))
    weights = age_weights(case(boosting, 90), rows)
    assert weights is not None and weights.mean() == pytest.approx(1)
    days = [(rows["at"][-1] - at).total_seconds() / 86_400 for at in rows["at"]]
    assert weights / weights[-1] == pytest.approx([0.5 ** (age / 90) for age in days])


def test_without_a_half_life_nothing_is_passed() -> None:
    assert age_weights(case(boosting, None), turning()) is None
    assert fit_arguments(object(), None) == {}


@pytest.mark.parametrize("build", [boosting, logistic, light])
def test_model_follows_the_newer_rows(build: Build) -> None:
    rows = turning()
    newest = rows.tail(300)
    right = []
    for half_life in (None, 20.0):
        of = case(build, half_life)
        fitted = fit(of, of.candidates[0], {}, rows, seed=1)
        right.append(
            ((predict(fitted, of, newest) > 0.5) == (newest["won"].to_numpy() == 1)).mean()
        )
    assert right[0] < 0.3 and right[1] > 0.9


def test_search_and_cross_fit_weigh_too() -> None:
    rows = turning()
    search = Search(
        space={"learning_rate": Range(low=0.1, high=0.2)}, resource=("max_iter", (5, 10)), trials=2
    )
    scores, answers = [], []
    for half_life in (None, 20.0):
        of = case(boosting, half_life, search=search)
        with core_threads() as threads:
            fit_on, check = rows.head(2100), rows.tail(300)
            scores.append(tune(of, of.candidates[0], fit_on, check, 1, threads).score)
        fitted = fit(of, of.candidates[0], {"max_iter": 10}, rows, seed=1)
        unseen = cross_fit(of, fitted, rows, seed=1).answers.head(700)
        answers.append(unseen.to_numpy())
    assert scores[0] < 0.3 and scores[1] > 0.8
    assert np.abs(answers[0] - answers[1]).mean() > 0.1


def test_model_that_cannot_weigh_is_refused_before_the_fit() -> None:
    of = case(neighbours, 30)
    with pytest.raises(
        UseCaseFailed, match="KNeighborsClassifier whose fit takes no sample_weight"
    ):
        fit(of, of.candidates[0], {}, turning(), seed=1)


def test_half_life_is_a_part_of_the_definition() -> None:
    tags = [recipes_of(case(boosting, half_life)) for half_life in (None, 30, 60)]
    assert len(set(tags)) == 3
