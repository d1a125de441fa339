"""A candidate's vectorisers: what they get, what is refused, and how large a matrix may be."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.sparse import issparse
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

from tasks.data.validation import validate
from tasks.models import vectorizers
from tasks.models.fingerprint import recipes_of
from tasks.models.modelling import build, encode, fit, owners, pipeline, predict
from tasks.models.tuning import tune
from tasks.models.vectorizers import takes_sparse, vectorizers_of
from tasks.outside.user_code import UseCaseFailed
from tests.fixtures.texts import components, letters, logistic, pairs, reviews, text_case
from usecases.definition import Candidate, UseCase


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return validate(text_case(), "2024-01", reviews()).good


def candidate_of(vectorizer: Any, **params: Any) -> tuple[UseCase, Candidate]:
    case = text_case(
        Candidate(
            name="own",
            build=logistic,
            vectorizers={"review": lambda given: vectorizer},
            params=params,
        )
    )
    return case, case.candidates[0]


class Subclass(TfidfVectorizer):
    """What a subclass does cannot be read from its parameters."""


@pytest.mark.parametrize(
    ("vectorizer", "problem"),
    [
        (TfidfVectorizer, "is the class TfidfVectorizer: write TfidfVectorizer"),
        (None, r"is None \(is a return missing\?\)"),
        (HashingVectorizer(), "is a HashingVectorizer, whose terms have no names: use Tfidf"),
        (Subclass(), "is a tests.Subclass|is a test_vectorizers.Subclass"),
        (TfidfVectorizer(tokenizer=str.split), "has a function as tokenizer"),
        (CountVectorizer(analyzer=str.split), "has a function as analyzer"),
        (TfidfVectorizer(preprocessor=str.upper, strip_accents=str), "preprocessor and strip_acc"),
        (TfidfVectorizer(input="filename"), "has input='filename': a column has the texts"),
        (TfidfVectorizer(max_features=60_000), "60,000, and 50,000 is the most: write max_feat"),
        (TfidfVectorizer(token_pattern=r"(\w+\s?)+!"), "has a token_pattern that may take very"),
        (TfidfVectorizer(ngram_range=(1, 30)), r"has an ngram_range of \(1, 30\)"),
    ],
)
def test_what_cannot_be_served_is_refused_before_any_fit(vectorizer: Any, problem: str) -> None:
    case, candidate = candidate_of(vectorizer)
    with pytest.raises(UseCaseFailed, match=problem) as refusal:
        build(case, candidate, {}, 7)
    assert "texts: the vectoriser of 'review' of candidate 'own' with {}" in str(refusal.value)


def test_parameters_of_a_text_go_to_its_vectoriser_and_others_to_build() -> None:
    case = text_case()
    whole = pipeline(case, case.candidate("logistic"), {"review__min_df": 3, "C": 0.5}, 7)
    assert whole["model"].C == 0.5
    (_, own, name) = whole["encode"].transformers[-1]
    assert (own.min_df, own.max_features, own.dtype, name) == (3, 20_000, np.float64, "review")
    with pytest.raises(UseCaseFailed, match=r"with \{'min_dff': 3\} failed.*min_dff"):
        vectorizers_of(case, case.candidate("logistic"), {"review__min_dff": 3})


def test_a_vectoriser_of_no_text_is_refused_when_it_is_defined() -> None:
    with pytest.raises(ValueError, match=r"names \['stars'\], which are no columns of kind 'text'"):
        text_case(Candidate(name="own", build=logistic, vectorizers={"stars": letters}))


def test_linear_models_are_fitted_on_a_sparse_matrix_and_trees_on_a_dense_one(
    rows: pl.DataFrame,
) -> None:
    case = text_case()
    matrices = {}
    for candidate in case.candidates:
        fitted = fit(case, candidate, dict(candidate.params), rows, 7)
        matrices[candidate.name] = encode(fitted, case, rows)
        assert matrices[candidate.name].shape == (len(rows), len(owners(case, fitted)))
        assert len(predict(fitted, case, rows)) == len(rows)
    assert {name: issparse(matrix) for name, matrix in matrices.items()} == {
        "logistic": True,
        "beside_codes": False,
        "boosting": False,
    }


def test_what_reads_absent_values_as_missing_gets_a_dense_matrix() -> None:
    xgboost = pytest.importorskip("xgboost")
    assert not takes_sparse(xgboost.XGBClassifier())
    assert takes_sparse(components({}, text_case().layout, 7))


def test_too_many_terms_for_a_dense_matrix_are_refused_before_it_is_made(
    rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = text_case()
    monkeypatch.setattr(vectorizers, "MOST_CELLS", 5_000)
    with pytest.raises(UseCaseFailed, match="needs a dense matrix.*Write max_features=12 in its"):
        fit(case, case.candidate("boosting"), {}, rows, 7)
    fit(case, case.candidate("logistic"), {}, rows, 7)  # sparse: no bound


def test_a_search_tunes_a_vectoriser(rows: pl.DataFrame) -> None:
    case = text_case()
    with ThreadPoolExecutor(1) as executor:
        tuned = tune(case, case.candidate("logistic"), rows[:300], rows[300:], 7, executor)
    assert len({trial.params["review__min_df"] for trial in tuned.trials}) > 1
    assert tuned.params["review__min_df"] in range(1, 5) and tuned.score > 0.7


def test_another_vectoriser_is_another_definition() -> None:
    recipes = [
        recipes_of(text_case(Candidate(name="own", build=logistic, vectorizers=own)))
        for own in ({}, {"review": letters}, {"review": pairs})
    ]
    assert len(set(recipes)) == 3
