"""A set of classes in every form of an answer, whatever the classes are called."""

import csv
import io
import json
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from serving.edge.openapi import prediction_schema
from serving.formats.outputs import AnswerForm
from serving.package.outputs import Output
from tasks.log.columns import _conformed, _kind_of

NAMES = ["calm", "a,b", "c'd", "한국 [x]", "e|f;g"]
OUTPUTS = [
    Output("class", "category", categories=NAMES),
    *(Output(f"score_{name}", "number", 0.0, 1.0) for name in NAMES),
    Output("class_set", "set", categories=NAMES, least=0.1),
]
SETS = [["calm"], NAMES, ["c'd", "e|f;g"]]
VALUES: list[list[Any]] = [["calm", "a,b", "c'd"], *[[0.2] * 3 for _ in NAMES], SETS]
IDS = ["1", "2", "3"]


@pytest.fixture(scope="module")
def form() -> AnswerForm:
    return AnswerForm(OUTPUTS)


def test_json_has_a_list(form: AnswerForm) -> None:
    rows = [form.prediction(*row) for row in zip(IDS, *VALUES, strict=True)]
    decoded = json.loads(msgspec.json.encode(rows))
    assert [row["class_set"] for row in decoded] == SETS


def test_csv_has_the_list_as_json_in_one_cell(form: AnswerForm) -> None:
    rows = list(csv.DictReader(io.StringIO(form.csv(IDS, VALUES, "7").decode())))
    assert [json.loads(row["class_set"]) for row in rows] == SETS
    assert [row["model_version"] for row in rows] == ["7"] * 3


def test_arrow_and_the_lake_have_a_list_of_texts(form: AnswerForm) -> None:
    table = pa.ipc.open_stream(form.arrow(IDS, VALUES, "7")).read_all()
    assert table.schema.field("class_set").type == pa.list_(pa.string())
    assert table["class_set"].to_pylist() == SETS
    (chunk,) = table["class_set"].chunks
    assert _kind_of(chunk.type) == "texts" and _conformed(chunk, "texts").equals(chunk)
    assert _conformed(pa.array([1, 2]), "texts").null_count == 2


def test_tensors_have_the_list_as_json(form: AnswerForm) -> None:
    assert form.tensors["class_set"] == "BYTES"
    assert [json.loads(text) for text in form.flat(VALUES)[-1]] == SETS
    assert form.flat(VALUES)[:-1] == VALUES[:-1]


def test_schema_of_the_answer_names_the_classes() -> None:
    schema = prediction_schema(OUTPUTS)["properties"]["class_set"]
    assert schema == {"type": "array", "items": {"type": "string", "enum": NAMES}}
