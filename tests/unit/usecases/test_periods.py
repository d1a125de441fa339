"""Periods are ordered by time and not by their names, whatever kind they are."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fixtures.weeks import WEEKS as OTHER_WEEKS
from tests.fixtures.weeks import weekly
from usecases.definition import UseCase, kind_of, names_before, period_named
from usecases.definition.period_kinds import DAYS, HOURS, KINDS, MONTHS, QUARTERS, WEEKS, PeriodKind
from usecases.definition.periods import holdout_named, periods_of, window_kind

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
        ("2024-Q1", date(2024, 1, 1), date(2024, 3, 31)),
        ("2026-Q4", date(2026, 10, 1), date(2026, 12, 31)),
        ("2026-W53", date(2026, 12, 28), date(2027, 1, 3)),
        ("2025-W01", date(2024, 12, 30), date(2025, 1, 5)),
        ("2026-02-07T13", date(2026, 2, 7), date(2026, 2, 7)),
        ("2026-02-07T12-12h", date(2026, 2, 7), date(2026, 2, 7)),
        ("2026-W05-4w", date(2026, 1, 26), date(2026, 2, 22)),
        ("9999-12", date(9999, 12, 1), date(9999, 12, 31)),
    ],
)
def test_a_name_tells_its_kind_and_its_days(name: str, first: date, last: date) -> None:
    period = period_named(name)
    assert (period.first, period.last, period.name) == (first, last, name)
    assert kind_of(name).containing(period.start) == period


NO_NAMES = (
    *("2024-13", "2024-2", "0000-01", "2024-02-30", "soon", "", "٢٠٢٤", "2024-Q5", "2024-Q0"),
    *("2025-W53", "2024-W9", "2024-W00", "2024-02-07T24", "2024-02-07 13", "2024-02-07T13:00"),
    *("2024-02-07T13-12h", "2024-02-07T12-0h", "2024-02-07-99999d", "2024-02-07-3m"),
)


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_of_no_period_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"write a year \(2026\), .* or an hour \(2026-02-07T13\)"):
        period_named(name)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (WEEKS, "2026-02", "'2026-02' is not a week: write one as '2026-W07'"),
        (HOURS, "2026-02-07", "'2026-02-07' is not an hour: write one as '2026-02-07T13'"),
        (QUARTERS, "2026-Q7", "'2026-Q7' is not a quarter: write one as '2026-Q1'"),
        (window_kind("12h"), "2026-02-07T13-12h", "write one as '2026-02-07T12-12h'"),
    ],
)
def test_a_name_of_another_kind_is_refused_with_the_form_that_is_wanted(
    kind: PeriodKind, name: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind.parse(name)


@pytest.mark.parametrize("length", ["7 d", "0d", "-1d", "7", "d", "1.5d", "7D", "400d", ""])
def test_a_length_of_no_window_is_refused(length: str) -> None:
    with pytest.raises(ValueError, match="write hours, days or weeks such as '12h', '7d' or '4w'"):
        window_kind(length)


def test_a_length_that_is_a_kind_of_period_is_that_kind() -> None:
    assert (window_kind("1h"), window_kind("24h"), window_kind("day")) == (HOURS, DAYS, DAYS)
    assert (window_kind("7d"), window_kind("168h"), window_kind("1w")) == (WEEKS, WEEKS, WEEKS)
    assert window_kind("28d") == window_kind("4w") == kind_of("2026-W05-4w")


EVERY = (*KINDS, *map(window_kind, ("12h", "5h", "36h", "3d", "4w")))
WHEN = st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31))


@given(kind=st.sampled_from(EVERY), moment=WHEN)
@example(WEEKS, datetime(2021, 1, 3, 23, 59, 59, 999999))  # the last moment of 2020-W53
@example(WEEKS, datetime(2024, 12, 30))  # the first of 2025-W01
@example(DAYS, datetime(2024, 2, 29, 12))
@example(MONTHS, datetime(2100, 2, 28))
@example(QUARTERS, datetime(2024, 12, 31, 23))
@example(HOURS, datetime(2024, 12, 31, 23, 30))
def test_every_moment_lies_in_one_period_which_its_name_gives_back(
    kind: PeriodKind, moment: datetime
) -> None:
    period = kind.containing(moment)
    assert period.start <= moment < period.end
    assert kind.shortest <= period.end - period.start <= kind.longest
    assert kind.parse(period.name) == period == period_named(period.name)
    assert kind_of(period.name) == kind
    rows = pl.DataFrame({"at": [moment]}, schema={"at": pl.Datetime("us")})
    assert rows.select(kind.names(pl.col("at"))).item() == period.name


@given(kind=st.sampled_from(EVERY), moment=WHEN)
@example(WEEKS, datetime(2020, 12, 30))
@example(QUARTERS, datetime(2024, 1, 1))
def test_periods_follow_one_another_without_a_gap(kind: PeriodKind, moment: datetime) -> None:
    period = kind.containing(moment)
    following, earlier = kind.next(period), kind.previous(period)
    assert earlier.end == period.start and period.end == following.start
    assert kind.next(earlier) == period == kind.previous(following)
    assert earlier < period < following
    assert period.is_of_whole_days or kind.shortest % timedelta(days=1)


@given(kind=st.sampled_from(EVERY), moments=st.tuples(WHEN, WHEN))
def test_periods_are_ordered_as_their_times_are(
    kind: PeriodKind, moments: tuple[datetime, datetime]
) -> None:
    first, second = (kind.containing(moment) for moment in sorted(moments))
    assert first <= second
    assert (first < second) == (first.end <= second.start) == (first.name != second.name)
    assert first.overlaps(second) == (first == second)


@given(
    kind=st.sampled_from(EVERY),
    moment=WHEN,
    there=st.lists(st.booleans(), min_size=1, max_size=30),
)
def test_the_name_of_a_hold_out_gives_its_periods_back_with_their_gaps(
    kind: PeriodKind, moment: datetime, there: list[bool]
) -> None:
    names, period = [], kind.containing(moment)
    for is_there in there:
        names += [period.name] if is_there else []
        period = kind.next(period)
    assert periods_of(holdout_named(names)) == tuple(names)


def test_few_periods_of_a_hold_out_are_listed_and_many_are_a_run() -> None:
    assert holdout_named(["2024-05", "2024-06", "2024-07"]) == "2024-05 + 2024-06 + 2024-07"
    days = [f"2024-02-{day}" for day in (25, 26, 27, 28, 29)]
    assert holdout_named(days) == "2024-02-25..2024-02-29"
    assert holdout_named([*days, "2024-03-02"]) == "2024-02-25..2024-02-29 + 2024-03-02"
    with pytest.raises(ValueError, match="'2024-02-01' is not after '2024-02-09'"):
        periods_of("2024-02-09..2024-02-01")


@pytest.mark.parametrize("kind", [*EVERY, OTHER_WEEKS], ids=lambda kind: kind.noun)
def test_event_times_get_the_names_that_the_periods_have(kind) -> None:  # noqa: ANN001
    days = [date(2024, 3, 3), date(2024, 3, 4), date(2024, 12, 30), date(2023, 1, 1)]
    rows = pl.DataFrame({"at": [*days, None]}, schema={"at": pl.Datetime("us")})
    named = rows.select(kind.names(pl.col("at"))).to_series().to_list()
    assert named == [*(kind.containing(day).name for day in days), None]
    assert [kind.find(name) for name in named[:-1]] == [kind.containing(day) for day in days]


def test_week_nine_comes_before_week_ten(weekly: UseCase) -> None:
    nine, ten = period_named("2024-w9"), period_named("2024-w10")
    assert nine < ten and nine.name > ten.name
    assert OTHER_WEEKS.next(nine) == ten and nine.end == ten.start
    assert names_before("2024-w10", ["2023-w52", "2024-w9", "2024-w10", "2024-w11"]) == (
        "2023-w52",
        "2024-w9",
    )


def test_periods_of_different_kinds_overlap_by_their_days(weekly: UseCase) -> None:
    week = period_named("2024-w9")  # 26 February to 3 March
    assert week.overlaps(period_named("2024-02")) and week.overlaps(period_named("2024-03"))
    assert week.overlaps(period_named("2024")) and week.overlaps(period_named("2024-03-03"))
    assert not week.overlaps(period_named("2024-03-04"))
