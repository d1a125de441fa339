"""Dates that stand in two orders are told: nobody can read those that both orders can."""

from datetime import date, timedelta

import polars as pl
import pytest

from tasks.drafts.reading.columns import describe_columns
from tasks.drafts.reading.facts import Facts
from tasks.drafts.reading.tables import Table

DAYS = [date(2023, 1, 1) + timedelta(days=at) for at in range(400)]


def facts_of(texts: list[str]) -> Facts:
    frame = pl.DataFrame({"created": texts})
    facts, _, _ = describe_columns(Table("t.csv", frame, len(frame), 1, "utf-8", ()))
    return facts["created"]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("%d/%m/%Y", "%m/%d/%Y", ["(day first)", "(month first)"]),
        ("%m/%d/%Y", "%d/%m/%Y", ["(day first)", "(month first)"]),
        ("%Y-%m-%d", "%d.%m.%Y", ["2023-01-01 (year first)", "(day first)"]),
        ("%Y-%m-%d", "%d %b %Y", ["2023-01-01 (year first)", "(named months)"]),
    ],
)
def test_dates_in_two_orders_are_left_out_with_one_of_each(
    first: str, second: str, told: list[str]
) -> None:
    facts = facts_of([f"{day:{second if at % 3 else first}}" for at, day in enumerate(DAYS)])
    assert facts.kind == "none"
    assert facts.why.startswith("dates in two orders, ") and "write them in one" in facts.why
    assert all(part in facts.why for part in told)


def test_one_order_with_a_slip_is_dates() -> None:
    texts = [f"{day:%d/%m/%Y}" for day in DAYS]
    facts = facts_of([*texts[:-1], "02/28/2024"])
    assert (facts.kind, facts.order, facts.values.null_count()) == ("datetime", "day first", 1)


@pytest.mark.parametrize(
    "text", ["{at} of 12/24", "AB-{at}-2023", "{at}.{at}.{at}.{at}", "Mar 3 or later {at}"]
)
def test_what_only_looks_like_dates_is_none(text: str) -> None:
    facts = facts_of([text.format(at=at) for at in range(400)])
    assert "orders" not in facts.why
