"""A function that gives all rows, as the frame of whatever library."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from tasks.data.sources import source_of
from tasks.outside.user_code import UseCaseFailed
from tests.unit.tasks.data.files.test_file_source import case
from usecases.definition import FrameSource, SourceError, UseCase

ROWS = {
    "order": ["a", "b", "c"],
    "shipped_at": [datetime(2024, 1, 2), datetime(2024, 2, 3), datetime(2024, 2, 4)],
    "price": [1.5, None, 3.0],
    "department": ["shoes", None, "books"],
    "returned": [0, 1, None],
}


def of(function: Callable[[], Any], **fields: Any) -> UseCase:
    source = FrameSource(function=function, **fields)
    return case("unused").model_copy(update={"source": source})


def as_pandas() -> Any:
    return pl.DataFrame(ROWS).to_pandas()


def as_arrow() -> Any:
    return pl.DataFrame(ROWS).to_arrow()


def as_lazy() -> Any:
    return pl.LazyFrame(ROWS)


@pytest.mark.parametrize("function", [as_pandas, as_arrow, as_lazy, lambda: pl.DataFrame(ROWS)])
def test_frame_of_each_library(function: Callable[[], Any]) -> None:
    source = source_of(of(function))
    assert source.periods() == ["2024-01", "2024-02"]
    february = source.read("2024-02")
    assert february["price"].to_list() == [None, 3.0]
    assert february["department"].to_list() == [None, "books"]
    assert february["returned"].cast(pl.Float64).fill_nan(None).to_list() == [1, None]
    with pytest.raises(SourceError, match=r"has no rows of 2024-03"):
        source.read("2024-03")


def test_function_is_called_once_for_each_ingest() -> None:
    calls = []

    def rows() -> pl.DataFrame:
        calls.append(len(calls))
        return pl.DataFrame(ROWS)

    source = source_of(of(rows))
    for period in source.periods():
        source.read(period)
    assert len(calls) == 1
    source.periods()
    assert len(calls) == 2


def test_zone_of_a_frame() -> None:
    def rows() -> pl.DataFrame:
        return pl.DataFrame(ROWS).with_columns(pl.col("shipped_at").dt.replace_time_zone("UTC"))

    with pytest.raises(SourceError, match="state the zone in which a day begins"):
        source_of(of(rows)).periods()
    assert source_of(of(rows, time_zone="America/New_York")).read("2024-01").height == 1


@pytest.mark.parametrize("answer", [None, 3, [1], {"a": 1}])
def test_what_is_no_frame(answer: Any) -> None:
    def rows() -> Any:
        return answer

    with pytest.raises(UseCaseFailed, match=r"rows\(\) returned .* It must return a pandas"):
        source_of(of(rows)).periods()


def test_error_in_the_function_names_the_use_case() -> None:
    def rows() -> Any:
        raise ZeroDivisionError("none left")

    with pytest.raises(UseCaseFailed, match="orders.*none left"):
        source_of(of(rows)).periods()


def test_frame_without_the_event_time() -> None:
    def rows() -> Any:
        return pl.DataFrame(ROWS).drop("shipped_at")

    with pytest.raises(SourceError, match=r"rows\(\) returned no column .'shipped_at'"):
        source_of(of(rows)).periods()
