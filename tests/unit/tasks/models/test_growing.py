"""A model that has no ``warm_start`` is searched all the same, once a grower of its library is
registered.
"""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from usecases.toy import toy_rows

from tasks.models import growing, libraries, refusals
from tasks.models.executors import core_threads
from tasks.models.growing import GROWERS, Grower
from tasks.models.libraries import LIBRARIES, Library
from tasks.models.tuning import check_search, tune
from tasks.outside.user_code import UseCaseFailed
from usecases.definition import Candidate, Range, Search, UseCase

RUNGS = (5, 10, 20)


class Descent(ClassifierMixin, BaseEstimator):
    """Logistic regression by gradient descent, of a library that goes on by ``resume``."""

    def __init__(self, rate: float = 0.1, rounds: int = 10) -> None:
        self.rate, self.rounds = rate, rounds

    def fit(self, matrix: np.ndarray, labels: np.ndarray) -> "Descent":
        raise AssertionError("A search goes on with what is fitted.")

    def resume(self, matrix: np.ndarray, labels: np.ndarray, rounds: int) -> "Descent":
        """A model of its own: the one that is resumed stays as it is."""
        grown = Descent(self.rate, rounds)
        grown.classes_ = np.unique(labels)
        grown.weights = getattr(self, "weights", np.zeros(matrix.shape[1]))
        grown.history = (*getattr(self, "history", ()), rounds)
        for _ in range(rounds - sum(getattr(self, "history", ())[-1:])):
            wrong = grown.predict_proba(matrix)[:, 1] - labels
            grown.weights = grown.weights - self.rate * np.nan_to_num(matrix).T @ wrong / len(wrong)
        return grown

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        positive = 1 / (1 + np.exp(-np.nan_to_num(matrix) @ self.weights))
        return np.column_stack([1 - positive, positive])


def resume(
    estimator: Any,
    resource: str,
    rung: int,
    matrix: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
) -> Any:
    assert weights is None
    assert resource == "rounds"
    reached.append(grown := estimator.resume(matrix, labels, rung))
    return grown


reached: list[Descent] = []
RESUME = Grower(lambda estimator, resource: hasattr(estimator, "resume"), resume)
CANDIDATE = Candidate(
    name="descent",
    build=lambda params, layout, seed: Descent(**params),
    search=Search(space={"rate": Range(low=0.01, high=0.1)}, resource=("rounds", RUNGS), trials=5),
)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library of ``Descent`` is one of Laurel's."""
    none: tuple[str, ...] = ()
    own = Library(settings={}, seeds=none, threads=none, rounds=none, refusals=())
    name = Descent.__module__.partition(".")[0]
    monkeypatch.setattr(refusals, "LIBRARIES", {**LIBRARIES, name: own})
    monkeypatch.setattr(libraries, "LIBRARIES", {**LIBRARIES, name: own})


@pytest.fixture
def sides() -> tuple[pl.DataFrame, pl.DataFrame]:
    return toy_rows("2024-01"), toy_rows("2024-02")


def test_each_trial_goes_on_with_what_its_last_rung_gave(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "GROWERS", [*GROWERS, RESUME])
    reached.clear()
    check_search(case, CANDIDATE, seed=7)
    with core_threads(2) as threads:
        tuned = tune(case, CANDIDATE, *sides, 7, threads)
    assert len(tuned.trials) == 5
    assert tuned.params["rounds"] == RUNGS[-1]
    assert all(model.history == RUNGS[: len(model.history)] for model in reached)
    finished = sum(not trial.pruned for trial in tuned.trials)
    assert sum(model.history == RUNGS for model in reached) == finished > 0


def test_a_model_that_no_grower_takes_is_refused_before_anything_is_fitted(case: UseCase) -> None:
    message = (
        "search of candidate 'descent' grows 'rounds' with warm_start, but the Descent that build "
        "returns has no parameter 'warm_start'.*add a grower to tasks/models/growing.py"
    )
    with pytest.raises(UseCaseFailed, match=message):
        check_search(case, CANDIDATE, seed=7)
