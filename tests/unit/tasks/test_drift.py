import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from usecases.toy import toy_rows

from tasks.drift import DriftVerdict, calibrate, distance, find_broken, judge, monitored
from usecases.definition import Column, DriftPolicy, UseCase, load

# Of what Evidently imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NUMBER, CATEGORY = Column(name="x", kind="number"), Column(name="x", kind="category")


@pytest.fixture(scope="module")
def case() -> UseCase:
    return load("toy")


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return pl.concat([toy_rows(f"2024-0{month}") for month in (1, 2, 3)])


@pytest.fixture(scope="module")
def calm() -> pl.DataFrame:
    return toy_rows("2024-04")


@pytest.fixture(scope="module")
def changed() -> pl.DataFrame:
    return toy_rows("2024-06")


def check(case: UseCase, training: pl.DataFrame, window: pl.DataFrame) -> DriftVerdict:
    """The whole check with this module's own distances."""
    reference, thresholds, calibrated = calibrate(case, training, 7)
    broken = find_broken(case, reference, window)
    far = {} if broken else {column.name: distance(column, reference[column.name], window[column.name]) for column in monitored(case)}
    return judge(case.drift, "2024-04", len(window), broken, far, thresholds, calibrated)


def test_a_month_like_the_ones_before_is_stable(case: UseCase, training: pl.DataFrame, calm: pl.DataFrame) -> None:
    found = check(case, training, calm)
    assert (found.outcome, found.share, found.drifted_columns, found.calibrated) == ("stable", 0, [], True)
    assert set(found.distances) == {"first", "second", "steady", "group"}


def test_no_month_without_drift_fires(case: UseCase) -> None:
    """Three months against a fourth, in each of 24 shuffles of one and the same world."""
    whole = pl.concat([toy_rows(f"2024-0{month}") for month in (1, 2, 3, 4)])
    months = whole["at"]
    outcomes = [
        check(case, rows.filter(pl.col("at").dt.month() < 4), rows.filter(pl.col("at").dt.month() == 4)).outcome
        for rows in (whole.drop("at").sample(fraction=1, shuffle=True, seed=seed).with_columns(months) for seed in range(24))
    ]
    assert outcomes == ["stable"] * 24


def test_a_world_that_changed_is_drifted_and_the_columns_are_named(case: UseCase, training: pl.DataFrame, changed: pl.DataFrame) -> None:
    found = check(case, training, changed)
    assert (found.outcome, found.share) == ("drifted", 0.5)
    assert found.drifted_columns == ["first", "group"]
    assert found.reasons == ["2 of 4 columns (50%) are beyond their threshold; the limit is 30%"]


def test_drift_of_too_few_columns_is_stable(case: UseCase, training: pl.DataFrame, calm: pl.DataFrame) -> None:
    found = check(case, training, calm.with_columns(pl.col("first") + 3))
    assert (found.outcome, found.share, found.drifted_columns) == ("stable", 0.25, ["first"])


def test_columns_that_are_not_monitored_do_not_count(case: UseCase, training: pl.DataFrame, changed: pl.DataFrame) -> None:
    columns = tuple(column.model_copy(update={"monitored": column.name not in ("first", "group")}) for column in case.columns)
    found = check(case.model_copy(update={"columns": columns}), training, changed)
    assert (found.outcome, set(found.distances)) == ("stable", {"second", "steady"})


def some(window: pl.DataFrame, share: float, column: str, value: object) -> pl.DataFrame:
    few = pl.int_range(pl.len()) < round(share * len(window))
    return window.with_columns(pl.when(few).then(pl.lit(value)).otherwise(column).alias(column))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: some(rows, 0.2, "steady", None), "column 'steady' is 20.0% null, tolerated 5.0%"),
        (lambda rows: some(rows, 0.2, "steady", math.nan), "column 'steady' is 20.0% null"),
        (lambda rows: some(rows, 1.0, "second", None), "column 'second' is 100.0% null"),
        (lambda rows: rows.with_columns(pl.lit(None).alias("second")), "column 'second' is 100.0% null"),
        (lambda rows: rows.with_columns(pl.lit(None).alias("group")), "column 'group' is 100.0% null"),
        (lambda rows: rows.with_columns(pl.lit(0.7).alias("first")), "column 'first' is constant (0.7)"),
        (lambda rows: some(rows.with_columns(pl.lit(0.7).alias("second")), 0.03, "second", None), "column 'second' is constant (0.7)"),
        (lambda rows: rows.with_columns(pl.lit("a").alias("group")), "column 'group' is constant ('a')"),
        (lambda rows: some(rows, 0.15, "group", "z"), "column 'group' has 15.0% categories that the reference has not"),
        (lambda rows: rows.with_columns(pl.col("steady") * 1.609), "did its unit change?"),
        (lambda rows: rows.drop("steady"), "column 'steady' is missing"),
    ],
    ids=[
        *["nulls", "nans", "all null", "null type", "all-null category", "constant", "constant but for nulls"],
        *["constant category", "unknown categories", "unit", "missing column"],
    ],
)
def test_a_broken_window_is_broken_with_the_reason(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame, spoil: Any, said: str
) -> None:
    found = check(case, training, spoil(calm))
    assert (found.outcome, found.share, found.distances) == ("broken", None, {})
    assert [reason for reason in found.reasons if said in reason]


def test_what_a_healthy_window_may_hold_is_not_broken(case: UseCase, training: pl.DataFrame, calm: pl.DataFrame) -> None:
    window = some(some(calm, 0.04, "first", None), 0.09, "group", "z")
    assert find_broken(case, training, window) == []
    assert find_broken(case, training.with_columns(pl.lit(0.7).alias("first")), calm.with_columns(pl.lit(0.7).alias("first"))) == []


def test_a_column_that_lost_all_of_its_values_is_broken_though_nulls_are_tolerated(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    """Evidently would raise for it."""
    columns = tuple(column.model_copy(update={"null_tolerance": 1.0}) for column in case.columns)
    for empty in (pl.lit(None), pl.lit(None, dtype=pl.Float64), pl.lit(math.nan)):
        found = check(case.model_copy(update={"columns": columns}), training, calm.with_columns(empty.alias("second")))
        assert (found.outcome, found.reasons) == ("broken", ["column 'second' has no value at all"])


def test_a_column_that_never_had_a_value_is_inconclusive_and_no_crash(case: UseCase, training: pl.DataFrame, calm: pl.DataFrame) -> None:
    columns = tuple(column.model_copy(update={"null_tolerance": 1.0}) for column in case.columns)
    empty = pl.lit(None, dtype=pl.Float64).alias("second")
    found = check(case.model_copy(update={"columns": columns}), training.with_columns(empty), calm.with_columns(empty))
    assert (found.outcome, found.share, found.reasons) == ("inconclusive", None, ["no distance for second"])


def test_few_rows_are_inconclusive_whatever_they_hold(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame, changed: pl.DataFrame
) -> None:
    for window in (calm[:499], changed[:499], calm[:499].with_columns(pl.lit(None).alias("first")), calm[:1], calm[:0], pl.DataFrame()):
        found = check(case, training, window)
        assert (found.outcome, found.share) == ("inconclusive", None)
        assert found.reasons == [f"{len(window)} predictions in the window, at least 500 are needed"]
    assert check(case, training, changed[:500]).outcome == "drifted"


@pytest.mark.parametrize("far", [{"a": math.nan, "b": 0.9, "c": 0.9}, {"a": math.inf, "b": 0.0}, {}])
def test_a_distance_that_is_no_number_is_inconclusive(far: dict[str, float]) -> None:
    found = judge(DriftPolicy(), "2024-04", 5000, [], far, dict.fromkeys("abc", 0.1), True)
    assert (found.outcome, found.share) == ("inconclusive", None)
    assert found.reasons == [f"no distance for {'a' if far else 'any column'}"]


def test_the_limits_themselves_are_drift() -> None:
    far = {"a": 0.1, "b": 0.0999, "c": 0.0, "d": 0.0, "e": 0.0, "f": 0.0, "g": 0.0, "h": 0.0, "i": 0.1, "j": 0.1}
    found = judge(DriftPolicy(), "2024-04", 1000, [], far, dict.fromkeys(far, 0.1), True)
    assert (found.outcome, found.share) == ("drifted", 0.3)
    assert judge(DriftPolicy(), "2024-04", 1000, [], {**far, "j": 0.0999}, dict.fromkeys(far, 0.1), True).outcome == "stable"


def test_columns_are_named_furthest_beyond_their_own_threshold_first() -> None:
    far, limits = {"a": 0.5, "b": 0.3, "c": 0.05}, {"a": 0.4, "b": 0.1, "c": 0.1}
    assert judge(DriftPolicy(), "2024-04", 1000, [], far, limits, True).drifted_columns == ["b", "a"]


def test_thresholds_come_from_each_month_against_the_others(case: UseCase, training: pl.DataFrame) -> None:
    """February is another world for ``first``: what varies that much between months must not count as drift."""
    february = pl.col("at").dt.month() == 2
    varied = training.with_columns(pl.when(february).then(pl.col("first") + 2).otherwise("first").alias("first"))
    _, thresholds, calibrated = calibrate(case, varied, 7)
    months = [varied.filter(pl.col("at").dt.month() == month) for month in (1, 2, 3)]
    largest = max(distance(NUMBER, pl.concat(months[:i] + months[i + 1 :])["first"], month["first"]) for i, month in enumerate(months))
    assert largest > 1
    assert thresholds["first"] == pytest.approx(1.5 * largest)
    assert (thresholds["steady"], calibrated) == (0.1, True)


def test_factor_and_floor_are_those_of_the_policy(case: UseCase, training: pl.DataFrame) -> None:
    def thresholds(**policy: Any) -> dict[str, float]:
        return calibrate(case.model_copy(update={"drift": DriftPolicy(**policy)}), training, 7)[1]

    assert set(thresholds(floor=0.7).values()) == {0.7}
    bare, double = thresholds(floor=0, factor=1), thresholds(floor=0, factor=2)
    assert min(bare.values()) > 0
    assert double == {name: pytest.approx(2 * far) for name, far in bare.items()}


@pytest.mark.parametrize("months", [1, 2])
def test_fewer_than_three_months_are_uncalibrated(case: UseCase, training: pl.DataFrame, calm: pl.DataFrame, months: int) -> None:
    few = training.filter(pl.col("at").dt.month() <= months)
    _, thresholds, calibrated = calibrate(case, few, 7)
    assert (set(thresholds.values()), calibrated) == ({0.1}, False)
    assert not check(case, few, calm).calibrated


def test_a_month_without_a_value_does_not_spoil_the_thresholds(case: UseCase, training: pl.DataFrame) -> None:
    february = pl.col("at").dt.month() == 2
    _, thresholds, calibrated = calibrate(case, training.with_columns(pl.when(~february).then("second").alias("second")), 7)
    assert calibrated
    assert np.isfinite(list(thresholds.values())).all()


def test_the_reference_is_a_sample_of_bounded_size_and_the_same_for_the_same_seed(case: UseCase, training: pl.DataFrame) -> None:
    small = case.model_copy(update={"drift": DriftPolicy(sample_rows=800)})
    first, again, other = (calibrate(small, training, seed)[0] for seed in (1, 1, 2))
    assert len(first) == 800
    assert first.equals(again)
    assert not first.equals(other)
    assert first.columns == ["at", *case.column_names, "won"]
    assert len(calibrate(case, training, 1)[0]) == len(training)


def test_the_distance_of_numbers_is_in_standard_deviations_of_the_reference() -> None:
    chance = np.random.default_rng(0)
    reference = pl.Series("x", chance.normal(10, 4, 20_000))
    assert distance(NUMBER, reference, reference + 2) == pytest.approx(0.5, abs=0.01)
    assert distance(NUMBER, reference, reference) == 0
    constant = pl.Series("x", [3.0] * 10)
    assert distance(NUMBER, constant, constant + 1) == pytest.approx(1000)


def test_the_distance_of_categories_runs_from_none_to_the_largest_there_is() -> None:
    reference = pl.Series("x", ["a"] * 70 + ["b"] * 30)
    assert distance(CATEGORY, reference, pl.Series("x", ["b"] * 3 + ["a"] * 7)) == pytest.approx(0, abs=1e-7)
    assert distance(CATEGORY, reference, pl.Series("x", ["c", "d"])) == pytest.approx(math.sqrt(math.log(2)))


@pytest.mark.parametrize("column", [NUMBER, CATEGORY], ids=lambda column: column.kind)
def test_nulls_are_left_out_and_nothing_left_gives_no_distance(column: Column) -> None:
    values: list[Any] = [1.0, 2.0, 3.0] if column.kind == "number" else ["a", "b", "c"]
    dtype = pl.Float64 if column.kind == "number" else pl.String
    full, gappy, none = (pl.Series("x", found, dtype=dtype) for found in (values, [*values, None, None], [None, None]))
    assert distance(column, full, gappy) == distance(column, gappy, full) == 0
    for left, right in ((none, full), (full, none), (full, pl.Series("x", [None, None], dtype=pl.Null))):
        assert math.isnan(distance(column, left, right))


@pytest.fixture(scope="module")
def by_evidently(case: UseCase, training: pl.DataFrame, changed: pl.DataFrame) -> tuple[dict[str, float], str, str]:
    """One run of Evidently, whose import costs seconds, with nulls and unknown categories in the window."""
    from tasks.drift_checks import run_evidently

    return run_evidently(case, calibrate(case, training, 7)[0], _window(changed), UNUSUAL)


# No default of Evidently's: the group drifts by its own distance of 0.1, and not by this one.
UNUSUAL = {"first": 0.5, "second": 0.1, "steady": 0.1, "group": 0.9}


def _window(changed: pl.DataFrame) -> pl.DataFrame:
    return some(some(changed, 0.05, "group", "z"), 0.04, "steady", None)


def test_our_distances_are_those_of_evidently(
    case: UseCase, training: pl.DataFrame, changed: pl.DataFrame, by_evidently: tuple[dict[str, float], str, str]
) -> None:
    """Thresholds are computed here and held against distances that are computed there."""
    reference, window = calibrate(case, training, 7)[0], _window(changed)
    ours = {column.name: distance(column, reference[column.name], window[column.name]) for column in monitored(case)}
    assert by_evidently[0] == {name: pytest.approx(far, rel=1e-6) for name, far in ours.items()}
    assert min(ours.values()) > 0


def test_evidently_reports_the_verdict_that_we_give(
    case: UseCase, changed: pl.DataFrame, by_evidently: tuple[dict[str, float], str, str]
) -> None:
    """The report that people look at must not say "drift" where the verdict says none: it is given our thresholds."""
    distances, page, text = by_evidently
    verdict = judge(case.drift, "2024-06", len(changed), [], distances, UNUSUAL, True)
    assert (verdict.share, verdict.drifted_columns) == (0.25, ["first"])
    assert distances["group"] > 0.1
    assert '"share": 0.25' in text
    assert "<html" in page
