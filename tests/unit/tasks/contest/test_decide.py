"""What is judged beside the scores of both: slices without a value, and leaks under each metric."""

import numpy as np
import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows

from tasks.backtest.fits import History
from tasks.backtest.replay import retrain
from tasks.contest.decide import judge_rows, slices_of
from tasks.models import modelling
from usecases.definition import BRIER, LOG_LOSS, ROC_AUC, Candidate, Gate, Promotion, UseCase


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("group", ["a", None, "null", "a", None]),
        pl.Series("group", [1.0, None, 2.0, 1.0, None]),
        pl.Series("group", [None] * 5, dtype=pl.String),
    ],
)
def test_each_row_is_in_one_slice_and_rows_without_a_value_are_one(values: pl.Series) -> None:
    slices = slices_of(values)
    assert (np.sum(list(slices.values()), axis=0) == 1).all()
    assert slices["group is null"].tolist() == values.is_null().to_list()
    assert len(slices) == values.n_unique()


def test_a_column_without_nulls_has_no_slice_for_them() -> None:
    assert list(slices_of(pl.Series("group", ["b", "a"]))) == ["group=a", "group=b"]


def test_rows_without_a_value_that_get_worse_keep_the_champion() -> None:
    """3,010 of them fell from .797 to .734, and the verdict was *promote*."""
    chance = np.random.default_rng(1)
    rows = toy_rows("2024-03", 300)
    absent = chance.random(len(rows)) < 0.35
    rows = rows.with_columns(group=pl.when(pl.Series(absent)).then(None).otherwise(pl.col("group")))
    truth = modelling.labels(TOY, rows)
    signal = truth + chance.normal(0, 1, len(rows))
    noises = np.where(absent, 0.6, 0.8), np.where(absent, 1.2, 0.1)
    seen = [signal + noise * chance.normal(0, 1, len(rows)) for noise in noises]
    champion, challenger = (1 / (1 + np.exp(0.5 - values)) for values in seen)
    rule = TOY.promotion.model_copy(update={"guards": ()})
    case = TOY.model_copy(update={"promotion": rule})
    contest = judge_rows(case, rows, champion, challenger, seed=0)
    assert contest.main.low is not None and contest.main.low > 0
    assert contest.verdict == "keep"
    (reason,) = contest.reasons
    assert reason.startswith("group is null gets worse")


GATES = [
    Gate(metric=ROC_AUC, threshold=0.3),
    Gate(metric=BRIER, threshold=0.3),
    Gate(metric=LOG_LOSS, threshold=0.8),
]
TREES = {"max_iter": 60}


def faint(month: int, rows_a_day: int = 100) -> pl.DataFrame:
    """A month of the toy in which much of the label is luck."""
    rows = toy_rows(f"2024-0{month}", rows_a_day)
    luck = np.random.default_rng(50 + month).random(len(rows)) < 0.35
    return rows.with_columns(won=pl.col("won") ^ pl.Series(luck.astype(np.int8)))


def judged_by(gate: Gate) -> UseCase:
    """The toy with trees alone, and the rule of the contest as it is by default."""
    trees = Candidate(name="trees", build=TOY.candidate("boosting").build, params=TREES)
    changed = {"gate": gate, "candidates": (trees,), "promotion": Promotion()}
    return TOY.model_copy(update=changed)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.metric.name)
def test_a_model_that_was_fitted_on_the_holdout_is_suspicious_under_each_metric(
    gate: Gate, one_thread: None
) -> None:
    """It was promoted under Brier score and log loss, where its gain is a small number."""
    case, holdout = judged_by(gate), faint(3)

    def scores(*months: int) -> np.ndarray:
        learned = pl.concat([faint(month) for month in months])
        fitted = modelling.fit(case, case.candidate("trees"), TREES, learned, seed=0)
        return modelling.predict(fitted, case, holdout)

    fair, more, leaked = scores(1), scores(1, 2), scores(3)
    assert judge_rows(case, holdout, fair, more, seed=0).verdict in ("promote", "keep")
    contest = judge_rows(case, holdout, fair, leaked, seed=0)
    assert contest.verdict == "suspicious"
    assert "of what the champion lacks" in contest.reasons[0]


@pytest.mark.parametrize("copied", [0.25, 0.0], ids=["copies", "honest"])
@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.metric.name)
@pytest.mark.nightly("a further variant", only=("brier", "log_loss"))
def test_copies_of_the_holdout_in_the_training_data_make_a_winner_suspicious(
    gate: Gate, copied: float, one_thread: None
) -> None:
    """A quarter of the hold-out, with other keys, times and last digits, was promoted."""
    case, holdout = judged_by(gate), faint(3)
    chance = np.random.default_rng(4)
    copies = holdout.sample(fraction=copied, seed=1).with_columns(
        *(pl.col(name) + chance.normal(0, 1e-6) for name in ("first", "second", "steady")),
        id=pl.col("id") + 10**9,
        at=pl.col("at").dt.offset_by("-29d"),
    )
    february = pl.concat([faint(2, 300), copies]).sort("at")
    months = {"2024-01": faint(1, 20), "2024-02": february, "2024-03": holdout}
    past = History(case, months, seed=0)
    champion, _ = past.challenger("2024-02", None)
    _, outcome, _, reasons = retrain(case, past, champion, "2024-03")
    assert outcome == ("kept" if copied else "promoted")
    assert copied == 0 or any(
        "are nearly rows of the training data" in reason for reason in reasons
    )
