"""A package of another kind than score and decision is answered, logged and read back by the
outputs that its manifest names, in every form.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pytest

from blocks.lake import Lake
from serving.champions.champion import Champion
from serving.edge.openapi import prediction_schema
from serving.errors import InputError, PackageError
from serving.formats.bodies import ARROW, CSV, JSON, read_rows
from serving.formats.rows import CheckedRows
from serving.formats.tensors import Inference, read_inference
from serving.log.prediction_log import PredictionLog
from serving.metrics.counters import Metrics
from serving.outside.lake import FolderLake
from serving.package.manifest import Smoke
from serving.package.model import Package, load
from serving.package.outputs import Output
from serving.routes import inference_protocol, mlflow_protocol
from serving.routes.explain import explain
from serving.scoring.answers import write_answer
from serving.scoring.predictions import PredictionIds, Scored, predict
from serving.scoring.scorer import Scorer
from serving.upload.carrier import Receipt, carry
from serving.upload.uploader import Uploader
from tasks.log.windows import Window, read_window
from tests.fixtures.packages import (
    OUTPUTS,
    PackageKind,
    classes_kind,
    expected_classes,
    value_kind,
    write_package,
)
from usecases import definition
from usecases.definition import Column, DriftPolicy, Promotion, UseCase

ROWS = [
    ("AA", 100.0, 3.0, datetime(2013, 6, 1, 15)),
    ('né, "a"', 2000.0, None, datetime(2013, 6, 1)),
    ("UA", 0.0, -1.5, datetime(2013, 6, 2)),
    (None, 5.0, 0.0, datetime(2013, 6, 2)),
]
NAMES = ("carrier", "distance", "wind", "time_hour")
KINDS: dict[str, Callable[[], PackageKind]] = {"value": value_kind, "classes": classes_kind}
WANTED: dict[str, list[dict[str, Any]]] = {
    "value": [{"value": value} for value in (997.0, 20000.0, 1.5, 50.0)],
    "classes": [expected_classes(carrier) for carrier, *_ in ROWS],
}


class InProcess:
    """Uploads segments as the separate process does, in this one."""

    def __init__(self, folder: Path) -> None:
        self._lake = FolderLake(folder)

    def carry(self, path: Path, patience_seconds: float | None = None) -> Receipt:
        return carry(path, self._lake, durable=False)

    def rest(self, *, now: bool = False) -> None: ...


class Other(UseCase):
    """A use case whose models have other outputs than a score and a decision."""

    @property
    def outputs(self) -> tuple[definition.Output, ...]:
        kind = KINDS[self.title]()
        return tuple(
            definition.Output(
                name=output.name,
                kind=output.kind,  # type: ignore[arg-type]
                categories=tuple(output.categories or ()),
            )
            for output in kind.outputs
        )


def other_case(name: str) -> UseCase:
    case = definition.load("toy")
    columns = [Column(name="carrier", kind="category", nullable=True)]
    columns += [Column(name=name, kind="number", nullable=True) for name in ("distance", "wind")]
    changed = {"title": name, "columns": tuple(columns), "event_time": "time_hour"}
    policies = {"drift": DriftPolicy(), "promotion": Promotion(), "behaviours": (), "key": ("id",)}
    parts = {field: getattr(case, field) for field in UseCase.model_fields}
    return Other(**parts | changed | policies)


def crown(folder: Path, kind: PackageKind | None = None, role: str = "champion") -> Champion:
    digest = write_package(folder, kind=kind)
    return Champion.crown("toy", "3", digest, load(folder, digest), role)


def approx(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            name: pytest.approx(value, rel=1e-4, abs=1e-7) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
    ]


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def expected_rows(name: str) -> list[dict[str, Any]]:
    return approx(WANTED[name])


@pytest.fixture
def champion(name: str, tmp_path: Path) -> Champion:
    return crown(tmp_path / "package", KINDS[name]())


@pytest.fixture
def scored(champion: Champion) -> Scored:
    return predict(champion, ROWS, PredictionIds(), Package.score)


def test_the_native_answer_has_the_outputs_of_each_row_in_json_csv_and_arrow(
    scored: Scored, expected_rows: list[dict[str, Any]]
) -> None:
    names = scored.champion.form.names
    answer = json.loads(write_answer(scored, JSON))
    assert [list(row) for row in answer["predictions"]] == [["id", *names]] * 4
    assert [{n: row[n] for n in names} for row in answer["predictions"]] == expected_rows
    table = pa.ipc.open_stream(write_answer(scored, ARROW)).read_all()
    assert table.column_names == ["id", *names, "model_version"]
    assert table.select(names).to_pylist() == expected_rows
    frame = pl.read_csv(write_answer(scored, CSV))
    assert frame.columns == ["id", *names, "model_version"]
    assert (
        frame.select(names).cast({n: pl.Float64 for n in names if n != "class"}).to_dicts()
        == expected_rows
    )


def test_the_inference_protocol_has_a_tensor_for_each_output(
    scored: Scored, expected_rows: list[dict[str, Any]]
) -> None:
    form = scored.champion.form
    model = inference_protocol.describe_model(scored.champion, "toy")
    assert [output["name"] for output in model["outputs"]] == [*form.names, "prediction_id"]
    answer, head = inference_protocol.write_answer(scored, "toy", Inference([]))
    tensors = {tensor["name"]: tensor for tensor in json.loads(answer)["outputs"]}
    assert head is None and [tensors[n]["shape"] for n in form.names] == [[4]] * len(form.names)
    rows = zip(*(tensors[n]["data"] for n in form.names), strict=True)
    assert [dict(zip(form.names, row, strict=True)) for row in rows] == expected_rows
    with pytest.raises(InputError, match=f"'score' is unknown; the outputs are {form.names[0]}"):
        read_inference(b'{"inputs":[],"outputs":[{"name":"score"}]}', form.tensors)


def test_binary_tensors_hold_the_names_of_classes(tmp_path: Path) -> None:
    scored = predict(crown(tmp_path, classes_kind()), ROWS[:1], PredictionIds(), Package.score)
    inference = Inference([], parameters={"binary_data_output": True})
    answer, head = inference_protocol.write_answer(scored, "toy", inference)
    assert answer[head:].startswith(b"\x0b\x00\x00\x00green, dark")


def test_mlflow_is_answered_with_what_the_pipeline_gives(
    name: str, scored: Scored, expected_rows: list[dict[str, Any]]
) -> None:
    numbers = [[row[n] for n in row if n != "class"] for row in expected_rows]
    predictions = json.loads(mlflow_protocol.write_answer(scored))["predictions"]
    assert predictions == (numbers if name == "classes" else [row[0] for row in numbers])


def test_the_schema_of_the_answer_is_made_of_the_outputs() -> None:
    assert prediction_schema(classes_kind().outputs[:2])["properties"] == {
        "id": {"type": "string"},
        "class": {
            "type": "string",
            "enum": ["red", "green, dark", "blue"],
            "description": "colour",
        },
        "p0": {"type": "number", "minimum": 0, "maximum": 1},
    }
    assert prediction_schema(value_kind().outputs)["required"] == ["id", "value"]


def test_an_explanation_is_of_the_number_that_the_answer_goes_by(
    name: str, champion: Champion, expected_rows: list[dict[str, Any]]
) -> None:
    explanation = explain(champion, ROWS[1])
    content = explanation.content
    assert {n: content[n] for n in expected_rows[1]} == expected_rows[1]
    assert content.get("explains") == (None if name == "value" else "p0")
    total = explanation.base + sum(
        contribution.contribution for contribution in explanation.contributions
    )
    assert total == pytest.approx(content["value" if name == "value" else "p0"], rel=1e-5)


@pytest.mark.parametrize("rows", [1, 4], ids=["by row", "by column"])
def test_what_was_answered_is_in_the_lake_and_read_back_by_the_flows(
    name: str, champion: Champion, expected_rows: list[dict[str, Any]], tmp_path: Path, rows: int
) -> None:
    log = PredictionLog(tmp_path / "log", 3600, 10**6, 10**9)
    log.start()
    scorer = Scorer(log, Metrics(), threads=1, queue_limit=4, max_rows=100)
    carry_answers(scorer, log, champion, rows, tmp_path / "lake")
    window = read(tmp_path / "lake", other_case(name))
    assert (window.counted, window.problems, window.partly) == (4, (), frozenset())
    by_carrier = {row["carrier"]: row for row in window.rows.to_dicts()}
    names = champion.form.names
    assert [{n: by_carrier[row[0]][n] for n in names} for row in ROWS] == expected_rows
    assert set(by_carrier[None]["model_version"]) == {"3"}
    if name == "classes":
        assert window.facts["class"].counts == {"red": 2, "green, dark": 1, "blue": 1}
    else:
        assert window.facts["value"].maximum == 20000.0


def carry_answers(
    scorer: Scorer, log: PredictionLog, champion: Champion, rows: int, lake: Path
) -> None:
    """Score ``ROWS``, some in each request, and upload the log to the lake."""

    async def ask(rows: Sequence[tuple[Any, ...]]) -> None:
        named = [dict(zip(NAMES, row, strict=True)) for row in rows]
        body = msgspec.json.encode({"rows": named})

        def read(served: Champion, size: int | None) -> list[CheckedRows]:
            return [read_rows(served.reader, JSON, body, 100)]

        await scorer.score(champion, body, JSON, read, logged=True)

    for at in range(0, len(ROWS), rows):
        asyncio.run(ask(ROWS[at : at + rows]))
    scorer.stop()
    uploader = Uploader(log, InProcess(lake), tick_seconds=60)
    uploader.start()
    uploader.stop(30)
    assert (log.state("toy").rows_uploaded, log.state("toy").lines_torn) == (4, 0)


def read(lake: Path, case: UseCase) -> Window:
    return read_window(Lake(url=f"file://{lake}", credentials=None), case, "2013-06", 100, seed=0)


def test_a_champion_of_another_kind_does_not_mix_its_log_with_the_one_before(
    tmp_path: Path,
) -> None:
    headers = {crown(tmp_path / name, KINDS[name]()).log_header for name in KINDS}
    assert len(headers | {crown(tmp_path / "binary").log_header}) == 3


@pytest.mark.parametrize("rows", [1, 4], ids=["by row", "by column"])
def test_the_log_says_in_which_role_a_version_answered(tmp_path: Path, rows: int) -> None:
    log = PredictionLog(tmp_path / "log", 3600, 10**6, 10**9)
    log.start()
    shadow = crown(tmp_path / "package", value_kind(), role="shadow")
    scorer = Scorer(log, Metrics(), threads=1, queue_limit=4, max_rows=100)
    carry_answers(scorer, log, shadow, rows, tmp_path / "lake")
    lake_rows = read(tmp_path / "lake", other_case("value")).rows
    assert lake_rows["role"].to_list() == ["shadow"] * 4


NUMBER = Output("value", "number")


@pytest.mark.parametrize(
    ("outputs", "threshold", "message"),
    [
        ([], 0.5, "no output of kind 'number'"),
        ([NUMBER, NUMBER], None, r"a repeated or missing name: \['value'\]"),
        ([Output("distance", "number")], None, r"prediction log: \['distance'\]"),
        ([Output("event_time", "number")], None, r"prediction log: \['event_time'\]"),
        ([NUMBER, Output("mood", "feeling")], None, "'mood' of the package is of kind 'feeling'"),
        (OUTPUTS, None, "'decision' of the package needs one number and a threshold"),
        (
            [NUMBER, Output("class", "category", categories=["a", "b", "c"])],
            None,
            "names 3 categories for 1 numbers",
        ),
    ],
)
def test_outputs_that_cannot_be_answered_or_logged_are_refused(
    tmp_path: Path, outputs: list[Output], threshold: float | None, message: str
) -> None:
    manifest = crown(tmp_path).package.manifest
    changed = msgspec.structs.replace(manifest, outputs=outputs, decision_threshold=threshold)
    with pytest.raises(PackageError, match=message):
        Package(changed, value_kind().model, Smoke([], []))


def test_a_model_that_gives_another_number_of_numbers_is_refused(tmp_path: Path) -> None:
    kind = classes_kind()._replace(model=value_kind().model)
    digest = write_package(tmp_path, kind=kind)
    with pytest.raises(PackageError, match="gives 1 numbers for a row, smoke.json has 3, and the"):
        load(tmp_path, digest)
