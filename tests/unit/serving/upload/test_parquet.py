"""Segments as Parquet: what a caller sent and was answered is what the lake says, whichever way a
line was read.
"""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.formats.event_window import MOST_DAYS
from serving.formats.rows import RowReader
from serving.log.segments import Column, Header, feedback_header, line_of
from serving.package.manifest import Feature
from serving.upload.parquet import convert
from serving.upload.row_tables import PredictionTables

FEATURES = [
    Feature("carrier", "category", nullable=True),
    Feature("ĝares, all {of} them", "category", nullable=True),
    Feature("distance", "number", nullable=True),
    Feature("rows", "number", nullable=True),
]
COLUMNS = [Column(feature.name, feature.kind) for feature in FEATURES]
NAMES = [column.name for column in COLUMNS]
HEADER = Header("predictions", "toy", "3", "time_hour", COLUMNS, sample_rate=0.25)
PLAIN = {
    "carrier": "AA",
    NAMES[1]: None,
    "distance": 100.5,
    "rows": 3.0,
    "time_hour": "2013-06-01T15:00:00",
}


def request(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"rows": rows}).encode()


def line(request: bytes, count: int, first: int = 0) -> bytes:
    predictions = [
        {"id": f"id-{number}", "score": number / 7, "decision": number % 2 == 0}
        for number in range(first, first + count)
    ]
    answer = {
        "predictions": predictions,
        "model_version": "3",
        "use_case": "toy",
        "something": {"new": [1]},
    }
    return line_of(request, json.dumps(answer).encode(), count)


def segment(folder: Path, *lines: bytes, header: Header = HEADER) -> Path:
    path = folder / "a-000001.jsonl"
    path.write_bytes(msgspec.json.encode(header) + b"\n" + b"".join(lines))
    return path


def rows_of(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """All rows, in the order of their ids; ``time``, which is now, is left out."""
    rows = [
        row for data in files.values() for row in pq.read_table(pa.BufferReader(data)).to_pylist()
    ]
    return sorted(
        ({name: value for name, value in row.items() if name != "time"} for row in rows),
        key=lambda row: int(row["id"][3:]),
    )


def understood(request: bytes, first: int = 0) -> list[dict[str, Any]]:
    """The same rows as the service reads them on arrival."""
    expected = []
    for number, (*inputs, event_time) in enumerate(
        RowReader(FEATURES, "time_hour").read(request), first
    ):
        answer = {
            "id": f"id-{number}",
            "score": number / 7,
            "decision": number % 2 == 0,
            "model_version": "3",
            "sample_rate": 0.25,
            "role": "champion",
            "caller_hash": None,
        }
        expected.append(answer | {"event_time": event_time} | dict(zip(NAMES, inputs, strict=True)))
    return expected


NUMBERS = (
    st.none()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**25), 10**25)
    | st.integers(-9, 9)
)
TEXTS = (
    st.none()
    | st.text(max_size=6)
    | st.sampled_from(["NaN", "\u2028", "😀", '"', "\\", "\x00", "\n", "}\n{", "null"])
)
FRACTIONS = st.sampled_from(
    ["", ".5", ".123456", ".000001", ".1234567", ".9999999", ".123456789012"]
)
TIMES = st.tuples(
    st.datetimes(max_value=datetime(9999, 1, 1)), st.sampled_from("T t"), FRACTIONS
).map(lambda parts: parts[0].replace(microsecond=0).isoformat(parts[1]) + parts[2])
FIELDS = {
    "carrier": TEXTS,
    NAMES[1]: TEXTS,
    "distance": NUMBERS,
    "rows": NUMBERS,
    "time_hour": st.none() | TIMES,
}
ROWS = st.fixed_dictionaries({}, optional=FIELDS)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Valid requests in many spellings: spaces, newlines, escapes or none, fields in any order,
    missing, or named twice.
    """
    rows = draw(st.lists(ROWS, min_size=1, max_size=3))
    indent, ascii_only = draw(st.sampled_from([None, 0, 2])), draw(st.booleans())
    texts = []
    for row in rows:
        pairs = draw(st.permutations(list(row.items())))
        if pairs and draw(st.integers(0, 4)) == 0:  # the last value of a key counts
            pairs = [(pairs[-1][0], draw(FIELDS[pairs[-1][0]])), *pairs]
        between = ", " if indent is None else ",\r\n "
        texts.append(
            "{"
            + between.join(
                f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=ascii_only)}"
                for name, value in pairs
            )
            + "}"
        )
    whole = "{" + ("" if indent is None else "\n") + '"rows": [' + ", ".join(texts) + "]}"
    return whole.encode()


@pytest.mark.slow("searches for seconds")
@given(st.lists(requests(), min_size=1, max_size=5))
def test_what_the_service_understood_is_what_the_lake_says(asked: list[bytes]) -> None:
    lines, expected = [], []
    for body in asked:
        more = understood(body, len(expected))
        lines.append(line(body, len(more), len(expected)))
        expected += more
    with TemporaryDirectory() as folder:
        converted = convert(segment(Path(folder), *lines))
    assert (converted.rows, converted.torn) == (len(expected), 0)
    assert rows_of(converted.files) == expected


def with_repeated_key(row: dict[str, Any]) -> bytes:
    """A request that pyarrow does not read: the same row with a first key that its second one
    overrules.
    """
    return b'{"rows": [{"carrier": "overruled", ' + json.dumps(row).encode()[1:] + b"]}"


@lru_cache(maxsize=1)
def tables() -> PredictionTables:
    return PredictionTables(HEADER)


@given(
    st.lists(
        st.fixed_dictionaries({name: FIELDS[name] for name in ("carrier", "distance")}),
        min_size=1,
        max_size=5,
    )
)
def test_both_ways_of_reading_give_the_same(rows: list[dict[str, Any]]) -> None:
    fast = b"".join(line(request(row), 1, number) for number, row in enumerate(rows))
    careful = b"".join(line(with_repeated_key(row), 1, number) for number, row in enumerate(rows))
    assert tables().read_fast(fast) is not None and tables().read_fast(careful) is None
    (table, torn), (other, more) = tables().read(fast), tables().read(careful)
    assert table.drop_columns("time").equals(other.drop_columns("time")) and torn == more == 0


def test_a_line_that_needs_care_among_many_costs_no_row_and_no_order(tmp_path: Path) -> None:
    lines = [line(request(PLAIN | {"distance": number}), 1, number) for number in range(2000)]
    lines[777] = line(with_repeated_key(PLAIN | {"distance": 777}), 1, 777)
    converted = convert(segment(tmp_path, *lines))
    (data,) = converted.files.values()
    table = pq.read_table(pa.BufferReader(data))
    assert table["id"].to_pylist() == [f"id-{number}" for number in range(2000)]
    assert table["distance"].to_pylist() == [float(number) for number in range(2000)]
    assert set(table["carrier"].to_pylist()) == {"AA"} and converted.torn == 0


@pytest.mark.slow("cuts a segment everywhere")
@pytest.mark.nightly("each byte of a segment")
def test_wherever_a_crash_cut_a_segment_the_whole_lines_are_read(tmp_path: Path) -> None:
    lines = [line(request(PLAIN, PLAIN), 2, number * 2) for number in range(2)]
    whole = segment(tmp_path, *lines).read_bytes()
    start = len(whole) - sum(map(len, lines))
    for size in range(start, len(whole) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole[:size])
        converted = convert(path)
        complete = whole[start:size].count(b"\n")
        assert converted.rows == len(rows_of(converted.files)) == 2 * complete
        assert converted.torn == (whole[size - 1 : size] != b"\n")


@pytest.mark.parametrize(
    "bad",
    [
        b"null\n",
        b"\n",
        b"1\n",
        b"garbage\n",
        b'{"rows":1,"time":1,"request":{"rows":[{"dist\n',
        b'{"rows":1,"time":1,"request":{"rows":[null]},"answer":'
        b'{"predictions":[{"id":"x","score":1,"decision":true}],"model_version":"3"}}\n',
        b'{"rows":1,"time":1,"request":{"rows":[{}]},"answer":'
        b'{"predictions":[],"model_version":"3"}}\n',
        b'{"rows":1,"time":1,"request":{"rows":[{}]},"answer":'
        b'{"predictions":[{"id":"x","score":null,"decision":true}],"model_version":"3"}}\n',
        b'{"rows":1,"time":1,"request":{"rows":[{"carrier":"\xff"}]},"answer":'
        b'{"predictions":[{"id":"x","score":1,"decision":true}],"model_version":"3"}}\n',
        b'{"rows":1,"time":1,"request":{"rows":[{}]}}\n',
    ],
)
def test_a_damaged_line_costs_itself_and_no_other(tmp_path: Path, bad: bytes) -> None:
    good = [line(request(PLAIN), 1, number) for number in range(2)]
    converted = convert(segment(tmp_path, good[0], bad, good[1]))
    assert [row["id"] for row in rows_of(converted.files)] == ["id-0", "id-1"]
    assert (converted.rows, converted.torn) == (2, 1)
    alone = convert(
        segment(tmp_path, bad)
    )  # a line that is no object, alone, would end the process inside of pyarrow
    assert (alone.files, alone.rows, alone.torn) == ({}, 0, 1)


def test_a_line_whose_answers_are_not_as_many_as_its_rows_is_not_made_up_for_by_another(
    tmp_path: Path,
) -> None:
    few, many, good = (
        line(request(PLAIN, PLAIN), 1),
        line(request(PLAIN), 2, 1),
        line(request(PLAIN), 1, 3),
    )
    converted = convert(segment(tmp_path, few, many, good))
    assert [row["id"] for row in rows_of(converted.files)] == ["id-3"] and converted.torn == 2


def test_lines_longer_than_what_is_read_at_a_time_are_whole(tmp_path: Path) -> None:
    """Also enough rows for several groups, and of several days: each day has its rows once, in
    order.
    """
    days = [f"2013-06-0{1 + number % 3}T00:00:00" for number in range(60_000)]
    lines = [
        line(
            request(
                *[
                    PLAIN | {"time_hour": day, "distance": start + i}
                    for i, day in enumerate(days[start : start + 20_000])
                ]
            ),
            20_000,
            start,
        )
        for start in range(0, 60_000, 20_000)
    ]
    assert all(len(text) > 2_000_000 for text in lines)
    converted = convert(segment(tmp_path, *lines))
    assert list(converted.files) == [
        f"predictions/toy/date=2013-06-0{day}/a-000001.parquet" for day in (1, 2, 3)
    ]
    for number, data in enumerate(converted.files.values()):
        table = pq.read_table(pa.BufferReader(data))
        assert table["distance"].to_pylist() == [float(row) for row in range(number, 60_000, 3)]


def test_the_same_segment_always_gives_the_same_files(tmp_path: Path) -> None:
    path = segment(
        tmp_path,
        *[
            line(request(PLAIN, PLAIN | {"time_hour": "2013-07-01T00:00:00"}), 2, 2 * number)
            for number in range(100)
        ],
    )
    assert convert(path) == convert(path)


def test_a_day_before_the_year_1000_has_four_digits(tmp_path: Path) -> None:
    converted = convert(
        segment(tmp_path, line(request(PLAIN | {"time_hour": "0013-06-01T00:00:00"}), 1))
    )
    assert list(converted.files) == ["predictions/toy/date=0013-06-01/a-000001.parquet"]


def test_a_segment_of_an_older_service_has_a_sample_rate_of_one(tmp_path: Path) -> None:
    header = {
        name: value for name, value in msgspec.to_builtins(HEADER).items() if name != "sample_rate"
    }
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(header).encode() + b"\n" + line(request(PLAIN), 1))
    assert rows_of(convert(path).files)[0]["sample_rate"] == 1.0


def test_feedback_is_read_in_both_spellings_of_a_label_with_rewards_and_any_zone(
    tmp_path: Path,
) -> None:
    entries = [
        {"id": "a", "label": 1, "time": "2013-07-01T01:00:00+02:00"},
        {"id": "b", "label": False, "time": "2013-07-01T00:00:00.1234567"},
        {
            "id": "c",
            "label": 0,
            "reward": 2.5,
            "event_time": "2013-06-01t00:00:00",
            "time": "2013-07-01T00:00:00Z",
        },
        {"id": "d", "reward": -1, "time": "2013-07-02T00:00:00Z"},
    ]
    path = tmp_path / "a.jsonl"
    body = json.dumps({"feedback": entries}, indent=1).encode()
    path.write_bytes(feedback_header("toy") + b"\n" + line_of(body, b"", 4) + b"null\n")
    converted = convert(path)
    files = {
        key.split("/")[2]: pq.read_table(pa.BufferReader(data)).to_pylist()
        for key, data in converted.files.items()
    }
    assert (converted.rows, converted.torn) == (4, 1)
    came = files[f"date={date(2013, 6, 1)}"][0]["received"]
    assert files == {
        f"date={date(2013, 6, 1)}": [
            {
                "id": "c",
                "label": False,
                "time": datetime(2013, 7, 1, tzinfo=UTC),
                "received": came,
                "reward": 2.5,
            }
        ],
        # Without an event time it lies under the day on which it came, whatever the caller's clock
        # says.
        f"date={came.date()}": [
            {
                "id": "a",
                "label": True,
                "time": datetime(2013, 6, 30, 23, tzinfo=UTC),
                "received": came,
                "reward": None,
            },
            {
                "id": "b",
                "label": False,
                "time": datetime(2013, 7, 1, 0, 0, 0, 123457, tzinfo=UTC),
                "received": came,
                "reward": None,
            },
            {
                "id": "d",
                "label": None,
                "time": datetime(2013, 7, 2, tzinfo=UTC),
                "received": came,
                "reward": -1.0,
            },
        ],
    }


MEMORY = """
import sys
from pathlib import Path
from serving.upload.parquet import convert, give_back_memory

def megabytes(name):
    lines = [line for line in open("/proc/self/status") if line.startswith(name)]
    return int(lines[0].split()[1]) / 1024

small, large = map(Path, sys.argv[1:])
convert(small)
give_back_memory()
before = megabytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
assert convert(large).rows == 50_000
give_back_memory()
print(megabytes("VmHWM") - before, megabytes("VmRSS") - before, "pandas" in sys.modules)
"""


@pytest.mark.slow("a large segment, in processes of their own")
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("days", "most_megabytes", "left_megabytes"), [(1, 60, 20), (20_000, 120, 40)]
)
@pytest.mark.nightly("large data")
def test_a_large_segment_takes_little_memory_and_gives_it_back_and_no_pandas_is_loaded(
    tmp_path: Path, days: int, most_megabytes: float, left_megabytes: float
) -> None:
    """50,000 rows of 27 columns take about 35 MB, and of 20,000 days 80; the text alone has 40.
    On a busy machine more threads take part, and 28 MB stay with them instead of 19.
    """
    columns = [Column(f"measured_quantity_{number}", "number") for number in range(27)]
    values = {column.name: 1000.5 + number for number, column in enumerate(columns)}
    first = date(1900, 1, 1)
    requests = [
        request(values | {"time_hour": f"{first + timedelta(days=day)}T00:00:00"})
        for day in range(days)
    ]
    paths = []
    for name, count in (("small", 100), ("large", 50_000)):
        (tmp_path / name).mkdir()
        lines = b"".join(line(requests[number % days], 1, number) for number in range(count))
        paths.append(
            segment(tmp_path / name, lines, header=msgspec.structs.replace(HEADER, columns=columns))
        )
    process = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, paths)], capture_output=True, text=True, check=True
    )
    most, rest, pandas = process.stdout.split()
    assert float(most) < most_megabytes and float(rest) < left_megabytes
    assert pandas == "False"


def test_a_segment_of_ever_so_many_days_makes_a_bounded_number_of_files_and_loses_no_row(
    tmp_path: Path,
) -> None:
    """The days with the most rows keep their folders; what strangers spread over the calendar
    shares one file that no window has.
    """
    first = date(1000, 1, 1)
    strays = [
        PLAIN | {"time_hour": f"{first + timedelta(days=day)}T00:00:00"} for day in range(1000)
    ]
    lines = [
        line(request(*strays), 1000),
        *[line(request(PLAIN, PLAIN), 2, 1000 + 2 * number) for number in range(100)],
    ]
    converted = convert(segment(tmp_path, *lines))
    assert (converted.rows, converted.torn, len(converted.files)) == (1200, 0, MOST_DAYS + 1)
    assert [int(row["id"][3:]) for row in rows_of(converted.files)] == list(range(1200))
    others = pq.read_table(
        pa.BufferReader(converted.files["predictions/toy/other-days/a-000001.parquet"])
    )
    assert (
        len(others) == 1001 - MOST_DAYS
        and others.schema.names
        == pq.read_schema(pa.BufferReader(next(iter(converted.files.values())))).names
    )
    table = pq.read_table(
        pa.BufferReader(converted.files["predictions/toy/date=2013-06-01/a-000001.parquet"])
    )
    assert len(table) == 200
    assert convert(tmp_path / "a-000001.jsonl") == converted
