"""A use case whose candidates bring their own ONNX, from its source to a served champion and to the
next contest: a network in NumPy, which no library of Laurel's knows."""

import io

import numpy as np
import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.registry import ModelVersion
from flows.drift_check import drift_check
from flows.retrain import retrain
from tasks.models.modelling import predict
from tasks.models.own_models import KeptModel
from tasks.packages.packaging import score_rows
from tasks.packages.registered import open_package
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop
from usecases.definition import load

pytestmark = pytest.mark.nightly("three retrains of networks; test_own_onnx.py proves the package")

NAME = "toy_own"


@pytest.fixture(scope="module")
def champion(loop: Loop) -> ModelVersion:
    """Found by HPO, since the only baseline misses the gate; refitted, crowned and served."""
    with loop.no_retrain_on_drift(NAME):
        outcome = loop.run(retrain, NAME, through="2024-03")
    assert outcome.name == "Completed", outcome.message
    version: ModelVersion = outcome.result
    wait_until(lambda: loop.served(NAME) == version.number, "the service serves the champion")
    return version


def test_network_is_tuned_proven_refitted_and_watched(loop: Loop, champion: ModelVersion) -> None:
    case = load(NAME)
    with open_package(loop.registry, champion) as (package, _):
        manifest = package.manifest
        assert (manifest.recipe, manifest.params["epochs"]) == ("network", 160)
        assert manifest.parity.changed_decisions == 0
        assert 0 < manifest.parity.largest_difference < case.parity_tolerance
        assert manifest.parity.rows > len(toy_rows("2024-03"))
        assert {"score", *case.column_names} == set(manifest.drift_thresholds)
        assert case.gate.passes(manifest.metrics[case.gate.metric.name])
        kept = loop.registry.load_model(champion.run_id)
        assert isinstance(kept.named_steps["model"], KeptModel)
        assert kept.named_steps["model"].parity[0] == manifest.parity.rows
        later = toy_rows("2024-04").select(case.column_names)
        np.testing.assert_array_equal(predict(kept, case, later), score_rows(package, later))


def test_service_answers_as_the_package_does(loop: Loop, champion: ModelVersion) -> None:
    case, rows = load(NAME), toy_rows("2024-04").head(40)
    with open_package(loop.registry, champion) as (package, _):
        expected = score_rows(package, rows.select(case.column_names))
    sent = rows.select(*case.column_names).to_dicts()
    answer = loop.service.post(f"/v1/{NAME}/predict", json={"rows": sent})
    assert answer.status_code == 200, answer.text
    scores = [one["score"] for one in answer.json()["predictions"]]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert 0 <= min(scores) < 0.3 < 0.7 < max(scores) <= 1


def test_next_month_brings_a_contest_of_two_networks(loop: Loop, champion: ModelVersion) -> None:
    with loop.no_retrain_on_drift(NAME):
        outcome = loop.run(retrain, NAME, through="2024-04")
    decision = loop.decisions(NAME, "contest")[-1]
    assert decision["champion"] == champion.number, outcome.message
    assert decision["contest"] is not None and decision["holdout"] == "2024-04"
    assert loop.crowned(NAME) in (champion.number, str(int(decision["challenger"]) + 1))


def test_drift_is_checked_on_its_answers(loop: Loop, champion: ModelVersion) -> None:
    rows = toy_rows("2024-02")
    sent = rows.select(*load(NAME).column_names, pl.col("at").dt.to_string("iso:strict"))
    for part in sent.iter_slices(280):
        answer = loop.service.post(f"/v1/{NAME}/predict", json={"rows": part.to_dicts()})
        assert answer.status_code == 200, answer.text
    wait_until(lambda: rows_in_lake(loop) >= len(rows), "the predictions are in the lake")
    checked = loop.run(drift_check, NAME, window="2024-02").result
    assert checked.verdict.outcome == "stable", checked.verdict.reasons


def rows_in_lake(loop: Loop) -> int:
    paths = loop.lake.list(f"predictions/{NAME}")
    return sum(len(pl.read_parquet(io.BytesIO(loop.lake.read(path)))) for path in paths)
