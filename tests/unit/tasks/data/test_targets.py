"""Labels of each kind of target, as other people's tables have them."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows
from usecases.toy_classes import NAMES, weather_rows
from usecases.toy_classes import USE_CASE as WEATHER
from usecases.toy_number import USE_CASE as PRICE
from usecases.toy_number import price_rows

from tasks.data.targets import lacks, truth_of
from tasks.data.validation import BatchRefused, Validated, validate
from usecases.definition import Binary, Classes, Number, UseCase

PERIOD = "2024-02"


def labelled(case: UseCase, rows: pl.DataFrame, labels: list[Any]) -> Validated:
    """The batch with these labels, repeated."""
    values = pl.Series(case.label, (labels * len(rows))[: len(rows)])
    return validate(case, PERIOD, rows.with_columns(values))


def asked(case: UseCase, **target: Any) -> UseCase:
    return case.model_copy(update={"target": type(case.target)(label=case.label, **target)})


@pytest.mark.parametrize(
    ("positive", "labels", "expected"),
    [
        ("yes", ["yes", "no", None], [1, 0, None]),
        ("yes", ["yes", "no", "maybe"], [1, 0, 0]),
        (2, [1, 2, 3, 2], [0, 1, 0, 1]),
        (">50K", ["<=50K", ">50K"], [0, 1]),
        (False, [True, False, None], [0, 1, None]),
        ("1", [1, 0], [1, 0]),
        ("no", ["no", "no"], [1, 1]),
        ("1", [1.0, 0.0, float("nan")], [1, 0, None]),
        (1, [1.0, 2.0, float("nan")], [1, 0, None]),
        ("yes", ["no"], [0]),
    ],
)
def test_positive_value_makes_a_yes_of_any_labels(
    positive: Any, labels: list[Any], expected: list[int | None]
) -> None:
    good = labelled(asked(TOY, positive=positive), toy_rows(PERIOD), labels).good
    assert good.schema["won"] == pl.Int8
    assert good["won"].to_list()[: len(expected)] == expected


@pytest.mark.parametrize(
    ("positive", "labels", "message"),
    [
        ("yes", ["Yes", "No"], "positive='yes' is none of them: check its spelling"),
        (1, ["1", "0"], "positive=1 is a number: write positive='1'"),
        (2, [0.0, 1.0], "positive=2 is none of them"),
    ],
)
def test_positive_value_that_no_label_has_is_refused(
    positive: Any, labels: list[Any], message: str
) -> None:
    with pytest.raises(BatchRefused) as refused:
        labelled(asked(TOY, positive=positive), toy_rows(PERIOD), labels)
    assert message in str(refused.value)


def test_classes_are_texts_whatever_they_were() -> None:
    digits = WEATHER.model_copy(
        update={"target": Classes(label="weather", classes=("0", "1", "2"))}
    )
    rows = weather_rows(PERIOD)
    for labels in (
        [0, 1, 2, None],
        [0.0, 1.0, 2.0, None],
        [0.0, 1.0, 2.0, float("nan")],
        ["0", "1", "2", None],
    ):
        good = labelled(digits, rows, labels).good
        assert good["weather"].to_list()[:4] == ["0", "1", "2", None]
    known = good.filter(pl.col("weather").is_not_null())
    assert truth_of(digits, known["weather"])[:3].tolist() == [0, 1, 2]


def test_row_of_an_unknown_class_goes_to_quarantine() -> None:
    validated = labelled(WEATHER, weather_rows(PERIOD), [*NAMES, *NAMES, *NAMES, "hail"])
    assert validated.reasons == {"weather: unknown class": 168}
    assert set(validated.good["weather"]) == set(NAMES)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["calm", "a", "b", "c"], "which are not among the classes"),
        ([True, False], "Binary(label='weather')"),
        ([0.5, 1.5], "Number(label='weather')"),
    ],
)
def test_labels_that_are_no_classes_refuse_the_batch(labels: list[Any], message: str) -> None:
    with pytest.raises(BatchRefused) as refused:
        labelled(WEATHER, weather_rows(PERIOD), labels)
    assert message in str(refused.value)


def test_number_that_is_none_or_out_of_range_goes_to_quarantine() -> None:
    few = [*[100.0] * 20, float("inf"), -1.0, float("nan"), None]
    validated = labelled(PRICE, price_rows(PERIOD), few)
    assert validated.reasons == {"price: label out of range": 140}
    assert validated.good.schema["price"] == pl.Float64
    assert validated.good["price"].null_count() == 140, "not known yet"


def test_integers_are_numbers() -> None:
    good = labelled(PRICE, price_rows(PERIOD), [1, 2, 3]).good
    assert good["price"].to_list()[:3] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1,5", "2,5"], "str.replace(',', '.')"),
        ([True, False], "write Binary(label='price')"),
    ],
)
def test_labels_that_are_no_numbers_refuse_the_batch(labels: list[Any], message: str) -> None:
    with pytest.raises(BatchRefused) as refused:
        labelled(PRICE, price_rows(PERIOD), labels)
    assert message in str(refused.value)


def test_count_given_as_a_yes_or_no_is_told_how_to_be_a_number() -> None:
    with pytest.raises(BatchRefused, match=r"write Number\(label='won'\), for classes Classes\("):
        labelled(TOY, toy_rows(PERIOD), [0, 1, 2, 5])


@pytest.mark.parametrize(
    ("case", "labels", "missing"),
    [
        (WEATHER, ["calm", "windy", None], "no row of the class 'storm'"),
        (WEATHER, ["calm"], "no row of the class 'windy' or 'storm'"),
        (PRICE, [7.0, 7.0, None], "'price' is 7 in all of them"),
        (TOY, [1, 1], "'won' is 1 in all of them"),
        (WEATHER, list(NAMES), ""),
        (PRICE, [7.0, 8.0], ""),
    ],
)
def test_labels_that_nothing_can_be_learned_from_are_named(
    case: UseCase, labels: list[Any], missing: str
) -> None:
    assert lacks(case, pl.Series(case.label, labels)) == missing


def test_truth_of_a_number_is_the_number() -> None:
    assert np.array_equal(truth_of(PRICE, pl.Series([1.5, 2.5])), [1.5, 2.5])
    assert isinstance(PRICE.target, Number) and isinstance(TOY.target, Binary)
