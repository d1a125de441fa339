"""Copies of the hold-out in the training data are found by their inputs, and honest rows are not
taken for copies."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows

from tasks.contest.near_rows import find_near_rows

NUMBERS = ("first", "second", "steady")
MONTHS = [toy_rows(f"2024-{month:02d}") for month in range(1, 9)]
TRAINING, HOLDOUT = pl.concat(MONTHS[:3]), MONTHS[3]


def jittered(rows: pl.DataFrame, jitter: float, seed: int = 1) -> pl.DataFrame:
    """Copies with another key, another time and other last digits."""
    chance = np.random.default_rng(seed)
    noise = {name: pl.Series(chance.normal(0, jitter, len(rows))) for name in NUMBERS}
    return rows.with_columns(
        *(pl.col(name) + noise[name] for name in NUMBERS),
        id=pl.col("id") + 10**9,
        at=pl.lit(datetime(2024, 2, 3, 4)),
    )


@pytest.mark.parametrize("share", [0.02, 0.05, 0.25, 1.0])
@pytest.mark.parametrize("jitter", [0.0, 1e-6, 1e-4])
def test_copies_are_found_whatever_their_key_time_and_last_digits(
    share: float, jitter: float
) -> None:
    copies = jittered(HOLDOUT.sample(fraction=share, seed=3), jitter)
    near = find_near_rows(TOY, HOLDOUT, pl.concat([TRAINING, copies]).sample(fraction=1.0, seed=4))
    assert near.rows == pytest.approx(len(copies), rel=0.15)
    (reason,) = near.doubts
    assert reason.startswith(f"{near.rows:,} of 1,680 rows of the hold-out ({near.share:.1%}) are")


@pytest.mark.parametrize("month", range(1, 8))
def test_honest_months_have_no_copies(month: int) -> None:
    """In June all rows lie where only the newest training rows do."""
    assert find_near_rows(TOY, MONTHS[month], pl.concat(MONTHS[:month])).doubts == []


@pytest.mark.parametrize("seed", range(20))
def test_honest_rows_of_few_columns_are_near_by_chance(seed: int) -> None:
    """Columns that are constant, rounded or continuous, in worlds of any size."""
    chance = np.random.default_rng(seed)
    digits = chance.integers(0, 6, len(NUMBERS))

    def draw(rows: int) -> pl.DataFrame:
        numbers = {
            name: np.round(chance.normal(size=rows), digit)
            for name, digit in zip(NUMBERS, digits, strict=True)
        }
        group = chance.choice(["a", "b", "c"], rows)
        return pl.DataFrame({"at": [datetime(2024, 1, 1)] * rows, "group": group, **numbers})

    rows = int(chance.integers(200, 3000))
    assert find_near_rows(TOY, draw(rows), draw(rows * int(chance.integers(1, 8)))).doubts == []


def test_rows_that_come_back_each_month_are_usual() -> None:
    """A customer with the same inputs in each month is no copy."""
    january = MONTHS[0]
    months = [january.with_columns(at=pl.col("at").dt.offset_by(f"{n}mo")) for n in range(4)]
    near = find_near_rows(TOY, months[3], pl.concat(months[:3]))
    assert (near.rows, near.usual, near.doubts) == (len(january), 1.0, [])


def test_a_row_with_another_category_or_a_null_is_not_near() -> None:
    absent = pl.lit(None, dtype=pl.Float64)
    same = HOLDOUT.with_columns(absent.alias("second"), pl.lit("a").alias("group"))
    training = pl.concat([same, TRAINING])
    assert find_near_rows(TOY, same, training).rows == len(same)
    for column, value in (("second", 0.0), ("group", "b"), ("group", None), ("group", "new")):
        other = same.with_columns(pl.lit(value).alias(column))
        assert find_near_rows(TOY, other, training).rows < 0.02 * len(same)


def test_no_rows_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="0 and 5040 rows cannot be compared"):
        find_near_rows(TOY, HOLDOUT[:0], TRAINING)
