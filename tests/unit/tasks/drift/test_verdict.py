"""The verdict: thresholds from the reference's own months, what weighs how much, and when a window
counts as drifted.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.lake import Lake
from serving.records.drift import Checked, DriftVerdict, Finding
from serving.records.record import encode
from tasks.drift.checks.broken import find_broken
from tasks.drift.checks.distances import distance
from tasks.drift.drivers import advice, drifted_columns, list_drifted, notes_of
from tasks.drift.history import last_notes, sequence_before
from tasks.drift.thresholds import calibrate, measure
from tasks.drift.verdict import Evidence, judge, weigh
from tasks.models.cross_fitting import cross_fit
from tasks.models.modelling import fit, predict
from usecases.definition import SCORE, Column, DriftPolicy, UseCase

NUMBER = Column(name="x", kind="number")


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return pl.concat([toy_rows(f"2024-0{month}") for month in (1, 2, 3)])


@pytest.fixture(scope="module")
def calm() -> pl.DataFrame:
    return toy_rows("2024-04")


@pytest.fixture(scope="module")
def changed() -> pl.DataFrame:
    return toy_rows("2024-06")


def check(
    case: UseCase,
    training: pl.DataFrame,
    window: pl.DataFrame,
    importance: dict[str, float] | None = None,
) -> DriftVerdict:
    """The whole check; each column counts alike unless ``importance`` says otherwise."""
    reference, thresholds, calibrated = calibrate(case, training, 7)
    broken = find_broken(case, reference, window)
    far = {} if broken else measure(case, reference, window, thresholds, case.drift.methods)
    return judge(
        case.drift,
        Evidence(
            window="2024-04",
            rows=len(window),
            broken=broken,
            distances=far,
            thresholds=thresholds,
            calibrated=calibrated,
            importance=importance or {},
        ),
    )


def with_policy(case: UseCase, **policy: Any) -> UseCase:
    return case.model_copy(update={"drift": case.drift.model_copy(update=policy)})


def test_a_month_like_the_ones_before_is_stable(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    verdict = check(case, training, calm)
    assert (
        verdict.outcome,
        verdict.share,
        verdict.beyond,
        drifted_columns(verdict),
        verdict.calibrated,
    ) == (
        "stable",
        0,
        False,
        [],
        True,
    )
    assert set(verdict.distances) == {"first", "second", "steady", "group"}


def test_no_month_without_drift_fires(case: UseCase) -> None:
    """Three months against a fourth, in each of 24 shuffles of one and the same world."""
    whole = pl.concat([toy_rows(f"2024-0{month}") for month in (1, 2, 3, 4)])
    months = whole["at"]
    outcomes = [
        check(
            case,
            rows.filter(pl.col("at").dt.month() < 4),
            rows.filter(pl.col("at").dt.month() == 4),
        ).outcome
        for rows in (
            whole.drop("at").sample(fraction=1, shuffle=True, seed=seed).with_columns(months)
            for seed in range(24)
        )
    ]
    assert outcomes == ["stable"] * 24


def test_a_world_that_changed_is_drifted_and_the_reasons_name_what_drove_it(
    case: UseCase, training: pl.DataFrame, changed: pl.DataFrame
) -> None:
    verdict = check(
        case, training, changed, {"first": 0.6, "second": 0.2, "steady": 0.1, "group": 0.1}
    )
    assert (verdict.outcome, verdict.share, verdict.beyond) == ("drifted", 0.7, True)
    assert drifted_columns(verdict) == ["first", "group"]
    far = verdict.distances
    assert verdict.reasons == [
        "2 of 4 columns, 70% of the weight, are beyond their threshold; the limit is 30%",
        f"first: distance {far['first']:.3g}, threshold 0.1, weight 60.0%",
        f"group: distance {far['group']:.3g}, threshold 0.1, weight 10.0%",
    ]


def test_drift_of_columns_that_the_model_hardly_uses_is_stable(
    case: UseCase, training: pl.DataFrame, changed: pl.DataFrame
) -> None:
    verdict = check(
        case, training, changed, {"first": 0.2, "second": 0.75, "steady": 0.0, "group": 0.05}
    )
    assert (verdict.outcome, verdict.share, drifted_columns(verdict)) == (
        "stable",
        0.25,
        ["first", "group"],
    )


def test_a_column_that_the_model_does_not_use_causes_nothing(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    """Not even alone, and not even far away; it is shown with its distance all the same."""
    shifted = calm.with_columns(pl.col("first") + 3)
    verdict = check(
        case, training, shifted, {"first": 0.0, "second": 0.5, "steady": 0.3, "group": 0.2}
    )
    assert (verdict.outcome, verdict.share, drifted_columns(verdict)) == ("stable", 0, [])
    assert verdict.distances["first"] > 2
    assert (
        check(
            case, training, shifted, {"first": 0.3, "second": 0.4, "steady": 0.2, "group": 0.1}
        ).outcome
        == "drifted"
    )


def test_a_column_without_use_and_without_a_distance_does_not_stand_in_the_way(
    case: UseCase,
) -> None:
    far, limits = {"a": math.nan, "b": 0.9}, {"a": 0.1, "b": 0.1}
    assert (
        judge(
            DriftPolicy(),
            Evidence(
                window="2024-04",
                rows=5000,
                distances=far,
                thresholds=limits,
                calibrated=True,
                importance={"a": 0.0, "b": 1.0},
            ),
        ).outcome
        == "drifted"
    )
    assert (
        judge(
            DriftPolicy(),
            Evidence(
                window="2024-04",
                rows=5000,
                distances=far,
                thresholds=limits,
                calibrated=True,
                importance={"a": 0.1, "b": 0.9},
            ),
        ).outcome
        == "inconclusive"
    )


def test_weights_are_shared_among_the_columns_that_could_be_measured() -> None:
    used = {"a": 0.5, "b": 0.3, "c": 0.2}
    assert weigh(DriftPolicy(), ["b", "c"], used) == {
        "b": pytest.approx(0.6),
        "c": pytest.approx(0.4),
    }
    assert weigh(DriftPolicy(), ["a", "b", "c"], {}) == dict.fromkeys("abc", pytest.approx(1 / 3))
    assert weigh(DriftPolicy(described=("a",)), ["a", "b", "c"], used) == {
        "b": pytest.approx(0.6),
        "c": pytest.approx(0.4),
    }
    assert weigh(DriftPolicy(score_weight=0.4), ["b", "c", "score"], used) == {
        "b": pytest.approx(0.36),
        "c": pytest.approx(0.24),
        "score": 0.4,
    }
    assert weigh(DriftPolicy(), ["d", "score"], used) == {}


def test_a_window_in_which_nothing_that_the_model_uses_could_be_measured_is_inconclusive() -> None:
    verdict = judge(
        DriftPolicy(),
        Evidence(
            window="2024-04",
            rows=5000,
            distances={"a": 0.9, "score": 0.9},
            thresholds={"a": 0.1, "score": 0.1},
            calibrated=True,
            importance={"a": 0.0, "b": 1.0},
        ),
    )
    assert (verdict.outcome, verdict.reasons) == (
        "inconclusive",
        ["no distance for any column that the model uses"],
    )


def test_a_package_that_does_not_say_what_the_model_uses_counts_each_column_alike(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    verdict = check(case, training, calm.with_columns(pl.col("first") + 3))
    assert (verdict.outcome, verdict.share, drifted_columns(verdict)) == ("stable", 0.25, ["first"])
    assert "counted alike, since the package does not say what the model uses" in verdict.reasons[0]


def test_described_columns_are_shown_and_never_count(
    case: UseCase, training: pl.DataFrame, changed: pl.DataFrame
) -> None:
    verdict = check(with_policy(case, described=("first", "group")), training, changed)
    assert (verdict.outcome, verdict.share, drifted_columns(verdict), verdict.described) == (
        "stable",
        0,
        [],
        ["first", "group"],
    )
    assert verdict.distances["first"] > verdict.thresholds["first"]


def test_columns_that_are_not_monitored_do_not_count(
    case: UseCase, training: pl.DataFrame, changed: pl.DataFrame
) -> None:
    columns = tuple(
        column.model_copy(update={"monitored": column.name not in ("first", "group")})
        for column in case.columns
    )
    verdict = check(case.model_copy(update={"columns": columns}), training, changed)
    assert (verdict.outcome, set(verdict.distances)) == ("stable", {"second", "steady"})


def test_a_broken_window_has_no_share(
    case: UseCase, training: pl.DataFrame, changed: pl.DataFrame
) -> None:
    verdict = check(case, training, changed.drop("steady"))
    assert (verdict.outcome, verdict.share, verdict.beyond, verdict.distances) == (
        "broken",
        None,
        None,
        {},
    )
    assert verdict.reasons == ["column 'steady' is missing"]


def test_a_column_that_never_had_a_value_is_inconclusive_and_no_crash(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    columns = tuple(column.model_copy(update={"null_tolerance": 1.0}) for column in case.columns)
    empty = pl.lit(None, dtype=pl.Float64).alias("second")
    verdict = check(
        case.model_copy(update={"columns": columns}),
        training.with_columns(empty),
        calm.with_columns(empty),
    )
    assert (verdict.outcome, verdict.share, verdict.reasons) == (
        "inconclusive",
        None,
        ["no distance for second"],
    )


def test_few_rows_are_inconclusive_whatever_they_hold(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame, changed: pl.DataFrame
) -> None:
    for window in (
        calm[:499],
        changed[:499],
        calm[:499].with_columns(pl.lit(None).alias("first")),
        calm[:1],
        calm[:0],
        pl.DataFrame(),
    ):
        verdict = check(case, training, window)
        assert (verdict.outcome, verdict.share) == ("inconclusive", None)
        assert verdict.reasons == [
            f"{len(window)} predictions in the window, at least 500 are needed"
        ]
    assert check(case, training, changed[:500]).outcome == "drifted"


@pytest.mark.parametrize(
    "far", [{"a": math.nan, "b": 0.9, "c": 0.9}, {"a": math.inf, "b": 0.0}, {}]
)
def test_a_distance_that_is_no_number_is_inconclusive(far: dict[str, float]) -> None:
    verdict = judge(
        DriftPolicy(),
        Evidence(
            window="2024-04",
            rows=5000,
            distances=far,
            thresholds=dict.fromkeys("abc", 0.1),
            calibrated=True,
        ),
    )
    assert (verdict.outcome, verdict.share) == ("inconclusive", None)
    assert verdict.reasons == [
        f"no distance for {'a' if far else 'any column that the model uses'}"
    ]


def test_the_limits_themselves_are_drift() -> None:
    far = {
        "a": 0.1,
        "b": 0.0999,
        "c": 0.0,
        "d": 0.0,
        "e": 0.0,
        "f": 0.0,
        "g": 0.0,
        "h": 0.0,
        "i": 0.1,
        "j": 0.1,
    }
    verdict = judge(
        DriftPolicy(),
        Evidence(
            window="2024-04",
            rows=1000,
            distances=far,
            thresholds=dict.fromkeys(far, 0.1),
            calibrated=True,
        ),
    )
    assert (verdict.outcome, verdict.share) == ("drifted", 0.3)
    assert (
        judge(
            DriftPolicy(),
            Evidence(
                window="2024-04",
                rows=1000,
                distances={**far, "j": 0.0999},
                thresholds=dict.fromkeys(far, 0.1),
                calibrated=True,
            ),
        ).outcome
        == "stable"
    )


def test_drivers_are_named_by_weight_and_then_by_how_far_they_are_beyond_their_own_threshold() -> (
    None
):
    far, limits = (
        {"a": 0.5, "b": 0.3, "c": 0.05, "d": 0.2},
        {"a": 0.4, "b": 0.1, "c": 0.1, "d": 0.1},
    )
    assert drifted_columns(
        judge(
            DriftPolicy(),
            Evidence(
                window="2024-04", rows=1000, distances=far, thresholds=limits, calibrated=True
            ),
        )
    ) == [
        "b",
        "d",
        "a",
    ]
    used = {"a": 0.5, "b": 0.1, "c": 0.3, "d": 0.1}
    assert drifted_columns(
        judge(
            DriftPolicy(),
            Evidence(
                window="2024-04",
                rows=1000,
                distances=far,
                thresholds=limits,
                calibrated=True,
                importance=used,
            ),
        )
    ) == [
        "a",
        "b",
        "d",
    ]


@pytest.mark.parametrize(
    ("k_of_n", "earlier", "far", "outcome"),
    [
        ((1, 1), [], 0.9, "drifted"),
        ((2, 2), [], 0.9, "stable"),
        ((2, 2), [True], 0.9, "drifted"),
        ((2, 2), [True, False], 0.9, "stable"),
        ((2, 3), [True, False], 0.9, "drifted"),
        ((2, 3), [True, False, False], 0.9, "stable"),
        ((2, 3), [True, True], 0.0, "stable"),
        ((3, 3), [True, True], 0.9, "drifted"),
    ],
)
def test_drift_needs_k_of_the_last_n_windows_this_one_among_them(
    k_of_n: tuple[int, int], earlier: list[bool], far: float, outcome: str
) -> None:
    verdict = judge(
        DriftPolicy(k_of_n=k_of_n),
        Evidence(
            window="2024-06",
            rows=5000,
            distances={"a": far},
            thresholds={"a": 0.1},
            calibrated=True,
            earlier=earlier,
        ),
    )
    assert (verdict.outcome, verdict.beyond) == (outcome, far == 0.9)
    if verdict.beyond and k_of_n[1] > 1:
        times_needed, windows = k_of_n
        times = [*earlier, True][-windows:].count(True)
        assert verdict.reasons[-1] == (
            f"{times} of the last {windows} windows are beyond the limit; drift is declared at "
            f"{times_needed}"
        )


def test_thresholds_come_from_each_month_against_the_others(
    case: UseCase, training: pl.DataFrame
) -> None:
    """February is another world for ``first``: what varies that much between months must not count
    as drift.
    """
    february = pl.col("at").dt.month() == 2
    varied = training.with_columns(
        pl.when(february).then(pl.col("first") + 2).otherwise("first").alias("first")
    )
    _, thresholds, calibrated = calibrate(case, varied, 7)
    months = [varied.filter(pl.col("at").dt.month() == month) for month in (1, 2, 3)]
    largest = max(
        distance(NUMBER, pl.concat(months[:i] + months[i + 1 :])["first"], month["first"])
        for i, month in enumerate(months)
    )
    assert largest > 1
    assert thresholds["first"] == pytest.approx(1.5 * largest)
    assert (thresholds["steady"], calibrated) == (0.1, True)


def test_a_fixed_threshold_stands_whatever_the_months_say(
    case: UseCase, training: pl.DataFrame, changed: pl.DataFrame
) -> None:
    fixed = with_policy(case, thresholds={"first": 9.0, "steady": 0.01})
    _, thresholds, _ = calibrate(fixed, training, 7)
    assert (thresholds["first"], thresholds["steady"]) == (9.0, 0.01)
    assert "first" not in drifted_columns(check(fixed, training, changed))
    assert calibrate(fixed, training.filter(pl.col("at").dt.month() == 1), 7)[1]["steady"] == 0.01


def test_a_threshold_is_of_the_column_s_own_method(
    case: UseCase, training: pl.DataFrame, changed: pl.DataFrame
) -> None:
    by_psi = with_policy(case, methods={"number": "psi", "group": "psi"}, floor=0.001)
    _, thresholds, _ = calibrate(by_psi, training, 7)
    months = [training.filter(pl.col("at").dt.month() == month) for month in (1, 2, 3)]
    expected = max(
        distance(NUMBER, pl.concat(months[:i] + months[i + 1 :])["first"], month["first"], "psi")
        for i, month in enumerate(months)
    )
    assert thresholds["first"] == pytest.approx(1.5 * expected)
    reference = calibrate(by_psi, training, 7)[0]
    far = measure(by_psi, reference, changed, thresholds, {"first": "psi"})
    assert far["first"] == distance(NUMBER, reference["first"], changed["first"], "psi") > 1


def test_factor_and_floor_are_those_of_the_policy(case: UseCase, training: pl.DataFrame) -> None:
    def thresholds(**policy: Any) -> dict[str, float]:
        return calibrate(case.model_copy(update={"drift": DriftPolicy(**policy)}), training, 7)[1]

    assert set(thresholds(floor=0.7).values()) == {0.7}
    bare, double = thresholds(floor=0, factor=1), thresholds(floor=0, factor=2)
    assert min(bare.values()) > 0
    assert double == {name: pytest.approx(2 * far) for name, far in bare.items()}


@pytest.mark.parametrize("months", [1, 2])
def test_fewer_than_three_months_are_uncalibrated_and_the_verdict_says_so(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame, months: int
) -> None:
    few = training.filter(pl.col("at").dt.month() <= months)
    _, thresholds, calibrated = calibrate(case, few, 7)
    assert (set(thresholds.values()), calibrated) == ({0.1}, False)
    verdict = check(case, few, calm)
    assert (
        not verdict.calibrated
        and verdict.reasons[-1]
        == "uncalibrated: the champion was trained on too few windows for thresholds that decide"
    )


def test_a_month_without_a_value_does_not_spoil_the_thresholds(
    case: UseCase, training: pl.DataFrame
) -> None:
    february = pl.col("at").dt.month() == 2
    _, thresholds, calibrated = calibrate(
        case, training.with_columns(pl.when(~february).then("second").alias("second")), 7
    )
    assert calibrated
    assert np.isfinite(list(thresholds.values())).all()


def test_the_reference_is_a_sample_of_bounded_size_and_the_same_for_the_same_seed(
    case: UseCase, training: pl.DataFrame
) -> None:
    small = case.model_copy(update={"drift": DriftPolicy(sample_rows=800)})
    first, again, other = (calibrate(small, training, seed)[0] for seed in (1, 1, 2))
    assert len(first) == 800
    assert first.equals(again)
    assert not first.equals(other)
    assert first.columns == ["at", *case.column_names, "won"]
    assert len(calibrate(case, training, 1)[0]) == len(training)


@pytest.mark.usefixtures("one_thread")
def test_a_score_that_moves_is_drift_though_each_column_stays(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    """The two numbers that decide become one: each is distributed as before, and the model answers
    otherwise.
    """
    scored = with_policy(case, score_weight=0.5)
    fitted = fit(case, case.candidate("boosting"), {"max_iter": 40}, training, 7)
    unseen = cross_fit(scored, fitted, training, 7)
    reference, thresholds, calibrated = calibrate(
        scored, training.with_columns(unseen.answers.alias(SCORE)), 7
    )

    def verdict(window: pl.DataFrame) -> DriftVerdict:
        asked = window.with_columns(pl.Series(SCORE, predict(fitted, case, window)))
        far = measure(scored, reference, asked, thresholds, {})
        return judge(
            scored.drift,
            Evidence(
                window="2024-04",
                rows=len(window),
                distances=far,
                thresholds=thresholds,
                calibrated=calibrated,
                importance=unseen.importance,
            ),
        )

    paired = calm.with_columns(second=pl.col("first"))
    assert (verdict(calm).outcome, verdict(calm).share) == ("stable", 0)
    outcome = verdict(paired)
    assert (outcome.outcome, drifted_columns(outcome), outcome.share) == ("drifted", ["score"], 0.5)
    assert outcome.importance["score"] == 0.5 and sum(outcome.importance.values()) == pytest.approx(
        1
    )


def test_the_score_is_not_judged_where_the_package_has_no_threshold_for_it(
    case: UseCase, training: pl.DataFrame, calm: pl.DataFrame
) -> None:
    """Older packages hold the model's own scores of its training rows: not what it answers to new
    ones.
    """
    reference, thresholds, _ = calibrate(case, training, 7)
    far = measure(
        case, reference.with_columns(score=0.5), calm.with_columns(score=0.9), thresholds, {}
    )
    assert set(far) == set(case.column_names)


def test_a_model_without_out_of_sample_scores_is_watched_by_its_inputs(
    case: UseCase, training: pl.DataFrame
) -> None:
    reference, thresholds, _ = calibrate(
        case, training.with_columns(score=pl.lit(None, dtype=pl.Float64)), 7
    )
    assert SCORE not in thresholds and SCORE not in reference.columns


def test_a_window_of_few_days_is_inconclusive_however_many_rows_it_has() -> None:
    policy = DriftPolicy()
    verdict = judge(
        policy,
        Evidence(
            window="2024-04",
            rows=50_000,
            distances={"a": 0.9},
            thresholds={"a": 0.1},
            calibrated=True,
            days=13,
            days_needed=14,
        ),
    )
    assert (verdict.outcome, verdict.reasons) == (
        "inconclusive",
        ["13 days in the window, at least 14 are needed: days differ more than windows do"],
    )
    assert (
        judge(
            policy,
            Evidence(
                window="2024-04",
                rows=50_000,
                distances={"a": 0.9},
                thresholds={"a": 0.1},
                calibrated=True,
                days=14,
                days_needed=14,
            ),
        ).outcome
        == "drifted"
    )
    assert (
        judge(
            policy,
            Evidence(
                window="2024-04",
                rows=50_000,
                broken=["column 'a' is missing"],
                distances={},
                thresholds={},
                calibrated=True,
                days=1,
            ),
        ).outcome
        == "broken"
    )


def test_all_tellers_name_the_columns_in_one_order_and_each_says_why_it_counts_or_not() -> None:
    from tasks.steps.drift_check.record import _table

    policy = DriftPolicy(minimum_rows=1, score_weight=0, described=("shown",))
    distances = {"light": 0.9, "heavy": 0.3, "unused": 3.092, "shown": 2.0, "calm": 0.1}
    limits = dict.fromkeys(distances, 0.2) | {"unused": 0.51}
    verdict = judge(
        policy,
        Evidence(
            window="2024-06",
            rows=1000,
            distances=distances,
            thresholds=limits,
            calibrated=True,
            importance={"light": 0.2, "heavy": 0.7, "calm": 0.1},
        ),
    )
    assert (
        drifted_columns(verdict) == ["heavy", "light"]
        and list_drifted(verdict) == "heavy 1.5×, light 4.5×"
    )
    assert [reason.partition(":")[0] for reason in verdict.reasons[1:]] == ["heavy", "light"]
    table = {row["column"]: row for row in _table(verdict)}
    assert list(table) == ["heavy", "light", "calm", "shown", "unused"]
    assert table["unused"]["distance"] == 3.092 and not table["unused"]["drifted"]
    assert (
        table["unused"]["why"]
        == "beyond its threshold, but does not count: the model does not use it"
    )
    assert (
        table["shown"]["why"]
        == "beyond its threshold, but does not count: the policy only describes it"
    )
    assert table["heavy"]["why"] == "beyond its threshold: it drifted, and counts with 70.0%"
    assert table["calm"]["why"] == "within its threshold"


def test_notes_of_a_window_are_news_only_once(tmp_path: Path) -> None:
    store = Lake(url=f"file://{tmp_path}")
    notes = [
        Finding(check="nulls", word="said", column="wind", reason="wind is null"),
        Finding(check="within", word="said", column="wind", reason="on few periods"),
        Finding(check="integrity", word="unjudged", reason="unjudged"),
    ]
    verdict = judge(
        DriftPolicy(),
        Evidence(
            window="2024-06",
            rows=5000,
            distances={"a": 0.0},
            thresholds={"a": 0.1},
            calibrated=True,
            findings=notes,
        ),
    )
    assert last_notes(store, "toy", "2024-06") == []
    checked = Checked(use_case="toy", champion="1", time="2024-07-01T00:00:00", verdict=verdict)
    store.write("reports/toy/2024-06/verdict.json", encode(checked))
    assert last_notes(store, "toy", "2024-06") == notes[:1] == notes_of(verdict)
    assert advice(verdict).startswith("To do: look at what is said")
    assert sequence_before(store, "toy", "1", "2024-07") == verdict.sequence
    assert sequence_before(store, "toy", "2", "2024-07") == 0.0
