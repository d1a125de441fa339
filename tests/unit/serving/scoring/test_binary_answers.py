"""Packages that say a score and a decision are answered and logged to the byte as they were before
answers were made of the manifest's outputs: what stands here was written by the code before that.
"""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.champions.champion import Champion
from serving.edge.answers import json_response
from serving.formats.bodies import ARROW, CSV
from serving.formats.tensors import Inference, Output
from serving.log.segments import line_of
from serving.package.model import Package, load
from serving.routes import inference_protocol, mlflow_protocol
from serving.routes.explain import explain
from serving.scoring.answers import write_answer
from serving.scoring.column_lines import column_line
from serving.scoring.predictions import PredictionIds, Scored, answer_json, predict
from serving.upload.parquet import convert
from tests.fixtures.packages import write_package

ROWS = [
    ("AA", 100.0, 3.0, datetime(2013, 6, 1, 15)),
    ('né, "a"', 2000.0, None, None),
    (None, 0.0, -1.5, datetime(2013, 6, 2)),
]
NOW = 1_795_838_400_000_000_000
BINARY = {"binary_data_output": True}
ANSWERS = {
    "json": (
        b'{"predictions":[{"id":"019aa3f2c1b-4fa2c1-00000000","score":0.5621764659881592,"decis'
        b'ion":true},{"id":"019aa3f2c1b-4fa2c1-00000001","score":0.8175745010375977,"decision":'
        b'true},{"id":"019aa3f2c1b-4fa2c1-00000002","score":0.3600839078426361,"decision":false'
        b'}],"model_version":"3","use_case":"toy"}'
    ),
    "csv": (
        b"id,score,decision,model_version\n019aa3f2c1b-4fa2c1-00000000,0.5621764659881592,true,"
        b"3\n019aa3f2c1b-4fa2c1-00000001,0.8175745010375977,true,3\n019aa3f2c1b-4fa2c1-00000002"
        b",0.3600839078426361,false,3\n"
    ),
    "inference": (
        b'{"model_name":"toy","model_version":"3","id":"q","outputs":[{"name":"score","datatype'
        b'":"FP64","shape":[3],"data":[0.5621764659881592,0.8175745010375977,0.3600839078426361'
        b']},{"name":"decision","datatype":"BOOL","shape":[3],"data":[true,true,false]},{"name"'
        b':"prediction_id","datatype":"BYTES","shape":[3],"data":["019aa3f2c1b-4fa2c1-00000000"'
        b',"019aa3f2c1b-4fa2c1-00000001","019aa3f2c1b-4fa2c1-00000002"]}]}'
    ),
    "inference, binary": (
        b'{"model_name":"toy","model_version":"3","outputs":[{"name":"score","datatype":"FP64",'
        b'"shape":[3],"parameters":{"binary_data_size":24}},{"name":"decision","datatype":"BOOL'
        b'","shape":[3],"parameters":{"binary_data_size":3}},{"name":"prediction_id","datatype"'
        b':"BYTES","shape":[3],"parameters":{"binary_data_size":93}}]}\x00\x00\x00\x80Y\xfd\xe1'
        b"?\x00\x00\x00\x00\x92)\xea?\x00\x00\x00`\x9d\x0b\xd7?\x01\x01\x00\x1b\x00\x00\x00019a"
        b"a3f2c1b-4fa2c1-00000000\x1b\x00\x00\x00019aa3f2c1b-4fa2c1-00000001\x1b\x00\x00\x00019"
        b"aa3f2c1b-4fa2c1-00000002"
    ),
    "inference, chosen": (
        b'{"model_name":"toy","model_version":"3","outputs":[{"name":"decision","datatype":"BOO'
        b'L","shape":[3],"data":[true,true,false]}]}'
    ),
    "mlflow": (
        b'{"predictions":[[0.4378235340118408,0.5621764659881592],[0.18242549896240234,0.817574'
        b"5010375977],[0.6399160921573639,0.3600839078426361]]}"
    ),
    "explanation": (
        b'{"use_case":"toy","score":0.5621764659881592,"decision":true,"base":0.689875483512878'
        b'4,"contributions":[{"field":"distance","value":100.0,"contribution":-0.18803287297487'
        b'26},{"field":"carrier","value":"AA","contribution":0.046299636363983154},{"field":"wi'
        b'nd","value":3.0,"contribution":0.014034219086170197}],"model_version":"3","method":"S'
        b'hapley values: 12 walks from 2 background rows"}'
    ),
}
ROW_LINE = (
    b'{"rows":3,"time":1795838400000000,"request":{"rows":[{"carrier":"AA","distance":100.0'
    b',"wind":3.0,"time_hour":"2013-06-01T15:00:00"},{"carrier":"n\xc3\xa9, \\"a\\"","dista'
    b'nce":2000.0,"wind":null,"time_hour":null},{"carrier":null,"distance":0.0,"wind":-1.5,'
    b'"time_hour":"2013-06-02T00:00:00"}]},"answer":{"predictions":[{"id":"019aa3f2c1b-4fa2'
    b'c1-00000000","score":0.5621764659881592,"decision":true},{"id":"019aa3f2c1b-4fa2c1-00'
    b'000001","score":0.8175745010375977,"decision":true},{"id":"019aa3f2c1b-4fa2c1-0000000'
    b'2","score":0.3600839078426361,"decision":false}],"model_version":"3","use_case":"toy"'
    b"}}\n"
)
COLUMN_LINE = (
    b'{"rows":3,"time":1795838400000000,"numbers":"AAAAAAAAWUAAAAAAAECfQAAAAAAAAAAAAAAAAAAA'
    b'CEAAAAAAAAD4fwAAAAAAAPi/","texts":{"carrier":["AA","n\xc3\xa9, \\"a\\"",null]},"event'
    b'_time":["2013-06-01T15:00:00",null,"2013-06-02T00:00:00"],"predictions":{"id":["019aa'
    b'3f2c1b-4fa2c1-00000000","019aa3f2c1b-4fa2c1-00000001","019aa3f2c1b-4fa2c1-00000002"],'
    b'"score":[0.5621764659881592,0.8175745010375977,0.3600839078426361],"decision":[true,t'
    b'rue,false]},"model_version":["3"]}\n'
)


class NumberedIds(PredictionIds):
    def take(self, rows: int) -> list[str]:
        return [f"019aa3f2c1b-4fa2c1-{number:08x}" for number in range(rows)]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    folder = tmp_path_factory.mktemp("package")
    digest = write_package(folder)
    champion = Champion.crown("toy", "3", digest, load(folder, digest))
    return predict(champion, ROWS, NumberedIds(), Package.score)


def infer(scored: Scored, inference: Inference) -> bytes:
    return inference_protocol.write_answer(scored, "toy", inference)[0]


WRITE = {
    "json": answer_json,
    "csv": lambda scored: write_answer(scored, CSV),
    "inference": lambda scored: infer(scored, Inference([], id="q")),
    "inference, binary": lambda scored: infer(scored, Inference([], parameters=BINARY)),
    "inference, chosen": lambda scored: infer(scored, Inference([], [Output("decision")])),
    "mlflow": mlflow_protocol.write_answer,
    "explanation": lambda scored: json_response(explain(scored.champion, ROWS[0]).content).body,
}


@pytest.mark.parametrize("form", ANSWERS)
def test_every_form_of_an_answer_is_what_it_was(scored: Scored, form: str) -> None:
    assert WRITE[form](scored) == ANSWERS[form]


def test_an_arrow_answer_has_its_columns_and_types(scored: Scored) -> None:
    table = pa.ipc.open_stream(write_answer(scored, ARROW)).read_all()
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("id", "string"),
        ("score", "double"),
        ("decision", "bool"),
        ("model_version", "string"),
    ]
    assert table.to_pydict() == {
        "id": NumberedIds().take(3),
        "score": scored.values[0],
        "decision": [True, True, False],
        "model_version": ["3"] * 3,
    }


def lines(scored: Scored) -> dict[bytes, bytes]:
    """A line by row and one by column, by the header of its segment."""
    names = ("carrier", "distance", "wind", "time_hour")
    request = msgspec.json.encode({"rows": [dict(zip(names, row, strict=True)) for row in ROWS]})
    by_row = line_of(request, answer_json(scored), 3)
    champion = scored.champion
    return {champion.log_header: by_row, champion.column_header: column_line(scored, ROWS)}


def test_lines_of_the_log_are_what_they_were(
    scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    assert list(lines(scored).values()) == [ROW_LINE, COLUMN_LINE]


def rows_in_lake(scored: Scored, folder: Path, header: bytes, line: bytes) -> dict[str, list[Any]]:
    path = folder / "a-000001.jsonl"
    path.write_bytes(header + b"\n" + line)
    files = convert(path).files
    return {key: pq.read_table(pa.BufferReader(data)).to_pylist() for key, data in files.items()}


def test_the_lake_has_the_columns_that_it_had_and_the_role(
    scored: Scored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    by_row, by_column = (
        rows_in_lake(scored, tmp_path, header, line) for header, line in lines(scored).items()
    )
    assert by_row == by_column
    (row,) = by_row["predictions/toy/date=2013-06-01/a-000001.parquet"]
    assert {**row, "time": None} == {
        "id": "019aa3f2c1b-4fa2c1-00000000",
        "time": None,
        "event_time": datetime(2013, 6, 1, 15),
        "carrier": "AA",
        "distance": 100.0,
        "wind": 3.0,
        "score": 0.5621764659881592,
        "decision": True,
        "model_version": "3",
        "sample_rate": 1.0,
        "role": "champion",
        "caller_hash": None,
    }


def test_a_segment_from_before_its_header_had_outputs_and_role_is_still_carried(
    scored: Scored, tmp_path: Path
) -> None:
    for header, line in lines(scored).items():
        older = msgspec.json.decode(header)
        del older["outputs"], older["role"]
        now = rows_in_lake(scored, tmp_path, header, line)
        assert rows_in_lake(scored, tmp_path, msgspec.json.encode(older), line) == now
