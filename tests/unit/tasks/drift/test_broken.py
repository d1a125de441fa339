"""Broken is not drifted: what makes a window untrustworthy, and what does not."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from usecases.toy import toy_rows

from tasks.drift.checks.broken import find_broken, named_columns
from usecases.definition import Column, UseCase


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return pl.concat([toy_rows(f"2024-0{month}") for month in (1, 2, 3)]).with_columns(
        score=1 / (1 + (-pl.col("first")).exp())
    )


@pytest.fixture(scope="module")
def calm() -> pl.DataFrame:
    return toy_rows("2024-04").with_columns(score=1 / (1 + (-pl.col("first")).exp()))


def some(window: pl.DataFrame, share: float, column: str, value: object) -> pl.DataFrame:
    few = pl.int_range(pl.len()) < round(share * len(window))
    return window.with_columns(pl.when(few).then(pl.lit(value)).otherwise(column).alias(column))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda rows: some(rows, 0.2, "steady", None),
            "column 'steady' is 20.0% null, tolerated 5.0%",
        ),
        (lambda rows: some(rows, 0.2, "steady", math.nan), "column 'steady' is 20.0% null"),
        (lambda rows: some(rows, 1.0, "second", None), "column 'second' is 100.0% null"),
        (
            lambda rows: rows.with_columns(pl.lit(None).alias("second")),
            "column 'second' is 100.0% null",
        ),
        (
            lambda rows: rows.with_columns(pl.lit(None).alias("group")),
            "column 'group' is 100.0% null",
        ),
        (
            lambda rows: rows.with_columns(pl.lit(0.7).alias("first")),
            "column 'first' is constant (0.7)",
        ),
        (
            lambda rows: some(rows.with_columns(pl.lit(0.7).alias("second")), 0.03, "second", None),
            "column 'second' is constant (0.7)",
        ),
        (
            lambda rows: rows.with_columns(pl.lit("a").alias("group")),
            "column 'group' is constant ('a')",
        ),
        (
            lambda rows: some(rows, 0.15, "group", "z"),
            "column 'group' has categories that the reference lacks in 15.0% of the rows",
        ),
        (lambda rows: rows.with_columns(pl.col("steady") * 1.609), "column 'steady' has median"),
        (lambda rows: rows.with_columns(pl.col("first") * 25.4), "column 'first' is 25"),
        (lambda rows: rows.with_columns(pl.col("first") / 60), "column 'first' is 0.01"),
        (lambda rows: rows.drop("steady"), "column 'steady' is missing"),
        (
            lambda rows: rows.with_columns(pl.col("steady").cast(pl.String)),
            "column 'steady' arrives as String, but it is of kind number",
        ),
        (
            lambda rows: rows.with_columns(group=pl.lit(3.5)),
            "column 'group' arrives as Float64, but it is of kind category",
        ),
        (
            lambda rows: some(rows, 0.2, "score", None),
            "column 'score' is missing in 20.0% of the predictions",
        ),
        (lambda rows: rows.with_columns(score=0.5), "column 'score' is constant (0.5)"),
    ],
    ids=[
        *[
            "nulls",
            "nans",
            "all null",
            "null type",
            "all-null category",
            "constant",
            "constant but for nulls",
        ],
        *[
            "constant category",
            "unknown categories",
            "unit by typical",
            "unit by factor",
            "unit by fraction",
            "missing column",
        ],
        *["text for a number", "number for a category", "scores missing", "constant score"],
    ],
)
def test_a_broken_window_is_told_with_the_reason_and_the_column(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame, spoil: Any, message: str
) -> None:
    assert find_broken(case, training, calm) == []
    problems = find_broken(case, training, spoil(calm))
    assert [reason for reason in problems if reason.startswith(message)]
    assert named_columns(case, problems) == [message.split("'")[1]]


def test_what_a_healthy_window_may_hold_is_not_broken(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    window = some(some(calm, 0.04, "first", None), 0.09, "group", "z")
    assert find_broken(case, training, window) == []
    assert (
        find_broken(
            case,
            training.with_columns(pl.lit(0.7).alias("first")),
            calm.with_columns(pl.lit(0.7).alias("first")),
        )
        == []
    )


def test_a_world_that_changed_is_not_broken(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    """A shift by four standard deviations, and a spread that is four times as wide."""
    assert find_broken(case, training, toy_rows("2024-06")) == []
    assert find_broken(case, training, calm.with_columns(pl.col("first") * 4)) == []


def test_the_unit_of_a_column_that_is_mostly_zero_is_told_from_the_other_values(
    case: UseCase,
) -> None:
    """Rain in inches, and then in millimetres."""
    chance = np.random.default_rng(3)
    rain = [np.where(chance.random(4000) < 0.9, 0, chance.exponential(0.1, 4000)) for _ in range(2)]
    wet = case.model_copy(update={"columns": (Column(name="rain", kind="number"),)})
    before, now = (pl.DataFrame({"rain": rain_values}) for rain_values in rain)
    assert find_broken(wet, before, now) == []
    assert find_broken(wet, before, now * 25.4)[0].endswith(
        "times what it was, small and large values alike: did its unit change?"
    )


def test_a_column_that_lost_all_of_its_values_is_broken_though_nulls_are_tolerated(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    """Evidently would raise for it."""
    columns = tuple(column.model_copy(update={"null_tolerance": 1.0}) for column in case.columns)
    tolerant = case.model_copy(update={"columns": columns})
    for empty in (pl.lit(None), pl.lit(None, dtype=pl.Float64), pl.lit(math.nan)):
        assert find_broken(tolerant, training, calm.with_columns(empty.alias("second"))) == [
            "column 'second' has no value at all"
        ]


def test_no_row_at_all_is_broken(case: UseCase, training: pl.DataFrame, calm: pl.DataFrame) -> None:
    assert (
        find_broken(case, training, calm[:0])
        == find_broken(case, training, pl.DataFrame())
        == ["there are no predictions"]
    )


def test_on_few_days_a_constant_and_an_odd_median_are_weather_and_the_rest_stays_broken(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    """A dry week has no rain. What no week makes, such as strangers and lost columns, is told from
    the first day on.
    """
    dry = calm.with_columns(pl.lit(7.0).alias("steady"))
    few, enough = case.drift_days - 1, case.drift_days
    assert find_broken(case, training, dry, few) == []
    assert [reason.split(" (")[0] for reason in find_broken(case, training, dry, enough)] == [
        "column 'steady' has median 7, healthy batches 4 to 6: did its unit change?",
        "column 'steady' is constant",
    ]
    assert find_broken(case, training, calm.drop("group"), few) == ["column 'group' is missing"]
    assert (
        "categories that the reference lacks"
        in find_broken(case, training, calm.with_columns(pl.lit("z").alias("group")), few)[0]
    )
