"""The use cases that come with Laurel beside flights, from their tables to served champions."""

import httpx
import pytest

from blocks.registry import ModelVersion
from flows.retrain import retrain
from tasks.data.dataset import read_version
from tasks.packages.registered import read_manifest
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop
from usecases.diabetes import patients


@pytest.fixture(scope="module")
def champion(loop: Loop) -> ModelVersion:
    outcome = loop.run(retrain, "diabetes")
    assert outcome.name == "Completed", outcome.message
    version: ModelVersion = outcome.result
    wait_until(lambda: loop.served("diabetes") == version.number, "the service serves the champion")
    return version


def test_patients_without_a_time_get_a_champion(loop: Loop, champion: ModelVersion) -> None:
    dataset = read_version(loop.lake, "diabetes")
    assert (dataset.rows, len(dataset.periods), dataset.quarantined) == (442, 10, 0)
    manifest = read_manifest(loop.registry, champion)
    held_out = dataset.periods[-2:]
    assert manifest.holdout == " + ".join(file.period for file in held_out)
    assert manifest.metrics["rmse"] <= 65 and manifest.recipe in ("forest", "ridge")


def test_patient_is_answered_with_an_interval(loop: Loop, champion: ModelVersion) -> None:
    rows = patients().drop("progression").head(20).to_dicts()
    answer = loop.service.post("/v1/diabetes/predict", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    for one in answer.json()["predictions"]:
        assert one["low"] < one["value"] < one["high"]


def test_run_in_mlflow_names_its_dataset(loop: Loop, champion: ModelVersion) -> None:
    version = read_version(loop.lake, "diabetes").version
    base = f"{loop.settings.mlflow_tracking_uri}/api/2.0/mlflow"
    found = httpx.get(f"{base}/experiments/get-by-name", params={"experiment_name": "diabetes"})
    query = {"experiment_ids": [found.json()["experiment"]["experiment_id"]]}
    runs = httpx.post(f"{base}/runs/search", json=query).json()["runs"]
    named = [
        entry["dataset"]
        for run in runs
        for entry in run.get("inputs", {}).get("dataset_inputs", [])
    ]
    assert {dataset["digest"] for dataset in named} == {version}
    assert all(version in dataset["source"] for dataset in named)


def test_the_same_table_again_is_nothing_to_do(loop: Loop, champion: ModelVersion) -> None:
    outcome = loop.run(retrain, "diabetes")
    assert outcome.name == "Nothing to do", outcome.message
    assert loop.crowned("diabetes") == champion.number
