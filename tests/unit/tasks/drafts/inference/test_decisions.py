"""What is inferred of a table, and that it says no where it must."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.drafts.drafting import Wishes, case_of, draft_of
from tasks.drafts.inference.draft import Draft
from tasks.drafts.inference.leaks import find_leaks
from tasks.drafts.inference.targets import target_of
from tasks.drafts.inference.times import timing_of
from tasks.drafts.reading.columns import describe_columns
from tasks.drafts.reading.tables import NoDraft, Table
from tests.fixtures import drafted
from usecases.definition import FileSource


def never(candidates: Sequence[str]) -> str:
    raise AssertionError(candidates)


def table_of(frame: pl.DataFrame, is_text: bool = True) -> Table:
    texts = frame.with_columns(pl.all().cast(pl.String)) if is_text else frame
    return Table("t.csv", texts, len(frame), 1, "utf-8", (), is_text=is_text)


def draft(frame: pl.DataFrame, **wishes: object) -> tuple[Draft, str]:
    return draft_of(table_of(frame), "t", "t.csv", Wishes(**wishes), never)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def orders() -> tuple[Draft, str]:
    return draft(drafted.orders())


def test_a_yes_or_no_with_time_id_and_leaks(orders: tuple[Draft, str]) -> None:
    made, text = orders
    assert (made.target.name, made.target.kind, made.target.positive) == (
        "returned",
        "binary",
        "ja",
    )
    assert (made.timing.column, made.timing.period) == ("placed_at", "month")
    assert made.key.columns == ("order_id",)
    assert "after placed_at in 100%" in made.left_out["closed_at"]
    assert "tells the target alone" in made.left_out["refund"]
    assert {column.name for column in made.inputs} == {
        *("amount", "items", "city", "channel", "support_calls")
    }
    case = case_of(text)
    assert case.key == ("order_id",)
    assert case.gate.threshold == made.baseline.threshold < made.baseline.mean  # type: ignore[union-attr]


def test_a_suspect_is_named_and_never_dropped(orders: tuple[Draft, str]) -> None:
    made, text = orders
    assert set(made.leaks.suspects) == {"support_calls"}
    at = text.splitlines().index(next(x for x in text.splitlines() if '"support_calls"' in x))
    assert "trusted=True" in " ".join(text.splitlines()[at - 2 : at])


def test_ranges_have_room_for_next_month_and_none_for_another_unit(
    orders: tuple[Draft, str],
) -> None:
    made, text = orders
    amount = next(column for column in case_of(text).columns if column.name == "amount")
    largest = float(made.facts["amount"].values.max())  # type: ignore[arg-type]
    assert amount.low == 0
    assert amount.refuses(largest * 1.5) is None
    assert amount.refuses(largest * 100) is not None
    assert amount.typical is not None
    assert amount.typical[1] < 100 * float(made.facts["amount"].values.median())  # type: ignore[arg-type]
    city = next(column for column in case_of(text).columns if column.name == "city")
    assert city.categories == ("Berlin", "Köln", "München")


@pytest.mark.parametrize(
    ("values", "name", "kind"),
    [
        ([0, 1] * 50, "clicked", "binary"),
        (["a", "b", "c"] * 40, "kind", "classes"),
        ([1, 2, 3, 4] * 30, "quality", "classes"),
        ([1, 2, 3, 4] * 30, "rooms", "number"),
        ([0, 1, 2, 5] * 30, "visits", "count"),
        ([*range(12), *([0] * 20)] * 5, "sold", "count"),
        ([0.5, 1.5, 2.5] * 40, "visits", "number"),
    ],
)
def test_the_kind_of_a_target(values: list[object], name: str, kind: str) -> None:
    facts, _, _ = describe_columns(table_of(pl.DataFrame({name: values})))
    assert target_of(facts, name).kind == kind


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        (["no", "yes"] * 30, "yes"),
        (["good"] * 50 + ["broken"] * 25, "broken"),
        (["아니오", "예"] * 30, "예"),
        ([1, 2, 2] * 30, 1),
        ([0, 1] * 30, None),
        (["true", "false"] * 30, None),
    ],
)
def test_the_value_that_means_yes(values: list[object], positive: object) -> None:
    facts, _, _ = describe_columns(table_of(pl.DataFrame({"y": values})))
    assert target_of(facts, "y").positive == positive


def test_a_rare_class_is_left_to_quarantine_and_named() -> None:
    chance = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"a": chance.normal(size=306), "species": ["x", "y", "z"] * 100 + ["w"] * 6}
    )
    made, text = draft(frame)
    assert made.target.classes == ("x", "y", "z")
    assert "w (6 rows)" in text
    many = pl.DataFrame(
        {"a": chance.normal(size=300), "species": [f"s{at % 60}" for at in range(300)]}
    )
    with pytest.raises(NoDraft, match="fewer than 21 rows"):
        draft(many)


def _dated(moments: list[datetime]) -> pl.DataFrame:
    chance = np.random.default_rng(0)
    rows = len(moments)
    return pl.DataFrame(
        {
            "created": [f"{moment:%Y-%m-%d %H:%M}" for moment in moments],
            "born": [f"{1950 + at % 50}-03-01" for at in range(rows)],
            "a": chance.normal(size=rows),
            "y": chance.integers(0, 2, rows),
        }
    )


BEGIN = datetime(2023, 1, 1)


@pytest.mark.parametrize(
    ("days", "rows", "period", "holdout"),
    [
        (360, 3600, "month", 1),
        (63, 3600, "week", 2),
        (40, 20_000, "week", 2),
        (27, 20_000, "day", 10),
        (700, 700, "month", 7),
        (3, 300, None, 2),
    ],
)
def test_the_period_is_the_longest_with_enough_rows(
    days: int, rows: int, period: str | None, holdout: int
) -> None:
    frame = _dated([BEGIN + timedelta(days=days * at / rows) for at in range(rows)])
    facts, _, _ = describe_columns(table_of(frame))
    timing = timing_of(facts, target_of(facts, "y"), 1)
    assert timing.column == ("created" if period else None)
    assert timing.period == (period or "week")
    assert timing.holdout_periods == holdout


def test_rows_that_are_not_over_yet_hold_nothing_out() -> None:
    now = datetime.now()
    frame = _dated([now + timedelta(days=at / 20) for at in range(3000)])
    facts, _, _ = describe_columns(table_of(frame))
    assert timing_of(facts, target_of(facts, "y"), 1).column is None


def test_a_time_or_key_that_is_asked_for_must_be_one() -> None:
    frame = drafted.orders()
    with pytest.raises(NoDraft, match="--time city: its values are no dates"):
        draft(frame, time="city")
    with pytest.raises(NoDraft, match="the same city as another row"):
        draft(frame, key=("city",))
    with pytest.raises(NoDraft, match="--key names the target"):
        draft(frame, key=("returned",))


def test_row_numbers_and_chance_are_no_keys() -> None:
    made, text = draft(drafted.visits(600), target="visits")
    assert made.key.columns == ()
    assert case_of(text).arrival
    assert "rownames: numbers the rows" in text


def test_good_columns_of_few_rows_are_no_sure_leaks() -> None:
    from sklearn.datasets import load_iris

    frame = pl.from_pandas(load_iris(as_frame=True).frame)
    made, _ = draft(frame)
    assert len(made.inputs) == 4
    assert not made.leaks.sure


def test_emptiness_that_tells_the_target_is_a_leak() -> None:
    chance = np.random.default_rng(0)
    churned = chance.integers(0, 2, 600)
    frame = pl.DataFrame(
        {
            "a": chance.normal(size=600).round(2),
            "reason": pl.Series(chance.choice(["price", "move"], 600)).set(
                pl.Series(churned == 0), ""
            ),
            "churned": churned,
        }
    )
    facts, _, _ = describe_columns(table_of(frame.with_columns(pl.col("reason").replace("", None))))
    leaks = find_leaks([facts["a"], facts["reason"]], target_of(facts, "churned"), None)
    assert set(leaks.sure) == {"reason"}


def test_names_that_the_log_or_an_answer_cannot_have_are_changed() -> None:
    chance = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "time": chance.normal(size=400),
            "role": chance.choice(["a", "b"], 400),
            'size "in"': chance.normal(size=400),
            "churned": chance.integers(0, 2, 400),
        }
    )
    made, text = draft(frame)
    case = case_of(text)
    assert case.column_names == ["time_", "role_", "size in"]
    assert dict(case.source.rename)["time"] == "time_"  # type: ignore[union-attr]
    assert not made.left_out


def test_a_gate_without_a_signal_says_so() -> None:
    chance = np.random.default_rng(0)
    frame = pl.DataFrame({"a": chance.normal(size=500), "churned": chance.integers(0, 2, 500)})
    made, text = draft(frame)
    assert made.baseline is not None
    assert made.baseline.no_better
    assert "hardly more than chance" in text


def test_dates_that_can_be_read_both_ways_are_assumed_and_said(tmp_path: Path) -> None:
    frame = _dated([BEGIN + timedelta(days=at % 12, hours=at % 5) for at in range(3000)])
    both = [f"{1 + at % 12:02d}/{1 + at // 250:02d}/2023" for at in range(3000)]
    made, text = draft(frame.with_columns(pl.Series("created", both)))
    assert made.event is not None
    assert made.event.ambiguous
    assert 'date_format="%m/%d/%Y"' in text
    assert "the day or the month first" in text


def test_a_last_month_that_has_just_begun_is_held_out_with_the_one_before() -> None:
    frame = _dated([BEGIN + timedelta(hours=2 * at) for at in range(12 * 273 + 40)])
    facts, _, _ = describe_columns(table_of(frame))
    timing = timing_of(facts, target_of(facts, "y"), 1)
    assert (timing.period, timing.holdout_periods) == ("month", 2)
    assert timing.holdout_rows > 300


def in_parts(**changed: object) -> pl.DataFrame:
    """A table whose dates stand in three columns, such as that of the flights of New York."""
    chance = np.random.default_rng(4)
    days = np.sort(chance.integers(0, 365, 4000))
    dates = [datetime(2013, 1, 1) + timedelta(int(day)) for day in days]
    distance = chance.normal(1000, 300, 4000).round()
    columns: dict[str, object] = {
        "year": [one.year for one in dates],
        "month": [one.month for one in dates],
        "day": [one.day for one in dates],
        "hour": chance.integers(5, 23, 4000),
        "distance": distance,
        "late": (distance + chance.normal(0, 300, 4000) > 1100).astype(int),
    }
    return pl.DataFrame(columns | changed)


def test_year_month_and_day_in_three_columns_are_one_date() -> None:
    made, text = draft(in_parts(), target="late")
    assert (made.timing.column, made.timing.period) == ("date", "month")
    assert made.event is not None and made.event.parts == ("year", "month", "day")
    assert {column.name for column in made.inputs} == {"hour", "distance"}
    assert {made.left_out[part] for part in made.event.parts} == {"part of date"}
    case = case_of(text)
    assert case.event_time == "date"
    assert isinstance(case.source, FileSource)
    assert case.source.date_parts == ("year", "month", "day")


@pytest.mark.parametrize(
    "changed",
    [
        {"day": [45] * 4000},
        {"year": [3] * 4000},
        {"month": ["spring"] * 4000},
        {"day": [1.5] * 4000},
        {"mday": [1] * 4000},
        {"flown": [f"2013-{1 + at * 12 // 4000:02}-03" for at in range(4000)]},
    ],
    ids=["no such day", "no year", "no month", "half days", "two days", "a date is there"],
)
def test_what_only_looks_like_the_parts_of_a_date_stays_as_it_is(
    changed: dict[str, object],
) -> None:
    made, _ = draft(in_parts(**changed), target="late")
    assert "date" not in made.facts
    assert all(why != "part of date" for why in made.left_out.values())


def test_a_part_that_is_the_target_makes_no_date() -> None:
    made, _ = draft(in_parts(), target="day")
    assert made.timing.column is None and "date" not in made.facts
