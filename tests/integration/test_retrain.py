"""The loop as it runs by itself: on the worker, one at a time, killed in the middle, started by
drift. In the order of the file.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from usecases.toy import toy_rows

from blocks.settings import REPOSITORY
from deployments.servers.environment import environment
from flows.drift_check import drift_check
from flows.explain import explain
from flows.retrain import retrain
from serving.records.ledger import Decision
from tasks.data.dataset import read_version, versions
from tasks.drift.drivers import drifted_columns
from tasks.ledger.entries import add_entry, now
from tasks.packages.registered import read_manifest
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop

CASE = "toy_retrain"
DEPLOYED = {CASE: ("retrain", "close_lost_run")}


def runs(loop: Loop) -> list[FlowRun]:
    """All retrains of the deployment, oldest first."""
    deployment = loop.prefect.read_deployment_by_name(f"retrain/{CASE}")
    found = loop.prefect.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    )
    return sorted(found, key=lambda run: str(run.created))


def start(loop: Loop, **parameters: Any) -> FlowRun:
    deployment = loop.prefect.read_deployment_by_name(f"retrain/{CASE}")
    return loop.prefect.create_flow_run_from_deployment(deployment.id, parameters=parameters)


def ended(loop: Loop, run: FlowRun) -> FlowRun:
    """The run, when it is over."""

    def over() -> bool:
        state = loop.prefect.read_flow_run(run.id).state
        return state is not None and state.is_final()

    wait_until(over, f"run {run.name} ends", seconds=90)
    return loop.prefect.read_flow_run(run.id)


def state_name(run: FlowRun) -> str:
    return run.state.name if run.state and run.state.name else ""


@pytest.fixture(scope="module")
def killed_ingest(loop: Loop) -> int:
    """An ingest that is killed when it has written some of its periods. Returns how many."""
    code = f"import asyncio\nfrom flows.ingest import ingest\nasyncio.run(ingest({CASE!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, **environment(loop.settings)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: len(loop.lake.list(f"datasets/{CASE}/periods")) >= 2,
            "two periods are in the lake",
        )
    finally:
        process.kill()
        process.wait()
    return len(loop.lake.list(f"datasets/{CASE}/periods"))


def test_ingest_killed_half_way_leaves_no_version_to_be_seen(
    loop: Loop, killed_ingest: int
) -> None:
    assert killed_ingest < 8
    assert versions(loop.lake, CASE) == []
    assert [path for path in loop.lake.list(f"datasets/{CASE}") if "/periods/" not in path] == []


@pytest.fixture(scope="module")
def first(loop: Loop, killed_ingest: int) -> Iterator[FlowRun]:
    """A retrain on the worker that is in the middle of its training."""
    (loop.settings.state / "held").unlink(missing_ok=True)  # another module's
    (loop.settings.state / "hold").touch()
    run = start(loop, through="2024-03")
    wait_until(
        (loop.settings.state / "held").exists, "the run on the worker is in mid-train", seconds=90
    )
    yield run
    (loop.settings.state / "hold").unlink(missing_ok=True)


def test_second_retrain_at_the_same_time_says_why_it_does_not_run(
    loop: Loop, first: FlowRun
) -> None:
    outcome = loop.run(retrain, CASE)
    assert (outcome.name, outcome.state.is_completed()) == ("Skipped", True)
    assert (
        f"another retrain of 'toy_retrain' is running: run 'toy_retrain 2024-03' ({first.id})"
        in outcome.message
    )
    assert len(outcome.told) == 1 and outcome.told[0].startswith(
        f"{CASE}: retrain skipped: another retrain"
    )
    refusal = loop.decisions(CASE)[-1]
    assert (refusal["kind"], refusal["verdict"], refusal["reasons"], refusal["run"]) == (
        "refusal",
        "running",
        [outcome.message],
        outcome.run_id,
    )
    assert state_name(loop.prefect.read_flow_run(first.id)) == "Running"


def test_run_killed_in_mid_train_is_crashed_and_nothing_half_written_is_visible(
    loop: Loop, first: FlowRun
) -> None:
    before = len(loop.slack.messages)
    os.kill(int((loop.settings.state / "held").read_text()), signal.SIGKILL)
    assert state_name(ended(loop, first)) == "Crashed"
    inside = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[first.id]))
    assert {
        run.name: state_name(run) for run in loop.prefect.read_flow_runs(flow_run_filter=inside)
    }.keys() >= {"toy_retrain 2024-03"}
    assert read_version(loop.lake, CASE).window == "2024-01..2024-03"
    assert loop.registry.versions(CASE) == [] and loop.registry.runs(CASE, {}) == []
    assert loop.crowned(CASE) is None
    wait_until(lambda: len(loop.told(CASE, before)) > 0, "Slack is told of the crash", seconds=120)
    (told,) = loop.told(CASE, before)
    assert (
        told.startswith(f"{CASE}: flow retrain failed: Process exited with status code: -9")
        and f"/runs/flow-run/{first.id}" in told
    )
    assert [
        (entry["verdict"], entry["run"]) for entry in loop.decisions(CASE, "retrain", "contest")
    ] == [
        ("started", str(first.id)),
        ("crashed", str(first.id)),
    ]


def test_retrain_after_a_killed_one_completes(loop: Loop, first: FlowRun) -> None:
    (loop.settings.state / "hold").unlink()
    outcome = loop.run(retrain, CASE, through="2024-03")
    assert outcome.name == "Completed"
    assert (loop.crowned(CASE), loop.served(CASE)) == (outcome.result.number, outcome.result.number)
    started, ended = [
        entry for entry in loop.decisions(CASE, "retrain") if entry["run"] == outcome.run_id
    ]
    assert (started["verdict"], started["reasons"], started["facts"]) == (
        "started",
        ["asked for"],
        {"started_by": "a person"},
    )
    assert (ended["verdict"], ended["version"], ended["promoted"]) == (
        "promoted",
        outcome.result.number,
        True,
    )


def test_drift_retrains_on_the_worker_and_the_new_champion_serves(loop: Loop) -> None:
    before, known = loop.crowned(CASE), {run.id for run in runs(loop)}
    loop.plant_predictions(CASE, "2024-07", toy_rows("2024-07"))
    verdict = loop.run(drift_check, CASE, window="2024-07").result.verdict
    assert verdict.outcome == "drifted"
    wait_until(lambda: len(runs(loop)) > len(known), "the automation starts a retrain")
    run = ended(loop, next(run for run in runs(loop) if run.id not in known))
    assert state_name(run) == "Completed"
    columns = ", ".join(drifted_columns(verdict))
    assert run.parameters == {
        "use_case": CASE,
        "through": "2024-07",
        "reason": f"drift in 2024-07: {columns}",
        "by_hand": False,
    }
    after = loop.crowned(CASE)
    assert after is not None and after != before and loop.served(CASE) == after
    assert (
        read_manifest(loop.registry, loop.registry.version(CASE, after)).trained_through
        == "2024-07"
    )
    entry = loop.decisions(CASE, "contest")[-1]
    assert (entry["verdict"], entry["champion"], entry["holdout"]) == ("promote", before, "2024-07")
    words = loop.run(explain, CASE, question="champion").result
    assert (
        words.champion == after
        and f"**Version {after}**" in words.text
        and f"against champion {before} on 2024-07: *promote*" in words.text
    )
    assert (
        "by hand" not in words.text
        and f"dataset version `{entry['dataset_version']}`" in words.text
    )


def test_place_that_a_dead_run_left_taken_is_free_for_the_next_one(loop: Loop) -> None:
    """As after a restart with another database of Prefect, which knows nothing of what held the
    place.
    """
    dead = Decision(
        use_case=CASE,
        time=now(),
        kind="retrain",
        verdict="started",
        reasons=["drift"],
        by="a test",
        run=str(uuid4()),
    )
    add_entry(loop.lake, loop.registry, dead)
    outcome = loop.run(retrain, CASE, through="2024-07")
    assert outcome.name == "Nothing to do" and outcome.state.is_completed()
    crashed, started, ended = loop.decisions(CASE)[-3:]
    assert [entry["verdict"] for entry in (crashed, started, ended)] == [
        "crashed",
        "started",
        "nothing to do",
    ]
    assert [entry["run"] for entry in (crashed, started, ended)] == [
        dead.run,
        outcome.run_id,
        outcome.run_id,
    ]


def test_a_challenger_that_is_no_better_ends_the_run_as_champion_stays_and_the_ledger_says_kept(
    loop: Loop,
) -> None:
    """August is made as July was: the champion's own recipe on the same rows cannot win."""
    champion = loop.crowned(CASE)
    outcome = loop.run(retrain, CASE, through="2024-08")
    assert (
        outcome.name == "Champion stays"
        and outcome.message.startswith("Challenger ")
        and ": keep: " in outcome.message
    )
    assert loop.crowned(CASE) == champion
    contest, end = loop.decisions(CASE)[-2:]
    assert (contest["kind"], contest["verdict"], contest["run"]) == (
        "contest",
        "keep",
        outcome.run_id,
    )
    assert (end["kind"], end["verdict"], end["run"], end["reasons"]) == (
        "retrain",
        "kept",
        outcome.run_id,
        [outcome.message],
    )
    tags = loop.registry.version(CASE, contest["challenger"]).tags
    assert tags["laurel.decision"] == f"decisions/{CASE}/{contest['sequence']:08d}.json"


@pytest.mark.nightly("a further variant")
def test_of_two_retrains_for_the_first_time_at_once_one_runs_and_the_other_is_skipped(
    loop: Loop,
) -> None:
    """Both find an empty ledger: its first place is taken once."""
    ran, skipped = sorted(
        loop.run_together((retrain, "toy_hopeless"), (retrain, "toy_hopeless")),
        key=lambda outcome: outcome.name,
    )
    assert [(one.name, one.state.is_completed()) for one in (ran, skipped)] == [
        ("Below the gate", True),
        ("Skipped", True),
    ]
    assert skipped.message == (
        f"another retrain of 'toy_hopeless' is running: run 'toy_hopeless latest' ({ran.run_id}). "
        f"Wait for it to end, or cancel it: laurel cancel {ran.run_id}"
    )
