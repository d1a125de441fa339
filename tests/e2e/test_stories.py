"""The short stories of ``make demo``, played beside each other on one stack and one service, and
what they leave behind.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr
from rich.console import Console

from blocks.lake import Lake
from blocks.registry import ModelRegistry
from blocks.settings import Settings
from blocks.warehouse import BLOCK, Warehouse
from deployments.demo.stages import Stages
from deployments.demo.steps import Demo
from deployments.demo.stories import Play, story_of
from deployments.demo.stories.departures import Departures
from deployments.demo.story import Story
from tasks.data.dataset import read_version
from tasks.packages.registered import read_manifest
from tests.fixtures import mariadb
from tests.fixtures.deployed import deploy
from usecases.diabetes import patients

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.nightly("the shorter stories of the demo, each with its stack"),
]
FLOWS = ("retrain", "drift_check", "close_lost_run")
WITHOUT_MARIADB = not mariadb.installed()


def play(settings: Settings, use_case: str, play: Play) -> Story:
    with SyncPrefectClient(settings.prefect_api_url) as prefect:
        return play.play(Demo(settings, Stages(Console(quiet=True)), prefect, use_case))


@pytest.fixture(scope="module")
def warehouse(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """The address of a database that the stack's flows read; ``None`` without MariaDB."""
    if WITHOUT_MARIADB:
        yield None
        return
    with mariadb.mariadb(tmp_path_factory.mktemp("mariadb"), "p@ss:w/rd") as url:
        with temporary_settings({PREFECT_API_URL: stack.prefect_api_url}):
            Warehouse(url=SecretStr(url)).save(BLOCK, overwrite=True, _sync=True)  # type: ignore[call-arg]
        yield url


@pytest.fixture(scope="module")
def stories(stack: Settings, warehouse: str | None) -> dict[str, Story]:
    """All of them at the same time, by use case."""
    plays: dict[str, Play] = {"diabetes": story_of("diabetes")}
    if warehouse:
        plays["departures"] = Departures(warehouse)
    deploy(stack, *plays, flows=FLOWS)
    with ThreadPoolExecutor(len(plays)) as threads:
        told = {name: threads.submit(play, stack, name, one) for name, one in plays.items()}
        return {name: future.result() for name, future in told.items()}


@pytest.fixture(params=["diabetes", "departures"])
def story(request: pytest.FixtureRequest, stories: dict[str, Story]) -> Story:
    if request.param not in stories:
        pytest.skip("needs MariaDB: apt-get install mariadb-server")
    return stories[request.param]


def test_data_agree_with_the_story_and_no_request_failed(story: Story) -> None:
    assert story.departures() == []
    assert story.requests > 200 and story.failed_requests == 0


def test_champion_that_passed_the_gate_is_served(stack: Settings, story: Story) -> None:
    served = httpx.get(f"{stack.serving_base_url}/v1/{story.use_case}").json()
    assert served["ready"] and served["version"] == story.champions[-1]["version"]


def test_a_changed_unit_is_broken_and_starts_no_retrain(
    stack: Settings, stories: dict[str, Story]
) -> None:
    first, second = (check["verdict"] for check in stories["diabetes"].drift.values())
    assert (first, second) == ("stable", "broken")
    retrains = [entry for entry in ledger(stack, "diabetes") if entry["kind"] == "retrain"]
    assert [entry["verdict"] for entry in retrains] == [
        "started",
        "promoted",
        "started",
        "nothing to do",
    ]


@pytest.mark.skipif(WITHOUT_MARIADB, reason="needs MariaDB: apt-get install mariadb-server")
def test_drift_of_days_starts_a_retrain_and_ten_unsure_days_crown_nobody(
    stack: Settings, stories: dict[str, Story]
) -> None:
    departures = stories["departures"]
    assert [check["verdict"] for check in departures.drift.values()] == ["stable", "drifted"]
    assert len(departures.champions) == 1
    contest = [entry for entry in ledger(stack, "departures") if entry["kind"] == "contest"][-1]
    assert (contest["verdict"], contest["holdout"]) == ("keep", "2013-06-21..2013-06-30")
    version = read_version(Lake.of(stack), "departures")
    assert version.periods[-1].period == "2013-06-30" and version.quarantined == 0


@pytest.mark.skipif(WITHOUT_MARIADB, reason="needs MariaDB: apt-get install mariadb-server")
def test_late_labels_are_scored_with_the_share_that_the_interval_held(
    stack: Settings, stories: dict[str, Story]
) -> None:
    record = Lake.of(stack).read("reports/departures/2013-W11/verdict.json")
    performance = json.loads(record)["performance"]
    assert performance["labels"] == performance["rows"] == 377
    held = performance["metrics"]["interval coverage"]
    assert held["low"] <= 0.9 <= held["high"]


def test_patients_without_a_time_are_dealt_over_ten_weeks(
    stack: Settings, stories: dict[str, Story]
) -> None:
    dataset = read_version(Lake.of(stack), "diabetes")
    assert (dataset.rows, len(dataset.periods), dataset.quarantined) == (442, 10, 0)
    registry = ModelRegistry.of(stack)
    manifest = read_manifest(registry, registry.at("diabetes", "champion"))
    assert manifest.holdout == " + ".join(file.period for file in dataset.periods[-2:])
    assert manifest.metrics["rmse"] <= 65 and manifest.recipe in ("forest", "ridge")


def test_patient_is_answered_with_an_interval(stack: Settings, stories: dict[str, Story]) -> None:
    rows = patients().drop("progression").head(20).to_dicts()
    answer = httpx.post(
        f"{stack.serving_base_url}/v1/diabetes/predict", json={"rows": rows}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    for one in answer.json()["predictions"]:
        assert one["low"] < one["value"] < one["high"]


def test_run_in_mlflow_names_its_dataset(stack: Settings, stories: dict[str, Story]) -> None:
    version = read_version(Lake.of(stack), "diabetes").version
    base = f"{stack.mlflow_tracking_uri}/api/2.0/mlflow"
    found = httpx.get(f"{base}/experiments/get-by-name", params={"experiment_name": "diabetes"})
    query = {"experiment_ids": [found.json()["experiment"]["experiment_id"]]}
    runs = httpx.post(f"{base}/runs/search", json=query).json()["runs"]
    named = [
        entry["dataset"]
        for run in runs
        for entry in run.get("inputs", {}).get("dataset_inputs", [])
    ]
    assert {dataset["name"] for dataset in named} == {version}
    assert all(version in dataset["source"] for dataset in named)


def ledger(stack: Settings, use_case: str) -> list[dict[str, Any]]:
    lake = Lake.of(stack)
    return [json.loads(lake.read(path)) for path in lake.list(f"decisions/{use_case}")]
