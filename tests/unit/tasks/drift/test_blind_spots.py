"""Faults that no single column's distance shows, each planted into a month of a small world; the
months before it and the month itself are sound.

The world: days have a level, ``inside`` follows ``outside`` within the day and by its level,
``pressure`` is by itself, and a tenth of ``wind`` is null."""

import dataclasses
import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from serving.package.model import Package, load
from serving.records.drift import DriftVerdict
from tasks.drift.checks.against_profile import HeldAgainst, follow_days
from tasks.drift.checks.integrity import check_answers
from tasks.drift.drivers import notes_of, starts_retrain
from tasks.drift.examine import Yardstick, examine
from tasks.drift.learning import learn_profile
from tasks.drift.profile.profile import decode_profile, encode_profile
from tasks.drift.profile.sequential import ALARM
from tasks.drift.thresholds import calibrate, monitored
from tasks.drift.verdict import judge
from tests.fixtures.packages import CARRIERS, write_package
from usecases.definition import SCORE, Column, DriftPolicy, UseCase

A_DAY = 60
COLUMNS = (
    Column(name="station", kind="category"),
    Column(name="place", kind="category", categories=("hill", "port", "town")),
    Column(name="outside", kind="number", low=-60, high=60),
    Column(name="inside", kind="number"),
    Column(name="pressure", kind="number"),
    Column(name="wind", kind="number", nullable=True, null_tolerance=0.5),
)


def world(month: int, seed: int = 0) -> pl.DataFrame:
    chance, n = np.random.default_rng([seed, month]), 28 * A_DAY
    day = np.repeat(np.arange(28), A_DAY)
    outside = chance.normal(0, 1, 28)[day] + chance.normal(0, 4, n)
    wind = np.where(chance.random(n) < 0.1, np.nan, chance.normal(8, 2, n))
    inside = 15 + 0.5 * outside + chance.normal(0, 0.6, n)
    score = 1 / (1 + np.exp(-0.2 * outside - 0.1 * np.nan_to_num(wind - 8)))
    return pl.DataFrame(
        {
            "at": [f"2024-{month:02d}-{1 + d:02d}T12:00:00" for d in day],
            "station": chance.choice(["N1", "N2", "N3"], n, p=[0.5, 0.3, 0.2]),
            "place": chance.choice(["hill", "port", "town"], n),
            "outside": outside,
            "inside": inside,
            "pressure": chance.normal(1015, 5, n),
            "wind": wind,
            "won": (chance.random(n) < score).astype(np.int8),
            SCORE: score,
        }
    ).with_columns(pl.col("at").str.to_datetime(), pl.col("wind").fill_nan(None))


@pytest.fixture(scope="module")
def small(case: UseCase) -> UseCase:
    policy = DriftPolicy(minimum_rows=500, minimum_days=14, floor=0.2)
    return case.model_copy(update={"columns": COLUMNS, "drift": policy})


def yardstick_of(case: UseCase, months: int) -> Yardstick:
    training = pl.concat([world(month) for month in range(1, months + 1)])
    reference, thresholds, calibrated = calibrate(case, training, 7)
    profile = learn_profile(case, training, 7)
    return Yardstick(
        reference=reference,
        thresholds=thresholds,
        calibrated=calibrated,
        importance={name: 1 / len(COLUMNS) for name in case.column_names},
        methods={column.name: case.drift.method(column) for column in monitored(case, thresholds)},
        profile=decode_profile(encode_profile(profile)),
    )


@pytest.fixture(scope="module")
def yardstick(small: UseCase) -> Yardstick:
    return yardstick_of(small, 6)


def verdict_on(
    case: UseCase, yardstick: Yardstick, rows: pl.DataFrame, counted: int | None = None
) -> DriftVerdict:
    counted = len(rows) if counted is None else counted
    return judge(case.drift, examine(case, yardstick, rows, window="2024-07", counted=counted))


def found(verdict: DriftVerdict) -> set[tuple[str, str, str | None]]:
    return {(finding.check, finding.word, finding.column) for finding in verdict.findings}


def some(rows: pl.DataFrame, share: float, **values: Any) -> pl.DataFrame:
    """``values`` in every n-th row, so that they lie on all days."""
    every = round(1 / share)
    return rows.with_columns(
        pl.when(pl.int_range(pl.len()) % every == 0)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value))
        .otherwise(pl.col(name))
        .alias(name)
        for name, value in values.items()
    )


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_sound_month_is_stable_and_nothing_is_said(
    small: UseCase, yardstick: Yardstick, seed: int
) -> None:
    verdict = verdict_on(small, yardstick, world(7, seed))
    assert (verdict.outcome, verdict.findings, notes_of(verdict)) == ("stable", [], [])


@pytest.mark.parametrize(
    ("fault", "check", "column"),
    [
        (lambda rows: some(rows, 0.03, outside=-9999.0), "bounds", "outside"),
        (lambda rows: some(rows, 0.01, outside=math.inf), "bounds", "outside"),
        (lambda rows: some(rows, 0.01, place="moon"), "bounds", "place"),
        (lambda rows: some(rows, 0.01, station="n1"), "alias", "station"),
        (lambda rows: some(rows, 0.05, pressure=0.0), "spike", "pressure"),
        (lambda rows: some(rows, 0.05, wind=8.0), "spike", "wind"),
        (lambda rows: rows.with_columns(pl.col("inside").shuffle(3)), "within", "inside"),
        (lambda rows: some(rows, 0.5, inside=pl.col("inside") * 1.8 + 32), "within", "inside"),
        (
            lambda rows: rows.with_columns(
                pl.col(name).shuffle(number)
                for number, name in enumerate(("outside", "inside", "pressure", "wind"))
            ),
            "within",
            "inside",
        ),
    ],
    ids=[
        *["sentinel", "infinite", "stranger of a closed set", "alias", "spike", "a mean for nulls"],
        *["other rows' values", "half in another unit", "each column shuffled"],
    ],
)
def test_what_no_world_does_is_broken_and_starts_no_retrain(
    small: UseCase, yardstick: Yardstick, fault: Any, check: str, column: str
) -> None:
    verdict = verdict_on(small, yardstick, fault(world(7, 1)))
    assert verdict.outcome == "broken" and not starts_retrain(verdict)
    assert (check, "broken", column) in found(verdict)
    assert any(repr(column) in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("fault", "check", "column"),
    [
        (lambda rows: some(rows, 0.003, outside=-9999.0), "bounds", "outside"),
        (lambda rows: some(rows, 0.003, station="N01 "), "alias", "station"),
        (lambda rows: some(rows, 0.3, wind=None), "nulls", "wind"),
        (lambda rows: pl.concat([rows, rows.sample(fraction=0.1, seed=1)]), "repeats", None),
        (lambda rows: rows.sample(fraction=0.5, seed=1), "volume", None),
        (lambda rows: rows.filter(pl.col("at").dt.day() != 9), "missing days", None),
    ],
    ids=["few sentinels", "few aliases", "nulls", "repeats", "half of the rows", "a day missing"],
)
def test_what_may_have_a_reason_is_said_and_stays_stable(
    small: UseCase, yardstick: Yardstick, fault: Any, check: str, column: str | None
) -> None:
    rows = fault(world(7, 1))
    if check == "alias":
        rows = rows.with_columns(pl.col("station").replace("N01 ", "n1"))
    verdict = verdict_on(small, yardstick, rows)
    assert (verdict.outcome, found(verdict)) == ("stable", {(check, "said", column)})
    assert verdict.findings[0].reason in verdict.reasons and notes_of(verdict)


def test_one_infinite_value_does_not_spoil_a_month(small: UseCase, yardstick: Yardstick) -> None:
    rows = world(7, 1)
    one = rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 9).then(math.inf).otherwise("inside").alias("inside")
    )
    verdict = verdict_on(small, yardstick, one)
    assert (verdict.outcome, found(verdict)) == ("stable", {("bounds", "said", "inside")})
    assert verdict.distances["inside"] == pytest.approx(
        verdict_on(small, yardstick, rows).distances["inside"], abs=0.01
    )


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda rows: rows.filter(pl.col("station") != "N3"), "lost"),
        (lambda rows: some(rows, 0.08, station="S9"), "new"),
    ],
)
def test_a_category_that_vanished_or_came_is_drifted_and_starts_no_retrain_alone(
    small: UseCase, yardstick: Yardstick, change: Any, check: str
) -> None:
    verdict = verdict_on(small, yardstick, change(world(7, 1)))
    assert (verdict.outcome, starts_retrain(verdict)) == ("drifted", False)
    assert (check, "drifted", "station") in found(verdict)


def test_a_relation_of_levels_that_moved_is_drifted_and_starts_a_retrain(
    small: UseCase, yardstick: Yardstick
) -> None:
    """A heated house: within a day ``inside`` follows ``outside`` as ever."""
    rows = world(7, 1).with_columns(pl.col("inside") + 1.5)
    verdict = verdict_on(small, yardstick, rows)
    assert (verdict.outcome, starts_retrain(verdict)) == ("drifted", True)
    by_check = {check: word for check, word, _ in found(verdict)}
    assert by_check["over"] == "drifted" and "within" not in by_check


def test_a_score_that_left_its_months_is_drifted_by_itself(
    small: UseCase, yardstick: Yardstick
) -> None:
    far = verdict_on(small, yardstick, world(7, 1).with_columns(score=(pl.col(SCORE) + 1) / 2))
    assert far.share is not None and far.share < far.limit
    assert (far.outcome, starts_retrain(far)) == ("drifted", True)


def test_the_day_on_which_relations_moved_is_noted_and_the_sum_goes_on(
    small: UseCase, yardstick: Yardstick
) -> None:
    rows, late = world(7, 1), pl.col("at").dt.day() >= 15
    broken = pl.when(late).then(pl.col("inside").shuffle(3)).otherwise("inside").alias("inside")
    assert yardstick.profile is not None
    held = HeldAgainst(small, yardstick.profile, rows)
    calm, no_note = follow_days(held, 0.0)
    assert no_note is None and 0 < calm < ALARM
    later = HeldAgainst(small, yardstick.profile, rows.with_columns(broken))
    again, note = follow_days(later, calm)
    assert note is not None and (note.check, note.word, again) == ("sequence", "said", 0.0)
    assert any(f"2024-07-{day}" in note.reason for day in range(15, 29))
    assert verdict_on(small, yardstick, rows).sequence == pytest.approx(calm)


@pytest.mark.parametrize(("months", "word"), [(2, "uncalibrated"), (4, "said")])
def test_few_training_months_leave_the_decision_to_exact_checks(
    small: UseCase, months: int, word: str
) -> None:
    young = yardstick_of(small, months)
    lost = verdict_on(small, young, world(7, 1).with_columns(pl.col("inside").shuffle(3)))
    assert lost.outcome == "stable" and ("within", word, "inside") in found(lost)
    assert notes_of(lost) == []
    shifted = world(7, 1).with_columns(pl.col("outside") + 4, pl.col("inside") + 2)
    moved = verdict_on(small, young, shifted.with_columns(score=pl.col("outside") / 60))
    assert (moved.outcome == "drifted") == (months == 4)
    exact = verdict_on(small, young, some(world(7, 1), 0.01, outside=-9999.0))
    assert exact.outcome == "broken"


def test_a_package_without_a_profile_says_what_is_unjudged(
    small: UseCase, yardstick: Yardstick
) -> None:
    old = dataclasses.replace(yardstick, profile=None)
    verdict = verdict_on(small, old, world(7, 1))
    assert (verdict.outcome, found(verdict)) == ("stable", {("profile", "unjudged", None)})
    assert verdict.reasons[-1].startswith("unjudged: ")


def test_rows_that_come_more_often_in_a_day_than_in_training_are_no_lost_relation(
    small: UseCase, yardstick: Yardstick
) -> None:
    many = pl.concat([world(7, seed) for seed in range(10, 16)])
    assert {check for check, _, _ in found(verdict_on(small, yardstick, many))} == {"volume"}


@pytest.fixture
def package(tmp_path: Any) -> Package:
    digest = write_package(tmp_path)
    return load(tmp_path, digest)


def logged(package: Package, rows: int = 400) -> pl.DataFrame:
    chance = np.random.default_rng(4)
    inputs = pl.DataFrame(
        {
            "carrier": chance.choice([*CARRIERS, "??"], rows),
            "distance": chance.uniform(100, 2000, rows),
            "wind": np.where(chance.random(rows) < 0.2, np.nan, chance.normal(8, 3, rows)),
        }
    ).with_columns(pl.col("wind").fill_nan(None))
    scores = package.predict({name: inputs[name].to_list() for name in package.names})
    return inputs.with_columns(
        pl.Series(SCORE, scores, dtype=pl.Float64), model_version=pl.lit("3")
    )


@pytest.mark.parametrize(
    "fault",
    [
        lambda rows: rows.with_columns((1 - pl.col(SCORE)).alias(SCORE)),
        lambda rows: rows.with_columns(pl.col(SCORE) * 0.8),
        lambda rows: rows.with_columns(score=pl.lit(0.4)),
        lambda rows: rows.with_columns(pl.col(SCORE).shuffle(1)),
        lambda rows: rows.with_columns(pl.col("distance").shuffle(1)),
        lambda rows: some(rows, 0.02, score=0.5),
        lambda rows: some(rows, 0.02, score=None),
    ],
    ids=["inverted", "scaled", "constant", "other rows'", "other inputs", "some", "missing"],
)
def test_answers_that_are_not_the_packages_are_broken(package: Package, fault: Any) -> None:
    rows = logged(package)
    assert check_answers(package, rows, "3") == []
    (finding,) = check_answers(package, fault(rows), "3")
    assert (finding.check, finding.word, finding.column) == ("integrity", "broken", SCORE)


def test_answers_of_another_version_or_without_an_input_are_unjudged(package: Package) -> None:
    rows = logged(package)
    for unjudged in (
        check_answers(package, rows, "4"),
        check_answers(package, rows.drop("wind"), "3"),
        check_answers(package, rows.drop("model_version"), "3"),
        check_answers(package, rows, "3", {"wind"}),
    ):
        assert [finding.word for finding in unjudged] == ["unjudged"]
    mixed = pl.concat([rows, rows.with_columns(score=0.5, model_version=pl.lit("2"))])
    assert check_answers(package, mixed, "3") == []
    (one,) = check_answers(package, some(rows, 1 / 400, score=0.5), "3")
    assert one.word == "said"
