"""Columns that cannot be compared value by value are watched by numbers: tried with categories
that are described by their length.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from usecases.toy import toy_rows

from tasks.data import kinds as task_kinds
from tasks.data.traits import by_traits, case_by_traits, share_out
from tasks.drift.examine import Yardstick, examine
from tasks.drift.learning import learn_profile
from tasks.drift.thresholds import calibrate, draw_reference, monitored
from usecases.definition import UseCase, load
from usecases.definition import kinds as defined_kinds

SEED = 1


@pytest.fixture(autouse=True)
def category_with_traits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    defined = replace(defined_kinds.KINDS["category"], traits=("length", "vowels"))
    traits = {
        "length": lambda values: values.str.len_chars().cast(pl.Float64),
        "vowels": lambda values: values.str.count_matches("[aeiou]").cast(pl.Float64),
    }
    monkeypatch.setitem(defined_kinds.KINDS, "category", defined)
    monkeypatch.setitem(
        task_kinds.KINDS, "category", replace(task_kinds.KINDS["category"], traits=traits)
    )
    yield


@pytest.fixture
def case() -> UseCase:
    return load("toy")


@pytest.fixture
def training() -> pl.DataFrame:
    return pl.concat([toy_rows(f"2024-0{month}") for month in range(1, 5)])


def test_numbers_stand_in_place_of_the_column_and_nulls_stay_unknown(
    case: UseCase, training: pl.DataFrame
) -> None:
    rows = training.with_columns(
        group=pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise(pl.lit("abe"))
    )
    watched, numbers = by_traits(case, rows)
    assert "group" not in watched.column_names and "group" not in numbers.columns
    assert numbers.select("group.length", "group.vowels").unique(maintain_order=True).rows() == [
        (None, None),
        (3.0, 2.0),
    ]
    again, same = by_traits(watched, numbers)
    assert again.columns == watched.columns and same is numbers or same.equals(numbers)


def test_what_the_log_leaves_out_is_not_described(case: UseCase, training: pl.DataFrame) -> None:
    policy = case.prediction_log.model_copy(update={"leave_out": ("group",)})
    case = case.model_copy(update={"prediction_log": policy})
    watched, rows = by_traits(case, training)
    assert watched.column_names == case.column_names and rows.equals(training)


def test_importance_of_a_column_is_shared_by_its_traits(case: UseCase) -> None:
    shares = share_out(case, {"group": 0.6, "first": 0.4})
    assert shares == {"group.length": 0.3, "group.vowels": 0.3, "first": 0.4}


def test_reference_thresholds_and_window_are_those_of_the_traits(
    case: UseCase, training: pl.DataFrame
) -> None:
    reference, thresholds, calibrated = calibrate(case, training, SEED)
    assert set(thresholds) == {column.name for column in monitored(case_by_traits(case))}
    assert "group.length" in thresholds and "group" not in thresholds
    assert set(reference.columns) == set(draw_reference(case, training, SEED).columns)
    watch = Yardstick(
        reference=reference,
        thresholds=thresholds,
        calibrated=calibrated,
        importance={},
        methods={},
        profile=learn_profile(case, training, SEED),
    )
    window = toy_rows("2024-05")
    longer = window.with_columns(group=pl.col("group") + "aa")
    seen = [
        examine(case, watch, rows, window="2024-05", counted=len(rows)) for rows in (window, longer)
    ]
    far = [evidence.distances["group.length"] for evidence in seen]
    assert far[0] < thresholds["group.length"] < far[1] and np.isfinite(far[1])


def test_drift_policy_names_traits(case: UseCase) -> None:
    by_trait, by_column = (
        case.drift.model_copy(update={"thresholds": {name: 0.5}})
        for name in ("group.length", "group")
    )
    assert by_trait.problems(case.columns) == []
    (problem,) = by_column.problems(case.columns)
    assert "drift.thresholds names ['group'], which are not columns" in problem
    assert "group.length, group.vowels" in problem


def test_traits_that_no_longer_move_together_are_told_and_are_no_fault_of_the_data(
    case: UseCase,
) -> None:
    def texts(month: str, other: bool) -> pl.DataFrame:
        rows, chance = toy_rows(month), np.random.default_rng(3)
        sizes = chance.integers(1, 9, len(rows))
        vowels = chance.integers(1, 9, len(rows)) if other else sizes
        words = ["a" * many + "b" * size for many, size in zip(vowels, sizes, strict=True)]
        return rows.with_columns(group=pl.Series(words))

    training = pl.concat([texts(f"2024-{month:02}", other=False) for month in range(1, 8)])
    reference, thresholds, calibrated = calibrate(case, training, SEED)
    watch = Yardstick(
        reference=reference,
        thresholds=thresholds,
        calibrated=calibrated,
        importance={},
        methods={},
        profile=learn_profile(case, training, SEED),
    )
    window = texts("2024-08", other=True)
    evidence = examine(case, watch, window, window="2024-08", counted=len(window))
    lost = [finding for finding in evidence.findings if finding.check == "within"]
    assert {finding.column for finding in lost} & {"group.length", "group.vowels"}
    assert {finding.word for finding in lost} == {"said"} and not evidence.broken
    named = case_by_traits(case)
    as_columns = examine(
        named, watch, by_traits(case, window)[1], window="2024-08", counted=len(window)
    )
    words = {finding.word for finding in as_columns.findings if finding.check == "within"}
    assert words == {"broken"}
