"""A column that the prediction log leaves out is not monitored, and its absence does not count as
broken data."""

from pathlib import Path

import polars as pl
import pytest
from usecases.toy import toy_rows

from serving.package.manifest import PROFILE, REFERENCE
from serving.package.model import load
from tasks.drift.checks.broken import find_broken
from tasks.drift.profile.profile import decode_profile
from tasks.drift.thresholds import calibrate, monitored, without
from tasks.models.modelling import fit
from tasks.packages.packaging import Origin, make_package
from usecases.definition import PredictionLogPolicy, UseCase
from usecases.definition import load as load_case


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return pl.concat([toy_rows(f"2024-0{month}", rows_a_day=30) for month in (1, 2, 3)])


@pytest.fixture(scope="module")
def case() -> UseCase:
    return load_case("toy").model_copy(
        update={"prediction_log": PredictionLogPolicy(sample_rate=0.5, leave_out=("group",))}
    )


@pytest.mark.usefixtures("one_thread")
def test_the_package_carries_the_policy_and_its_reference_no_column_that_is_left_out(
    case: UseCase, training: pl.DataFrame, tmp_path: Path
) -> None:
    fitted = fit(case, case.candidate("boosting"), {"max_iter": 20}, training, 7)
    saved = make_package(
        tmp_path,
        case,
        fitted,
        Origin("boosting", {}, "0", {"2024-03": "0"}, {}),
        training,
        toy_rows("2024-04"),
        7,
    )
    manifest = load(saved.folder, saved.sha256).manifest
    assert (manifest.log_sample_rate, manifest.log_leave_out) == (0.5, ["group"])
    assert set(manifest.drift_thresholds) == {"first", "second", "steady", "score"}
    reference = pl.read_parquet(saved.folder / REFERENCE)
    assert "group" not in reference.columns and {"first", "second", "steady", "score"} <= set(
        reference.columns
    )
    assert "group" in [feature.name for feature in manifest.features]
    profile = decode_profile((saved.folder / PROFILE).read_bytes())
    assert set(profile.nulls) == {"first", "second", "steady"} and not profile.categories
    smoke = load(saved.folder, saved.sha256).smoke.rows
    assert {row["group"] for row in smoke} == {"unknown"} and len(
        {row["first"] for row in smoke}
    ) == len(smoke)


@pytest.mark.usefixtures("one_thread")
def test_numbers_that_are_left_out_have_a_stand_in_in_the_rows_that_the_service_shows(
    training: pl.DataFrame, tmp_path: Path
) -> None:
    case = load_case("toy").model_copy(
        update={"prediction_log": PredictionLogPolicy(leave_out=("first", "second"))}
    )
    fitted = fit(case, case.candidate("boosting"), {"max_iter": 20}, training, 7)
    origin = Origin("boosting", {}, "0", {"2024-03": "0"}, {})
    saved = make_package(tmp_path, case, fitted, origin, training, toy_rows("2024-04"), 7)
    smoke = load(saved.folder, saved.sha256).smoke.rows
    assert len({row["first"] for row in smoke}) == 1 and all(
        isinstance(row["first"], float) for row in smoke
    )
    assert {row["second"] for row in smoke} == {None}


def test_a_window_without_the_column_is_judged_by_the_others(
    case: UseCase, training: pl.DataFrame
) -> None:
    reference, thresholds, _ = calibrate(case, training, 7)
    window = toy_rows("2024-04").drop("group")
    log_case = without(case, case.prediction_log.leave_out)
    assert (
        [column.name for column in monitored(case)]
        == [column.name for column in monitored(log_case)]
        == ["first", "second", "steady"]
    )
    assert set(thresholds) == {"first", "second", "steady"}
    assert find_broken(log_case, reference.drop("group"), window) == []
    assert find_broken(log_case, reference.drop("group"), window.drop("first")) == [
        "column 'first' is missing"
    ]


def test_a_column_that_is_missing_and_not_left_out_is_broken(training: pl.DataFrame) -> None:
    assert find_broken(load_case("toy"), training, toy_rows("2024-04").drop("group")) == [
        "column 'group' is missing"
    ]
