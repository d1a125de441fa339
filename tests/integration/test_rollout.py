"""A winner of the contest meets callers of the real service before it is crowned. On the real
stack, in the order of the file."""

import json
from typing import Any

import httpx
import pytest

from blocks.clients.registry import ROLLOUT
from blocks.registry import ModelVersion
from flows.ingest import ingest
from flows.promote import promote
from flows.rollback import rollback
from flows.rollout import rollout
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop

pytestmark = pytest.mark.nightly("contests and refits on a stack; CI's demo tells this story")
CASE = "toy_rollout"
TO_MAY = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


@pytest.fixture(scope="module")
def first(loop: Loop) -> ModelVersion:
    """The first champion: there is none to compare it with, so it is crowned at once."""
    loop.run(ingest, CASE, through="2024-06")
    loop.plant(CASE, "2024-03", TO_MAY[:2])
    outcome = loop.run(promote, CASE)
    assert outcome.name == "Completed", outcome.message
    return outcome.result


def entries(loop: Loop) -> list[dict[str, Any]]:
    return loop.decisions(CASE, "rollout")


def verdicts(loop: Loop) -> list[str]:
    return [entry["verdict"] for entry in entries(loop)]


def answered(loop: Loop, requests: int = 20) -> set[str]:
    """The versions that answer."""
    row = loop.service.get(f"/v1/{CASE}").json()["examples"][0]
    answers = [
        loop.service.post(f"/v1/{CASE}/predict?log=false", json={"rows": [row]})
        for _ in range(requests)
    ]
    return {answer.raise_for_status().json()["model_version"] for answer in answers}


def test_the_winner_meets_some_callers_and_then_all_before_the_crown(
    loop: Loop, first: ModelVersion
) -> None:
    loop.plant(CASE, "2024-06", TO_MAY)
    began = loop.run(promote, CASE)
    assert began.name == "Rollout began" and "a canary of 50 %" in began.message, began.message
    challenger = entries(loop)[-1]["version"]
    assert loop.crowned(CASE) == first.number and verdicts(loop) == ["began"]
    assert any("rollout began" in told for told in began.told)
    wait_until(lambda: answered(loop) == {first.number, challenger}, "both answer")
    second = loop.run(promote, CASE, version=challenger)
    assert second.name == "Failed" and "do=revert" in second.message
    assert loop.run(rollout, CASE).name == "Completed"
    wait_until(lambda: answered(loop) == {challenger}, "the challenger answers all")
    assert loop.crowned(CASE) == first.number
    crowned = loop.run(rollout, CASE)
    assert crowned.name == "Completed", crowned.message
    assert verdicts(loop) == ["began", "stepped", "won"]
    assert loop.crowned(CASE) == loop.served(CASE) == challenger
    assert loop.registry.at(CASE, ROLLOUT) is None
    assert loop.run(rollout, CASE).name == "Nothing to do"
    api = loop.settings.prefect_api_url
    wanted = {"filter": {"event": {"prefix": ["laurel.rollout."]}}}
    events = httpx.post(f"{api}/events/filter", json=wanted).raise_for_status().json()["events"]
    assert {event["event"] for event in events} >= {"laurel.rollout.began", "laurel.rollout.won"}


def test_what_the_service_reverts_is_recorded_and_a_rollback_ends_a_rollout(
    loop: Loop, first: ModelVersion
) -> None:
    champion = str(loop.crowned(CASE))
    loop.run(rollback, CASE)
    loop.plant(CASE, "2024-06", TO_MAY)
    asked = '{"kind": "canary", "steps": [0.5], "minimum_minutes": 100}'
    assert loop.run(promote, CASE, rollout=asked).name == "Rollout began"
    name = entries(loop)[-1]["rollout"]["id"]
    said = {"version": "9", "reason": "failed 2 of 2 requests", "time": "2026-12-01T00:00:00Z"}
    loop.lake.write(f"rollouts/{CASE}/{name}/reverted.json", json.dumps(said).encode())
    reverted = loop.run(rollout, CASE)
    assert "failed 2 of 2 requests" in reverted.message
    assert verdicts(loop)[-1] == "reverted" and loop.registry.at(CASE, ROLLOUT) is None
    loop.plant(CASE, "2024-06", TO_MAY)
    assert loop.run(promote, CASE, rollout=asked).name == "Rollout began"
    back = loop.run(rollback, CASE, version=champion)
    assert back.name == "Completed", back.message
    assert verdicts(loop)[-2:] == ["began", "reverted"]
    assert loop.registry.at(CASE, ROLLOUT) is None and loop.crowned(CASE) == champion
