"""Whole columns are screened for what the service refuses value by value: the two never differ."""

import json
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from serving.errors import InputError
from serving.formats.rows import RowReader
from serving.package.manifest import Feature
from tasks.scores.row_rules import RowRules

LARGEST = 3.4028234663852886e38  # of a float32
MOMENT = datetime(2013, 6, 1, 15)
MICROSECOND = timedelta(microseconds=1)

NUMBERS = [None, 0.0, -0.0, -5e-324, 5000.0, 5000.000001, LARGEST, 3.41e38, -3.41e38, 1e300]
BOUNDED = {"earliest": "2000-01-01", "latest": "2013-06-01T15:00:00"}
COLUMNS: list[tuple[Feature, list[Any], Any]] = [
    (Feature("x", "number", nullable=False, low=0.0, high=5000.0), NUMBERS, pl.Float64),
    (Feature("x", "number", nullable=True), NUMBERS, pl.Float64),
    (Feature("x", "number", nullable=True, low=-1e30), NUMBERS, pl.Float64),
    (Feature("x", "category", nullable=False, categories=["a"]), [None, "a", "", "b"], pl.String),
    (Feature("x", "boolean", nullable=False), [None, True, False], pl.Boolean),
    (
        Feature("x", "text", nullable=True, longest=3),
        [None, "", "abc", "abcd", "깨진다", "깨진다요", "🙂🏽a", "🙂🏽ab"],
        pl.String,
    ),
    (
        Feature("x", "datetime", nullable=False, parts=["weekday"], **BOUNDED),
        [None, MOMENT, MOMENT + MICROSECOND, datetime(2000, 1, 1), datetime(1999, 12, 31, 23)],
        pl.Datetime("us"),
    ),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("feature", "values", "kind"), COLUMNS)
def test_the_same_values_are_refused_in_the_same_words(
    feature: Feature, values: list[Any], kind: Any, dtype: str
) -> None:
    reader = RowReader([feature], "at", dtype)
    expected = {}
    for row, value in enumerate(values):
        sent = value.isoformat() if isinstance(value, datetime) else value
        try:
            reader.read(json.dumps({"rows": [{"x": sent}]}).encode())
        except InputError as error:
            expected[row] = "F" + str(error).removeprefix("Row 0, f")
    rows = pl.DataFrame({"x": pl.Series(values, dtype=kind)})
    assert RowRules([feature], dtype).refusals(rows) == expected
    assert expected or feature.kind == "number"
