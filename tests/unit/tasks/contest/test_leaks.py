import numpy as np
import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows

from tasks.contest.leaks import doubt, strongest_column


def test_no_column_of_honest_rows_tells_much() -> None:
    assert strongest_column(TOY, toy_rows("2024-03"))[1] < 0.6


@pytest.mark.parametrize("scale", [1.0, -1.0], ids=["rising", "falling"])
def test_a_column_that_was_told_the_label_is_found_whichever_way_it_goes(scale: float) -> None:
    rows = toy_rows("2024-03").with_columns(steady=5 + scale * 0.1 * pl.col("won"))
    assert strongest_column(TOY, rows) == ("steady", 1.0)


def test_a_column_whose_gaps_tell_the_label_is_found() -> None:
    rows = toy_rows("2024-03").with_columns(
        second=pl.when(pl.col("won") == 1).then(pl.col("second").fill_null(0.0))
    )
    name, alone = strongest_column(TOY, rows)
    assert name == "second" and alone > 0.97


def test_a_category_that_tells_the_label_is_found() -> None:
    rows = toy_rows("2024-03").with_columns(
        group=pl.when(pl.col("won") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))
    )
    assert strongest_column(TOY, rows) == ("group", 1.0)


def test_a_column_with_a_value_for_each_row_does_not_rank_rows_by_their_own_label() -> None:
    rows = toy_rows("2024-03")
    names = pl.Series([f"order {at}" for at in range(len(rows))])
    strongest = strongest_column(TOY, rows.with_columns(group=names))
    assert strongest[1] < 0.6


def test_labels_of_one_class_have_no_strongest_column() -> None:
    assert np.isnan(
        strongest_column(TOY, toy_rows("2024-03").with_columns(won=pl.lit(0, dtype=pl.Int8)))[1]
    )


@pytest.mark.parametrize(
    ("share", "alone", "challenger", "champion", "suspicious"),
    [
        (0.95, 0.90, 0.91, 0.75, True),
        (0.95, 0.90, 0.91, None, True),
        (0.95, 0.86, 0.91, 0.75, False),  # the model knows more than the column
        (0.95, 0.90, 0.91, 0.90, False),  # the champion lives with that column already
        (None, 0.99, 0.99, 0.75, False),  # not looked at
        (0.95, 0.52, 0.25, 0.50, False),  # the model ranks worse than chance
        (0.95, float("nan"), 0.91, 0.75, False),
    ],
)
def test_a_column_is_suspicious_where_it_says_all_and_is_new(
    share: float | None, alone: float, challenger: float, champion: float | None, suspicious: bool
) -> None:
    doubts = doubt(share, "refund_date", alone, challenger, champion)
    assert bool(doubts) == suspicious
    if doubts:
        assert doubts == [
            (
                "'refund_date' alone has a ROC AUC of 0.9000, and the whole model 0.9100: look "
                "for a leak in that column."
            )
        ]
