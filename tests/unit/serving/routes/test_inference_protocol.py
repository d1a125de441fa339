"""Tensors as the protocol's own client writes them, and bodies that lie; the routes are in
tests/integration/test_inference_protocol.py.
"""

import json
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from serving.champions.champion import Champion
from serving.errors import InputError, MalformedBody, Refused
from serving.formats.columns import columns_of
from serving.formats.rows import CheckedRows, RowReader
from serving.formats.tensors import read_inference, read_tensors
from serving.package import model
from serving.package.manifest import Feature
from serving.routes.inference_protocol import (
    check_version,
    describe_model,
    head_length,
    write_answer,
)
from serving.scoring.predictions import Scored
from tests.fixtures.packages import EVENT_TIME, FEATURES, write_package

READER = RowReader(FEATURES, EVENT_TIME, "float32")
COLUMNS = {
    "distance": np.array([100.5, 2.0, 5000.0]),
    "wind": np.array([1.0, np.nan, -1.5], "float32"),
    "carrier": np.array(["AA", "né", ""], object),
    "time_hour": np.array(["2013-06-01T15:00:00", "", ""], object),
}
ROWS = [
    ("AA", 100.5, 1.0, datetime(2013, 6, 1, 15)),
    ("né", 2.0, None, None),
    (None, 5000.0, -1.5, None),
]
TYPES = {
    "float64": "FP64",
    "float32": "FP32",
    "float16": "FP16",
    "object": "BYTES",
    "int8": "INT8",
    "uint64": "UINT64",
}
MAX_ROWS = 1000


def tensor(name: str, values: np.ndarray, binary: bool = True, column: bool = False) -> InferInput:
    values = values.reshape(-1, 1) if column else values
    infer_input = InferInput(name, list(values.shape), TYPES[str(values.dtype)])
    return infer_input.set_data_from_numpy(values, binary_data=binary)


OUTPUTS = ("score", "decision", "prediction_id")


def write(*inputs: InferInput, **more: Any) -> tuple[bytes, int | None]:
    return InferenceServerClient.generate_request_body(list(inputs), **more)


def read(body: bytes, length: int | None = None, max_rows: int = MAX_ROWS) -> CheckedRows:
    size = len(body) if length is None else length
    return read_tensors(
        columns_of(READER), read_inference(body[:size], OUTPUTS), memoryview(body)[size:], max_rows
    )


def by_hand(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def refusal(body: bytes, length: int | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        read(body, length)
    return caught.value


DISTANCE = {"name": "distance", "shape": [2], "datatype": "FP64", "data": [1, 2.5]}


@pytest.mark.parametrize("column", [False, True])
def test_binary_tensors_of_the_real_client_are_rows(column: bool) -> None:
    batch = read(*write(*[tensor(name, values, column=column) for name, values in COLUMNS.items()]))
    assert batch.rows == ROWS
    assert READER.read(batch.json) == ROWS


@pytest.mark.parametrize("column", [False, True])
def test_json_tensors_are_rows(column: bool) -> None:
    values = {
        name: [row[i] for row in ROWS] for i, name in enumerate(["carrier", "distance", "wind"])
    }
    kinds = {"carrier": "BYTES", "distance": "FP64", "wind": "FP32"}
    inputs = [
        {
            "name": name,
            "datatype": kinds[name],
            "shape": [3, 1] if column else [3],
            "data": [[value] for value in data] if column else data,
        }
        for name, data in values.items()
    ]
    times = {
        "name": "time_hour",
        "datatype": "BYTES",
        "shape": [3],
        "data": ["2013-06-01T15:00:00", None, None],
    }
    assert read(by_hand(*inputs, times, id="a", parameters={"x": 1})).rows == ROWS


def test_json_and_binary_tensors_may_come_together() -> None:
    inputs = [tensor(name, values, binary=name != "distance") for name, values in COLUMNS.items()]
    assert read(*write(*inputs)).rows == ROWS


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "uint64"])
def test_numbers_come_as_any_numeric_type(dtype: str) -> None:
    assert [row[1] for row in read(*write(tensor("distance", np.array([1, 100], dtype)))).rows] == [
        1.0,
        100.0,
    ]


def test_an_empty_text_stays_one_where_a_category_has_no_null() -> None:
    required = RowReader([Feature("carrier", "category", nullable=False)], EVENT_TIME)
    body, length = write(tensor("carrier", np.array(["", "AA"], object)))
    batch = read_tensors(
        columns_of(required),
        read_inference(body[:length], OUTPUTS),
        memoryview(body)[length:],
        MAX_ROWS,
    )
    assert batch.rows == [("", None), ("AA", None)]


@pytest.mark.parametrize(
    ("values", "row", "message"),
    [
        (np.array([1.0, 5000.1]), 1, "expected `float` <= 5000.0, got 5000.1"),
        (np.array([1.0, np.nan]), 1, "expected a finite number, got nan"),
        (np.array([-np.inf, 1.0]), 0, "got -inf"),
    ],
)
def test_a_wrong_value_is_refused_by_row_and_field(
    values: np.ndarray, row: int, message: str
) -> None:
    error = refusal(*write(tensor("distance", values)))
    assert (error.row, error.field) == (row, "distance") and message in str(error)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "speed"}, "Tensor 'speed' is not a known feature"),
        ({"name": "wind"}, "Field 'distance' is missing"),
        ({"datatype": "BYTES"}, "expected datatype FP16, FP32, FP64"),
        ({"datatype": "BOOL"}, "got 'BOOL'"),
        ({"datatype": "fp64"}, "got 'fp64'"),
        ({"shape": [3]}, "its shape declares 3 values"),
        ({"shape": [1]}, "its shape declares 1 values"),
        ({"shape": [10**12]}, "at most 1000 rows"),
        ({"shape": [10**30]}, "at most 1000 rows"),
        ({"shape": [-2]}, "expected shape [n] or [n, 1], got [-2]"),
        ({"shape": [2, 2]}, "expected shape"),
        ({"shape": [1, 2]}, "expected shape"),
        ({"shape": [2, 1, 1]}, "expected shape"),
        ({"shape": []}, "expected shape"),
        ({"shape": [0], "data": []}, "no row"),
        ({"shape": [1.5]}, "does not follow the Open Inference Protocol"),
        ({"shape": 2}, "does not follow the Open Inference Protocol"),
        ({"data": 5, "shape": [1]}, "data must be a list"),
        ({"data": {"a,": 1}}, "data must be a list"),
        ({"data": [1, "far"]}, "expected `float`, got 'far'"),
        ({"data": [1, None]}, "got `null`"),
        ({"data": [[1], [2, 3]]}, "a different number"),
        ({"data": [[1], []]}, "data must be a list of values: Expected `array` of length >= 1"),
        ({"data": [1, [2]]}, "data must be a list of values"),
        ({"data": [[[1]], 2]}, "data must be a list"),
        ({"data": [True, 1]}, "got `bool`"),
        ({"parameters": {"binary_data_size": 16}}, "has both data and binary data"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    assert message in str(refusal(by_hand(DISTANCE | changed)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (by_hand(DISTANCE, DISTANCE), "appears twice"),
        (
            by_hand(
                {"name": "carrier", "shape": [2], "datatype": "FP64", "data": [1, 2]}, DISTANCE
            ),
            "expected datatype BYTES",
        ),
        (by_hand({"name": "distance", "shape": [1], "datatype": "FP64"}), "has no data"),
        (by_hand(), "is missing"),
        (
            by_hand(DISTANCE, {"name": "wind", "shape": [1], "datatype": "FP64", "data": [1]}),
            "Field 'wind' has 1 values",
        ),
        (
            by_hand(DISTANCE, outputs=[{"name": "label"}]),
            "Output 'label' is unknown; the outputs are score, decision, prediction_id",
        ),
        (
            by_hand(DISTANCE, outputs=[{"name": "score", "parameters": {"classification": 2}}]),
            "not supported",
        ),
        (
            by_hand(
                DISTANCE, outputs=[{"name": "score", "parameters": {"shared_memory_region": "a"}}]
            ),
            "not supported",
        ),
        (b"[]", "does not follow the Open Inference Protocol"),
        (b'{"inputs": 5}', "does not follow the Open Inference Protocol"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(body: bytes, message: str) -> None:
    error = refusal(body)
    assert message in str(error) and not isinstance(error, MalformedBody)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"inputs": [{"name": "\xff"}]}',
        b'{"inputs": ' + b"[" * 100_000,
        b'{"inputs": [NaN]}',
    ],
)
def test_a_request_that_is_no_json_is_malformed(body: bytes) -> None:
    error = refusal(body)
    assert isinstance(error, MalformedBody) or "does not follow" in str(error)


def binary(
    size: Any,
    tail: bytes,
    datatype: str = "FP64",
    shape: list[int] | None = None,
    name: str = "distance",
) -> tuple[bytes, int]:
    head = by_hand(
        {
            "name": name,
            "shape": shape or [2],
            "datatype": datatype,
            "parameters": {"binary_data_size": size},
        }
    )
    return head + tail, len(head)


TWO = struct.pack("<2d", 1, 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (binary(17, TWO), "binary_data_size is 17, but 16 bytes are left"),
        (binary(10**18, TWO), "16 bytes are left"),
        (binary(-1, TWO), "binary_data_size is -1"),
        (binary("16", TWO), "binary_data_size is '16'"),
        (binary(True, TWO), "binary_data_size is True"),
        (binary(None, TWO), "binary_data_size is None"),
        (binary(8, TWO), "2 values of FP64 have 16 bytes, got 8"),
        (binary(16, TWO + b"x"), "1 bytes at the end of the body belong to no tensor"),
        (binary(16, TWO, "FP32"), "2 values of FP32 have 8 bytes, got 16"),
        (binary(16, TWO, shape=[1]), "1 values of FP64 have 8 bytes"),
        (binary(6, b"\1\0\0\0ax", "BYTES", [1], "carrier"), "the text of row 1 is cut off"),
        (binary(5, b"\2\0\0\0a", "BYTES", [1], "carrier"), "the text of row 0 is cut off"),
        (binary(6, b"\xff\xff\xff\xffaa", "BYTES", [1], "carrier"), "the text of row 0 is cut off"),
        (binary(3, b"\1\0\0", "BYTES", [1], "carrier"), "the text of row 0 is cut off"),
        (binary(5, b"\1\0\0\0\xff", "BYTES", [1], "carrier"), "the text of row 0 is not UTF-8"),
        (binary(8, b"\0" * 8, "BYTES", [1], "carrier"), "its shape declares 1 values"),
        (binary(4, b"\0" * 4, "BYTES", [2], "carrier"), "its shape declares 2 values"),
    ],
)
def test_binary_tensors_that_lie_about_their_size_are_refused(
    body: tuple[bytes, int], message: str
) -> None:
    assert message in str(refusal(*body))


def test_more_values_than_declared_are_found_before_they_are_decoded() -> None:
    import tracemalloc

    body = (
        b'{"inputs":[{"name":"distance","datatype":"FP64","shape":[2],"data":['
        + b"1," * 1_000_000
        + b"1]}]}"
    )
    tracemalloc.start()
    try:
        assert "its shape declares 2 values" in str(refusal(body))
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body)
    finally:
        tracemalloc.stop()


BODY, LENGTH = write(*[tensor(name, values) for name, values in COLUMNS.items()])


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 2000),
    st.integers(-8, 8),
)
def test_a_damaged_request_is_read_or_refused_and_nothing_else(
    changes: list[tuple[int, int]], cut: int, moved: int
) -> None:
    body = bytearray(BODY)
    for at, value in changes:
        body[at % len(body)] = value
    if cut < len(body):
        del body[cut:]
    try:
        length = head_length(str((LENGTH or 0) + moved), len(body))
        read(bytes(body), length)
    except InputError as error:
        assert len(str(error)) < 800


@pytest.mark.parametrize("header", ["-1", "1.5", "x", "", "11", "²", "9" * 30, " 1"])
def test_a_length_of_the_json_that_cannot_be_is_refused(header: str) -> None:
    with pytest.raises(InputError, match="Inference-Header-Content-Length"):
        head_length(header, 10)


def test_the_length_of_the_json_is_the_header_s_or_the_body_s() -> None:
    assert (head_length(None, 10), head_length("0", 10), head_length("10", 10)) == (10, 0, 10)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    folder: Path = tmp_path_factory.mktemp("package")
    write_package(folder)
    return Scored(
        Champion.crown("toy", "7", "", model.load(folder)),
        ["a-0", "a-1"],
        [[0.1, 0.75], [False, True]],
        np.zeros((2, 3)),
    )


ONE = tensor("distance", np.array([1.0]))


@pytest.mark.parametrize(
    "outputs",
    [
        None,
        [
            InferRequestedOutput(name, binary_data=True)
            for name in ("score", "decision", "prediction_id")
        ],
        [
            InferRequestedOutput(name, binary_data=False)
            for name in ("prediction_id", "decision", "score")
        ],
        [
            InferRequestedOutput("score"),
            InferRequestedOutput("prediction_id", binary_data=False),
            InferRequestedOutput("decision"),
        ],
    ],
)
def test_the_real_client_reads_the_answer(
    scored: Scored, outputs: list[InferRequestedOutput] | None
) -> None:
    body, length = write(ONE, outputs=outputs, request_id="q1")
    answer, head = write_answer(scored, "toy", read_inference(body[:length], OUTPUTS))
    result = InferResult.from_response_body(answer, header_length=head)
    assert result.as_numpy("score").tolist() == [0.1, 0.75]
    assert result.as_numpy("decision").tolist() == [False, True]
    assert [
        str(item.decode() if isinstance(item, bytes) else item)
        for item in result.as_numpy("prediction_id")
    ] == ["a-0", "a-1"]
    description = result.get_response()
    assert (description["model_name"], description["model_version"], description["id"]) == (
        "toy",
        "7",
        "q1",
    )
    if outputs:
        assert [output["name"] for output in description["outputs"]] == [
            output.name() for output in outputs
        ]


def test_an_answer_is_json_unless_binary_is_asked_for(scored: Scored) -> None:
    answer, head = write_answer(
        scored, "toy", read_inference(by_hand(DISTANCE, outputs=[{"name": "score"}]), OUTPUTS)
    )
    assert head is None
    assert json.loads(answer) == {
        "model_name": "toy",
        "model_version": "7",
        "outputs": [{"name": "score", "datatype": "FP64", "shape": [2], "data": [0.1, 0.75]}],
    }


def test_a_model_is_described_by_its_tensors(scored: Scored) -> None:
    description = describe_model(scored.champion, "toy")
    assert (description["name"], description["versions"]) == ("toy", ["7"])
    assert {
        (item["name"], item["datatype"], item["parameters"]["optional"])
        for item in description["inputs"]
    } == {
        ("carrier", "BYTES", True),
        ("distance", "FP64", False),
        ("wind", "FP64", True),
        ("time_hour", "BYTES", True),
    }
    assert {item["name"]: item["datatype"] for item in description["outputs"]} == {
        "score": "FP64",
        "decision": "BOOL",
        "prediction_id": "BYTES",
    }


def test_only_the_champion_s_version_is_there(scored: Scored) -> None:
    check_version(scored.champion, "toy", None)
    check_version(scored.champion, "toy", "7")
    with pytest.raises(Refused, match="Model 'toy' has version '7' here, not '8'") as caught:
        check_version(scored.champion, "toy", "8")
    assert caught.value.status == 404
