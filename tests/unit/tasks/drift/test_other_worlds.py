"""Use cases unlike the flights: few and many columns, one kind only, constants, young champions,
short weeks, and windows that are too small. Each verdict is a plain sentence and never a crash."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from serving.records.drift import DriftVerdict
from tasks.drift.drivers import advice
from tasks.drift.examine import Yardstick, examine
from tasks.drift.learning import learn_profile
from tasks.drift.profile.profile import decode_profile, encode_profile
from tasks.drift.thresholds import calibrate, monitored
from tasks.drift.verdict import judge
from usecases.definition import SCORE, Column, DriftPolicy, UseCase


def numbers(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind="number") for name in names)


def categories(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind="category") for name in names)


def rows_of(
    columns: tuple[Column, ...],
    months: range,
    weekdays: int = 7,
    a_day: int = 60,
) -> pl.DataFrame:
    """Months of 28 days of 2024, in which nothing changes; a column ``same...`` is constant."""
    parts = []
    for month in months:
        chance = np.random.default_rng(month)
        days = [date(2024, month, day) for day in range(1, 29)]
        days = [day for day in days if day.weekday() < weekdays]
        n = a_day * len(days)
        level = chance.normal(0, 1, n)
        values = {
            column.name: chance.choice(["a", "b", "c"], n)
            if column.kind == "category"
            else level + chance.normal(0, 1, n)
            for column in columns
        }
        values |= {
            column.name: ["k"] * n if column.kind == "category" else [3.0] * n
            for column in columns
            if column.name.startswith("same")
        }
        frame = pl.DataFrame(values).with_columns(
            pl.Series("at", [day for day in days for _ in range(a_day)]).cast(pl.Datetime("us")),
            pl.Series(SCORE, 1 / (1 + np.exp(-level))),
            pl.Series("won", (chance.random(n) < 0.5).astype(np.int8)),
        )
        parts.append(frame)
    return pl.concat(parts)


def champion_of(
    case: UseCase, columns: tuple[Column, ...], training: pl.DataFrame
) -> tuple[UseCase, Yardstick]:
    case = case.model_copy(update={"columns": columns, "drift": DriftPolicy()})
    reference, thresholds, calibrated = calibrate(case, training, 7)
    return case, Yardstick(
        reference=reference,
        thresholds=thresholds,
        calibrated=calibrated,
        importance={column.name: 1 / len(columns) for column in columns},
        methods={column.name: case.drift.method(column) for column in monitored(case, thresholds)},
        profile=decode_profile(encode_profile(learn_profile(case, training, 7))),
    )


def verdict_on(champion: tuple[UseCase, Yardstick], rows: pl.DataFrame) -> DriftVerdict:
    case, yardstick = champion
    evidence = examine(case, yardstick, rows, window="2024-09", counted=len(rows))
    return judge(case.drift, evidence)


WORLDS = {
    "three columns": (numbers("x", "y") + categories("g"), 7),
    "one number": (numbers("x"), 7),
    "one category": (categories("g"), 7),
    "constants alone": (numbers("same_x") + categories("same_g"), 7),
    "constants beside others": (numbers("x", "same_x") + categories("same_g"), 7),
    "weeks of five days": (numbers("x", "y") + categories("g"), 5),
    "sixty columns": (
        numbers(*(f"x{n}" for n in range(40))) + categories(*(f"g{n}" for n in range(20))),
        7,
    ),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.filterwarnings("error")
def test_a_sound_month_is_stable_and_a_small_window_is_inconclusive(
    case: UseCase, name: str
) -> None:
    columns, weekdays = WORLDS[name]
    champion = champion_of(case, columns, rows_of(columns, range(1, 7), weekdays))
    month = rows_of(columns, range(9, 10), weekdays)
    sound = verdict_on(champion, month)
    assert (sound.outcome, sound.findings) == ("stable", [])
    few = verdict_on(champion, month.head(40))
    assert few.outcome == "inconclusive"
    assert few.reasons == ["40 predictions in the window, at least 1000 are needed"]
    one_day = pl.concat([month.filter(pl.col("at").dt.day() == 2)] * 20)
    assert verdict_on(champion, one_day).outcome == "inconclusive"
    assert verdict_on(champion, one_day).reasons[0].startswith("1 day in the window, at least 7")
    assert verdict_on(champion, month.clear()).outcome == "inconclusive"
    assert advice(few) == "To do: check again when there are more predictions."


def test_categories_without_a_number_beside_them_are_counted(case: UseCase) -> None:
    columns = categories("g")
    champion = champion_of(case, columns, rows_of(columns, range(1, 7)))
    gone = verdict_on(champion, rows_of(columns, range(9, 10)).filter(pl.col("g") != "a"))
    assert gone.outcome == "drifted"
    assert ("lost", "g") in {(finding.check, finding.column) for finding in gone.findings}


def test_a_column_of_another_kind_all_null_or_infinite_is_broken_in_plain_words(
    case: UseCase,
) -> None:
    columns = numbers("x", "y") + categories("g")
    champion = champion_of(case, columns, rows_of(columns, range(1, 7)))
    month = rows_of(columns, range(9, 10))
    changes = {
        "column 'x' is 100.0% null, tolerated 5.0%": pl.lit(None, dtype=pl.Float64),
        "column 'x' arrives as String, but it is of kind number": pl.lit("a"),
        "column 'x' is infinite in 3.6% of the rows, such as inf": pl.when(
            pl.col("at").dt.day() == 3
        )
        .then(float("inf"))
        .otherwise("x"),
    }
    for reason, change in changes.items():
        verdict = verdict_on(champion, month.with_columns(change.alias("x")))
        assert verdict.outcome == "broken" and reason in verdict.reasons
    assert verdict_on(champion, month.drop("x")).reasons == ["column 'x' is missing"]


@pytest.mark.parametrize("months", [1, 2])
def test_a_young_champion_says_that_nothing_is_calibrated(case: UseCase, months: int) -> None:
    columns = numbers("x", "y") + categories("g")
    champion = champion_of(case, columns, rows_of(columns, range(1, 1 + months)))
    moved = rows_of(columns, range(9, 10)).with_columns(pl.col("x", "y") + 5)
    verdict = verdict_on(champion, moved)
    assert verdict.outcome == "stable"
    assert any(reason.startswith("uncalibrated") for reason in verdict.reasons)


def test_hundreds_of_columns_are_related_on_fewer_rows(
    case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = numbers("x", "y") + categories("g")
    training = rows_of(columns, range(1, 4))
    monkeypatch.setattr("tasks.drift.learning._CELLS", 16 * 900)
    case = case.model_copy(update={"columns": columns})
    profile = learn_profile(case, training, 7)
    assert profile.rows_a_day <= 12 < 60
