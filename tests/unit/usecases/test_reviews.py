"""The invented reviews: what a model learns of them, and what September changes."""

import numpy as np
import polars as pl
import pytest

from tasks.data.traits import by_traits
from tasks.data.validation import validate
from tasks.drift.thresholds import calibrate
from tasks.measures.metrics import score
from tasks.models.modelling import fit, labels, predict
from usecases.definition import ROC_AUC, SourceError, load

CASE = load("reviews")


def months(first: int, last: int) -> pl.DataFrame:
    names = [f"2024-{month:02d}" for month in range(first, last + 1)]
    return pl.concat([validate(CASE, name, CASE.source.read(name)).good for name in names])


def test_reading_again_gives_the_same_reviews_and_other_months_are_refused() -> None:
    assert CASE.source.read("2024-03").equals(CASE.source.read("2024-03"))
    with pytest.raises(SourceError, match="2024-01 to 2024-12, not of 2025-01"):
        CASE.source.read("2025-01")


def auc(recipe: str, learned: pl.DataFrame, rows: pl.DataFrame) -> float:
    candidate = CASE.candidate(recipe)
    fitted = fit(CASE, candidate, dict(candidate.params), learned, 7)
    return score(ROC_AUC, labels(CASE, rows), predict(fitted, CASE, rows))


@pytest.mark.parametrize("recipe", ["words", "letters"])
@pytest.mark.nightly("fits and searches many models")
def test_september_costs_a_model_what_a_retrain_gives_back(recipe: str) -> None:
    before = months(1, 6)
    assert auc(recipe, before, months(7, 7)) > CASE.gate.threshold
    november = months(11, 11)
    stale = auc(recipe, before, november)
    assert stale < CASE.gate.threshold < auc(recipe, months(1, 10), november)


def test_traits_tell_the_new_products_and_nothing_before() -> None:
    training = months(1, 6)
    chance = np.random.default_rng(7)
    scored = training.with_columns(score=chance.random(len(training)))
    reference, thresholds, calibrated = calibrate(CASE, scored, 7)
    assert calibrated
    assert beyond(reference, thresholds, months(7, 7)) == set()
    assert beyond(reference, thresholds, months(8, 8)) == set()
    told = beyond(reference, thresholds, months(9, 9))
    assert {"review.group_1", "review.group_2"} <= told


def beyond(reference: pl.DataFrame, thresholds: dict[str, float], rows: pl.DataFrame) -> set[str]:
    from tasks.drift.checks.distances import distance

    case, rows = by_traits(CASE, rows)
    return {
        column.name
        for column in case.columns
        if distance(column, reference[column.name], rows[column.name]) > thresholds[column.name]
    }
