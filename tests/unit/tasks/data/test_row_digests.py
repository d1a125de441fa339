import hashlib
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from usecases.toy import USE_CASE as TOY

from blocks.lake import Lake
from tasks.data.dataset import DatasetVersion, read_periods, write_period, write_version
from tasks.data.row_digests import HoldoutOverlap, row_digests, rows_in
from tasks.data.validation import Validated, validate
from usecases.definition import Binary, UseCase

MONTHS = ("2024-01", "2024-02", "2024-03")
TABLE = pl.DataFrame(
    {
        "id": [1, 2, 3, 4],
        "at": [datetime(2024, 1, 1, 12), datetime(1969, 12, 31), None, datetime(2024, 1, 1, 12)],
        "size": [0.1, None, -0.0, 0.1],
        "shop": ["Łódź", None, "", "Łódź"],
        "won": [True, False, None, True],
    }
)

DIGESTS = [
    "bfbc97679efcd4e4711378c57e9f1f0a",
    "f4e8283acb34b38706035b6d5fba774c",
    "dfec4ba6463c7900acd3f80ef0ebafb9",
    "7e5309db218076d3de302a10741bb75d",
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}", credentials=None)


@pytest.fixture
def dataset(lake: Lake) -> DatasetVersion:
    return publish(lake, {month: TOY.source.read(month) for month in MONTHS})


def publish(lake: Lake, rows: dict[str, pl.DataFrame], case: UseCase = TOY) -> DatasetVersion:
    """Periods of whatever rows, also of ones that belong to another month."""
    checked = {
        month: Validated(
            good=frame, quarantined=frame[:0].with_columns(quarantine_reason=pl.lit(""))
        )
        for month, frame in rows.items()
    }
    return write_version(
        lake,
        case,
        [write_period(lake, case, month, validated) for month, validated in checked.items()],
    )[0]


def holdout(lake: Lake, dataset: DatasetVersion, month: str = "2024-03") -> pl.DataFrame:
    return read_periods(lake, dataset, [month], TOY.label)


def test_the_digest_of_a_row_is_written_down_and_stays() -> None:
    """Digests of another version of Python, polars or numpy must be these too: an old package names
    rows by them.
    """
    digests = row_digests(TABLE, ["id", "at", "size", "shop", "won"])
    assert [digest.hex() for digest in digests] == DIGESTS


def test_the_digest_is_blake2b_over_a_byte_for_there_and_big_endian_values() -> None:
    names, digests = (
        b"id\0shop",
        b"\x01"
        + bytes.fromhex("3ff0000000000000")
        + b"\x01"
        + hashlib.blake2b("Łódź".encode(), digest_size=16).digest(),
    )
    assert (
        row_digests(TABLE, ["shop", "id"])[0]
        == hashlib.blake2b(names + digests, digest_size=16).digest()
    )


@pytest.mark.slow("a process that imports everything")
def test_another_process_with_another_hash_seed_gives_the_same_digests() -> None:
    module = "tests.unit.tasks.data.test_row_digests"
    code = (
        f"from {module} import TABLE, row_digests; print(*[d.hex() for d in row_digests(TABLE, "
        "TABLE.columns)])"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "77",
        "PYTHONPATH": f"{Path.cwd()}:{Path.cwd() / 'tests/fixtures'}",
    }
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert output == [digest.hex() for digest in row_digests(TABLE, TABLE.columns)]


def test_rows_differ_by_any_value_and_by_null_and_not_by_the_sign_of_zero() -> None:
    first, second, third, fourth = row_digests(TABLE, ["at", "size", "shop", "won"])
    assert first == fourth and len({first, second, third}) == 3
    for column, value in (
        ("size", None),
        ("size", 0.1000000001),
        ("shop", None),
        ("shop", "Lodz"),
        ("won", False),
        ("at", None),
    ):
        changed = TABLE.with_columns(pl.lit(value, dtype=TABLE.schema[column]).alias(column))
        assert row_digests(changed, ["at", "size", "shop", "won"])[0] != first, (column, value)
    zeros = pl.DataFrame({"x": [0.0, -0.0, None, float("nan")]})
    plus, minus, null, nan = row_digests(zeros, ["x"])
    assert (plus == minus, null == nan, plus == null) == (True, True, False)


def test_the_width_of_a_number_in_memory_does_not_matter() -> None:
    """Int32 in one file and Int64 in the next are one number."""
    narrow = pl.DataFrame({"id": [7, -3]}, schema={"id": pl.Int16})
    assert (
        row_digests(narrow, ["id"])
        == row_digests(narrow.cast(pl.Int64), ["id"])
        == row_digests(narrow.cast(pl.Float64), ["id"])
    )


@pytest.mark.parametrize(
    ("start", "dtype"),
    [
        (2**53 - 2, pl.Int64),
        (11_111_111_111_111_111, pl.Int64),
        (-11_111_111_111_111_111, pl.Int64),
        (2**63 - 3, pl.UInt64),
        (11_111_111_111_111_111_111_111, pl.Int128),
        (11_111_111_111_111_111_111_111, pl.Decimal(30, 0)),
    ],
)
def test_sequential_integers_have_a_digest_each_beyond_what_a_double_holds(
    start: int, dtype: pl.DataType
) -> None:
    ids = pl.Series("id", [start + step for step in range(6)]).cast(dtype)
    assert len(set(row_digests(ids.to_frame(), ["id"]))) == 6


def test_the_type_of_a_large_number_does_not_matter() -> None:
    for number in (2**53, -(2**53) - 2, 2**62, 2**63 - 1024):
        row = pl.DataFrame({"id": [number, None]}, schema={"id": pl.Int64})
        for dtype in (pl.Float64, pl.Int128, pl.Decimal(38, 0)):
            assert row_digests(row.cast(dtype), ["id"]) == row_digests(row, ["id"])
    beyond = pl.DataFrame({"id": [2**63]}, schema={"id": pl.UInt64})
    assert row_digests(beyond.cast(pl.Float64), ["id"]) == row_digests(beyond, ["id"])


def test_a_large_integer_is_not_the_double_of_the_same_bytes() -> None:
    number = 11_111_111_111_111_111
    double = float(np.array(number).view(np.float64))
    ids, doubles = pl.DataFrame({"id": [number]}), pl.DataFrame({"id": [double]})
    assert row_digests(ids, ["id"]) != row_digests(doubles, ["id"])


def test_months_with_sequential_ids_of_17_digits_share_no_row(lake: Lake) -> None:
    """They were taken for the same rows: each contest was unfair."""
    shift = pl.col("id") + 11_111_111_110_000_000
    months = {month: TOY.source.read(month).with_columns(id=shift) for month in MONTHS}
    first = months["2024-03"]["id"][0]
    february = months["2024-02"].with_columns(id=first - 1 - pl.int_range(pl.len(), dtype=pl.Int64))
    dataset = publish(lake, {**months, "2024-02": february})
    overlap = HoldoutOverlap(TOY, holdout(lake, dataset), rows_in(lake, TOY))
    assert overlap.why_unfair("champion 3", dataset.digests(MONTHS[:2])) == []


def test_values_do_not_run_into_each_other() -> None:
    first, second = pl.DataFrame({"a": ["x", ""], "b": ["", "x"]}).pipe(row_digests, ["a", "b"])
    assert first != second


def test_a_type_without_a_digest_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"'tags' has type List"):
        row_digests(pl.DataFrame({"tags": [["a"]]}), ["tags"])


def test_no_rows_have_no_digests() -> None:
    assert row_digests(TABLE[:0], ["id", "shop"]) == []


def test_months_that_share_no_row_are_fair(lake: Lake, dataset: DatasetVersion) -> None:
    assert (
        HoldoutOverlap(TOY, holdout(lake, dataset), rows_in(lake, TOY)).why_unfair(
            "champion 3", dataset.digests(MONTHS[:2])
        )
        == []
    )


def test_rows_of_the_holdout_in_a_training_month_are_counted_with_an_example(
    lake: Lake, dataset: DatasetVersion
) -> None:
    march = holdout(lake, dataset)
    mixed = publish(
        lake,
        {
            "2024-01": TOY.source.read("2024-01"),
            "2024-02": pl.concat([TOY.source.read("2024-02"), march[:7]]),
        },
    )
    (reason,) = HoldoutOverlap(TOY, march, rows_in(lake, TOY)).why_unfair(
        "challenger 4", mixed.digests(MONTHS[:2])
    )
    assert reason == (
        "challenger 4 was trained on 7 rows of the hold-out (0 of them corrected since), "
        f"such as id={march['id'][0]} in 2024-02"
    )


def test_a_row_that_was_corrected_since_counts_too(lake: Lake, dataset: DatasetVersion) -> None:
    march = holdout(lake, dataset)
    before = march[:3].with_columns(
        first=pl.col("first") + pl.Series([0.0, 1.0, 0.0]),
        won=pl.col("won") ^ pl.Series([0, 0, 1], dtype=pl.Int8),
    )
    mixed = publish(lake, {"2024-02": pl.concat([TOY.source.read("2024-02"), before])})
    (reason,) = HoldoutOverlap(TOY, march, rows_in(lake, TOY)).why_unfair(
        "champion 3", mixed.digests(["2024-02"])
    )
    assert "trained on 3 rows of the hold-out (2 of them corrected since)" in reason


def test_a_row_without_a_label_was_not_trained_on(lake: Lake, dataset: DatasetVersion) -> None:
    march = holdout(lake, dataset)
    unlabelled = march[:7].with_columns(pl.lit(None, dtype=pl.Int8).alias("won"))
    mixed = publish(lake, {"2024-02": pl.concat([TOY.source.read("2024-02"), unlabelled])})
    assert (
        HoldoutOverlap(TOY, march, rows_in(lake, TOY)).why_unfair(
            "champion 3", mixed.digests(["2024-02"])
        )
        == []
    )


def test_rows_are_found_where_the_event_time_is_part_of_the_key(
    lake: Lake, dataset: DatasetVersion
) -> None:
    """Then only rows within the hold-out's time are digested, and those must still be found."""
    case = TOY.model_copy(update={"key": ("id", "at")})
    march = holdout(lake, dataset)
    mixed = publish(lake, {"2024-02": pl.concat([TOY.source.read("2024-02"), march[-2:]])}, case)
    (reason,) = HoldoutOverlap(case, march, rows_in(lake, case)).why_unfair(
        "champion 3", mixed.digests(["2024-02"])
    )
    assert "2 rows of the hold-out" in reason and "at=2024-03-28 12:00:00" in reason


def test_a_training_file_that_is_gone_proves_nothing(
    lake: Lake, dataset: DatasetVersion, tmp_path: Path
) -> None:
    overlaps = HoldoutOverlap(TOY, holdout(lake, dataset), rows_in(lake, TOY))
    (reason,) = overlaps.why_unfair("champion 3", {"2024-01": "0123456789abcdef" * 4})
    assert "champion 3 may have seen the hold-out" in reason
    assert "2024-01 (SHA-256 0123456789abcdef…) is gone from the lake" in reason


def test_a_training_file_that_was_changed_proves_nothing(
    lake: Lake, dataset: DatasetVersion
) -> None:
    january = dataset.periods[0]
    lake.write(january.path, lake.read(dataset.periods[1].path))
    (reason,) = HoldoutOverlap(TOY, holdout(lake, dataset), rows_in(lake, TOY)).why_unfair(
        "champion 3", dataset.digests(MONTHS[:2])
    )
    assert f"{january.path} was changed" in reason


def test_a_training_file_without_the_key_proves_nothing(
    lake: Lake, dataset: DatasetVersion
) -> None:
    case = TOY.model_copy(update={"key": ("id", "ticket")})
    march = holdout(lake, dataset).with_columns(ticket=pl.col("id"))
    (reason,) = HoldoutOverlap(case, march, rows_in(lake, case)).why_unfair(
        "champion 3", dataset.digests(MONTHS[:1])
    )
    assert "the rows of 2024-01 lack ['ticket']" in reason


def test_a_file_is_read_once_for_both_models(lake: Lake, dataset: DatasetVersion) -> None:
    overlaps = HoldoutOverlap(TOY, holdout(lake, dataset), rows_in(lake, TOY))
    assert overlaps.why_unfair("challenger 4", dataset.digests(MONTHS[:2])) == []
    for file in dataset.periods[:2]:
        (Path(lake.url.removeprefix("file://")) / file.path).unlink()
    assert overlaps.why_unfair("champion 3", dataset.digests(MONTHS[:1])) == []


def test_rows_as_ingest_writes_them_are_found(lake: Lake) -> None:
    """Through validation and Parquet, as in the loop."""
    months = {month: validate(TOY, month, TOY.source.read(month)) for month in MONTHS}
    dataset_made, _ = write_version(
        lake,
        TOY,
        [write_period(lake, TOY, month, validated) for month, validated in months.items()],
    )
    march = read_periods(lake, dataset_made, ["2024-03"], TOY.label)
    (reason,) = HoldoutOverlap(TOY, march, rows_in(lake, TOY)).why_unfair(
        "champion 3", dataset_made.digests(MONTHS)
    )
    assert (
        f"{len(march)} rows of the hold-out (0 of them corrected since)" in reason
        and reason.endswith("in 2024-03")
    )


def test_rows_of_a_file_from_before_the_label_was_renamed_are_found(
    lake: Lake, dataset: DatasetVersion
) -> None:
    march = holdout(lake, dataset).rename({"won": "victory"})
    case = TOY.model_copy(update={"target": Binary(label="victory")})
    assert (
        HoldoutOverlap(case, march, rows_in(lake, case)).why_unfair(
            "champion 3", dataset.digests(MONTHS[:2])
        )
        == []
    )
    (reason,) = HoldoutOverlap(case, march, rows_in(lake, case)).why_unfair(
        "champion 3", dataset.digests(["2024-03"])
    )
    assert f"was trained on {len(march)} rows of the hold-out" in reason
