"""A matrix that is made in pieces is the one that scikit-learn's encoders make at once, and so is
the model."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.models import modelling
from usecases.definition import Candidate, Column, Layout, UseCase, load

ROWS = 900

pytestmark = pytest.mark.usefixtures("one_thread")


def boosting(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=10, random_state=seed)


def linear(params: Any, layout: Layout, seed: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression()
    )


def light(params: Any, layout: Layout, seed: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=10)


def case_with(build: Any, **changed: Any) -> UseCase:
    """The toy with columns of every kind whose matrix can be made in pieces."""
    columns = (
        Column(name="shop", kind="category", nullable=True),
        Column(name="first", kind="number", nullable=True),
        Column(name="town", kind="category"),
        Column(name="fragile", kind="boolean", nullable=True),
        Column(name="sent", kind="datetime", nullable=True, parts=("weekday", "hour")),
    )
    recipe = Candidate(name="only", build=build)
    return load("toy").model_copy(update={"columns": columns, "candidates": (recipe,), **changed})


def rows_of(count: int = ROWS) -> pl.DataFrame:
    chance = np.random.default_rng(3)
    first = chance.normal(size=count)
    towns = np.array([f"t{number:03}" for number in range(120)])

    def with_nulls(values: Any) -> list[Any]:
        return [
            None if gone else value
            for value, gone in zip(values, chance.random(count) < 0.1, strict=True)
        ]

    start = datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "id": range(count),
            "at": [start + timedelta(hours=row) for row in range(count)],
            "shop": with_nulls(chance.choice(["b", "a", "ㄱ", ""], count)),
            "first": with_nulls(first),
            "town": chance.choice(towns, count),
            "fragile": with_nulls(chance.random(count) < 0.5),
            "sent": with_nulls([start + timedelta(hours=7 * row) for row in range(count)]),
            "won": (first + chance.normal(size=count) > 0).astype(int),
        },
        schema_overrides={"first": pl.Float64, "sent": pl.Datetime("us")},
    )


@pytest.fixture
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are many already, in pieces of some dozens."""
    monkeypatch.setattr(modelling, "_WHOLE_CELLS", 1000)
    monkeypatch.setattr(modelling, "_PIECE_CELLS", 300)


def fitted_on(case: UseCase, rows: pl.DataFrame) -> Any:
    return modelling.fit(case, case.candidates[0], {}, rows, seed=5)


@pytest.mark.parametrize("build", [boosting, linear, light])
@pytest.mark.parametrize("half_life_days", [None, 20.0])
def test_model_of_pieces_is_that_of_all_rows_at_once(
    build: Any, half_life_days: float | None, request: pytest.FixtureRequest
) -> None:
    case, rows = case_with(build, half_life_days=half_life_days), rows_of()
    whole = fitted_on(case, rows)
    before = modelling.predict(whole, case, rows), modelling.encode(whole, case, rows)
    request.getfixturevalue("few_cells")
    pieces = fitted_on(case, rows)
    matrix = modelling.encode(pieces, case, rows)
    np.testing.assert_array_equal(matrix, before[1])
    np.testing.assert_allclose(modelling.predict(pieces, case, rows), before[0], rtol=1e-9)


def test_encoders_learn_the_same_of_each_value_as_of_all_rows(few_cells: None) -> None:
    case, rows = case_with(boosting), rows_of()
    few = modelling._each_value(case, rows)
    assert len(few) == rows["town"].n_unique() < len(rows)
    fitted = fitted_on(case, rows)
    whole = modelling.encoder(case).fit(modelling.inputs(case, rows))
    mine, theirs = modelling.encoders_of(fitted), whole.named_transformers_
    for one, other in zip(
        mine["category"].categories_, theirs["category"].categories_, strict=True
    ):
        assert [*map(str, one)] == [*map(str, other)]
    assert fitted.named_steps["encode"].output_indices_ == whole.output_indices_


def test_values_that_nobody_has_seen_get_the_code_of_a_null(few_cells: None) -> None:
    case = case_with(boosting)
    fitted = fitted_on(case, rows_of())
    strangers = rows_of().with_columns(shop=pl.lit("nowhere"), town=pl.lit(None, dtype=pl.String))
    assert (modelling.encode(fitted, case, strangers)[:, :2] == -1).all()


def test_pandas_never_sees_many_rows(few_cells: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    inputs = modelling.inputs

    def counted(case: UseCase, rows: pl.DataFrame) -> Any:
        seen.append(len(rows))
        return inputs(case, rows)

    monkeypatch.setattr(modelling, "inputs", counted)
    case, rows = case_with(boosting), rows_of()
    modelling.predict(fitted_on(case, rows), case, rows)
    assert max(seen) < len(rows) / 4
