"""Late labels, what they are worth, when they say *worse*, and what is known before they come."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from usecases.toy import USE_CASE as CASE
from usecases.toy_classes import NAMES
from usecases.toy_classes import USE_CASE as WEATHER
from usecases.toy_number import USE_CASE as PRICE

from blocks.lake import Lake
from serving.package.manifest import Manifest, Parity
from serving.package.outputs import Output
from serving.records.drift import DriftVerdict
from serving.records.performance import Performance
from serving.records.record import decode, encode
from tasks.drift.late_labels import check_performance, count_unknown
from tasks.drift.performance import (
    find_cause,
    join_verdict,
    judge_performance,
    last_labels,
)
from tasks.drift.performance_report import performance_rows, say_performance
from tasks.log.windows import read_window
from tasks.measures.estimate import calibrate_scores, estimate, fit_calibration, isotonic_curve
from tasks.measures.intervals import days_of, intervals
from tasks.measures.metrics import score
from usecases.definition import BRIER, CALIBRATION_ERROR, LOG_LOSS, ROC_AUC, LabelPolicy

START = datetime(2024, 6, 1, 12)
MANIFEST = Manifest(
    use_case="toy",
    title="",
    question="",
    recipe="boosting",
    params={},
    created="",
    features=[],
    outputs=[Output("score", "number", 0.0, 1.0), Output("decision", "decision")],
    label="won",
    event_time="at",
    dtype="float32",
    decision_threshold=0.5,
    metrics={"roc_auc": 0.9},
    dataset_version="",
    trained_on={"2024-03": ""},
    trained_through="2024-03",
    parity=Parity(0, 0.0, 0),
    drift_thresholds={},
    drift_calibrated=True,
    holdout="2024-04",
    holdout_intervals={"roc_auc": (0.88, 0.92), "log_loss": (0.3, 0.4)},
    calibration=[(0.0, 0.0), (1.0, 1.0)],
    files={},
)


def window(
    rows: int = 1400, days: int = 14, skill: float = 2.0, seed: int = 1, version: str = "1"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions whose scores, which spread by ``skill``, are true probabilities of the labels,
    and the labels, known an hour later.
    """
    chance = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-chance.normal(0, skill, rows)))
    at = [START + timedelta(days=row % days) for row in range(rows)]
    ids = [f"{version}-{row}" for row in range(rows)]
    logged = pl.DataFrame(
        {"id": ids, "score": scores, "event_time": at, "time": at, "model_version": version}
    )
    logged = logged.with_columns(pl.col("time").dt.cast_time_unit("us").dt.replace_time_zone("UTC"))
    labels = pl.DataFrame(
        {
            "id": ids,
            "label": chance.random(rows) < scores,
            "time": logged["time"] + timedelta(hours=1),
        }
    )
    return logged, labels


def judge(logged: pl.DataFrame, labels: pl.DataFrame, **changed: Any) -> Performance:
    manifest = msgspec.structs.replace(MANIFEST, **changed)
    return judge_performance(CASE, manifest, logged, labels, 0, "1")


def test_champion_that_holds_its_own_is_level_and_its_scores_are_those_of_the_labelled_rows() -> (
    None
):
    logged, labels = window(skill=3.0)
    performance = judge(logged, labels)
    truth, scores = labels["label"].to_numpy(), logged["score"].to_numpy()
    assert (
        performance.verdict,
        performance.provisional,
        performance.rows,
        performance.labels,
        performance.coverage,
        performance.days,
    ) == ("level", False, 1400, 1400, 1, 14)
    assert performance.scores == pytest.approx(
        {"roc_auc": score(ROC_AUC, truth, scores), "log_loss": score(LOG_LOSS, truth, scores)},
        rel=1e-12,
    )
    interval = performance.metrics["roc_auc"]
    assert (
        interval.low is not None
        and interval.high is not None
        and interval.low < performance.scores["roc_auc"] < interval.high
    )
    assert decode(Performance, encode(performance)) == performance


def test_champion_whose_whole_interval_lies_below_its_holdout_is_worse() -> None:
    logged, labels = window(skill=1.0)
    performance = judge(logged, labels)
    assert (
        performance.verdict == "worse"
        and "is worse than the champion's own hold-out, 0.8800 to 0.9200" in performance.reasons[0]
    )


def test_point_below_the_bound_with_an_interval_that_reaches_it_is_not_worse() -> None:
    logged, labels = window(skill=1.0)
    high = judge(logged, labels).metrics["roc_auc"].high
    assert high is not None
    just = judge(logged, labels, holdout_intervals={"roc_auc": (high, 0.95)})
    beyond = judge(logged, labels, holdout_intervals={"roc_auc": (high + 1e-9, 0.95)})
    assert (just.verdict, beyond.verdict) == ("level", "worse")


def test_worse_loss_alone_alarms_nobody() -> None:
    logged, labels = window(skill=3.0)
    performance = judge(
        logged, labels, holdout_intervals={"roc_auc": (0.8, 0.92), "log_loss": (0.01, 0.02)}
    )
    assert performance.verdict == "level" and performance.scores["log_loss"] > 0.02


def test_metric_where_less_is_better_is_worse_when_it_is_surely_more() -> None:
    case = CASE.model_copy(update={"gate": CASE.gate.model_copy(update={"metric": LOG_LOSS})})
    logged, labels = window(skill=1.0)
    manifest = msgspec.structs.replace(MANIFEST, holdout_intervals={"log_loss": (0.2, 0.3)})
    assert judge_performance(case, manifest, logged, labels, 0).verdict == "worse"
    manifest = msgspec.structs.replace(MANIFEST, holdout_intervals={"log_loss": (0.8, 0.9)})
    assert judge_performance(case, manifest, logged, labels, 0).verdict == "level"


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (pl.int_range(pl.len()) % 10 < 7, "labels for 70% of 1,400 predictions, 80% are required"),
        (pl.col("time").dt.day() <= 6, "labels of 6 days, 7 are required"),
        (pl.int_range(pl.len()) < 499, "499 labels, 500 are required"),
    ],
    ids=["coverage", "days", "rows"],
)
def test_bad_metric_on_too_few_labels_is_provisional_and_never_worse(
    selection: pl.Expr, message: str
) -> None:
    logged, labels = window(skill=1.0)
    performance = judge(logged, labels.filter(selection))
    assert (performance.verdict, performance.provisional) == ("provisional", True)
    assert (
        message in performance.reasons
        and 0 < performance.coverage < 1
        and "roc_auc" in performance.scores
    )


def test_the_policy_of_the_use_case_says_what_is_enough() -> None:
    logged, labels = window(skill=1.0)
    half = labels.filter(pl.int_range(pl.len()) % 2 == 0)
    ready = CASE.model_copy(update={"labels": LabelPolicy(coverage=0.5, rows=700)})
    assert judge_performance(CASE, MANIFEST, logged, half, 0).verdict == "provisional"
    assert judge_performance(ready, MANIFEST, logged, half, 0).verdict == "worse"


@pytest.mark.parametrize(
    "labels", [pl.DataFrame(), pl.DataFrame({"id": ["x"], "label": [True], "time": [START]})]
)
def test_without_a_label_nothing_is_known_but_the_estimate(labels: pl.DataFrame) -> None:
    logged, _ = window()
    performance = judge(logged, labels)
    assert (
        performance.verdict,
        performance.provisional,
        performance.coverage,
        performance.metrics,
    ) == (
        "unknown",
        True,
        0,
        {},
    )
    guess = performance.estimates["roc_auc"]
    assert guess.value is not None and 0.8 < guess.value < 0.95 and guess.error is None
    assert "no label has arrived" in performance.reasons[0]


def test_without_predictions_of_this_champion_nothing_is_known_of_it() -> None:
    logged, labels = window(version="0")
    performance = judge(logged, labels)
    assert (
        performance.verdict,
        performance.rows,
        performance.other_rows,
        performance.unknown_ids,
    ) == (
        "unknown",
        0,
        1400,
        0,
    )
    assert (
        judge(pl.DataFrame(), labels).verdict == "unknown"
        and judge(pl.DataFrame(), labels).unknown_ids == 1400
    )


def test_what_other_versions_answered_is_left_out() -> None:
    ours, theirs = window(skill=3.0), window(skill=0.1, seed=2, version="0")
    logged, labels = (pl.concat(parts) for parts in zip(ours, theirs, strict=True))
    performance = judge(logged, labels)
    assert performance.scores == judge(*ours).scores and (
        performance.rows,
        performance.other_rows,
    ) == (1400, 1400)
    assert "1,400 predictions of other versions are left out" in performance.reasons


def test_package_without_an_interval_of_its_holdout_is_unknown_and_not_level() -> None:
    performance = judge(*window(skill=3.0), holdout_intervals={})
    assert (
        performance.verdict == "unknown"
        and "no hold-out interval of ROC AUC: retrain to get one" in performance.reasons[0]
    )


def test_labels_of_one_class_have_no_score_and_no_verdict() -> None:
    logged, labels = window()
    performance = judge(logged, labels.with_columns(label=pl.lit(True)))
    assert (
        performance.verdict == "unknown"
        and "roc_auc" not in performance.scores
        and performance.metrics["roc_auc"].value is None
    )


def test_last_label_by_the_time_it_was_known_wins_whatever_the_order_of_arrival() -> None:
    early, late = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 2, tzinfo=UTC)
    rows = {
        "id": ["a", "a", "b", "b"],
        "label": [True, False, True, False],
        "time": [late, early, early, late],
    }
    performance = {
        name: (label, count)
        for name, label, count in last_labels(CASE, pl.DataFrame(rows))
        .select("id", "label", "given")
        .iter_rows()
    }
    assert performance == {"a": (True, 2), "b": (False, 2)}


def test_of_two_labels_known_at_once_the_one_that_was_received_later_wins() -> None:
    at = datetime(2024, 6, 1, tzinfo=UTC)
    rows = pl.DataFrame({"id": ["a", "a"], "label": [True, False], "time": [at, at]})
    assert last_labels(CASE, rows)["label"].to_list() == [False]
    assert last_labels(CASE, rows.with_columns(received=pl.Series([at + timedelta(1), at])))[
        "label"
    ].to_list() == [True]


def test_the_same_feedback_twice_changes_no_score() -> None:
    logged, labels = window(skill=3.0)
    once, twice = judge(logged, labels), judge(logged, pl.concat([labels, labels]))
    assert twice.scores == once.scores and (twice.labels, twice.repeated, once.repeated) == (
        1400,
        1400,
        0,
    )


def test_labels_for_unknown_ids_are_counted_and_told_and_change_nothing() -> None:
    logged, labels = window(skill=3.0)
    strange = pl.concat([labels, labels.head(3).with_columns(id=pl.col("id") + "?")])
    performance = judge(logged, strange)
    assert (performance.unknown_ids, performance.scores) == (3, judge(logged, labels).scores)
    assert any(
        reason.startswith("3 labels are for ids that are not in this window")
        for reason in performance.reasons
    )


@pytest.mark.parametrize("hours", [-24 * 365 * 60, -24, 24 * 365 * 5])
def test_clock_that_is_wrong_loses_no_label(hours: int) -> None:
    logged, labels = window(skill=3.0)
    performance = judge(logged, labels.with_columns(pl.col("time") + timedelta(hours=hours)))
    assert (performance.labels, performance.skewed, performance.verdict) == (
        1400,
        1400 if hours < 0 else 0,
        "level",
    )


@pytest.mark.parametrize(
    ("data", "outcome", "cause"),
    [
        ("stable", "drifted", "performance"),
        ("inconclusive", "drifted", "performance"),
        ("drifted", "drifted", "data and performance"),
    ],
)
def test_worse_performance_is_drift_whatever_the_data_say(
    data: Any, outcome: str, cause: str
) -> None:
    before = DriftVerdict(
        outcome=data, window="2024-06", rows=1400, share=None, limit=0.3, reasons=["the data"]
    )
    worse = judge(*window(skill=1.0))
    after = join_verdict(before, worse)
    assert (after.outcome, after.reasons) == (outcome, ["the data", worse.reasons[0]])
    assert find_cause(before, worse) == cause


def test_worse_performance_on_broken_data_stays_broken_since_a_retrain_would_learn_them() -> None:
    before = DriftVerdict(
        outcome="broken",
        window="2024-06",
        rows=1400,
        share=None,
        limit=0.3,
        reasons=["no such unit"],
    )
    after = join_verdict(before, judge(*window(skill=1.0)))
    assert after.outcome == "broken" and len(after.reasons) == 2


def test_level_and_provisional_performance_leave_the_verdict_alone() -> None:
    before = DriftVerdict(
        outcome="stable", window="2024-06", rows=1400, share=0.0, limit=0.3, reasons=["quiet"]
    )
    logged, labels = window(skill=1.0)
    for performance in (
        judge(*window(skill=3.0)),
        judge(logged, labels.head(600)),
        judge(logged, pl.DataFrame()),
    ):
        assert (
            join_verdict(before, performance) == before
            and find_cause(before, performance) == "data"
        )


def test_table_says_not_known_and_not_nothing() -> None:
    performance = judge(window()[0], pl.DataFrame())
    row = performance_rows(performance)[0]
    assert (
        row["metric"] == "roc_auc"
        and row["realised"] == "not known"
        and isinstance(row["estimated"], float)
    )
    assert say_performance(performance).startswith(
        "Unknown: no label has arrived for 1,400 predictions. Labels have arrived for 0%"
    )


# Estimates without labels


@pytest.mark.parametrize("metric", [ROC_AUC, LOG_LOSS, BRIER], ids=lambda metric: metric.name)
def test_estimate_is_exactly_the_expectation_over_all_labels_there_could_be(metric: Any) -> None:
    """By brute force over the 2**n ways to label n rows, ties and certain rows among them; ROC AUC
    as expected right pairs by pairs.
    """
    scores, chances = (
        np.array([0.1, 0.4, 0.4, 0.6, 0.8, 0.9]),
        np.array([0.2, 0.0, 0.5, 0.3, 1.0, 0.7]),
    )
    right = pairs = mean = 0.0
    for labels in product([0, 1], repeat=len(scores)):
        truth = np.array(labels)
        probability = float(np.prod(np.where(truth == 1, chances, 1 - chances)))
        positive, negative = scores[truth == 1], scores[truth == 0]
        right += probability * float(
            sum((p > n) + (p == n) / 2 for p in positive for n in negative)
        )
        pairs += probability * len(positive) * len(negative)
        mean += (
            probability * score(metric, truth, scores)
            if metric.name != "roc_auc" and probability
            else 0.0
        )
    expected = right / pairs if metric.name == "roc_auc" else mean
    assert estimate(metric, scores, chances) == pytest.approx(expected, rel=1e-12)


def test_estimate_of_many_rows_is_what_their_labels_come_to() -> None:
    logged, labels = window(rows=50_000)
    scores, truth = logged["score"].to_numpy(), labels["label"].to_numpy()
    for metric in (ROC_AUC, LOG_LOSS, BRIER):
        assert estimate(metric, scores, scores) == pytest.approx(
            score(metric, truth, scores), abs=0.006
        )


@pytest.mark.parametrize(
    ("metric", "scores", "chances"),
    [
        (ROC_AUC, [], []),
        (ROC_AUC, [0.1, 0.2], [0.0, 0.0]),
        (BRIER, [np.nan], [0.5]),
        (CALIBRATION_ERROR, [0.1], [0.5]),
    ],
)
def test_estimate_that_does_not_exist_is_no_number(
    metric: Any, scores: list[float], chances: list[float]
) -> None:
    assert np.isnan(estimate(metric, np.array(scores), np.array(chances)))


def test_error_of_the_estimate_is_told_on_the_rows_whose_labels_came() -> None:
    logged, labels = window()
    half = labels.filter(pl.int_range(pl.len()) % 2 == 0)
    performance = judge(logged, half)
    labelled_scores = logged.filter(pl.int_range(pl.len()) % 2 == 0)["score"].to_numpy()
    expected = estimate(BRIER, labelled_scores, labelled_scores) - score(
        BRIER, half["label"].to_numpy(), labelled_scores
    )
    brier = CASE.model_copy(update={"gate": CASE.gate.model_copy(update={"metric": BRIER})})
    error = judge_performance(brier, MANIFEST, logged, half, 0).estimates["brier"].error
    assert error == pytest.approx(expected) and performance.estimates["roc_auc"].error is not None
    assert judge(logged, labels.head(499)).estimates["roc_auc"].error is None


def test_scores_that_are_no_probabilities_get_a_curve_that_makes_them_such() -> None:
    logged, labels = window(rows=20_000)
    truth, right = labels["label"].to_numpy(), logged["score"].to_numpy()
    days = days_of(logged["event_time"])
    curve = fit_calibration(right**3, truth, days)
    at, share = np.array(curve).T
    assert (np.diff(at) > 0).all() and (np.diff(share) >= 0).all() and 5 < len(curve) <= 40
    assert (
        np.abs(calibrate_scores(curve, right**3) - right).mean()
        < 0.02
        < np.abs(right**3 - right).mean()
    )


def test_scores_that_are_probabilities_already_are_left_as_they_are() -> None:
    """A curve would learn the sample: it does not lower the log loss on days that it was not fitted
    on.
    """
    logged, labels = window(rows=3000)
    scores = logged["score"].to_numpy()
    curve = fit_calibration(scores, labels["label"].to_numpy(), days_of(logged["event_time"]))
    assert curve == [(0.0, 0.0), (1.0, 1.0)] and (calibrate_scores(curve, scores) == scores).all()


@pytest.mark.parametrize(
    ("rows", "days", "labels"),
    [(200, 14, None), (1400, 4, None), (1400, 14, 0.0), (1400, 14, 1.0)],
    ids=["rows", "days", "no", "yes"],
)
def test_calibration_that_cannot_be_proven_is_none_and_gives_no_estimate(
    rows: int, days: int, labels: float | None
) -> None:
    logged, known = window(rows=rows, days=days)
    truth = known["label"].cast(float).to_numpy() if labels is None else np.full(rows, labels)
    assert fit_calibration(logged["score"].to_numpy(), truth, days_of(logged["event_time"])) == []
    assert judge(*window(), calibration=[]).estimates == {}


def test_scores_that_are_all_the_same_have_a_curve_of_one_point() -> None:
    curve = isotonic_curve(np.full(100, 0.3), np.repeat([0.0, 1.0], 50))
    assert curve == [(pytest.approx(0.3), 0.5)] and calibrate_scores(
        curve, np.array([0.1, 0.9])
    ).tolist() == [0.5, 0.5]


# Intervals


def test_interval_by_days_is_wide_where_whole_days_go_together() -> None:
    """The same rows, on good and bad days or mixed: rows of one day are not independent."""
    chance = np.random.default_rng(5)
    truth = chance.random(3000) < 0.5
    day = np.repeat(np.arange(30), 100)
    scores = np.where(day % 2 == 0, truth * 0.5 + chance.random(3000) * 0.6, chance.random(3000))
    together, mixed = (
        intervals([BRIER], truth, scores, days, 0)["brier"]
        for days in (day, chance.permutation(day))
    )
    assert together.bounds is not None and mixed.bounds is not None
    assert together.value == mixed.value == score(BRIER, truth, scores)
    assert together.bounds[1] - together.bounds[0] > 1.5 * (mixed.bounds[1] - mixed.bounds[0])
    assert intervals([BRIER], truth, scores, day, 0)["brier"] == together


# From the lake


def plant(tmp_path: Any, logged: pl.DataFrame, labels: dict[str, pl.DataFrame]) -> Lake:
    inputs = logged.with_columns(
        first=pl.lit(0.1),
        second=pl.lit(0.2),
        steady=pl.lit(5.0),
        group=pl.lit("a"),
        decision=pl.col("score") >= 0.5,
    )
    (tmp_path / "predictions/toy/date=2024-06-01").mkdir(parents=True)
    inputs.with_columns(sample_rate=pl.lit(1.0)).write_parquet(
        tmp_path / "predictions/toy/date=2024-06-01/a.parquet"
    )
    for path, frame in labels.items():
        (tmp_path / "feedback/toy" / path).parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(tmp_path / "feedback/toy" / path)
    return Lake(url=f"file://{tmp_path}")


def checked(lake: Lake, limit_rows: int = 20_000) -> Performance:
    return check_performance(
        lake, CASE, MANIFEST, "1", read_window(lake, CASE, "2024-06", limit_rows, 0), 0
    )


def test_labels_are_found_under_later_days_and_unknown_ids_are_counted(tmp_path: Any) -> None:
    logged, labels = window(skill=3.0)
    stranger = labels.head(1).with_columns(id=pl.lit("nobody"))
    parts = {
        "date=2024-06-02/a.parquet": pl.concat([labels.head(700), stranger]),
        "date=2026-01-01/b.parquet": labels.tail(700),
    }
    performance = checked(plant(tmp_path, logged, parts))
    assert (performance.rows, performance.labels, performance.unknown_ids, performance.verdict) == (
        1400,
        1400,
        1,
        "level",
    )
    assert performance.scores == judge(logged, labels).scores


def test_window_that_was_sampled_for_its_columns_is_judged_on_more_rows(tmp_path: Any) -> None:
    logged, labels = window(skill=3.0)
    performance = checked(
        plant(tmp_path, logged, {"date=2024-06-02/a.parquet": labels}), limit_rows=100
    )
    assert (performance.rows, performance.labels, performance.unknown_ids) == (1400, 1400, 0)


def test_feedback_that_cannot_be_read_leaves_the_performance_unknown(tmp_path: Any) -> None:
    logged, labels = window()
    lake = plant(
        tmp_path, logged, {"date=2024-06-02/a.parquet": labels.with_columns(label=pl.lit("yes"))}
    )
    performance = checked(lake)
    assert (
        performance.verdict == "unknown" and "date=2024-06-02/a.parquet" in performance.reasons[0]
    )


def test_unknown_ids_of_other_windows_are_not_this_windows(tmp_path: Any) -> None:
    _, labels = window(rows=10)
    lake = plant(tmp_path, window()[0], {"date=2024-07-02/a.parquet": labels})
    assert count_unknown(lake, "toy", "2024-06", pl.Series("id", ["x"])) == 0
    assert count_unknown(lake, "toy", "2024-07", pl.Series("id", ["1-3"])) == 9


def test_champion_of_another_target_is_unknown_with_both_named(tmp_path: Any) -> None:
    """The use case asks for a number by now, and its champion still decides."""
    lake = Lake(url=f"file://{tmp_path}")
    read = read_window(lake, PRICE, "2024-06", 1000, 0)
    performance = check_performance(
        lake, PRICE, msgspec.structs.replace(MANIFEST, label="price"), "3", read, 0
    )
    assert performance.verdict == "unknown"
    assert performance.reasons == [
        "champion 3 is of another target: it answers score, decision of 'price', and the use case "
        "asks for value, low, high"
    ]


def test_late_label_that_the_target_cannot_have_is_left_out_and_counted() -> None:
    """A class that the use case does not know, from a file that somebody wrote."""
    truth = ["calm", "windy", "storm", "hail"] * 50
    ids = [f"id-{number}" for number in range(len(truth))]
    at = [START + timedelta(days=number % 20) for number in range(len(truth))]
    chances = {f"score_{name}": [0.5 if name == said else 0.25 for said in truth] for name in NAMES}
    logged = pl.DataFrame({"id": ids, "event_time": at, **chances})
    labels = pl.DataFrame({"id": ids, "label": truth, "time": at})
    performance = judge_performance(WEATHER, MANIFEST, logged, labels, 0)
    assert (performance.labels, performance.scores["accuracy"]) == (150, 1.0)
    assert "50 labels are impossible for the target, and left out" in performance.reasons
