"""What people type wrongly, and what is away: each run ends as failed with a message that helps,
Slack knows, and a rerun completes.
"""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prefect import Flow

from blocks.lake import BLOCK as LAKE
from blocks.lake import Lake
from blocks.registry import BLOCK as REGISTRY
from blocks.registry import ModelRegistry
from flows.compare import compare
from flows.drift_check import drift_check
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.promote import promote
from flows.retrain import retrain
from flows.rollback import rollback
from flows.train import train
from tests.fakes.line import Line
from tests.integration.planting import Loop, Outcome
from usecases.definition import known

CASE = "toy_hopeless"
PERIODS = [f"2024-0{month}" for month in range(1, 9)]


def failed(outcome: Outcome, said: str) -> None:
    assert outcome.name == "Failed" and said in outcome.message
    assert (
        len(outcome.told) == 1 and said in outcome.told[0] and "/runs/flow-run/" in outcome.told[0]
    )


@pytest.mark.parametrize(
    "flow",
    [ingest, train, evaluate, promote, drift_check, retrain, rollback],
    ids=lambda flow: flow.name,
)
def test_unknown_use_case_is_answered_with_the_known_ones_and_the_nearest(
    loop: Loop, flow: Flow[..., Any]
) -> None:
    outcome = loop.run(flow, "flihgts")
    failed(
        outcome, f"Unknown use case 'flihgts'. Known: {', '.join(known())}. Did you mean 'flights'?"
    )


@pytest.fixture(scope="module")
def ingested(loop: Loop) -> str:
    """All periods, as any module before this one may have ingested them."""
    return loop.run(ingest, CASE).result.version


@pytest.mark.parametrize(
    ("flow", "parameters", "said"),
    [
        (
            ingest,
            {"through": "2031-01"},
            "has no complete period in the beginning..2031-01; it has 2024-01 to 2024-08",
        ),
        (ingest, {"since": "2031-01"}, "has no complete period in 2031-01..now"),
        (
            train,
            {"holdout": "2031-01"},
            f"has labelled periods {PERIODS}: a hold-out 2031-01 and at least one period before",
        ),
        (
            train,
            {"holdout": "2024-01"},
            "a hold-out 2024-01 and at least one period before it are needed",
        ),
        (
            train,
            {"dataset_version": "2031-01-0"},
            "has no dataset version '2031-01-0' of 'toy_hopeless'; it has 2024-0",
        ),
        (
            evaluate,
            {"training": "2031-01-0"},
            "'toy_hopeless' has no finished training '2031-01-0' in MLflow. Start one:",
        ),
        (promote, {"version": "12"}, "MLflow refused to find version 12 of 'toy_hopeless': "),
        (
            compare,
            {"window": "2031-01", "champion": "1", "challenger": "2"},
            f"has no period ['2031-01']; it has {PERIODS}",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Flow) else None,
)
def test_window_or_version_that_is_not_there_is_said(
    loop: Loop, ingested: str, flow: Any, parameters: dict[str, Any], said: str
) -> None:
    failed(loop.run(flow, CASE, **parameters), said)


def test_source_file_that_is_missing_is_named(loop: Loop) -> None:
    folder = loop.settings.state / "sources"
    folder.mkdir()
    (folder / "2024-01.parquet").symlink_to(folder / "gone")
    outcome = loop.run(ingest, "toy_files")
    (folder / "2024-01.parquet").unlink()
    folder.rmdir()
    failed(outcome, f"{folder}/2024-01.parquet cannot be read (")


def test_retrain_of_a_use_case_that_the_service_does_not_serve_fails_before_its_work(
    loop: Loop,
) -> None:
    before = Lake.of(loop.settings).list("datasets/toy_strict")
    outcome = loop.run(retrain, "toy_strict")
    assert (
        outcome.name == "Failed"
        and "Unknown use case 'toy_strict'. Served here: flights, toy" in outcome.message
    )
    assert Lake.of(loop.settings).list("datasets/toy_strict") == before


@pytest.fixture
def lines(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Line, Line]]:
    """Flows reach MLflow and the lake by these lines, which are cut."""
    settings = loop.settings
    monkeypatch.setenv(
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"
    )  # the tasks' own retries are what is tested
    with Line(settings.mlflow_port) as mlflow, Line(settings.s3_port) as s3:
        mlflow.cut()
        s3.cut()
        ModelRegistry(tracking_uri=mlflow.url).save(REGISTRY, overwrite=True)
        Lake.of(settings.model_copy(update={"s3_endpoint": s3.url})).save(LAKE, overwrite=True)
        yield mlflow, s3
        ModelRegistry.of(settings).save(REGISTRY, overwrite=True)
        Lake.of(settings).save(LAKE, overwrite=True)


@pytest.mark.nightly("waits for real seconds")
def test_outage_that_lasts_fails_the_run_clearly_and_a_rerun_completes(
    loop: Loop, ingested: str, lines: tuple[Line, Line]
) -> None:
    mlflow, s3 = lines
    trained, taken = loop.run_together((evaluate, CASE), (ingest, "toy_easy"))
    failed(
        trained, f"RegistryAway: MLflow at {mlflow.url} could not search runs of 'toy_hopeless': "
    )
    failed(
        taken,
        "LakeAway: The lake s3://laurel cannot be used for 'datasets/toy_easy/periods/2024-01-",
    )
    assert f"127.0.0.1 port {s3.port}" in taken.message
    mlflow.mend()
    s3.mend()
    assert [one.name for one in loop.run_together((train, CASE), (ingest, "toy_easy"))] == [
        "Completed",
        "Completed",
    ]


def test_short_outage_is_waited_out(loop: Loop, ingested: str, lines: tuple[Line, Line]) -> None:
    for line in lines:
        threading.Timer(2, line.mend).start()
    outcomes = loop.run_together((train, CASE), (ingest, "toy_easy"))
    assert [one.name for one in outcomes] == ["Completed", "Completed"]
    assert not any("failed" in text for one in outcomes for text in one.told)
