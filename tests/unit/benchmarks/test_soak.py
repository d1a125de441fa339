"""The played year: its days, its clock, and what its figures say."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.soak import orders
from benchmarks.soak.plan import Calendar, Plan, at
from benchmarks.soak.report import Figure, Grown, grown_of, problems, sizes_table, table
from benchmarks.soak.stack import _as_prefect

YEAR = Plan(date(2026, 11, 30))


def test_the_plan_is_a_year_of_days_of_which_two_are_as_large_as_real_ones() -> None:
    days = [day for month in range(1, 13) for day in YEAR.of_month(month)]
    assert [day.date for day in days] == [date(2025, 12, 1) + timedelta(n) for n in range(365)]
    assert [day.date for day in days if day.files == 17_280] == [
        date(2025, 12, 31),
        date(2026, 11, 30),
    ]
    assert (YEAR.learned_first, days[31].retrains, days[-30].retrains) == (
        "2025-10",
        "2025-12",
        "2026-10",
    )
    assert sum(day.retrains is not None for day in days) == 11
    assert sum(day.shift > 0 for day in days) == sum(day.broken for day in days) == 12
    assert not any(day.shift or day.broken for day in days if day.files == 17_280)


def test_a_short_year_has_the_last_days_of_each_month() -> None:
    short = Plan(date(2026, 2, 28), months=3, days=3, thin=5, full=9)
    days = [day for month in (1, 2, 3) for day in short.of_month(month)]
    assert [(day.date.month, day.date.day) for day in days] == [
        *((12, day) for day in (29, 30, 31)),
        *((1, day) for day in (29, 30, 31)),
        *((2, day) for day in (26, 27, 28)),
    ]
    assert [day.files for day in days] == [5, 5, 9, 5, 5, 5, 5, 5, 9]
    assert short.filled(1) == [date(2025, 12, 1) + timedelta(day) for day in range(28)]
    assert YEAR.filled(1) == []
    assert [f"{day.date}" for day in short.prelude] == ["2025-11-28", "2025-11-29", "2025-11-30"]


def test_between_two_steps_the_year_s_clock_goes_as_the_machine_s(tmp_path: Path) -> None:
    calendar, real = Calendar(tmp_path / "calendar.json"), datetime(2026, 12, 1, 14, tzinfo=UTC)
    calendar.turn(real.timestamp(), at(date(2026, 1, 5), 3, 30))
    calendar.turn(real.timestamp() + 10, at(date(2026, 1, 5), 6))
    dates = calendar.reader()
    assert dates.of(real - timedelta(hours=1)) == real - timedelta(hours=1)
    assert dates.of(real + timedelta(seconds=4)) == datetime(2026, 1, 5, 3, 30, 4, tzinfo=UTC)
    assert dates.of(real + timedelta(seconds=13)) == datetime(2026, 1, 5, 6, 0, 3, tzinfo=UTC)


def test_times_are_written_as_prefect_writes_them() -> None:
    moment = datetime.fromisoformat("2026-12-01T15:00:00.000250+01:00")
    assert _as_prefect(moment) == "2026-12-01 14:00:00.000250"


@pytest.mark.parametrize(
    ("name", "first", "last", "is_problem"),
    [
        ("drift check, CPU s", [1.0, 9.0, 1.1], [1.6, 1.5, 9.9], False),
        ("drift check, CPU s", [1.0, 9.0, 1.1], [1.7, 1.7, 0.1], True),
        ("drift check, s", [1.0], [9.0], False),  # the machine is not ours alone
        ("governor, CPU ms", [0.4], [1.9], False),  # less than is worth a word
        ("page, CPU ms of the service", [10.0], [60.0], False),  # by intent: it has more to show
        ("memory of the service, MB", [100.0], [160.0], True),
        ("page, KB", [10.0], [160.0], False),  # by intent
        ("tidy, CPU s", [0.5], [0.5], False),
    ],
)
def test_what_takes_half_as_much_again_is_a_problem(
    name: str, first: list[float], last: list[float], is_problem: bool
) -> None:
    assert bool(problems([Figure(name, first, last)], [], 1)) == is_problem


@pytest.mark.parametrize(
    ("kind", "sizes", "problem"),
    [
        ("lake: predictions", [9, 9, 9, 9, 9, 9], ""),
        ("lake: predictions", [9, 9, 9, 9, 9, 14], "9,000,000 bytes after month 3, 14,000,000"),
        ("state: logs", [1, 2, 3, 4, 5, 6], ""),  # which end at 20 MB each
        ("database: prefect", [3, 6, 9, 9, 9, 9], ""),  # removed after three months
        ("lake: compacted", [9, 18, 27, 36, 45, 54], ""),  # kept, and evenly
        ("lake: compacted", [9, 18, 27, 36, 45, 60], "15.00 MB in the last month, 9.00 in an"),
    ],
)
def test_what_is_not_kept_may_not_grow_and_what_is_grows_evenly(
    kind: str, sizes: list[int], problem: str
) -> None:
    (grown,) = grown_of([{kind: (size * 10**6, 1)} for size in sizes])
    assert grown.problem(3).startswith(problem) and bool(grown.problem(3)) == bool(problem)
    assert len(problems([], [grown], 3)) == bool(problem)


def test_files_count_as_well_as_bytes() -> None:
    grown = Grown("lake: results", [10] * 6, [100, 100, 100, 100, 100, 200])
    assert grown.problem(3) == "100 files after month 3, 200 after the last"


def test_the_tables_say_what_grows() -> None:
    figures = [Figure("drift check, CPU s", [1.0], [2.0]), Figure("ingest, CPU s", [1.0], [2.0])]
    grows, intended = table(figures, 12)[2:]
    assert grows == "| drift check, CPU s | 1 | 2 | 2.00 | GROWS |"
    assert intended.startswith("| ingest, CPU s | 1 | 2 | 2.00 | it reads each month")
    kept, new = sizes_table(
        grown_of([{"lake: compacted": (n * 10**6, n), "lake: tmp": (0, 0)} for n in (1, 2, 3)]), 2
    )[2:]
    assert kept == "| lake: compacted | 1.0 | 2.0 | 3.0 | 3 | kept |"
    assert new == "| lake: tmp | 0.0 | 0.0 | 0.0 | 0 |  |"


def test_the_world_turns_in_the_first_half_of_a_year_and_then_stays() -> None:
    angles = [orders._angle(datetime(2026, month, 1)) for month in range(1, 13)]
    assert angles == sorted(angles) and len({*angles}) == 6 and len({*angles[5:]}) == 1
    assert orders._angle(datetime(2027, 1, 1)) == pytest.approx(angles[-1] + orders._TURN)
    day = datetime(2026, 3, 5)
    assert orders.rows_of_day(day, 50).equals(orders.rows_of_day(day, 50))
    assert orders.rows_of_day(day, 50, strangers=1.0)["shop"].unique().to_list() == ["new"]
