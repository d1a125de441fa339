"""Which recipes compete, and which of them is the best."""

import math

import polars as pl
import pytest
from usecases.toy import toy_rows

from tasks.models import selection
from tasks.models.selection import (
    Recipe,
    best_of,
    best_trial,
    can_compare,
    choose_recipes,
    comparison_rows,
    first_trials,
)
from tasks.models.tuning import Trial, Tuned
from usecases.definition import LOG_LOSS, ROC_AUC, Metric, UseCase


def recipe(candidate: str, **params: float) -> Recipe:
    return Recipe(candidate=candidate, params=params, why="champion 3")


def names(recipes: tuple[Recipe, ...]) -> list[tuple[str, str]]:
    return [(recipe.candidate, recipe.why) for recipe in recipes]


def test_the_baselines_compete_and_the_champions_recipe_beside_them(case: UseCase) -> None:
    assert names(choose_recipes(case, None)) == [("logistic", "baseline")]
    boosting = recipe("boosting", max_iter=20)
    assert names(choose_recipes(case, boosting)) == [
        ("logistic", "baseline"),
        ("boosting", "champion 3"),
    ]


def test_the_champions_parameters_stand_in_for_those_of_its_baseline(case: UseCase) -> None:
    assert names(choose_recipes(case, recipe("logistic", C=2.0))) == [("logistic", "champion 3")]


def test_a_champion_whose_candidate_is_gone_does_not_compete(case: UseCase) -> None:
    assert names(choose_recipes(case, recipe("forest"))) == [("logistic", "baseline")]


def test_hpo_tries_what_competed_first_and_then_the_candidates_own(case: UseCase) -> None:
    boosting = case.candidate("boosting")
    champion = recipe("boosting", max_iter=20)
    assert first_trials(boosting, choose_recipes(case, champion)) == (
        {"max_iter": 20},
        {"max_iter": 40},
    )
    assert first_trials(boosting, choose_recipes(case, None)) == ({"max_iter": 40},)


@pytest.mark.parametrize(
    ("metric", "scores", "best"),
    [
        (ROC_AUC, [0.7, 0.9, 0.8], 1),
        (LOG_LOSS, [0.7, 0.9, 0.6], 2),
        (ROC_AUC, [0.8, 0.8], 0),
        (ROC_AUC, [math.nan, 0.5, math.nan], 1),
        (LOG_LOSS, [0.5, math.nan], 0),
    ],
)
def test_the_best_is_the_first_of_the_best_and_never_a_nan(
    metric: Metric, scores: list[float], best: int
) -> None:
    assert best_of(metric, list(enumerate(scores)), lambda entry: entry[1])[0] == best


def test_the_best_trial_is_the_best_on_the_inner_split_in_the_metrics_direction() -> None:
    searches = [
        Tuned("boosting", {"max_iter": 20}, 0.61, (Trial(0, {}, 0.61, pruned=False),)),
        Tuned("forest", {"trees": 9}, 0.52, (Trial(0, {}, 0.52, False), Trial(1, {}, 0.7, True))),
    ]
    wins = {metric.name: best_trial(metric, searches) for metric in (ROC_AUC, LOG_LOSS)}
    assert wins["roc_auc"] == Recipe(
        candidate="boosting", params={"max_iter": 20}, why="best of 3 trials, 1 pruned"
    )
    assert wins["log_loss"] is not None and wins["log_loss"].candidate == "forest"
    assert best_trial(ROC_AUC, []) is None


def test_recipes_are_compared_where_both_classes_and_rows_enough_are_there(case: UseCase) -> None:
    earlier, period = toy_rows("2024-01"), toy_rows("2024-02")
    lost = period.with_columns(won=pl.lit(0))
    assert can_compare(case, earlier, period)
    assert not can_compare(case, earlier, period.head(case.promotion.minimum_rows - 1))
    assert not can_compare(case, earlier, lost)
    assert not can_compare(case, lost, period)


def test_recipes_are_compared_on_some_of_many_rows_and_no_class_is_lost(
    case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pl.concat([toy_rows("2024-01"), toy_rows("2024-02")])
    assert comparison_rows(case, rows, seed=1) is rows
    monkeypatch.setattr(selection, "COMPARED_ROWS", 500)
    some = comparison_rows(case, rows, seed=1)
    assert len(some) == 500 and some["id"].n_unique() == 500
    assert some["at"].dt.month().n_unique() == 2
    assert some.equals(comparison_rows(case, rows, seed=1))
    rare = rows.with_columns(won=(pl.int_range(pl.len()) == 7).cast(pl.Int8))
    assert comparison_rows(case, rare, seed=1) is rare
