"""A use case that predicts a number, and one that predicts classes, through the whole loop:
trained, judged, crowned, served, logged, judged on late labels, and found to have drifted."""

import io
import json
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from polars import selectors
from usecases.toy_classes import NAMES, weather_rows
from usecases.toy_number import price_rows

from blocks.registry import ModelVersion
from flows.drift_check import drift_check
from flows.retrain import retrain
from tasks.data.traits import case_by_traits
from tasks.packages.registered import read_manifest
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop
from usecases.definition import load

pytestmark = pytest.mark.nightly("a further kind of target", only=("number",))

AT_ONCE = 280


@dataclass(frozen=True)
class Kind:
    """A use case, and what is expected of it: ``metrics`` are those of its crown."""

    use_case: str
    rows: Any
    metrics: set[str]
    plots: set[str]
    strange_labels: tuple[Any, ...]
    expected: str


NUMBER = Kind(
    "toy_number",
    price_rows,
    {"rmse", "mae", "r2"},
    {"predicted.png", "errors.png", "importance.png"},
    ("dear", True, None),
    "a finite number",
)
CLASSES = Kind(
    "toy_classes",
    weather_rows,
    {"log_loss", "accuracy"},
    {"confusion.png", "importance.png"},
    ("hail", True, 0.5),
    "a class, one of 'calm', 'storm', 'windy'",
)


@pytest.fixture(scope="module", params=[NUMBER, CLASSES], ids=["number", "classes"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(scope="module")
def champion(loop: Loop, kind: Kind) -> ModelVersion:
    """Crowned by the loop itself, after HPO."""
    with loop.no_retrain_on_drift(kind.use_case):
        outcome = loop.run(retrain, kind.use_case, through="2024-04")
    assert outcome.name == "Completed", outcome.message
    version: ModelVersion = outcome.result
    wait_until(
        lambda: loop.served(kind.use_case) == version.number, "the service serves the champion"
    )
    return version


@pytest.fixture(scope="module")
def answers(loop: Loop, kind: Kind, champion: ModelVersion) -> list[dict[str, Any]]:
    """To one month's rows, in their order, logged and in the lake."""
    return predict(loop, kind, kind.rows("2024-04"))


def predict(loop: Loop, kind: Kind, rows: pl.DataFrame) -> list[dict[str, Any]]:
    before = in_lake(loop, kind, "predictions")
    inputs = as_json(rows.select(*load(kind.use_case).column_names, "at"))
    answered: list[dict[str, Any]] = []
    for part in inputs.iter_slices(AT_ONCE):
        answer = loop.service.post(f"/v1/{kind.use_case}/predict", json={"rows": part.to_dicts()})
        assert answer.status_code == 200, answer.text
        answered += answer.json()["predictions"]
    wait_until(
        lambda: in_lake(loop, kind, "predictions") == before + len(rows),
        "the predictions are in the lake",
    )
    return answered


def as_json(rows: pl.DataFrame) -> pl.DataFrame:
    """The source has 1 and 0 for true and false, and times; JSON has true, false and texts."""
    return rows.with_columns(
        selectors.temporal().dt.to_string("iso:strict"),
        selectors.by_dtype(pl.Int8).cast(pl.Boolean),
    )


def tell(loop: Loop, kind: Kind, answered: list[dict[str, Any]], rows: pl.DataFrame) -> None:
    """Send the label of each answered row, and wait until all are in the lake."""
    before = in_lake(loop, kind, "feedback")
    truth = rows[load(kind.use_case).label].to_list()
    days = rows["at"].dt.to_string("iso:strict").to_list()
    labels = [
        {"id": answer["id"], "label": label, "event_time": day}
        for answer, label, day in zip(answered, truth, days, strict=True)
    ]
    for start in range(0, len(labels), AT_ONCE):
        part = labels[start : start + AT_ONCE]
        answer = loop.service.post(f"/v1/{kind.use_case}/feedback", json={"feedback": part})
        assert answer.status_code == 200, answer.text
    wait_until(
        lambda: in_lake(loop, kind, "feedback") == before + len(labels),
        "the labels are in the lake",
    )


def in_lake(loop: Loop, kind: Kind, log: str) -> int:
    return sum(
        len(pl.read_parquet(io.BytesIO(loop.lake.read(path))))
        for path in loop.lake.list(f"{log}/{kind.use_case}")
    )


def test_champion_passed_the_gate_and_its_package_says_what_it_answers(
    loop: Loop, kind: Kind, champion: ModelVersion
) -> None:
    case = load(kind.use_case)
    (decision,) = loop.decisions(kind.use_case, "contest")
    assert decision["verdict"] == "promote" and case.gate.passes(decision["gate_score"])
    manifest = read_manifest(loop.registry, champion)
    assert [output.name for output in manifest.outputs] == [out.name for out in case.outputs]
    assert set(manifest.metrics) == kind.metrics == set(manifest.holdout_intervals)
    assert manifest.decision_threshold is None and manifest.parity.changed_decisions == 0
    assert {"score", *case_by_traits(case).column_names} == set(manifest.drift_thresholds)
    coverage = manifest.coverage
    assert coverage and len(coverage.windows) == 2
    assert coverage.method == ("quantiles" if kind is NUMBER else "set")
    assert coverage.held == pytest.approx(0.9, abs=0.03)
    assert "laurel.model_card" in loop.registry.version(kind.use_case, champion.number).tags


def test_answer_has_the_outputs_of_the_target(
    kind: Kind, champion: ModelVersion, answers: list[dict[str, Any]]
) -> None:
    case, rows = load(kind.use_case), kind.rows("2024-04")
    assert list(answers[0]) == ["id", *(output.name for output in case.outputs)]
    if kind is NUMBER:
        assert all(answer["low"] <= answer["value"] <= answer["high"] for answer in answers)
        errors = pl.Series([answer["value"] for answer in answers]) - rows["price"]
        assert (errors**2).mean() ** 0.5 < case.gate.threshold
        return
    names = [f"score_{name}" for name in NAMES]
    for answer in answers[:50]:
        assert sum(answer[name] for name in names) == pytest.approx(1, abs=1e-5)
        assert max(names, key=answer.__getitem__) == f"score_{answer['class']}"
        assert answer["class"] in answer["class_set"] and {*answer["class_set"]} <= {*NAMES}
    hits = pl.Series([answer["class"] for answer in answers]) == rows["weather"]
    assert hits.mean() > 0.8


def test_every_form_of_the_answer_has_them(
    loop: Loop, kind: Kind, champion: ModelVersion, answers: list[dict[str, Any]]
) -> None:
    """CSV, MLflow's protocol, the Open Inference Protocol, and the explanation."""
    case = load(kind.use_case)
    row = as_json(kind.rows("2024-04").select(case.column_names)).row(0, named=True)
    names = [output.name for output in case.outputs]
    form = loop.service.post(
        f"/v1/{kind.use_case}/predict",
        params={"log": "false"},
        json={"rows": [row]},
        headers={"Accept": "text/csv"},
    )
    assert form.text.splitlines()[0] == ",".join(["id", *names, "model_version"])
    tensors = {
        "inputs": [
            {"name": name, "shape": [1], "datatype": datatype, "data": [row[name]]}
            for name, datatype in (
                (column.name, {"number": "FP64", "boolean": "BOOL"}.get(column.kind, "BYTES"))
                for column in case.columns
            )
            if row[name] is not None
        ]
    }
    inferred = loop.service.post(
        f"/v2/models/{kind.use_case}/infer", params={"log": "false"}, json=tensors
    ).json()
    outputs = {output["name"]: output["data"][0] for output in inferred["outputs"]}
    for name in names:
        answered = answers[0][name]
        as_text = json.dumps(answered, separators=(",", ":"))
        expected = pytest.approx(answered) if isinstance(answered, float) else answered
        assert outputs[name] == (as_text if isinstance(answered, list) else expected)
    mlflow = loop.service.post(
        "/invocations",
        json={"dataframe_records": [row]},
        headers={"X-Laurel-Use-Case": kind.use_case},
    ).json()
    numbers = [answers[0][output.name] for output in case.outputs if output.kind == "number"]
    (answered,) = mlflow["predictions"]
    assert answered == pytest.approx(numbers if len(numbers) > 1 else numbers[0])
    answer = loop.service.post(f"/v1/{kind.use_case}/explain", json={"rows": [row]})
    explained = answer.json()
    parts = sum(part["contribution"] for part in explained["contributions"])
    assert explained["base"] + parts == pytest.approx(max(numbers), rel=1e-3)


def test_label_of_another_kind_is_refused_with_what_is_expected(
    loop: Loop, kind: Kind, answers: list[dict[str, Any]]
) -> None:
    for strange in kind.strange_labels:
        sent = [{"id": answers[0]["id"], "label": strange}]
        answer = loop.service.post(f"/v1/{kind.use_case}/feedback", json={"feedback": sent})
        assert answer.status_code == 422, strange
        assert strange is None or kind.expected in answer.json()["error"]["message"]


def test_quiet_month_with_labels_is_stable_and_level(
    loop: Loop, kind: Kind, answers: list[dict[str, Any]]
) -> None:
    tell(loop, kind, answers, kind.rows("2024-04"))
    checked = loop.run(drift_check, kind.use_case, window="2024-04").result
    assert checked.verdict.outcome == "stable", checked.verdict.reasons
    performance = checked.performance
    assert (performance.verdict, performance.coverage) == ("level", 1.0), performance.reasons
    held = {"interval coverage" if kind is NUMBER else "set coverage"}
    # The champion has learned this month, so that it may be better there than it promises.
    assert performance.held in ("as promised", "more")
    assert set(performance.metrics) == kind.metrics | held


@pytest.mark.nightly("a second month of answers; drift/test_other_worlds.py proves the verdict")
def test_changed_month_has_drifted_and_the_answers_are_worse(
    loop: Loop, kind: Kind, answers: list[dict[str, Any]]
) -> None:
    changed = kind.rows("2024-06")
    tell(loop, kind, predict(loop, kind, changed), changed)
    checked = loop.run(drift_check, kind.use_case, window="2024-06").result
    assert checked.verdict.outcome == "drifted", checked.verdict.reasons
    assert checked.performance.verdict == "worse"
    if kind is NUMBER:
        assert checked.performance.metrics["interval coverage"].high < 0.85
        (remark,) = [text for text in checked.performance.reasons if "intervals held" in text]
        assert "fewer than the 90% that they are made for" in remark
    outcome = loop.run(retrain, kind.use_case, through="2024-07")
    assert outcome.name == "Completed", outcome.message
    assert loop.crowned(kind.use_case) == outcome.result.number
