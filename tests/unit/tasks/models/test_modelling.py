from typing import Any

import numpy as np
import polars as pl
import pytest
from usecases.toy import boosting, toy_rows

from tasks.measures.metrics import score
from tasks.models.modelling import encoder, fit, inputs, labels, predict
from usecases.definition import ROC_AUC, Candidate, Layout, Promotion, UseCase

SMALL = {"max_iter": 10}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def january() -> pl.DataFrame:
    return toy_rows("2024-01")


@pytest.fixture(scope="module")
def march() -> pl.DataFrame:
    return toy_rows("2024-03")


def test_null_is_nan_in_text_and_in_numbers(case: UseCase, january: pl.DataFrame) -> None:
    rows = january[:4].with_columns(
        pl.Series("group", ["a", None, "b", "c"]), pl.Series("second", [1, None, 3, 4])
    )
    matrix = inputs(case, rows)
    assert list(matrix.columns) == case.column_names
    assert matrix["group"].dtype == object
    assert matrix["group"].isna().tolist() == [False, True, False, False]
    assert matrix["group"].dropna().tolist() == ["a", "b", "c"]
    assert None not in matrix["group"].tolist()
    assert [matrix[name].dtype for name in ("first", "second", "steady")] == [np.float64] * 3
    np.testing.assert_array_equal(matrix["second"], [1, np.nan, 3, 4])


def test_columns_without_any_value_are_still_text_and_numbers(
    case: UseCase, january: pl.DataFrame
) -> None:
    matrix = inputs(
        case, january[:3].with_columns(pl.lit(None).alias("group"), pl.lit(None).alias("second"))
    )
    assert (matrix["group"].dtype, matrix["group"].isna().all()) == (object, True)
    assert matrix["second"].dtype == np.float64
    assert matrix["second"].isna().all()


def test_the_matrix_has_codes_first_and_then_numbers(case: UseCase, january: pl.DataFrame) -> None:
    fitted = encoder(case).fit(inputs(case, january))
    rows = january[:5].with_columns(
        pl.Series("group", ["a", "b", "c", "z", None]), pl.Series("second", [0.5, None, 1, 2, 3])
    )
    matrix = fitted.transform(inputs(case, rows))
    assert [column.name for column in case.matrix_columns] == ["group", "first", "second", "steady"]
    assert (case.layout.categories, case.layout.numbers) == ((0,), (1, 2, 3))
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix[:, 0], [0, 1, 2, -1, -1])
    np.testing.assert_array_equal(matrix[:, 1], rows["first"].to_numpy())
    np.testing.assert_array_equal(matrix[:, 2], [0.5, np.nan, 1, 2, 3])


def test_a_category_that_was_null_in_training_has_the_code_of_null(
    case: UseCase, january: pl.DataFrame
) -> None:
    """And no code of its own, which the service would not give it."""
    some = pl.when(pl.int_range(pl.len()) >= 30).then("group").alias("group")
    fitted = encoder(case).fit(inputs(case, january.with_columns(some)))
    rows = january[:4].with_columns(pl.Series("group", ["c", None, "z", "a"]))
    np.testing.assert_array_equal(fitted.transform(inputs(case, rows))[:, 0], [2, -1, -1, 0])


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_use_case_may_have_columns_of_one_kind_only(
    case: UseCase, january: pl.DataFrame, kind: str
) -> None:
    columns = tuple(column for column in case.columns if column.kind == kind)
    narrow = case.model_copy(update={"columns": columns, "promotion": Promotion()})
    fitted = fit(narrow, case.candidate("boosting"), SMALL, january, 7)
    assert predict(fitted, narrow, january).shape == (len(january),)


def test_predictions_are_probabilities_of_the_positive_class(
    case: UseCase, january: pl.DataFrame, march: pl.DataFrame
) -> None:
    predicted = predict(fit(case, case.candidate("boosting"), SMALL, january, 7), case, march)
    assert predicted.shape == (len(march),)
    assert 0 <= predicted.min() < predicted.max() <= 1
    truth = labels(case, march)
    assert predicted[truth == 1].mean() > predicted[truth == 0].mean() + 0.1


def test_the_logistic_baseline_stays_under_the_gate_and_boosting_passes_it(
    case: UseCase, january: pl.DataFrame, march: pl.DataFrame
) -> None:
    results = {}
    for candidate in case.candidates:
        fitted = fit(case, candidate, candidate.params, january, 7)
        results[candidate.name] = score(ROC_AUC, labels(case, march), predict(fitted, case, march))
    assert {name: case.gate.passes(value) for name, value in results.items()} == {
        "logistic": False,
        "boosting": True,
    }


def test_the_gate_lets_no_missing_score_pass(case: UseCase) -> None:
    assert not case.gate.passes(float("nan"))


def test_the_order_of_the_columns_does_not_matter(
    case: UseCase, january: pl.DataFrame, march: pl.DataFrame
) -> None:
    fitted = fit(case, case.candidate("boosting"), SMALL, january, 7)
    np.testing.assert_array_equal(
        predict(fitted, case, march),
        predict(fitted, case, march.select(sorted(march.columns, reverse=True))),
    )


def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    case: UseCase, january: pl.DataFrame, march: pl.DataFrame
) -> None:
    params = {**SMALL, "max_features": 0.5}
    first, again, other = (
        predict(fit(case, case.candidate("boosting"), params, january, seed), case, march)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_candidate_is_built_with_its_parameters_layout_and_seed(
    case: UseCase, january: pl.DataFrame
) -> None:
    calls: list[tuple[Any, ...]] = []

    def build(params: dict[str, Any], layout: Layout, seed: int) -> Any:
        calls.append((params, layout, seed))
        return boosting(params, layout, seed)

    fit(case, Candidate(name="x", build=build), SMALL, january, 11)
    assert calls == [(SMALL, case.layout, 11)]


def test_too_few_rows_are_refused_with_both_numbers(case: UseCase, january: pl.DataFrame) -> None:
    assert fit(case, case.candidate("boosting"), SMALL, january[:200], 7)
    with pytest.raises(ValueError, match="199 labelled rows.*at least 200 with both classes"):
        fit(case, case.candidate("boosting"), SMALL, january[:199], 7)


@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class_is_refused(case: UseCase, january: pl.DataFrame, label: int) -> None:
    with pytest.raises(ValueError, match="with both classes are needed"):
        fit(
            case,
            case.candidate("boosting"),
            SMALL,
            january.with_columns(pl.lit(label).alias("won")),
            7,
        )


def test_an_unknown_label_is_refused_and_not_taken_for_zero(
    case: UseCase, january: pl.DataFrame
) -> None:
    some = january.with_columns(pl.when(pl.int_range(pl.len()) >= 3).then("won").alias("won"))
    with pytest.raises(ValueError, match="3 of 1680 rows of 'toy' have no label 'won'"):
        labels(case, some)
    with pytest.raises(ValueError, match="have no label"):
        fit(case, case.candidate("boosting"), SMALL, some, 7)
