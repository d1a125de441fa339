"""Periods are ordered by time and not by their names, whatever kind they are."""

from datetime import date, datetime

import polars as pl
import pytest

from tests.fixtures.weeks import WEEKS, weekly
from usecases.definition import MONTHS, UseCase, kind_of, names_before, period_named
from usecases.definition.periods import DAYS, YEARS, Period

__all__ = ["weekly"]


def test_a_month_knows_its_days_its_instants_and_the_month_after_it() -> None:
    february = period_named("2024-02")
    assert (february.first, february.last) == (date(2024, 2, 1), date(2024, 2, 29))
    assert (february.start, february.end) == (datetime(2024, 2, 1), datetime(2024, 3, 1))
    assert MONTHS.next(february).name == "2024-03"
    assert MONTHS.next(period_named("2024-12")).name == "2025-01"


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("2024", date(2024, 1, 1), date(2024, 12, 31)),
        ("2023-02", date(2023, 2, 1), date(2023, 2, 28)),
        ("2024-12-31", date(2024, 12, 31), date(2024, 12, 31)),
    ],
)
def test_a_name_tells_its_kind_and_its_days(name: str, first: date, last: date) -> None:
    assert period_named(name) == Period(first, last, name)
    assert kind_of(name).containing(last) == period_named(name)


@pytest.mark.parametrize("name", ["2024-13", "2024-2", "0000-01", "2024-02-30", "soon", "", "٢٠٢٤"])
def test_a_name_of_no_period_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="A window is a year, a month or a day, such as"):
        period_named(name)


@pytest.mark.parametrize("kind", [YEARS, MONTHS, DAYS, WEEKS], ids=lambda kind: kind.noun)
def test_event_times_get_the_names_that_the_periods_have(kind) -> None:  # noqa: ANN001
    days = [date(2024, 3, 3), date(2024, 3, 4), date(2024, 12, 30), date(2023, 1, 1)]
    rows = pl.DataFrame({"at": [*days, None]}, schema={"at": pl.Datetime("us")})
    named = rows.select(kind.names(pl.col("at"))).to_series().to_list()
    assert named == [*(kind.containing(day).name for day in days), None]
    assert [kind.find(name) for name in named[:-1]] == [kind.containing(day) for day in days]


def test_week_nine_comes_before_week_ten(weekly: UseCase) -> None:
    nine, ten = period_named("2024-W9"), period_named("2024-W10")
    assert nine < ten and nine.name > ten.name
    assert WEEKS.next(nine) == ten and nine.end == ten.start
    assert names_before("2024-W10", ["2023-W52", "2024-W9", "2024-W10", "2024-W11"]) == (
        "2023-W52",
        "2024-W9",
    )


def test_periods_of_different_kinds_overlap_by_their_days(weekly: UseCase) -> None:
    week = period_named("2024-W9")  # 26 February to 3 March
    assert week.overlaps(period_named("2024-02")) and week.overlaps(period_named("2024-03"))
    assert week.overlaps(period_named("2024")) and week.overlaps(period_named("2024-03-03"))
    assert not week.overlaps(period_named("2024-03-04"))
