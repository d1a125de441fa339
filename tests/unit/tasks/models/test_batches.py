"""Models that learn a batch at a time."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from usecases.toy import toy_rows

from tasks.measures.metrics import score
from tasks.models import modelling
from tasks.models.fingerprint import recipes_of
from tasks.outside.user_code import UseCaseFailed
from tasks.packages.exporters.registry import export
from usecases.definition import ROC_AUC, Candidate, Layout, Range, Search, UseCase, load

pytestmark = pytest.mark.usefixtures("one_thread")


def linear(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = SGDClassifier(loss="log_loss", random_state=seed)
    return make_pipeline(SimpleImputer(), make_pipeline(StandardScaler(), model))


def network(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(), StandardScaler(), MLPClassifier((8,), random_state=seed))


def bayes(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), GaussianNB())


def forest(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=5, random_state=seed)


def case_with(build: Any, **batches: Any) -> UseCase:
    recipe = Candidate(name="only", build=build, **batches)
    return load("toy").model_copy(update={"candidates": (recipe,)})


def rows_of(period: str) -> pl.DataFrame:
    """Rows of the toy whose label follows from ``first``, but for some of them."""
    rows = toy_rows(period)
    flipped = pl.Series(np.random.default_rng(1).random(len(rows)) < 0.1)
    high = rows["first"].fill_null(0.0) > rows["first"].median()
    return rows.with_columns((high ^ flipped).cast(pl.Int8).alias("won"))


def fitted_on(case: UseCase, rows: pl.DataFrame) -> Any:
    return modelling.fit(case, case.candidates[0], {}, rows, seed=3)


@pytest.mark.parametrize("build", [linear, network, bayes])
@pytest.mark.nightly("further variants", only=("network", "bayes"))
def test_model_of_batches_ranks_about_as_well_as_that_of_all_rows(build: Any) -> None:
    learned, unseen = rows_of("2024-01"), rows_of("2024-03")
    scores = []
    for case in (case_with(build), case_with(build, batch_rows=100, passes=20)):
        fitted = fitted_on(case, learned)
        answers = modelling.predict(fitted, case, unseen)
        scores.append(score(ROC_AUC, modelling.labels(case, unseen), answers))
        export(fitted.named_steps["model"], len(modelling.owners(case, fitted)))
    assert scores[1] > scores[0] - 0.02 and scores[0] > 0.8


def test_same_seed_gives_the_same_model() -> None:
    case, rows = case_with(linear, batch_rows=100), toy_rows("2024-01")
    one, other = (modelling.predict(fitted_on(case, rows), case, rows) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_no_more_than_a_batch_is_encoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = modelling.encode

    def counted(fitted: Any, case: UseCase, rows: pl.DataFrame) -> Any:
        seen.append(len(rows))
        return encode(fitted, case, rows)

    monkeypatch.setattr(modelling, "encode", counted)
    rows = toy_rows("2024-01")
    fitted_on(case_with(linear, batch_rows=100, passes=2), rows)
    assert max(seen) == 100 and sum(seen) > 2 * len(rows)


def test_scaler_learns_every_batch_and_an_imputer_the_first() -> None:
    rows = toy_rows("2024-01")
    imputer, inner = fitted_on(case_with(linear, batch_rows=100), rows).named_steps["model"]
    whole, _ = fitted_on(case_with(linear), rows).named_steps["model"]
    assert inner[0].n_samples_seen_ == len(rows)
    assert imputer.statistics_.shape == whole.statistics_.shape


def test_model_that_cannot_learn_in_batches_is_refused() -> None:
    case = case_with(forest, batch_rows=100)
    with pytest.raises(UseCaseFailed, match="RandomForestClassifier without partial_fit"):
        fitted_on(case, toy_rows("2024-01"))


def test_what_needs_all_rows_is_refused_beside_batches() -> None:
    search = Search(space={"alpha": Range(low=1, high=2)}, resource=("max_iter", (5, 10)))
    with pytest.raises(ValidationError, match="batch_rows beside search"):
        Candidate(name="only", build=linear, batch_rows=100, search=search)
    with pytest.raises(ValidationError, match="passes without batch_rows"):
        Candidate(name="only", build=linear, passes=3)


def test_batches_are_a_part_of_the_definition() -> None:
    tags = [recipes_of(case_with(linear, **asked)) for asked in ({}, {"batch_rows": 100})]
    assert tags[0] != tags[1]
