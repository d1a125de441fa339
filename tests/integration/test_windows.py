"""A window on a real S3 server: the same rows as from a folder, and errors that tell a damaged file
from a lake that is away.
"""

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from blocks.lake import Lake, LakeAway
from blocks.settings import Settings
from tasks.log.files import LogDamaged
from tasks.log.labels import read_labels
from tasks.log.windows import read_window
from usecases.definition import UseCase, load


@pytest.fixture(scope="module")
def case() -> UseCase:
    return load("toy").model_copy(update={"name": "windows_of_a_test"})


@pytest.fixture(scope="module")
def bucket(stack: Settings) -> Lake:
    return Lake.of(stack)


def predictions(rows: int, start: int) -> bytes:
    chance, data = np.random.default_rng(start), io.BytesIO()
    numbers = {name: chance.normal(5, 1, rows) for name in ("first", "second", "steady")}
    known = {
        "id": [f"id-{start + one}" for one in range(rows)],
        "group": chance.choice(["a", "b"], rows),
        "score": chance.random(rows),
    }
    pl.DataFrame(known | numbers).with_columns(sample_rate=pl.lit(1.0)).write_parquet(
        data, row_group_size=20_000
    )
    return data.getvalue()


def test_a_window_on_s3_is_the_same_as_in_a_folder(
    bucket: Lake, case: UseCase, tmp_path: Path
) -> None:
    """Small files, which are fetched at once, and one that is larger and read in parts."""
    folder = Lake(url=f"file://{tmp_path}", credentials=None)
    for number, rows in enumerate([100, 5000, 250_000]):
        for lake in (bucket, folder):
            data = predictions(rows, 1_000_000 * number)
            lake.write(
                f"predictions/{case.name}/date=2024-06-{number + 1:02d}/"
                f"20240601T000000-ab12cd34-{number:06d}.parquet",
                data,
            )
    assert len(data) > 4_000_000
    there, here = (read_window(lake, case, "2024-06", 3000, 7) for lake in (bucket, folder))
    assert (there.counted, there.how) == (
        255_100,
        "a random sample of 3,000 of 255,100 predictions (seed 7)",
    )
    assert there.rows.equals(here.rows)
    assert there.facts == here.facts


def test_labels_on_s3_are_found_by_id(bucket: Lake, case: UseCase) -> None:
    data = io.BytesIO()
    pl.DataFrame(
        {
            "id": ["id-1", "id-1"],
            "label": [True, False],
            "time": [datetime(2024, 7, 1, tzinfo=UTC)] * 2,
        }
    ).write_parquet(data)
    bucket.write(f"feedback/{case.name}/date=2024-07-01/0001.parquet", data.getvalue())
    found = read_labels(bucket, case, "2024-06", pl.Series(["id-1", "id-2"]))
    assert found.select("id", "label", "given").rows() == [("id-1", False, 2)]


def test_a_damaged_file_on_s3_is_named_and_a_lake_that_is_away_is_no_damage(
    bucket: Lake, case: UseCase, stack: Settings
) -> None:
    damaged = case.model_copy(update={"name": "damaged_windows_of_a_test"})
    path = f"predictions/{damaged.name}/date=2024-06-01/0001.parquet"
    whole = predictions(250_000, 0)
    bucket.write(path, whole[:100_000] + bytes(3_000_000) + whole[3_100_000:])
    with pytest.raises(LogDamaged, match=path):
        read_window(bucket, damaged, "2024-06", 1000, 7)
    away = Lake.of(stack.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    with pytest.raises(LakeAway):
        read_window(away, damaged, "2024-06", 1000, 7)
