"""A candidate that brings its ONNX may build any object: what Laurel asks of it, and how it is
fitted, cloned and searched."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from usecases._own_network import Network, export
from usecases.toy import toy_rows
from usecases.toy_number import price_rows

from tasks.models.cross_fitting import cross_fit
from tasks.models.executors import core_threads
from tasks.models.fingerprint import recipes_of
from tasks.models.modelling import build, encoder, fit, inputs, labels, predict, scores_of
from tasks.models.refits import refit_scores
from tasks.models.tuning import check_search, tune
from tasks.outside.user_code import UseCaseFailed, WrongAnswers
from tasks.packages.rehearsal import rehearse
from usecases.definition import Candidate, Layout, Range, Search, UseCase, load

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = toy_rows("2024-01", rows_a_day=20)


class Half:
    """Always one half; a subclass does something else. No base class, no get_params."""

    def fit(self, matrix: np.ndarray, labels: np.ndarray) -> None:
        self.rows = len(matrix)

    def predict_proba(self, matrix: np.ndarray) -> Any:
        return np.full((len(matrix), 2), 0.5)


def candidate(make: Any, **changes: Any) -> Candidate:
    return Candidate(
        name="own", build=lambda params, layout, seed: make(), export=export, **changes
    )


def network(params: dict[str, Any], layout: Layout, seed: int) -> Network:
    return Network(layout, seed, classes=2, **params)


NETWORK = Candidate(
    name="own",
    build=network,
    export=export,
    search=Search(
        space={"rate": Range(low=0.005, high=0.05, log=True)},
        resource=("epochs", (5, 20)),
        trials=3,
    ),
)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, r"returned None \(is a return missing\?\) without fit and predict_proba"),
        (3, r"returned 3 \(int\) without fit and predict_proba"),
        (type("Fits", (), {"fit": None, "predict_proba": Half.predict_proba})(), "without fit"),
        (type("Numbers", (), {"fit": Half.fit, "predict": len})(), "without predict_proba"),
        (Half, r"returned the class Half: write Half\(\*\*params\)"),
    ],
)
def test_object_without_the_methods_is_refused_when_it_is_built(
    case: UseCase, made: Any, message: str
) -> None:
    with pytest.raises(UseCaseFailed, match=rf"toy: build of candidate 'own' .*{message}"):
        build(case, candidate(lambda: made), {}, 7)


def test_number_needs_predict_alone() -> None:
    case = load("toy_number")
    with pytest.raises(UseCaseFailed, match="without predict. build.*with fit and predict for a N"):
        build(case, candidate(Half), {}, 7)
    own = Candidate(name="own", build=lambda p, layout, s: Network(layout, s, 0), export=export)
    fitted = fit(case, own, {}, price_rows("2024-01"), 7)
    assert not hasattr(fitted, "predict_proba")
    assert predict(fitted, case, price_rows("2024-02")).shape == (28 * 60,)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (lambda rows: np.full(rows, 0.5), r"shape \(\d+,\) for \d+ rows and 2 classes, expected"),
        (lambda rows: np.full((rows, 3), 1 / 3), r"shape \(\d+, 3\)"),
        (lambda rows: np.full((rows - 1, 2), 0.5), "expected"),
        (lambda rows: np.full((rows, 2), 0.7), "add up to 1.4 to 1.4.*softmax or sigmoid missing"),
        (lambda rows: np.tile([3.0, -2.0], (rows, 1)), "returned -2 to 3"),
    ],
)
def test_answers_that_are_no_probabilities_are_told_at_the_rehearsal(
    case: UseCase, answers: Any, message: str
) -> None:
    class Wrong(Half):
        def predict_proba(self, matrix: np.ndarray) -> Any:
            return answers(len(matrix))

    with pytest.raises(WrongAnswers, match=f"predict_proba of candidate 'own' .*{message}"):
        rehearse(case, candidate(Wrong), {}, ROWS, seed=7)


def test_error_of_the_models_own_code_is_told_with_its_line(case: UseCase) -> None:
    place = r"at .*_own_network\.py line \d+: TypeError"
    with pytest.raises(UseCaseFailed, match=f"build or fit of candidate 'own' failed {place}"):
        rehearse_or_fit(case, {"epochs": "many"})

    class NoAnswer(Half):
        def predict_proba(self, matrix: np.ndarray) -> Any:
            raise RuntimeError("no tensor")

    fitted = fit(case, candidate(NoAnswer), {}, ROWS, 7)
    with pytest.raises(UseCaseFailed, match="predict_proba of candidate 'own' failed.*no tensor"):
        predict(fitted, case, ROWS)


def rehearse_or_fit(case: UseCase, params: dict[str, Any]) -> None:
    """As a training does: a sample that cannot be fitted leaves the error to the fit."""
    assert not rehearse(case, NETWORK, params, ROWS, seed=7)
    fit(case, NETWORK, params, ROWS, 7)


def test_model_that_fills_nulls_in_place_does_not_change_the_rows(case: UseCase) -> None:
    class Filling(Half):
        def predict_proba(self, matrix: np.ndarray) -> Any:
            matrix[np.isnan(matrix)] = 0
            return super().predict_proba(matrix)

    fitted = fit(case, candidate(Filling), {}, ROWS, 7)
    matrix = encoder(case).fit(inputs(case, ROWS)).transform(inputs(case, ROWS))
    nulls = int(np.isnan(matrix).sum())
    scores_of(fitted.named_steps["model"], matrix)
    assert int(np.isnan(matrix).sum()) == nulls > 0


def test_clone_is_built_and_fitted_anew(case: UseCase) -> None:
    fitted = fit(case, NETWORK, {"epochs": 30}, ROWS, 7)
    again = clone(fitted).fit(inputs(case, ROWS), labels(case, ROWS))
    assert again.named_steps["model"].model_ is not fitted.named_steps["model"].model_
    np.testing.assert_array_equal(predict(again, case, ROWS), predict(fitted, case, ROWS))


def test_training_rows_are_scored_by_models_that_have_not_learned_them(case: UseCase) -> None:
    months = pl.concat([toy_rows(f"2024-0{month}") for month in (1, 2, 3)])
    fitted = fit(case, NETWORK, {"epochs": 150}, months, 7)
    crossed = cross_fit(case, fitted, months, 7)
    assert crossed.answers.null_count() == 0
    assert crossed.importance["first"] > 0.2 > crossed.importance["steady"]
    own = case.model_copy(update={"candidates": (NETWORK,)})
    spread = refit_scores(own, "own", {"epochs": 20}, months, ROWS, 2, 7)
    assert len(spread) == 2 and not np.array_equal(*spread)


def test_search_builds_each_rung_anew_with_its_parameters(case: UseCase) -> None:
    calls: list[dict[str, Any]] = []

    def noted(params: dict[str, Any], layout: Layout, seed: int) -> Network:
        calls.append(dict(params))
        return network(params, layout, seed)

    own = NETWORK.model_copy(update={"build": noted})
    check_search(case, own, seed=7)
    calls.clear()
    with core_threads(2) as threads:
        tuned = tune(case, own, ROWS, toy_rows("2024-02"), 7, threads)
    assert tuned.params["epochs"] == 20 and 0.005 <= tuned.params["rate"] <= 0.05
    assert {call.get("epochs") for call in calls} == {None, 5, 20}
    fitted = fit(case, own, tuned.params, ROWS, 7)
    assert fitted.named_steps["model"].model_.epochs == 20


def test_search_over_a_parameter_that_build_does_not_take_is_refused(case: UseCase) -> None:
    for search in (
        Search(space={"depth": Range(low=1, high=2)}, resource=("epochs", (5,))),
        Search(space={"rate": Range(low=0.1, high=0.2)}, resource=("rounds", (5,))),
    ):
        own = NETWORK.model_copy(update={"search": search})
        with pytest.raises(UseCaseFailed, match="unexpected keyword argument '(depth|rounds)'"):
            check_search(case, own, seed=7)


def test_changed_export_is_a_changed_recipe(case: UseCase) -> None:
    def of(**changes: Any) -> str:
        own = NETWORK.model_copy(update=changes)
        return recipes_of(case.model_copy(update={"candidates": (own,)}))

    assert of() == of() != of(export=lambda model, n_features: export(model, n_features))
    assert of(export=None) != of()


def test_export_that_takes_other_arguments_is_refused_when_the_file_is_loaded() -> None:
    with pytest.raises(ValueError, match=r"export of candidate 'own' does not take \(model, n_fea"):
        Candidate(name="own", build=network, export=lambda model: b"")
