"""What is judged beside the scores of both: slices without a value, and leaks under each metric."""

import numpy as np
import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows

from tasks.contest.decide import judge_rows, slices_of
from tasks.models import modelling


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
