"""An unreadable row costs only itself."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.log.segments import Column, Header, feedback_header, line_of
from serving.outside.lake import FolderLake
from serving.upload.carrier import Receipt, carry
from serving.upload.line_halves import halve
from serving.upload.parquet import convert
from serving.upload.sieve import Sieve

COLUMNS = [Column("carrier", "category"), Column("distance", "number"), Column("wind", "number")]
BY_ROW = Header("predictions", "toy", "3", "time_hour", COLUMNS)
BY_COLUMN = msgspec.structs.replace(BY_ROW, by_column=True)


def column_line(rows: int, **other: Any) -> bytes:
    """A line by column: row n has the id ``id-n``, the distance n and the wind 10 n."""
    numbers = [float(number) for number in range(rows)] + [10.0 * number for number in range(rows)]
    whole = {
        "rows": rows,
        "time": 1_764_000_000_000_000,
        "numbers": pa.array(numbers).buffers()[1].to_pybytes()[: 16 * rows],
        "texts": {"carrier": ["AA"] * rows},
        "event_time": ["2013-06-01T15:00:00"] * rows,
        "predictions": {
            "id": [f"id-{number}" for number in range(rows)],
            "score": [0.5] * rows,
            "decision": [True] * rows,
        },
        "model_version": ["3"],
    }
    return msgspec.json.encode(whole | other) + b"\n"


def row_line(*rows: dict[str, Any], place: int | None = None) -> bytes:
    predictions = [
        {"id": f"id-{number}", "score": 0.5, "decision": True} for number in range(len(rows))
    ]
    return line_of(
        json.dumps({"rows": rows}).encode(),
        json.dumps({"predictions": predictions, "model_version": "3"}).encode(),
        len(rows),
        place,
    )


def segment(folder: Path, header: bytes, *lines: bytes) -> Path:
    path = folder / "a-000001.jsonl"
    path.write_bytes(header + b"\n" + b"".join(lines))
    return path


def ids(files: dict[str, memoryview]) -> list[str]:
    return [
        id_
        for data in files.values()
        for id_ in pq.read_table(pa.BufferReader(data))["id"].to_pylist()
    ]


@pytest.mark.parametrize("bad", [12345, {"a": 1}, ["AA"]])
def test_one_bad_row_of_a_thousand_that_were_scored_together_is_set_aside_alone(
    tmp_path: Path, bad: Any
) -> None:
    texts: list[Any] = ["AA"] * 1000
    texts[617] = bad
    carrier = json.dumps(texts).encode()
    line = column_line(1000, texts=msgspec.Raw(b'{"carrier":' + carrier + b"}"))
    converted = convert(
        segment(tmp_path, msgspec.json.encode(BY_COLUMN), column_line(3), line, column_line(3))
    )
    assert (converted.rows, converted.torn, converted.aside.rows) == (1005, 1, 1)
    expected = [*range(3), *[number for number in range(1000) if number != 617], *range(3)]
    assert ids(converted.files) == [f"id-{number}" for number in expected]
    ((reason, line_aside),) = converted.aside.lines
    assert reason and b'"id-617"' in line_aside and b"id-616" not in line_aside


@pytest.mark.parametrize(
    "time", ["+300000-01-01T00:00:00", "-0100-01-01T00:00:00", 99_999_999_999_999, "not a time"]
)
def test_a_time_in_no_calendar_costs_one_row(tmp_path: Path, time: Any) -> None:
    times: list[Any] = ["2013-06-01T15:00:00"] * 50
    times[20] = time
    converted = convert(
        segment(tmp_path, msgspec.json.encode(BY_COLUMN), column_line(50, event_time=times))
    )
    assert (converted.rows, converted.aside.rows) == (49, 1)


def test_a_bad_row_of_a_request_of_three_is_set_aside_alone(tmp_path: Path) -> None:
    rows = [
        {"carrier": "AA", "distance": 1},
        {"carrier": 5, "distance": 2},
        {"carrier": "UA", "distance": 3},
    ]
    converted = convert(segment(tmp_path, msgspec.json.encode(BY_ROW), row_line(*rows)))
    assert (ids(converted.files), converted.aside.rows) == (["id-0", "id-2"], 1)


def test_a_bad_label_of_many_is_set_aside_alone(tmp_path: Path) -> None:
    labels: list[dict[str, Any]] = [{"id": f"id-{number}", "label": 1} for number in range(9)]
    labels[4]["label"] = "maybe"
    line = line_of(json.dumps({"feedback": labels}).encode(), b"", 9)
    converted = convert(segment(tmp_path, feedback_header("toy"), line))
    assert (converted.rows, converted.aside.rows) == (8, 1)
    assert "label" in converted.aside.lines[0][0]


SEVEN = [{"distance": number} for number in range(7)]


@pytest.mark.parametrize(
    "line",
    [
        column_line(7),
        column_line(7, caller_hash=[None, 3, 0, 2**32 - 1, 5, 5, None]),
        row_line(*SEVEN),
        row_line(*SEVEN, place=2**32 - 1),
    ],
)
def test_halves_hold_every_row_once(tmp_path: Path, line: bytes) -> None:
    header = BY_COLUMN if b"numbers" in line else BY_ROW
    first, second = halve(line, header)
    whole = convert(segment(tmp_path, msgspec.json.encode(header), line))
    halves = convert(segment(tmp_path, msgspec.json.encode(header), first, second))
    assert [pq.read_table(pa.BufferReader(data)) for data in halves.files.values()] == [
        pq.read_table(pa.BufferReader(data)) for data in whole.files.values()
    ]


def places(files: dict[str, memoryview]) -> list[int | None]:
    return [
        place
        for data in files.values()
        for place in pq.read_table(pa.BufferReader(data))["caller_hash"].to_pylist()
    ]


def test_each_row_has_the_place_of_its_caller(tmp_path: Path) -> None:
    by_column = column_line(3, caller_hash=[7, None, 2**32 - 1])
    lines = (by_column, column_line(2))
    converted = convert(segment(tmp_path, msgspec.json.encode(BY_COLUMN), *lines))
    assert places(converted.files) == [7, None, 2**32 - 1, None, None]
    rows = [{"distance": 1}, {"distance": 2}]
    # a repeated key makes msgspec read the line, and not pyarrow
    careful = row_line(*rows, place=9).replace(b'"distance": 1', b'"distance": 1, "distance": 1')
    lines = (row_line(*rows, place=8), row_line(*rows), careful)
    converted = convert(segment(tmp_path, msgspec.json.encode(BY_ROW), *lines))
    assert places(converted.files) == [8, 8, None, None, 9, 9]


@pytest.mark.parametrize("bad", [[1, 2], [1, 2, "x"], [1, 2, -1], [1, 2, 2**32]])
def test_places_that_are_none_or_too_few_are_set_aside(tmp_path: Path, bad: list[Any]) -> None:
    lines = (column_line(3, caller_hash=bad), column_line(2))
    converted = convert(segment(tmp_path, msgspec.json.encode(BY_COLUMN), *lines))
    assert places(converted.files)[-2:] == [None, None]
    assert converted.rows + converted.aside.rows == 5


def test_a_row_that_ends_the_process_is_found_by_trying_each_part_in_another(
    tmp_path: Path,
) -> None:
    def read(lines: bytes | memoryview) -> bytes:
        if b"id-5" in bytes(lines):
            os._exit(11)
        return bytes(lines)

    sieve = Sieve(BY_COLUMN, read, careful=True)
    tables = b"".join(sieve.tables(column_line(9)))
    assert [f"id-{number}" for number in range(9) if f'"id-{number}"'.encode() in tables] == [
        f"id-{n}" for n in range(9) if n != 5
    ]
    ((reason, _),) = sieve.aside.lines
    assert sieve.aside.rows == 1 and "ends the process that reads it (status 11)" in reason


def test_lines_set_aside_lie_beside_the_segment_with_the_reason_and_can_be_read_once_repaired(
    tmp_path: Path,
) -> None:
    texts: list[Any] = ["AA", 5, "UA"]
    path = segment(
        tmp_path, msgspec.json.encode(BY_COLUMN), column_line(3, texts={"carrier": texts})
    )
    assert carry(path, FolderLake(tmp_path / "lake"), durable=False) == Receipt(2, 1, 1)
    lines = path.with_suffix(".unreadable").read_bytes().splitlines(keepends=True)
    assert lines[0] == msgspec.json.encode(BY_COLUMN) + b"\n"
    assert json.loads(lines[1])["unreadable"] and b'"id-1"' in lines[2]
    mended = segment(tmp_path, msgspec.json.encode(BY_COLUMN), lines[2].replace(b"[5]", b'["5"]'))
    assert ids(convert(mended).files) == ["id-1"]
