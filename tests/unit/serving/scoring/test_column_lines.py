"""Large requests in the log, by column: the lake says of them what it would say of their rows one
by one.
"""

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.champions.champion import Champion
from serving.log.segments import Segment, line_of
from serving.package.model import Package, load
from serving.scoring.column_lines import column_line
from serving.scoring.predictions import PredictionIds, Scored, answer_json, predict
from serving.upload.parquet import convert
from tests.fixtures.packages import write_package

TEXTS = (
    st.none()
    | st.text(max_size=6)
    | st.sampled_from(["AA", "NaN", "\u2028", "😀", '"', "\\", "\x00", "\n", "}\n{", "null"])
)
NUMBERS = st.floats(0, 5000) | st.integers(0, 5000)
TIMES = st.none() | st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 1, 1))
ROWS = st.tuples(TEXTS, NUMBERS, st.none() | st.floats(-1e30, 1e30), TIMES)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Champion:
    folder = tmp_path_factory.mktemp("package")
    digest = write_package(folder)
    return Champion.crown("toy", "3", digest, load(folder, digest))


def score(champion: Champion, rows: list[tuple[Any, ...]]) -> Scored:
    return predict(champion, rows, PredictionIds(), Package.score)


def request_of(rows: list[tuple[Any, ...]]) -> bytes:
    names = ("carrier", "distance", "wind", "time_hour")
    return msgspec.json.encode({"rows": [dict(zip(names, row, strict=True)) for row in rows]})


def segment(folder: Path, header: bytes, *lines: bytes) -> Path:
    path = folder / "a-000001.jsonl"
    path.write_bytes(header + b"\n" + b"".join(lines))
    return path


def in_lake(path: Path) -> list[dict[str, Any]]:
    converted = convert(path)
    assert converted.torn == 0
    rows = [
        (key, row)
        for key, data in sorted(converted.files.items())
        for row in pq.read_table(pa.BufferReader(data)).to_pylist()
    ]
    assert len(rows) == converted.rows
    return [{**row, "time": None, "key": key} for key, row in rows]


@settings(max_examples=80)  # each writes and reads files
@given(requests=st.lists(st.lists(ROWS, min_size=1, max_size=4), min_size=1, max_size=3))
def test_both_forms_of_a_line_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, champion: Champion, requests: list
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    # A row without an event time stands under the day of its answer, which is today for both.
    scored = [
        score(champion, [(*row[:1], float(row[1]), *row[2:]) for row in rows]) for rows in requests
    ]
    pairs = list(zip(scored, requests, strict=True))
    by_column = [
        column_line(scored, [(*row[:1], float(row[1]), *row[2:]) for row in rows])
        for scored, rows in pairs
    ]
    by_row = [line_of(request_of(rows), answer_json(scored), len(rows)) for scored, rows in pairs]
    assert in_lake(segment(folder, champion.column_header, *by_column)) == in_lake(
        segment(folder, champion.log_header, *by_row)
    )


def test_numbers_are_kept_as_they_came_though_the_model_wants_less(
    tmp_path: Path, champion: Champion
) -> None:
    assert champion.package.manifest.dtype == "float32"
    rows = [("AA", 0.1, 16777217.0, None)]
    (row,) = in_lake(
        segment(tmp_path, champion.column_header, column_line(score(champion, rows), rows))
    )
    assert (row["distance"], row["wind"]) == (0.1, 16777217.0)


def test_left_out_columns_are_in_neither_line_nor_lake(tmp_path: Path, champion: Champion) -> None:
    manifest = msgspec.structs.replace(
        champion.package.manifest, log_leave_out=["carrier", "distance"]
    )
    private = Champion.crown(
        "toy", "3", "0", Package(manifest, (_model_of(champion)), champion.package.smoke)
    )
    rows = [("secret", 4321.5, 1.5, None)]
    line = column_line(score(private, rows), rows)
    assert b"secret" not in line and b"carrier" not in line
    (row,) = in_lake(segment(tmp_path, private.column_header, line))
    assert row["wind"] == 1.5 and not {"carrier", "distance"} & set(row)


def _model_of(champion: Champion) -> bytes:
    from tests.fixtures.packages import model

    return model(0.0)


def test_a_line_that_a_crash_left_costs_no_other_line(tmp_path: Path, champion: Champion) -> None:
    rows = [("AA", 1.0, None, None)] * 3
    whole = column_line(score(champion, rows), rows)
    short = whole.replace(b'"numbers":"', b'"numbers":"AAAA', 1)
    path = segment(tmp_path, champion.column_header, whole, short, b"{}\n", whole, whole[:50])
    converted = convert(path)
    assert (converted.rows, converted.torn) == (6, 3)
    assert Segment.recover(path).rows >= 6


def test_a_segment_left_behind_counts_its_rows(tmp_path: Path, champion: Champion) -> None:
    rows = [("AA", 1.0, None, None)] * 7
    recovered = Segment.recover(
        segment(tmp_path, champion.column_header, column_line(score(champion, rows), rows))
    )
    assert (recovered.rows, recovered.use_case) == (7, "toy")


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_use_case_of_one_kind_of_inputs_is_kept_too(
    tmp_path: Path, champion: Champion, kind: str
) -> None:
    left_out = [
        feature.name for feature in champion.package.manifest.features if feature.kind != kind
    ]
    manifest = msgspec.structs.replace(champion.package.manifest, log_leave_out=left_out)
    only = Champion.crown(
        "toy", "3", "0", Package(manifest, _model_of(champion), champion.package.smoke)
    )
    rows = [("AA", 7.0, None, None), ("UA", 8.0, 1.0, None)]
    line = column_line(score(only, rows), rows)
    lake_rows = in_lake(segment(tmp_path, only.column_header, line, line))
    assert [row.get("distance") for row in lake_rows] == (
        [7.0, 8.0] * 2 if kind == "number" else [None] * 4
    )
    assert [row.get("carrier") for row in lake_rows] == (
        ["AA", "UA"] * 2 if kind == "category" else [None] * 4
    )


def test_reading_lines_by_column_does_not_import_pandas(tmp_path: Path, champion: Champion) -> None:
    """pyarrow imports it for some conversions: 35 MB, and half a second."""
    rows = [("AA", 1.0, None, None), ("BB", 2.0, 3.0, None)]
    path = segment(tmp_path, champion.column_header, column_line(score(champion, rows), rows))
    code = (
        "import sys, pathlib, serving.upload.parquet as p; "
        "print(p.convert(pathlib.Path(sys.argv[1])).rows, 'pandas' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert process.stdout.split() == ["2", "False"]
