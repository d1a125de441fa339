import numpy as np
import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows

from tasks.contest.leaks import (
    Alone,
    column_doubts,
    gain_doubts,
    rank_columns,
    strongest_column,
    suspects,
)
from usecases.definition import ROC_AUC, Promotion


def test_no_column_of_honest_rows_tells_much() -> None:
    assert strongest_column(TOY, toy_rows("2024-03")).score < 0.6


@pytest.mark.parametrize("scale", [1.0, -1.0], ids=["rising", "falling"])
def test_a_column_that_was_told_the_label_is_found_whichever_way_it_goes(scale: float) -> None:
    rows = toy_rows("2024-03").with_columns(steady=5 + scale * 0.1 * pl.col("won"))
    assert strongest_column(TOY, rows) == Alone("steady", 1.0, 1.0)


def test_a_column_whose_gaps_tell_the_label_is_found() -> None:
    rows = toy_rows("2024-03").with_columns(
        second=pl.when(pl.col("won") == 1).then(pl.col("second").fill_null(0.0))
    )
    alone = strongest_column(TOY, rows)
    assert alone.column == "second" and alone.score > 0.97 and alone.agreement > 0.95


def test_a_category_that_tells_the_label_is_found() -> None:
    rows = toy_rows("2024-03").with_columns(
        group=pl.when(pl.col("won") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))
    )
    assert strongest_column(TOY, rows) == Alone("group", 1.0, 1.0)


def test_a_column_with_a_value_for_each_row_does_not_rank_rows_by_their_own_label() -> None:
    rows = toy_rows("2024-03")
    names = pl.Series([f"order {at}" for at in range(len(rows))])
    strongest = strongest_column(TOY, rows.with_columns(group=names))
    assert strongest.score < 0.6


def test_labels_of_one_class_have_no_strongest_column() -> None:
    lost = toy_rows("2024-03").with_columns(won=pl.lit(0, dtype=pl.Int8))
    alone = strongest_column(TOY, lost)
    assert np.isnan(alone.score) and np.isnan(alone.agreement)


def test_agreement_is_that_of_the_best_threshold_whatever_the_base_rate() -> None:
    """Of a column that is wrong in 15 % of the rows it is .85, and that of an honest one is not
    what guessing the larger class reaches."""
    chance = np.random.default_rng(2)
    rows = pl.concat([toy_rows(f"2024-0{month}", 200) for month in (1, 2, 3)])
    rare = (chance.random(len(rows)) < 0.1).astype(np.int8)
    rows = rows.with_columns(won=pl.Series(rare))
    assert strongest_column(TOY, rows).agreement < 0.55
    told = np.where(chance.random(len(rows)) < 0.15, 1 - rare, rare)
    alone = strongest_column(TOY, rows.with_columns(steady=pl.Series(5.0 - told)))
    assert alone.column == "steady" and alone.agreement == pytest.approx(0.85, abs=0.02)


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
        (0.95, 0.5315, 0.5076, None, False),  # neither tells anything: chance made the column best
    ],
)
def test_a_column_is_suspicious_where_it_says_all_and_is_new(
    share: float | None, alone: float, challenger: float, champion: float | None, suspicious: bool
) -> None:
    rule = Promotion(suspicious_column=share)
    doubts = column_doubts(rule, ROC_AUC, Alone("refund_date", alone, 0.75), challenger, champion)
    assert bool(doubts) == suspicious
    if doubts:
        assert doubts == [
            (
                "'refund_date' alone has ROC AUC 0.9000, and the whole model 0.9100: look "
                "for a leak in that column."
            )
        ]


@pytest.mark.parametrize(
    ("agreement", "challenger", "champion", "suspicious"),
    [
        (0.85, 0.92, None, True),
        (0.85, 0.92, 0.75, True),
        (0.79, 0.92, None, False),
        (0.85, 0.92, 0.86, False),  # the champion lives with that column already
        (float("nan"), 0.92, None, False),
    ],
)
def test_a_column_that_agrees_with_the_label_in_most_rows_is_suspicious(
    agreement: float, challenger: float, champion: float | None, suspicious: bool
) -> None:
    doubts = column_doubts(
        Promotion(), ROC_AUC, Alone("refunded", 0.85, agreement), challenger, champion
    )
    assert bool(doubts) == suspicious
    if doubts:
        assert doubts[0].startswith("'refunded' alone agrees with the label in 85% of the rows")
    assert not column_doubts(
        Promotion(), ROC_AUC, Alone("refunded", 0.62, 0.85), 0.92, None
    )  # not most


@pytest.mark.parametrize(("gain", "suspicious"), [(0.15, False), (0.25, True)])
@pytest.mark.parametrize("lacking", [0.4, 0.1])
def test_a_gain_is_suspicious_by_what_the_champion_lacks(
    lacking: float, gain: float, suspicious: bool
) -> None:
    truth = np.repeat([0, 1], 2000)
    champion = ranks(1 - lacking)
    challenger = ranks(1 - lacking * (1 - gain))
    doubts = gain_doubts(Promotion(), ROC_AUC, truth, champion, challenger)
    assert bool(doubts) == suspicious
    if doubts:
        assert f"is {gain:.0%} of what the champion lacks; more than 20% is" in doubts[0]


def test_a_perfect_champion_and_a_single_class_leave_no_doubt_about_the_gain() -> None:
    truth, perfect = np.repeat([0, 1], 2000), np.repeat([0.1, 0.9], 2000)
    assert gain_doubts(Promotion(), ROC_AUC, truth, perfect, perfect) == []
    assert gain_doubts(Promotion(), ROC_AUC, np.zeros(4000), perfect, perfect) == []


def ranks(roc_auc: float) -> np.ndarray:
    """Scores of 2,000 negatives, then 2,000 positives: this share of the pairs is in order."""
    right = np.arange(2000) < 2000 * roc_auc
    return np.concatenate([np.full(2000, 0.5), np.where(right, 0.8, 0.2)])


def ranked(*scores: float) -> list[Alone]:
    return [Alone(name, score, np.nan) for name, score in zip("abcdefgh", scores, strict=False)]


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        ((0.93, 0.65, 0.6), ["a"]),
        ((0.99, 0.985, 0.7), ["a", "b"]),
        ((0.94, 0.93, 0.65), ["a", "b"]),
        ((0.97, 0.96, 0.94, 0.92, 0.89, 0.86), []),  # as the columns of breast cancer are
        ((0.88, 0.6), []),
        ((0.95,), []),  # a single column has no others
        ((float("nan"), float("nan")), []),
    ],
)
def test_suspects_tell_the_label_nearly_alone_and_far_better_than_others(scores, named) -> None:
    assert [alone.column for alone in suspects(TOY, ranked(*scores))] == named


def test_a_trusted_column_is_neither_a_suspect_nor_the_strongest() -> None:
    columns = tuple(
        column.model_copy(update={"trusted": column.name == "steady"}) for column in TOY.columns
    )
    trusting = TOY.model_copy(update={"columns": columns})
    rows = toy_rows("2024-03").with_columns(steady=5 + 0.1 * pl.col("won"))
    best, *_ = rank_columns(trusting, rows)
    assert best.column == "steady" and suspects(TOY, [best, *ranked(0.6)]) == [best]
    assert suspects(trusting, [best, *ranked(0.6)]) == []
    assert strongest_column(trusting, rows).score < 0.6
    everything = tuple(column.model_copy(update={"trusted": True}) for column in TOY.columns)
    nobody = strongest_column(TOY.model_copy(update={"columns": everything}), rows)
    assert nobody.column == "" and np.isnan(nobody.score)
    assert column_doubts(Promotion(), ROC_AUC, nobody, 0.9, None) == []
