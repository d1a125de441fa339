"""Rollback: to the champion before, to a named version, and to what cannot serve. On the real
stack, in the order of the file.
"""

from typing import Any

import pytest

from benchmarks.loop.rollback import callers, measure
from blocks.registry import ModelVersion
from flows.ingest import ingest
from flows.promote import promote
from flows.rollback import rollback
from tasks.packages.registered import open_package
from tests.integration.planting import Loop, Outcome

CASE = "toy_rollback"
DEPLOYED = {CASE: ("rollback", "close_lost_run")}
TO_MAY = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


@pytest.fixture(scope="module")
def first(loop: Loop) -> ModelVersion:
    """The first champion, by the gate."""
    loop.run(ingest, CASE, through="2024-06")
    loop.plant(CASE, "2024-03", TO_MAY[:2])
    return loop.run(promote, CASE).result


@pytest.fixture(scope="module")
def second(loop: Loop, first: ModelVersion) -> ModelVersion:
    """The second one, by a contest."""
    loop.plant(CASE, "2024-06", TO_MAY)
    return loop.run(promote, CASE).result


def crowns(loop: Loop) -> list[dict[str, Any]]:
    return [entry for entry in loop.decisions(CASE) if entry["kind"] in ("crown", "rollback")]


def refused(loop: Loop, outcome: Outcome, champion: ModelVersion, said: str, entries: int) -> None:
    """Nothing moved, nothing is recorded, and people are told why."""
    assert outcome.name == "Failed" and said in outcome.message
    assert (loop.crowned(CASE), loop.served(CASE)) == (champion.number, champion.number)
    assert len(crowns(loop)) == entries
    assert outcome.told[0].startswith(f"{CASE}: flow rollback failed: ")


def test_crownings_are_in_the_ledger(loop: Loop, first: ModelVersion, second: ModelVersion) -> None:
    one, two = crowns(loop)
    assert (one["kind"], one["verdict"], one["version"], one["champion"]) == (
        "crown",
        "crowned",
        first.number,
        None,
    )
    assert (two["kind"], two["verdict"], two["version"], two["champion"]) == (
        "crown",
        "crowned",
        second.number,
        first.number,
    )
    assert (two["challenger"], two["facts"]["refit_of"]) == (second.tags["laurel.refit_of"],) * 2
    assert (
        two["promoted"]
        and two["facts"]["recipe"] == "boosting"
        and two["facts"]["seconds_to_served"] >= 0
    )


def test_first_champion_has_none_to_go_back_to(loop: Loop, second: ModelVersion) -> None:
    outcome = loop.run(rollback, "toy_hasty")
    assert (
        outcome.name == "Failed"
        and "'toy_hasty' has no champion to roll back from" in outcome.message
    )


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("999", "version 999 of 'toy_rollback'"),
        ("champion", "is already the champion"),
        ("bare", "has no model package"),
    ],
)
def test_rollback_to_what_cannot_serve_leaves_the_alias(
    loop: Loop, second: ModelVersion, version: str, said: str
) -> None:
    if version == "bare":
        from mlflow import MlflowClient

        version = (
            MlflowClient()
            .create_model_version(CASE, f"runs:/{second.run_id}/model", run_id=second.run_id)
            .version
        )
    outcome = loop.run(
        rollback, CASE, version=second.number if version == "champion" else str(version)
    )
    refused(loop, outcome, second, said, entries=2)


def test_rollback_to_a_package_that_was_damaged_leaves_the_alias(
    loop: Loop, first: ModelVersion, second: ModelVersion
) -> None:
    (path,) = [
        path
        for path in loop.lake.list("mlflow")
        if path.endswith(f"{first.run_id}/artifacts/package/model.onnx")
    ]
    whole = loop.lake.read(path)
    loop.lake.write(path, whole[:-100] + bytes(100))
    outcome = loop.run(rollback, CASE, version=first.number)
    loop.lake.write(path, whole)
    refused(loop, outcome, second, "model.onnx", entries=2)


def test_rollback_that_cannot_be_served_gives_the_alias_back(
    loop: Loop, first: ModelVersion, second: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_PROMOTE_TIMEOUT_SECONDS", "1")
    with loop.stopped("service"):
        outcome = loop.run(rollback, CASE)
    assert outcome.name == "Failed" and f"The alias is back at {second.number}" in outcome.message
    assert loop.crowned(CASE) == second.number
    entry = crowns(loop)[-1]
    assert (entry["kind"], entry["verdict"], entry["version"], entry["promoted"]) == (
        "rollback",
        "failed",
        first.number,
        False,
    )


def test_rollback_gives_the_crown_to_the_champion_before(
    loop: Loop, first: ModelVersion, second: ModelVersion
) -> None:
    before = len(loop.decisions(CASE))
    outcome = loop.run(rollback, CASE, reason="complaints")
    assert outcome.result.number == first.number
    assert (loop.crowned(CASE), loop.served(CASE)) == (first.number, first.number)
    assert len(loop.decisions(CASE)) == before + 1, "one entry for one event"
    entry = loop.decisions(CASE)[-1]
    assert (entry["kind"], entry["verdict"], entry["version"], entry["champion"]) == (
        "rollback",
        "rollback",
        first.number,
        second.number,
    )
    assert entry["reasons"] == ["complaints"] and 0.75 < entry["gate_score"] < 1
    assert outcome.told[-1].startswith(
        f"{CASE}: rolled back from version {second.number} to version {first.number}"
    )
    assert "complaints" in loop.artifact("toy-rollback-rollback")


def test_second_rollback_does_not_go_back_to_what_was_rolled_back_from(
    loop: Loop, first: ModelVersion
) -> None:
    outcome = loop.run(rollback, CASE)
    refused(loop, outcome, first, f"no champion before version {first.number}", entries=4)


def test_rollback_to_a_named_version(loop: Loop, second: ModelVersion) -> None:
    outcome = loop.run(rollback, CASE, version=second.number)
    assert (outcome.name, loop.crowned(CASE), loop.served(CASE)) == (
        "Completed",
        second.number,
        second.number,
    )


def test_no_request_fails_while_a_worker_rolls_back(
    loop: Loop, first: ModelVersion, second: ModelVersion
) -> None:
    with open_package(loop.registry, second) as (package, _):
        rows = package.smoke.rows[:1]
    with callers(loop.settings.serving_base_url, CASE, rows) as traffic:
        found, _ = measure(loop.settings, CASE, first.number, 2)
    assert [one.version for one in found] == [first.number, second.number]
    assert traffic.versions == {first.number, second.number}
    assert traffic.failed == [] and traffic.answers > 100
    assert loop.crowned(CASE) == second.number
