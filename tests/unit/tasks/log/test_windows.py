"""A window of the prediction log from many files in a folder's lake: what is read, what is sampled,
and what is told of it.
"""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from blocks.lake import Lake
from tasks.log.facts import MOST_CATEGORIES
from tasks.log.files import LogDamaged, logged_windows
from tasks.log.windows import Window, read_window
from usecases.definition import Column, UseCase

Plant = Callable[..., str]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}", credentials=None)


@pytest.fixture
def plant(lake: Lake) -> Plant:
    """Write one file of the prediction log, as the service names them."""

    def write(day: str, number: int, rows: pl.DataFrame, kind: str = "predictions") -> str:
        data = io.BytesIO()
        rows.write_parquet(data)
        path = f"{kind}/toy/date={day}/20240101T000000-ab12cd34-{number:06d}.parquet"
        lake.write(path, data.getvalue())
        return path

    return write


def predictions(
    rows: int, start: int = 0, rate: float | None = 1.0, **columns: Any
) -> pl.DataFrame:
    """``first`` counts the rows from ``start`` on, so that each is known again."""
    count = np.arange(start, start + rows)
    known: dict[str, Any] = {
        "id": [f"id-{number}" for number in count],
        "time": [datetime(2024, 6, 1, tzinfo=UTC)] * rows,
        "event_time": [datetime(2024, 6, 1)] * rows,
        "first": count.astype(float),
        "second": np.where(count % 10 == 0, None, count).tolist(),
        "steady": [5.0] * rows,
        "group": ["abc"[number % 3] for number in count],
        "score": (count % 100) / 100,
        "decision": count % 2 == 0,
        "model_version": ["3"] * rows,
        "sample_rate": [rate] * rows,
        "role": ["champion"] * rows,
    }
    whole = {name: value for name, value in (known | columns).items() if value is not ...}
    return pl.DataFrame(
        whole,
        schema_overrides={
            name: pl.Float64 for name in ("second", "sample_rate") if name not in columns
        },
    )


def read(lake: Lake, case: UseCase, limit: int = 100_000, seed: int = 7, **more: Any) -> Window:
    return read_window(lake, case, more.pop("window", "2024-06"), limit, seed, **more)


def test_a_small_window_is_read_whole_from_all_of_its_days_and_no_other(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    plant("2024-06-01", 1, predictions(30))
    plant("2024-06-30", 2, predictions(20, 30))
    plant("2024-06-30", 3, predictions(10, 50))
    plant("2024-05-31", 4, predictions(5, 900))
    plant("2024-07-01", 5, predictions(5, 800))
    window = read(lake, case)
    assert (window.counted, window.files, window.how, window.sampled) == (
        60,
        3,
        "all 60 predictions",
        False,
    )
    assert sorted(window.rows["first"]) == list(range(60))
    assert window.rows.columns == predictions(1).columns
    assert window.rows.sort("first").equals(predictions(60))
    assert (window.partly, window.problems) == (frozenset(), ())
    assert sorted(read(lake, case, window="2024-06-30").rows["first"]) == list(range(30, 60))


def test_nothing_logged_is_an_empty_window_and_no_crash(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    for window in (read(lake, case), (plant("2024-06-01", 1, predictions(0)), read(lake, case))[1]):
        assert (window.counted, len(window.rows), window.how, window.sampled) == (
            0,
            0,
            "no predictions",
            False,
        )


@pytest.mark.parametrize("window", ["", "June", "2024-6", "2024-13", "2024-06-31", "2024-06-01T24"])
def test_what_is_no_window_is_refused(lake: Lake, case: UseCase, window: str) -> None:
    with pytest.raises(ValueError, match="names no period: write a year"):
        read(lake, case, window=window)


def test_the_sample_is_the_same_for_the_same_seed_whatever_the_limit_and_another_for_another(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    for number in range(9):
        plant(f"2024-06-{number + 1:02d}", number, predictions(2000, 2000 * number))
    first = read(lake, case, 500)
    assert (len(first.rows), first.counted, first.sampled) == (500, 18_000, True)
    assert first.how == "a random sample of 500 of 18,000 predictions (seed 7)"
    for _ in range(5):
        assert read(lake, case, 500).rows.equals(first.rows)
    assert read(lake, case, 2000).rows.head(500).equals(first.rows)
    assert not read(lake, case, 500, seed=8).rows.equals(first.rows)


def test_files_of_any_order_and_groups_of_any_size_give_the_same_sample(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    """What decides is the file's name and the row's place in it."""
    paths = [plant("2024-06-01", number, predictions(3000, 3000 * number)) for number in range(4)]
    before = read(lake, case, 700)
    for number, path in reversed(list(enumerate(paths))):
        data = io.BytesIO()
        predictions(3000, 3000 * number).write_parquet(data, row_group_size=111)
        lake.write(path, data.getvalue())
    after = read(lake, case, 700)
    assert after.rows.equals(before.rows)
    assert after.facts == before.facts


def test_each_row_has_the_same_chance(lake: Lake, case: UseCase, plant: Plant) -> None:
    """Of large and small files alike: 200 samples of 100 of 1,000 rows."""
    plant("2024-06-01", 1, predictions(900))
    plant("2024-06-02", 2, predictions(100, 900))
    draws = np.zeros(1000)
    for seed in range(200):
        draws[read(lake, case, 100, seed).rows["first"].to_numpy().astype(int)] += 1
    assert draws.sum() == 20_000
    share_of_small = draws[900:].sum() / 20_000
    assert share_of_small == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / 20_000))
    assert draws.min() > 0
    assert draws.var() == pytest.approx(
        200 * 0.1 * 0.9, rel=0.25
    )  # as of draws that know nothing of each other


@pytest.mark.parametrize("limit", [100_000, 500])
def test_rows_of_two_sample_rates_are_evened_so_that_each_request_counts_alike(
    lake: Lake, case: UseCase, plant: Plant, limit: int
) -> None:
    """10,000 requests each on two days, the second day logged at a tenth: both make up half of the
    rows.
    """
    plant("2024-06-01", 1, predictions(10_000, rate=1.0, group=["a"] * 10_000))
    plant("2024-06-02", 2, predictions(1000, 10_000, rate=0.1, group=["b"] * 1000))
    window = read(lake, case, limit)
    count = len(window.rows)
    assert window.counted == 11_000
    assert count == 500 if limit == 500 else 1850 < count < 2150
    assert (window.rows["group"] == "a").sum() / count == pytest.approx(0.5, abs=0.07)
    assert "thinned to a sample rate of 0.1" in window.how
    assert f"{count:,} of 11,000 predictions" in window.how
    assert window.sampled == (limit == 500)
    assert window.facts["group"].counts == pytest.approx({"a": 10_000, "b": 10_000})


@pytest.mark.parametrize("rates", [[0.2, 0.2], [None, 1.0], [None, None]])
def test_rows_of_one_sample_rate_all_stay(
    lake: Lake, case: UseCase, plant: Plant, rates: list[float | None]
) -> None:
    for number, rate in enumerate(rates):
        plant("2024-06-01", number, predictions(300, 300 * number, rate=rate))
    plant("2024-06-01", 8, predictions(100, 600, rate=rates[0], sample_rate=...)) if rates == [
        None,
        None,
    ] else None
    window = read(lake, case)
    assert len(window.rows) == window.counted == (700 if rates == [None, None] else 600)
    assert window.how == f"all {window.counted} predictions"


def test_rates_within_one_file_are_evened_too(lake: Lake, case: UseCase, plant: Plant) -> None:
    plant("2024-06-01", 1, predictions(5500, sample_rate=[1.0] * 5000 + [0.1] * 500))
    rows = read(lake, case).rows
    assert 400 < (rows["first"] < 5000).sum() < 600
    assert (rows["first"] >= 5000).sum() == 500


def test_a_challenger_s_answers_in_its_rollout_are_no_part_of_the_champion_s_window(
    lake: Lake, plant: Plant, case: UseCase
) -> None:
    plant("2024-06-01", 1, predictions(4, role=["champion", "rollout", None, "rollout"]))
    for columns in (None, ["id", "score"]):
        window = read(lake, case, columns=columns)
        assert sorted(window.rows["id"].to_list()) == ["id-0", "id-2"]
        assert window.counted == 2 and not window.problems


def test_each_row_has_its_role_and_rows_from_before_roles_are_the_champions(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    plant("2024-06-01", 1, predictions(3, role=...))
    plant("2024-06-02", 2, predictions(3, 3, role=["shadow", "champion", None]))
    rows = read(lake, case).rows.sort("first")
    assert rows["role"].to_list() == ["champion"] * 3 + ["shadow", "champion", "champion"]
    assert "role" not in read(lake, case, columns=["score"]).rows.columns


def test_columns_that_a_part_of_the_files_lacks_are_told_and_null_there(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    plant("2024-06-01", 1, predictions(40))
    plant("2024-06-02", 2, predictions(10, 40, steady=..., group=...))
    window = read(lake, case)
    assert window.partly == {"steady", "group"}
    assert window.rows.sort("first")["steady"].null_count() == 10
    assert (window.facts["steady"].values, window.facts["steady"].nulls) == (40, 0)


def test_a_column_that_no_file_has_is_not_there(lake: Lake, case: UseCase, plant: Plant) -> None:
    plant("2024-06-01", 1, predictions(40, group=...))
    window = read(lake, case)
    assert "group" not in window.rows.columns
    assert "group" not in window.facts
    assert window.partly == frozenset()


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("first", ["fast"] * 10, "column 'first' has type text instead of number in 1 of 2 files"),
        (
            "first",
            [True] * 10,
            "column 'first' has type truth value instead of number in 1 of 2 files",
        ),
        ("group", [3.5] * 10, "column 'group' has type number instead of text in 1 of 2 files"),
        (
            "event_time",
            ["2024-06-01"] * 10,
            "column 'event_time' has type text instead of time in 1 of 2 files",
        ),
        (
            "sample_rate",
            ["all"] * 10,
            "column 'sample_rate' has type text instead of number in 1 of 2 files",
        ),
        ("first", [[1.0]] * 10, "column 'first' has type large_list<"),
    ],
)
def test_a_type_that_is_not_the_use_cases_is_a_problem_and_no_crash(
    lake: Lake, case: UseCase, plant: Plant, column: str, values: list[Any], message: str
) -> None:
    plant("2024-06-01", 1, predictions(40))
    odd = plant("2024-06-02", 2, predictions(10, 40, **{column: values}))
    window = read(lake, case)
    assert len(window.problems) == 1
    assert window.problems[0].startswith(message)
    assert odd in window.problems[0]
    assert len(window.rows) == 50
    assert window.rows[column].null_count() == 10
    assert window.rows.schema[column] == predictions(1).schema[column]


def test_whole_numbers_small_floats_and_empty_columns_are_no_problem(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    plant(
        "2024-06-01",
        1,
        predictions(10).with_columns(
            pl.col("first").cast(pl.Int32), pl.col("group").cast(pl.Categorical)
        ),
    )
    plant(
        "2024-06-02",
        2,
        predictions(10, 10).with_columns(
            pl.col("first").cast(pl.Float32), pl.lit(None).alias("group")
        ),
    )
    window = read(lake, case)
    assert window.problems == ()
    assert (window.rows.schema["first"], window.rows.schema["group"]) == (pl.Float64, pl.String)
    assert sorted(window.rows["first"]) == list(range(20))
    assert window.facts["group"].nulls == 10


@pytest.mark.parametrize("harm", ["cut", "torn page", "no parquet", "empty"])
def test_a_damaged_file_is_named(lake: Lake, case: UseCase, plant: Plant, harm: str) -> None:
    plant("2024-06-01", 1, predictions(4000))
    path = plant("2024-06-02", 2, predictions(4000))
    data = bytearray(lake.read(path))
    torn = data[:200] + bytes(byte ^ 0xFF for byte in data[200:3000]) + data[3000:]
    lake.write(
        path,
        {
            "cut": bytes(data[: len(data) // 2]),
            "torn page": bytes(torn),
            "no parquet": b"hello",
            "empty": b"",
        }[harm],
    )
    with pytest.raises(LogDamaged, match=path):
        read(lake, case)


def test_a_file_that_is_too_large_to_be_fetched_at_once_is_read_in_parts(
    lake: Lake, case: UseCase
) -> None:
    noise, data = np.random.default_rng(0), io.BytesIO()
    rows = predictions(200_000).with_columns(
        pl.Series(name, noise.normal(size=200_000)) for name in ("second", "steady", "score")
    )
    rows.write_parquet(data, row_group_size=30_000)
    assert len(data.getvalue()) > 4_000_000
    lake.write("predictions/toy/date=2024-06-01/large.parquet", data.getvalue())
    window = read(lake, case, 200_000)
    assert window.rows.sort("first").equals(rows)
    assert read(lake, case, 50).rows.equals(window.rows.head(50))


def test_facts_are_of_all_rows_and_not_of_the_sample(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    """One row in 20,000 is another: no sample of ten sees it."""
    plant("2024-06-01", 1, predictions(10_000))
    plant(
        "2024-06-02",
        2,
        predictions(10_000, 10_000, steady=[5.0] * 9999 + [6.0], group=["a"] * 9999 + ["z"]),
    )
    window = read(lake, case, 10)
    assert len(window.rows) == 10
    steady, group, second = (window.facts[name] for name in ("steady", "group", "second"))
    assert (steady.minimum, steady.maximum, steady.constant) == (5, 6, False)
    assert group.strangers(["a", "b", "c"]) == 1 / 20_000
    assert second.null_share == 0.1
    assert (window.facts["score"].minimum, window.facts["score"].maximum) == (0, 0.99)


def test_a_constant_column_a_lost_one_and_nan_are_told(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    plant(
        "2024-06-01",
        1,
        predictions(
            100, group=["a"] * 100, first=[float("nan")] * 50 + [2.0] * 50, second=[None] * 100
        ),
    )
    facts = read(lake, case).facts
    assert facts["group"].constant and facts["steady"].constant and facts["first"].constant
    assert facts["first"].null_share == 0.5
    assert (facts["second"].null_share, facts["second"].constant, facts["second"].minimum) == (
        1,
        False,
        None,
    )
    assert read(lake, case).rows["first"].null_count() == 50


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize("notes", [["long", "lost", None], ["long"] * 3, [None] * 3])
def test_texts_and_images_are_counted_as_values_and_nulls_alone(
    lake: Lake, case: UseCase, plant: Plant, kind: Any, notes: list[str | None]
) -> None:
    shape: dict[str, Any] = {"size": (8, 8), "channels": 1} if kind == "image" else {}
    note = Column(name="note", kind=kind, **shape)
    case = case.model_copy(update={"columns": (*case.columns, note)})
    plant("2024-06-01", 1, predictions(3, note=pl.Series(notes, dtype=pl.String)))
    window = read(lake, case)
    assert sorted(window.rows["note"].to_list(), key=str) == sorted(notes, key=str)
    facts = window.facts["note"]
    assert (facts.values, facts.nulls) == (3 - notes.count(None), notes.count(None))
    assert (facts.minimum, facts.counts, facts.constant) == (None, None, False)


def test_a_column_of_too_many_categories_is_not_counted(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    plant(
        "2024-06-01",
        1,
        predictions(
            MOST_CATEGORIES + 1, group=[f"name {number}" for number in range(MOST_CATEGORIES + 1)]
        ),
    )
    group = read(lake, case, 10).facts["group"]
    assert (group.counts, group.strangers(["a"]), group.constant) == (None, None, False)
    assert group.values == MOST_CATEGORIES + 1


def test_of_very_many_files_a_part_is_read_and_that_is_said(
    lake: Lake, case: UseCase, plant: Plant
) -> None:
    for number in range(40):
        plant(f"2024-06-{number % 28 + 1:02d}", number, predictions(10, 10 * number))
    window = read(lake, case, limit_files=8)
    assert (window.counted, window.files, len(window.rows), window.sampled) == (400, 40, 80, True)
    assert (
        window.how == "a random sample of 80 of about 400 predictions, from 8 of 40 files (seed 7)"
    )
    assert read(lake, case, limit_files=8).rows.equals(window.rows)
    assert not read(lake, case, seed=8, limit_files=8).rows.equals(window.rows)


def test_only_the_columns_asked_for_are_read(lake: Lake, case: UseCase, plant: Plant) -> None:
    plant("2024-06-01", 1, predictions(1000, rate=1.0))
    plant("2024-06-02", 2, predictions(1000, 1000, rate=0.1))
    window = read(lake, case, columns=("score", "id"))
    assert window.rows.columns == ["id", "score"]
    assert set(window.facts) == {"score"}
    assert len(window.rows) < 1300  # the sample rate holds all the same
    with pytest.raises(ValueError, match="no columns \\['speed'\\]"):
        read(lake, case, columns=("speed",))


def test_a_limit_of_nothing_is_refused(lake: Lake, case: UseCase) -> None:
    with pytest.raises(ValueError, match="needs room"):
        read(lake, case, 0)


def test_days_in_no_calendar_of_the_use_case_do_not_become_the_latest_month(
    lake: Lake, case: UseCase
) -> None:
    """One row of the year 9999 would be checked for drift for ever, and the month that is going on
    never again.
    """
    for folder in (
        "date=2024-06-01",
        "date=2024-05-31",
        "date=9999-12-31",
        "other-days",
        "date=soon",
    ):
        lake.write(f"predictions/toy/{folder}/a.parquet", b"")
    assert [period.name for period in logged_windows(lake, case)] == ["2024-05", "2024-06"]
