"""What ``mlflow models serve`` takes is taken; tests/integration/test_invocations.py compares the
answers with its own.
"""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from serving.champions.champion import Champion
from serving.errors import InputError, MalformedBody, Refused
from serving.formats.rows import FLOOD_BYTES, RowReader
from serving.package import model
from serving.routes.mlflow_protocol import (
    check_content_type,
    choose_use_case,
    read_rows,
    write_answer,
)
from serving.scoring.predictions import Scored
from serving.scoring.remarks import remark_headers
from tests.fixtures.packages import EVENT_TIME, FEATURES, write_package

READER = RowReader(FEATURES, EVENT_TIME, "float32")
NAMES = ["carrier", "distance", "wind"]
RECORDS: list[dict[str, Any]] = [
    {"carrier": "AA", "distance": 100.5, "wind": None},
    {"carrier": None, "distance": 2, "wind": 3.0},
]
COLUMNS = {name: [record[name] for record in RECORDS] for name in NAMES}
DATA = [list(record.values()) for record in RECORDS]
ROWS = [("AA", 100.5, None, None), (None, 2.0, 3.0, None)]


def read(
    content: Any, kind: str = "application/json", max_rows: int = 100
) -> list[tuple[Any, ...]]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    batch = read_rows(READER, kind, body, max_rows)
    assert READER.read(batch.json) == batch.rows  # what is logged can be read again
    return batch.rows


def refusal(content: Any, kind: str = "application/json", max_rows: int = 100) -> InputError:
    with pytest.raises(InputError) as caught:
        read(content, kind, max_rows)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": NAMES, "data": DATA}},
        {
            "dataframe_split": {
                "columns": NAMES[::-1],
                "data": [row[::-1] for row in DATA],
                "index": [7, "a"],
            }
        },
        {
            "dataframe_split": {
                "columns": [*NAMES, "more", "more still"],
                "data": [[*row, [1], {}] for row in DATA],
            }
        },
        {"dataframe_records": RECORDS},
        {"dataframe_records": [{**record, "more": [1], "time_hour": None} for record in RECORDS]},
        {
            "dataframe_records": [
                {"carrier": "AA", "distance": 100.5},
                {"distance": "2", "wind": "3.0"},
            ]
        },
        {
            "dataframe_records": [
                {"carrier": "AA", "distance": " 100.5"},
                {"distance": "+2", "wind": "3."},
            ]
        },
        {"instances": RECORDS},
        {"instances": COLUMNS},
        {"inputs": COLUMNS},
        {"inputs": {**COLUMNS, "more": [[1], 2, 3]}},
        {"inputs": RECORDS, "params": {"a": 1}, "another": 1},
    ],
)
def test_every_shape_gives_the_same_rows(content: Any) -> None:
    assert read(content) == ROWS


def test_csv_is_read_with_pandas_words_for_null() -> None:
    assert read(b"more,wind,distance,carrier\n1,NaN,100.5,AA\n2,3,2,NA\n", "text/csv") == ROWS


def test_one_value_stands_for_a_whole_column() -> None:
    assert read({"inputs": {"distance": 2, "carrier": ["AA", "UA"]}}) == [
        ("AA", 2.0, None, None),
        ("UA", 2.0, None, None),
    ]
    assert read({"instances": {"distance": 2, "carrier": "AA"}}) == [("AA", 2.0, None, None)]


def test_numbers_may_be_nan_as_python_writes_it_and_true_and_false() -> None:
    assert read(b'{"dataframe_records": [{"distance": true, "wind": NaN}]}') == [
        (None, 1.0, None, None)
    ]
    assert read(b'{"inputs": {"distance": [1.5], "wind": [NaN]}}') == [(None, 1.5, None, None)]
    numbers = (
        b'{"inputs": {"carrier": ["NaN, \\"NaN\\", Infinity"], "distance": [1.5], "wind": [NaN]}}'
    )
    assert read(numbers) == [('NaN, "NaN", Infinity', 1.5, None, None)]


LOCAL = datetime(2013, 6, 1, 15)
SHAPES = ("dataframe_records", "dataframe_split", "inputs", "csv")


def with_times(shape: str, times: list[Any]) -> tuple[Any, str]:
    """A body whose rows have these event times, and its type."""
    if shape == "csv":
        return "\n".join(
            ["distance,time_hour", *(f"1,{'' if time is None else time}" for time in times)]
        ).encode(), "text/csv"
    if shape == "dataframe_records":
        return {shape: [{"distance": 1, "time_hour": time} for time in times]}, "application/json"
    if shape == "dataframe_split":
        return {
            shape: {"columns": ["distance", "time_hour"], "data": [[1, time] for time in times]}
        }, "application/json"
    return {shape: {"distance": [1] * len(times), "time_hour": times}}, "application/json"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "time",
    [
        "2013-06-01T15:00:00",
        "2013-06-01 15:00:00",
        "2013-06-01T15:00:00.000",
        1370098800000,
        "1370098800000",
    ],
)
def test_an_event_time_is_kept_in_every_way_that_pandas_writes_a_local_one(
    shape: str, time: Any
) -> None:
    content, kind = with_times(shape, [time, None])
    assert [row[-1] for row in read(content, kind)] == [LOCAL, None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "time",
    ["2013-06-01T15:00:00Z", "2013-06-01T15:00:00+02:00", "yesterday", 5, 1370098800, True, 1e300],
)
def test_any_other_event_time_is_refused_by_row_and_field(shape: str, time: Any) -> None:
    """It was scored, and lay under the day of the answer without its time."""
    content, kind = with_times(shape, ["2013-06-01T15:00:00", time])
    error = refusal(content, kind)
    assert (error.row, error.field) == (1, "time_hour")
    assert "expected a local date and time without a zone" in str(error) and str(time)[:5] in str(
        error
    )


@pytest.mark.parametrize("write", ["split", "records", "csv"])
def test_what_pandas_writes_by_default_keeps_its_event_times(write: str) -> None:
    import pandas

    frame = pandas.DataFrame(
        {"distance": [1.0, 2.0], "time_hour": pandas.to_datetime(["2013-06-01T15:00:00.25", None])}
    )
    if write == "csv":
        rows = read(frame.to_csv(index=False).encode(), "text/csv")
    else:
        rows = read(f'{{"dataframe_{write}": {frame.to_json(orient=write)}}}'.encode())
    assert [row[-1] for row in rows] == [datetime(2013, 6, 1, 15, 0, 0, 250_000), None]


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_records": [{"distance": 1, "distnace": 2}, {"distance": 1, "a,b\r\n": "ĝ"}]},
        {"dataframe_records": [{"distance": "+1", "distnace": 2, "a,b\r\n": 1}]},
        {"dataframe_split": {"columns": ["distance", "distnace", "a,b\r\n"], "data": [[1, 2, 3]]}},
        {"inputs": {"distance": 1, "distnace": 2, "a,b\r\n": 3}},
    ],
)
def test_columns_that_are_no_fields_are_named_so_that_a_header_can_hold_them(content: Any) -> None:
    batch = read_rows(READER, "application/json", json.dumps(content).encode(), 100)
    assert list(batch.ignored) == ["distnace", "a,b\r\n"]
    assert remark_headers(batch.ignored, ()) == {
        "X-Laurel-Ignored-Columns": "distnace, a%2Cb%0D%0A"
    }


def test_a_header_that_names_ignored_columns_is_short_whatever_came() -> None:
    (value,) = remark_headers(["é" * 10_000] * 1000, ()).values()
    assert len(value) < 1000 and value.isascii() and value.endswith("%A9..., +990")


@pytest.mark.parametrize(
    ("content", "row", "field", "message"),
    [
        ({"dataframe_records": [{"distance": 1}, {"wind": 1}]}, 1, "distance", "is missing"),
        (
            {"dataframe_records": [{"distance": "far"}]},
            0,
            "distance",
            "expected `float`, got 'far'",
        ),
        ({"dataframe_records": [{"distance": 5001}]}, 0, "distance", "<= 5000.0, got 5001"),
        ({"dataframe_records": [{"distance": None}]}, 0, "distance", "got `null`"),
        ({"dataframe_records": [{"distance": 1, "carrier": 7}]}, 0, "carrier", "got `int`"),
        (
            {"dataframe_records": [[1, 2, 3]]},
            0,
            None,
            "The model's columns have names: send records",
        ),
        ({"dataframe_records": {}}, None, None, 'must be {"dataframe_records": [{...}, ...]}'),
        ({"dataframe_records": []}, None, None, "no row"),
        ({"instances": DATA}, 0, None, "The model's columns have names"),
        ({"instances": 5}, None, None, "must be columns or records"),
        ({"inputs": {**COLUMNS, "distance": [1]}}, None, "distance", "has 1 values"),
        ({"inputs": {"wind": [1]}}, None, "distance", "is missing"),
        ({"inputs": {"distance": [[1], [2]]}}, 0, "distance", "got `array`"),
        ({"inputs": {}}, None, "distance", "is missing"),
        (
            {"dataframe_split": {"data": DATA}},
            None,
            None,
            "Object missing required field `columns`",
        ),
        (
            {"dataframe_split": {"columns": NAMES, "data": DATA, "x": 1}},
            None,
            None,
            "unknown field `x`",
        ),
        (
            {"dataframe_split": {"columns": NAMES, "data": [[1, 2, 3, 4]]}},
            0,
            None,
            "has 4 values for 3 columns",
        ),
        (
            {"dataframe_split": {"columns": NAMES, "data": DATA, "index": [1]}},
            None,
            None,
            "1 entries for 2 rows",
        ),
        (
            {"dataframe_split": {"columns": ["wind", "wind"], "data": [[1, 2]]}},
            None,
            "wind",
            "appears twice",
        ),
        ({"dataframe_split": {"columns": NAMES, "data": []}}, None, None, "no row"),
        (
            {"dataframe_split": {"columns": ["carrier", "distance"], "data": [["AA", 1], ["AA"]]}},
            1,
            "distance",
            "got `null`",
        ),
        (
            {"dataframe_split": {"columns": ["carrier", "distance", "wind"], "data": [["AA", 1]]}},
            0,
            None,
            "has 2 values for 3 columns",
        ),
        ({"dataframe_records": RECORDS, "inputs": COLUMNS}, None, None, "exactly one of"),
        ({"rows": RECORDS}, None, None, "got none of them"),
        (RECORDS, None, None, "must be a JSON object"),
    ],
)
def test_what_does_not_fit_is_refused_by_row_and_field(
    content: Any, row: int | None, field: str | None, message: str
) -> None:
    error = refusal(content)
    assert (error.row, error.field) == (row, field)
    assert message in str(error) and not isinstance(error, MalformedBody)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"inputs": {"carrier": ["\xff"]}}',
        b'{"inputs": {"carrier": ["\\ud800"], "distance": [NaN]}}',
        b'{"inputs": ' + b"[" * 100_000,
        b'{"inputs": NaN, "x": ' + b"[" * 100_000,
        b'{"inputs": NaN',
        b'{"inputs": NaN, "' + b'\\"' * 100_000,
    ],
)
def test_a_body_that_is_no_json_is_malformed(body: bytes) -> None:
    assert isinstance(refusal(body), MalformedBody)


def test_infinity_is_no_number() -> None:
    assert "instead of Infinity" in str(
        refusal(b'{"dataframe_records": [{"distance": Infinity, "wind": NaN}]}')
    )


def test_a_large_body_with_nan_is_read_and_with_nan_in_its_texts_too_is_refused() -> None:
    row = b'{"distance": 1, "wind": NaN, "carrier": "%s"}'
    body = b'{"dataframe_records": [%s]}'
    long = b"x" * FLOOD_BYTES
    assert read(body % (row % long))[0][2] is None
    assert read(body % (row % b'NaN "NaN'.replace(b'"', b'\\"')))[0][::2] == ('NaN "NaN', None)
    assert "must have null" in str(refusal(body % (row % (long + b"NaN"))))


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": ["distance"], "data": [[1]] * 11}},
        {"dataframe_records": [{"distance": 1}] * 11},
        {"inputs": {"distance": [1] * 11}},
    ],
)
def test_more_rows_than_may_be_asked_are_refused(content: Any) -> None:
    assert len(read(content, max_rows=11)) == 11
    assert "at most 10 rows" in str(refusal(content, max_rows=10))
    assert "at most 10 rows" in str(refusal(b"distance\n" + b"1\n" * 11, "text/csv", 10))


@pytest.mark.parametrize(
    "body",
    [
        b'{"dataframe_records":[' + b"{}," * (FLOOD_BYTES // 3 + 1) + b"{}]}",
        b'{"dataframe_split":{"columns":["distance"],"data":['
        + b"[]," * (FLOOD_BYTES // 3 + 1)
        + b"[]]}}",
        b'{"inputs":{"distance":[' + b"1," * (FLOOD_BYTES // 2 + 1) + b"1]}}",
    ],
)
def test_a_flood_of_rows_is_refused_without_being_decoded(body: bytes) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        assert "at most 100000 rows" in str(refusal(body, max_rows=100_000))
        assert tracemalloc.get_traced_memory()[1] < 3.5 * len(body)
    finally:
        tracemalloc.stop()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*NAMES, "time_hour", "columns", "data", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
SHAPES = st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"])


@given(st.dictionaries(SHAPES, JSON_VALUES, min_size=1, max_size=2))
def test_any_json_is_read_or_refused(content: Any) -> None:
    with suppress(InputError):
        read(json.dumps(content).encode())


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/invocations", "headers": raw})


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=UTF-8", "application/json"),
        ('text/csv;charset="utf-8"', "text/csv"),
        ("", "application/json"),
    ],
)
def test_content_types_that_are_read(content_type: str, kind: str) -> None:
    headers = {"content_type": content_type} if content_type else {}
    assert check_content_type(request(**headers)) == kind


@pytest.mark.parametrize(
    "content_type",
    ["application/xml", "text/csv; charset=latin-1", "application/json; format=pandas-split"],
)
def test_content_types_that_are_not_read_are_refused(content_type: str) -> None:
    with pytest.raises(Refused) as caught:
        check_content_type(request(content_type=content_type))
    assert caught.value.status == 415


def test_the_caller_may_name_the_use_case() -> None:
    assert choose_use_case(request(), "flights") == "flights"
    assert choose_use_case(request(x_laurel_use_case="toy"), "flights") == "toy"
    assert choose_use_case(request(x_amzn_sagemaker_target_model="toy.tar.gz"), "flights") == "toy"


def test_the_answer_has_both_classes_probabilities(tmp_path: Path) -> None:
    write_package(tmp_path)
    scored = Scored(
        Champion.crown("toy", "7", "", model.load(tmp_path)),
        ["a-0", "a-1"],
        [[0.1, 0.75], [False, True]],
        np.zeros((2, 3)),
    )
    assert json.loads(write_answer(scored)) == {"predictions": [[0.9, 0.1], [0.25, 0.75]]}
