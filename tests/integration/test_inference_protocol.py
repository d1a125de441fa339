"""The Open Inference Protocol against the real service, spoken by Triton's own client, and by
callers who lie.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests.fixtures.packages import expected_score
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.toy_services import toy_service

ROWS: list[dict[str, Any]] = [
    {"carrier": "AA", "distance": 800.0, "wind": 3.0},
    {"carrier": "unheard of", "distance": 100.5, "wind": None},
    {"carrier": None, "distance": 5000.0, "wind": -2.5},
]
SCORES = [expected_score(row, bias=1.0) for row in ROWS]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with toy_service(tmp_path_factory.mktemp("inference"), version=4) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: ServiceProcess) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        yield client


def tensors(binary: bool, rows: list[dict[str, Any]] = ROWS) -> list[InferInput]:
    values = {
        "distance": np.array([row["distance"] for row in rows]),
        "wind": np.array(
            [np.nan if row["wind"] is None else row["wind"] for row in rows], "float32"
        ),
        "carrier": np.array([row["carrier"] or "" for row in rows], object),
    }
    if not binary:  # the client cannot write null as JSON
        values.pop("wind")
    kinds = {"distance": "FP64", "wind": "FP32", "carrier": "BYTES"}
    return [
        InferInput(name, [len(rows)], kinds[name]).set_data_from_numpy(array, binary_data=binary)
        for name, array in values.items()
    ]


def test_the_client_sees_server_and_model(client: InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("toy") and client.is_model_ready("toy", "4")
    assert not client.is_model_ready("toy", "3") and not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    for version in ("", "4"):
        said = client.get_model_metadata("toy", version)
        assert said["versions"] == ["4"]
        assert {one["name"] for one in said["inputs"]} == {
            "carrier",
            "distance",
            "wind",
            "time_hour",
        }
        assert [one["name"] for one in said["outputs"]] == ["score", "decision", "prediction_id"]


@pytest.mark.parametrize("version", ["", "4"])
@pytest.mark.parametrize("outputs", [None, True, False])
def test_binary_tensors_are_scored(
    client: InferenceServerClient, version: str, outputs: bool | None
) -> None:
    names = ("score", "decision", "prediction_id")
    asked = (
        None
        if outputs is None
        else [InferRequestedOutput(name, binary_data=outputs) for name in names]
    )
    result = client.infer(
        "toy", tensors(binary=True), model_version=version, outputs=asked, request_id="q 1"
    )
    assert result.as_numpy("score").tolist() == pytest.approx(SCORES, rel=1e-5)
    assert result.as_numpy("decision").tolist() == [score >= 0.5 for score in SCORES]
    assert len(set(result.as_numpy("prediction_id").tolist())) == 3
    said = result.get_response()
    assert (said["model_name"], said["model_version"], said["id"]) == ("toy", "4", "q 1")


def test_json_tensors_are_scored(client: InferenceServerClient) -> None:
    result = client.infer(
        "toy", tensors(binary=False), outputs=[InferRequestedOutput("score", binary_data=False)]
    )
    expected = [expected_score({**row, "wind": None}, bias=1.0) for row in ROWS]
    assert result.as_numpy("score").tolist() == pytest.approx(expected, rel=1e-5)
    assert result.as_numpy("decision") is None


def test_many_rows_are_scored_in_order(client: InferenceServerClient) -> None:
    rows = [{"carrier": "UA", "distance": float(number), "wind": 1.0} for number in range(5000)]
    scores = client.infer("toy", tensors(True, rows)).as_numpy("score")
    assert np.all(np.diff(scores) >= 0) and len(set(scores.tolist())) > 2000


def test_plain_json_without_any_header_of_the_protocol_is_scored(service: ServiceProcess) -> None:
    inputs = [
        {"name": name, "datatype": kind, "shape": [3, 1], "data": [[row[name]] for row in ROWS]}
        for name, kind in (("carrier", "BYTES"), ("distance", "FP64"), ("wind", "FP64"))
    ]
    answer = service.client.post("/v2/models/toy/infer", json={"inputs": inputs})
    assert answer.status_code == 200
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    assert outputs["score"] == pytest.approx(SCORES, rel=1e-5)
    assert outputs.keys() == {"score", "decision", "prediction_id"}


def test_the_real_client_is_told_what_is_wrong(client: InferenceServerClient) -> None:
    row = {"carrier": "AA", "distance": 5001.0, "wind": 0.0}
    for asked, told, status in (
        (
            lambda: client.infer("toy", tensors(True, [ROWS[0], row])),
            "Row 1, field 'distance': expected `float` <= 5000.0, got 5001.0.",
            400,
        ),
        (lambda: client.infer("toy", tensors(True)[1:]), "Field 'distance' is missing.", 400),
        (
            lambda: client.infer("toy", tensors(True), outputs=[InferRequestedOutput("label")]),
            "Output 'label' is unknown",
            400,
        ),
        (
            lambda: client.infer("toy", tensors(True), model_version="3"),
            "Model 'toy' has version '4' here, not '3'.",
            404,
        ),
        (
            lambda: client.infer("other", tensors(True)),
            "Unknown use case 'other'. Served here: toy.",
            404,
        ),
        (
            lambda: client.get_model_metadata("toy", "3"),
            "Model 'toy' has version '4' here, not '3'.",
            404,
        ),
        (
            lambda: client.infer("toy", tensors(True), request_compression_algorithm="deflate"),
            "send gzip, or an uncompressed body",
            415,
        ),
    ):
        with pytest.raises(InferenceServerException) as caught:
            asked()
        assert told in caught.value.message() and caught.value.status() == str(status)


DISTANCE = {"name": "distance", "shape": [1], "datatype": "FP64", "data": [1]}
BINARY = {
    "name": "distance",
    "shape": [1],
    "datatype": "FP64",
    "parameters": {"binary_data_size": 8},
}


@pytest.mark.parametrize(
    ("inputs", "tail", "length"),
    [
        ([DISTANCE], b"", -1),
        ([DISTANCE], b"", 10**9),
        ([DISTANCE], b"12345678", None),
        ([BINARY], b"1234567", 0),
        ([BINARY], b"123456789", 0),
        ([BINARY | {"parameters": {"binary_data_size": 2**62}}], b"12345678", 0),
        ([BINARY | {"shape": [2**62]}], b"12345678", 0),
        ([DISTANCE | {"shape": [2**40]}], b"", None),
        ([DISTANCE | {"shape": [1] * 1000}], b"", None),
        ([DISTANCE | {"datatype": "BYTES"}], b"", None),
        ([DISTANCE | {"data": [[[[1]]]]}], b"", None),
        (
            [
                {
                    "name": "carrier",
                    "shape": [1],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": 8},
                }
            ],
            b"\xff\xff\xff\x7f1234",
            0,
        ),
        ([], b"", None),
        ("x", b"", None),
    ],
)
def test_a_request_that_lies_is_refused(
    service: ServiceProcess, inputs: Any, tail: bytes, length: int | None
) -> None:
    """``length`` is what the header says; 0 stands for the truth."""
    head = json.dumps({"inputs": inputs}).encode()
    headers = (
        {} if length is None else {"Inference-Header-Content-Length": str(length or len(head))}
    )
    answer = service.client.post("/v2/models/toy/infer", content=head + tail, headers=headers)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"] and isinstance(answer.json()["error"], str)


def test_another_content_type_is_refused(service: ServiceProcess) -> None:
    answer = service.client.post(
        "/v2/models/toy/infer", content=b"<a/>", headers={"content-type": "application/xml"}
    )
    assert answer.status_code == 415 and "application/octet-stream" in answer.json()["error"]


def test_rows_reach_the_prediction_log_as_all_others_do(
    service: ServiceProcess, client: InferenceServerClient
) -> None:
    time = InferInput("time_hour", [1], "BYTES").set_data_from_numpy(
        np.array(["2013-06-01T15:00:00"], object)
    )
    row = {"carrier": "UA", "distance": 1234.5, "wind": None}
    said = client.infer("toy", [*tensors(True, [row]), time])
    service.wait_until_uploaded()
    (kept,) = [logged for logged in service.in_lake("predictions") if logged["distance"] == 1234.5]
    assert {name: kept[name] for name in row} == row
    assert kept["event_time"].isoformat() == "2013-06-01T15:00:00"
    assert kept["id"] == said.as_numpy("prediction_id")[0].decode()


def test_without_a_champion_the_server_lives_and_is_not_ready(tmp_path: Path) -> None:
    with (
        ServiceProcess(tmp_path, "http://127.0.0.1:1") as service,
        InferenceServerClient(f"127.0.0.1:{service.port}") as client,
    ):
        assert client.is_server_live()
        assert not client.is_server_ready() and not client.is_model_ready("toy")
        with pytest.raises(InferenceServerException, match="No champion for 'toy'") as caught:
            client.infer("toy", tensors(True))
        assert caught.value.status() == "503"
        wait_until(
            lambda: service.client.get("/v2/models/toy").status_code == 503,
            "the metadata wait for the champion",
        )
