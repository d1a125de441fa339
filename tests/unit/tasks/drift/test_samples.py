"""Rows are drawn without a copy of those that they are drawn from."""

import numpy as np
import polars as pl
import pytest

from tasks.drift.thresholds import sample, sample_where


@pytest.mark.parametrize("limit", [1, 300, 5000])
def test_rows_that_are_chosen_are_drawn_as_if_they_had_been_filtered(limit: int) -> None:
    chance = np.random.default_rng(1)
    rows = pl.DataFrame({"row": range(4000), "block": chance.integers(0, 3, 4000)})
    rows = rows.with_columns(pl.col("block").replace(2, None))
    chosen = rows["block"] == 1
    drawn = sample_where(rows, chosen, limit, seed=7)
    assert drawn.equals(sample(rows.filter(chosen), limit, seed=7))
    others = sample_where(rows, ~chosen, limit, seed=7)
    assert others.equals(sample(rows.filter(~chosen), limit, seed=7))
    assert others["block"].unique().to_list() == [0]
