"""Labels that come late are found by id: the last one counts, and all stay in the lake."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY

from blocks.lake import Lake
from tasks.log import labels as log_labels
from tasks.log.files import LogDamaged
from tasks.log.labels import read_labels, read_rewards, schema_of


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}", credentials=None)


def plant(lake: Lake, day: str, segment: str, *labels: tuple[str, Any, int]) -> str:
    """Feedback as the service writes it: id, label, and the minute at which it was known."""
    start = datetime(2024, 6, 20, tzinfo=UTC)
    times = [start + timedelta(minutes=minute) for _, _, minute in labels]
    data = io.BytesIO()
    pl.DataFrame(
        {
            "id": [entry[0] for entry in labels],
            "label": [entry[1] for entry in labels],
            "time": times,
        }
    ).write_parquet(data)
    path = f"feedback/toy/date={day}/{segment}.parquet"
    lake.write(path, data.getvalue())
    return path


def labels(lake: Lake, *ids: str, late_days: int | None = None) -> dict[str, tuple[bool, int]]:
    labels = read_labels(lake, TOY, "2024-06", pl.Series(ids, dtype=pl.String), late_days)
    assert labels.schema == schema_of(TOY)
    return {
        name: (label, count)
        for name, label, count in labels.select("id", "label", "given").iter_rows()
    }


def test_the_label_known_last_counts_and_the_others_stay(lake: Lake) -> None:
    later = plant(lake, "2024-06-02", "0001", ("a", True, 50), ("b", False, 50))
    earlier = plant(lake, "2024-06-02", "0002", ("a", False, 10), ("b", True, 60), ("b", False, 55))
    assert labels(lake, "a", "b", "c") == {"a": (True, 2), "b": (True, 3)}
    assert lake.exists(later) and lake.exists(earlier)


@pytest.mark.parametrize("swapped", [False, True])
def test_of_labels_of_one_time_the_one_that_arrived_last_counts(lake: Lake, swapped: bool) -> None:
    """In one file by line, in two by segment, whatever the day they lie under."""
    days = ["2024-06-02", "2024-06-25"]
    plant(
        lake,
        days[swapped],
        "20240620T000000-aaaa-000001",
        ("a", True, 5),
        ("b", False, 5),
        ("b", True, 5),
    )
    plant(lake, days[not swapped], "20240620T000000-aaaa-000002", ("a", False, 5))
    assert labels(lake, "a", "b") == {"a": (False, 2), "b": (True, 2)}


def test_feedback_that_says_no_event_time_lies_under_the_day_it_came_and_is_found(
    lake: Lake,
) -> None:
    plant(lake, "2024-05-31", "0001", ("a", True, 0))
    plant(lake, "2024-08-15", "0002", ("b", True, 0))
    plant(lake, "2024-05-30", "0003", ("c", True, 0))
    assert labels(lake, "a", "b", "c") == {"a": (True, 1), "b": (True, 1)}
    assert labels(lake, "a", "b", late_days=45) == {"a": (True, 1)}
    assert labels(lake, "a", "b", late_days=46) == {"a": (True, 1), "b": (True, 1)}


def test_labels_of_unknown_ids_none_at_all_and_empty_ones_are_no_labels(lake: Lake) -> None:
    assert labels(lake, "a") == {}
    plant(lake, "2024-06-02", "0001", ("stranger", True, 1), ("a", None, 2))
    assert labels(lake, "a") == {}
    assert labels(lake) == {}


def test_an_id_that_was_asked_for_twice_comes_once(lake: Lake) -> None:
    plant(lake, "2024-06-02", "0001", ("a", True, 1))
    assert labels(lake, "a", "a") == {"a": (True, 1)}


def test_many_labels_are_searched_in_parts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_labels, "_GATHERED_ROWS", 500)
    for number in range(30):
        plant(
            lake,
            "2024-06-02",
            f"{number:04d}",
            *[
                (f"{number}-{number_of_row}", number_of_row % 2 == 0, number_of_row)
                for number_of_row in range(50)
            ],
        )
    assert labels(lake, "0-0", "17-49", "29-1") == {
        "0-0": (True, 1),
        "17-49": (False, 1),
        "29-1": (False, 1),
    }


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            pl.DataFrame(
                {"id": ["a"], "label": ["yes"], "time": [datetime(2024, 6, 1, tzinfo=UTC)]}
            ),
            "labels of type large_string",
        ),
        (
            pl.DataFrame({"id": ["a"], "label": [3], "time": [datetime(2024, 6, 1, tzinfo=UTC)]}),
            "labels of type int64",
        ),
        (
            pl.DataFrame({"id": ["a"], "time": [datetime(2024, 6, 1, tzinfo=UTC)]}),
            "it has no label",
        ),
    ],
    ids=["text", "number", "none"],
)
def test_feedback_of_another_shape_is_named(lake: Lake, broken: pl.DataFrame, message: str) -> None:
    data = io.BytesIO()
    broken.write_parquet(data)
    lake.write("feedback/toy/date=2024-06-01/0001.parquet", data.getvalue())
    with pytest.raises(LogDamaged, match=f"date=2024-06-01/0001.parquet.*{message}"):
        labels(lake, "a")


def test_a_damaged_file_of_feedback_is_named(lake: Lake) -> None:
    lake.write("feedback/toy/date=2024-06-01/0001.parquet", b"PAR1 and no more")
    with pytest.raises(LogDamaged, match="date=2024-06-01/0001.parquet"):
        labels(lake, "a")


def test_the_last_reward_counts_and_files_from_before_have_none(lake: Lake) -> None:
    plant(lake, "2024-06-02", "0001", ("a", True, 50))
    start = datetime(2024, 6, 20, tzinfo=UTC)
    for segment, reward, minute in (("0002", 3.0, 20), ("0003", 4.5, 10), ("0004", None, 90)):
        data = io.BytesIO()
        columns = {"id": ["a"], "label": [None], "reward": [reward]}
        time = start + timedelta(minutes=minute)
        rows = pl.DataFrame(columns, schema_overrides={"reward": pl.Float64, "label": pl.Boolean})
        rows.with_columns(pl.lit(time).alias("time")).write_parquet(data)
        lake.write(f"feedback/toy/date=2024-06-02/{segment}.parquet", data.getvalue())
    rewards = read_rewards(lake, TOY, "2024-06", pl.Series(["a", "b"]))
    assert rewards.select("id", "reward", "given").rows() == [("a", 3.0, 2)]
    assert labels(lake, "a") == {"a": (True, 1)}


def test_a_lake_without_rewards_has_none(lake: Lake) -> None:
    plant(lake, "2024-06-02", "0001", ("a", True, 50))
    assert read_rewards(lake, TOY, "2024-06", pl.Series(["a"])).is_empty()
