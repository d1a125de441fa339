"""Prefect's storage for the results of steps."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.results import ResultRecord, ResultRecordMetadata
from prefect.serializers import Serializer

from blocks.lake import Lake
from blocks.registry import ModelVersion
from blocks.results import Results
from blocks.settings import Settings
from flows.runs import OPTIONS
from tasks.models.selection import Recipe
from tasks.outside.blocks_of_run import RESUMED
from tasks.steps.plan import Plan

RECIPE = Recipe(candidate="boosting", params={"depth": 3, "rate": 0.1}, why="baseline")
PLAN = Plan(
    id="a",
    use_case="toy",
    dataset_version="v",
    periods=("2024-01",),
    holdout="2024-02",
    recipes=(RECIPE,),
    seed=0,
)
VERSION = ModelVersion(use_case="toy", number="3", run_id="r", tags={"laurel.holdout": "2024-02"})


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results.of(Settings.model_validate({"lake": f"file://{tmp_path}"}))


def test_result_is_an_object_of_the_lake_under_results(results: Results, tmp_path: Path) -> None:
    results.write_path("one", b"first")
    asyncio.run(results.awrite_path("two", b"second"))
    lake = Lake.of(Settings.model_validate({"lake": f"file://{tmp_path}"}))
    assert {path: lake.read(path) for path in lake.list("results")} == {
        "results/one": b"first",
        "results/two": b"second",
    }
    assert (asyncio.run(results.aread_path("one")), results.read_path("two")) == (
        b"first",
        b"second",
    )


def test_result_that_is_not_there_is_an_error(results: Results) -> None:
    with pytest.raises(FileNotFoundError):
        results.read_path("none")


@pytest.mark.parametrize(
    "returned",
    [PLAN, VERSION, [RECIPE, RECIPE], (PLAN.id, None), None, 0.5],
    ids=lambda value: type(value).__name__,
)
def test_what_steps_and_flows_return_comes_back_as_it_was(returned: Any) -> None:
    """As a step's record, and as the plain bytes in which Prefect stores a flow's result."""
    serializer: Serializer[Any] = Serializer(type=OPTIONS["result_serializer"])
    record = ResultRecord(
        result=returned, metadata=ResultRecordMetadata(serializer=serializer, storage_key="key")
    )
    expected = list(returned) if isinstance(returned, tuple) else returned
    assert ResultRecord.deserialize(record.serialize()).result == expected
    assert (
        ResultRecord.deserialize(record.serialize_result(), backup_serializer=serializer).result
        == expected
    )


def key(run_id: Any, **inputs: Any) -> str | None:
    context: Any = SimpleNamespace(
        task=SimpleNamespace(source_code="def step(): ..."), task_run=SimpleNamespace(id=run_id)
    )
    policy = RESUMED["cache_policy"]
    return str(policy.compute_key(context, inputs, {}))


def test_step_outside_of_a_flow_is_nobodys_second_attempt() -> None:
    first, second = uuid4(), uuid4()
    assert key(first, plan=PLAN) == key(first, plan=PLAN.model_copy())
    assert (
        len(
            {
                key(first, plan=PLAN),
                key(second, plan=PLAN),
                key(first, plan=PLAN.model_copy(update={"seed": 1})),
            }
        )
        == 3
    )
