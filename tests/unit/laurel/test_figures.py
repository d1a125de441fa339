"""Scores, ages and tables in eighty columns."""

from datetime import UTC, datetime, timedelta

import pytest

from laurel.figures import age, milliseconds, moment, percent, score, table

NOW = datetime(2026, 11, 30, 18, 39, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.7881, ".788"), (-0.02, "-.020"), (1.0, "1.000"), (12.345, "12.35"), (0.0, ".000")],
)
def test_scores_have_three_digits(value: float, text: str) -> None:
    assert score(value) == text


def test_what_is_not_known_is_a_dash_and_never_a_zero() -> None:
    assert [score(None), percent(None), milliseconds(None)] == ["–"] * 3
    assert (percent(0.0), milliseconds(0.0041)) == ("0 %", "4 ms")


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(days=12, hours=5), "12 d"),
        (timedelta(hours=3), "3 h"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(seconds=2), "now"),
        (timedelta(days=-3), "now"),
    ],
)
def test_age_is_told_in_its_largest_unit(passed: timedelta, text: str) -> None:
    assert age(NOW - passed, NOW) == text


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment("2026-11-30T18:39:00") == NOW == moment("2026-11-30T19:39:00+01:00")


def test_a_long_name_is_cut_and_the_table_fits() -> None:
    lines = table(["USE CASE", *["COLUMN"] * 8], [["x" * 70, *["value"] * 8]])
    assert max(map(len, lines)) <= 80 and "…" in lines[1]
