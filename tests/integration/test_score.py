"""The flow ``score`` on the real stack: a period of the use case's own source, into the lake."""

import io

import polars as pl
import pytest

from blocks.registry import ModelVersion
from flows.ingest import ingest
from flows.score import score
from tests.integration.planting import Loop

pytestmark = pytest.mark.nightly("a flow on a worker; tests/unit/tasks/scores proves the scores")

CASE = "toy_scores"


@pytest.fixture(scope="module")
def version(loop: Loop) -> ModelVersion:
    """Three months learned: two are too few for limits that decide."""
    loop.run(ingest, CASE, through="2024-04")
    return loop.plant(CASE, "2024-04", ["2024-01", "2024-02", "2024-03"], watched=True)


def test_a_period_is_scored_into_the_lake_and_a_drift_is_told(
    loop: Loop, version: ModelVersion
) -> None:
    outcome = loop.run(score, CASE, period="2024-06", version=version.number)
    record = outcome.result
    assert outcome.state.is_completed(), outcome.message
    path = record.output.removeprefix("lake://")
    assert path.startswith(f"scores/{CASE}/2024-06-v{version.number}-")
    answers = pl.read_parquet(io.BytesIO(loop.lake.read(path)))
    assert len(answers) == record.scored > 0
    assert {"id", "at", "score", "decision", "model_version", "scored_at"} <= {*answers.columns}
    (verdict,) = record.drift
    assert f"2024-06 {verdict.outcome}" in outcome.message
    assert verdict.outcome == "drifted"
    (told,) = outcome.told
    assert told.startswith("toy_scores: rows of 2024-06 drifted, which version")
    assert loop.artifact("toy-scores-scored-rows")[0] == {"what": "scored", "rows": record.scored}
    again = loop.run(score, CASE, period="2024-06", version=version.number)
    assert again.result.time == record.time
    assert len(loop.objects(f"scores/{CASE}")) == 1


def test_an_unknown_version_fails_with_the_known_ones(loop: Loop, version: ModelVersion) -> None:
    outcome = loop.run(score, CASE, period="2024-06", version="99")
    assert outcome.state.is_failed()
    assert f"has no version 99; it has {version.number}" in outcome.message
