"""The governor and the ledger on the real stack: refused runs, the breaker, ``explain``, and the
audit. In the order of the file.
"""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import httpx
import pytest
from prefect import flow
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule

from blocks.clients.registry import CHAMPION
from blocks.settings import REPOSITORY
from deployments.checks.audit import main
from flows.accept_ledger import accept_ledger
from flows.close_breaker import close_breaker
from flows.explain import explain
from flows.promote import promote
from flows.retrain import retrain
from serving.records.chain import path_of
from serving.records.ledger import Decision
from tasks.ledger.entries import add_entry, now, record, stamp
from tasks.ledger.governor import Refusal
from tasks.steps.retrain import ask_governor
from tests.fixtures.ledgers import append_in_lake
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop

CASE = "toy_governor"
DEPLOYED = {CASE: ("retrain", "close_lost_run")}


def plant(loop: Loop, kind: str, verdict: str, **given: Any) -> None:
    """An entry as a run of before would have left it."""
    fields = {
        "use_case": CASE,
        "time": now(),
        "kind": kind,
        "verdict": verdict,
        "reasons": ["planted"],
        "by": "a test",
        "run": None,
    }
    add_entry(loop.lake, loop.registry, Decision(**(fields | given)))


def runs(loop: Loop) -> list[FlowRun]:
    deployment = loop.prefect.read_deployment_by_name(f"retrain/{CASE}")
    return loop.prefect.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    )


def audit(*use_cases: str, **environment: str) -> tuple[int, list[str]]:
    """Exit code and lines of the command, in this process: as one of its own it imports for
    seconds, each time.
    """
    said = io.StringIO()
    command = mock.patch.object(sys, "argv", ["audit", *use_cases])
    with (
        mock.patch.dict(os.environ, environment),
        command,
        redirect_stdout(said),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    code = ended.value.code
    return (
        (code, said.getvalue().splitlines())
        if isinstance(code, int)
        else (1, [*said.getvalue().splitlines(), str(code)])
    )


def audit_elsewhere(*use_cases: str) -> tuple[int, list[str]]:
    """As people type it."""
    command = [sys.executable, "-m", "deployments.checks.audit", *use_cases]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_before_anything_happened_explain_and_audit_say_so(loop: Loop) -> None:
    found = loop.run(explain, CASE).result
    assert found.champion is None
    assert (
        "Nobody: no contest was held before that." in found.text
        and "Nothing requested a retrain" in found.text
    )
    assert loop.artifact("toy-governor-explanation") == found.text
    assert audit(CASE) == (0, ["toy_governor: no entries"])


def test_a_drift_event_within_the_cooldown_is_a_skipped_run_and_a_decision_that_says_until_when(
    loop: Loop,
) -> None:
    """Nothing but the ledger knows of the run before: the worker's process is a new one."""
    plant(loop, "retrain", "started", run="an earlier run")
    began, before = datetime.now(UTC), len(loop.slack.messages)
    event = {
        "occurred": began.isoformat(),
        "event": "laurel.drift.detected",
        "resource": {"prefect.resource.id": f"laurel.use-case.{CASE}"},
        "payload": {
            "use_case": CASE,
            "window": "2024-07",
            "share": 0.5,
            "columns": ["first"],
            "champion": "1",
            "report": "",
        },
        "id": "5f0d3e59-2f62-4f3a-9c55-1df1ab9c4a10",
    }
    httpx.post(
        f"{loop.settings.prefect_api_url}/events",
        json=[event, {**event, "id": "5f0d3e59-2f62-4f3a-9c55-1df1ab9c4a11"}],
    ).raise_for_status()
    wait_until(
        lambda: any(run.state and run.state.is_final() for run in runs(loop)),
        "the automation's run ends",
        seconds=90,
    )
    (run,) = runs(loop)
    assert run.state is not None and (run.state.name, run.state.is_completed()) == ("Skipped", True)
    assert run.parameters == {
        "use_case": CASE,
        "through": "2024-07",
        "reason": "drift in 2024-07: first",
        "by_hand": False,
    }
    assert run.state.message and run.state.message.startswith("the last retrain started at ")
    entry = loop.decisions(CASE)[-1]
    assert (entry["kind"], entry["verdict"], entry["reasons"], entry["run"]) == (
        "refusal",
        "cooldown",
        [run.state.message],
        str(run.id),
    )
    assert entry["facts"]["wanted"] == "drift in 2024-07: first"
    korean = {"Accept-Language": "ko-KR,ko;q=0.9"}
    told = loop.service.get(f"/v1/{CASE}/decisions", headers=korean).json()["items"][0]
    assert told["reasons"][0].startswith("마지막 재학습이 ")
    assert told["parts"][-1]["facts"]["wanted"] == "2024-07 구간의 드리프트: first"
    assert [code["code"] for code in told["codes"]] == ["cooldown"]
    assert datetime.fromisoformat(entry["facts"]["until"]) - datetime.fromisoformat(
        loop.decisions(CASE)[0]["time"]
    ) == timedelta(hours=1)
    assert loop.told(CASE, before)[0].startswith(
        f"{CASE}: retrain skipped: the last retrain started at "
    )
    assert (
        "and refused: the last retrain started at"
        in loop.run(explain, CASE, question="retrain").result.text
    )


def test_what_a_schedule_starts_nobody_started_by_hand_and_the_governor_is_asked(
    loop: Loop,
) -> None:
    deployment, known = (
        loop.prefect.read_deployment_by_name(f"retrain/{CASE}"),
        {run.id for run in runs(loop)},
    )
    soon = IntervalSchedule(
        interval=timedelta(days=30), anchor_date=datetime.now(UTC) + timedelta(seconds=5)
    )
    (schedule,) = loop.prefect.create_deployment_schedules(deployment.id, [(soon, True)])
    # The server's scheduler looks once a minute; this has it look now.
    httpx.post(
        f"{loop.settings.prefect_api_url}/deployments/{deployment.id}/schedule", json={}
    ).raise_for_status()

    def ended() -> list[FlowRun]:
        return [
            run for run in runs(loop) if run.id not in known and run.state and run.state.is_final()
        ]

    try:
        wait_until(lambda: bool(ended()), "the scheduled run ends", seconds=120)
    finally:
        loop.prefect.delete_deployment_schedule(deployment.id, schedule.id)
    (run,) = ended()
    assert (
        run.auto_scheduled
        and run.parameters["use_case"] == CASE
        and run.parameters.get("by_hand", True)
    )
    assert run.state is not None and run.state.name == "Skipped" and run.state.message
    assert run.state.message.startswith("the last retrain started at ")
    entry = loop.decisions(CASE)[-1]
    assert (entry["kind"], entry["verdict"], entry["run"]) == ("refusal", "cooldown", str(run.id))


def test_a_person_may_start_one_all_the_same_and_it_counts(loop: Loop) -> None:
    outcome = loop.run(retrain, CASE, through="2024-02", reason="I want one")
    assert outcome.name == "Below the gate"
    started, ended = [
        entry for entry in loop.decisions(CASE, "retrain") if entry["run"] == outcome.run_id
    ]
    assert (started["verdict"], started["reasons"], started["facts"]) == (
        "started",
        ["I want one"],
        {"started_by": "a person"},
    )
    assert (ended["verdict"], ended["reasons"]) == ("below the gate", [outcome.message])
    assert "1 of 3 rejections in a row" in loop.run(explain, CASE, question="retrain").result.text


def test_a_run_that_fails_says_so_in_the_ledger(loop: Loop) -> None:
    outcome = loop.run(retrain, CASE, through="1999-01")
    assert outcome.name == "Failed"
    entry = loop.decisions(CASE)[-1]
    assert (entry["kind"], entry["verdict"], entry["run"]) == ("retrain", "failed", outcome.run_id)
    assert entry["reasons"][0].startswith("SourceError: ") or "1999-01" in entry["reasons"][0]


def test_a_run_that_was_lost_and_goes_on_is_not_refused_by_its_own_start(loop: Loop) -> None:
    @flow(name="goes on")
    async def goes_on(use_case: str, started: bool) -> Refusal | None:
        """``started``: it noted its start, and its instance was lost before the result of that step
        was kept.
        """
        if started:
            record(
                Decision(
                    use_case=use_case,
                    kind="retrain",
                    verdict="started",
                    reasons=["drift"],
                    **stamp(),
                )
            )
        return ask_governor.fn(use_case, "drift", False)

    before = len(loop.decisions(CASE))
    assert loop.run(goes_on, CASE, started=True).result is None
    assert len(loop.decisions(CASE)) == before + 1
    refused = loop.run(goes_on, CASE, started=False).result
    assert refused is not None and refused.verdict == "budget"


def test_the_breaker_opens_after_rejections_in_a_row_and_a_hand_closes_it(loop: Loop) -> None:
    for challenger in ("91", "92"):  # with the one below the gate these are three
        plant(loop, "contest", "keep", challenger=challenger, champion="1", holdout="2024-05")
    outcome = loop.run(retrain, CASE, by_hand=False, reason="drift in 2024-08")
    assert (outcome.name, outcome.state.is_completed()) == ("Skipped", True)
    assert outcome.message.startswith(
        "the breaker is open: 3 challengers in a row were not promoted."
    )
    assert [(entry["kind"], entry["verdict"]) for entry in loop.decisions(CASE)[-1:]] == [
        ("refusal", "breaker")
    ]
    assert "**Breaker:** open until" in loop.run(explain, CASE, question="retrain").result.text

    closed = loop.run(close_breaker, CASE, by="Kim", why="the source is mended")
    assert closed.message == "Kim closed the breaker of toy_governor after 3 rejected challengers."
    entry = loop.decisions(CASE)[-1]
    assert (entry["kind"], entry["verdict"], entry["run"]) == ("breaker", "closed", closed.run_id)
    assert entry["facts"] == {"by": "Kim", "why": "the source is mended", "rejections": 3.0}
    assert closed.told and "Kim closed the breaker after 3 rejected challengers" in closed.told[0]
    assert loop.run(close_breaker, CASE, by="Kim", why="once more").name == "Nothing to do"
    assert loop.decisions(CASE)[-1] == entry
    # Of the other rules the budget lasts longest: three runs of today.
    assert loop.run(retrain, CASE, by_hand=False).message.startswith(
        "4 retrains started within 24 h, and 3 are allowed a day"
    )


def test_of_two_at_once_one_is_at_work_and_the_other_a_decision(loop: Loop) -> None:
    before = len(loop.decisions(CASE))
    outcomes = loop.run_together((retrain, CASE), (retrain, CASE))
    assert sorted(outcome.name for outcome in outcomes) in (
        ["Below the gate", "Skipped"],
        ["Nothing to do", "Skipped"],
    )
    new = loop.decisions(CASE)[before:]
    assert sorted(entry["verdict"] for entry in new if entry["kind"] == "refusal") == ["running"]
    assert len({entry["run"] for entry in new if entry["verdict"] == "started"}) == 1


def test_explain_of_an_unknown_use_case_names_the_known_ones(loop: Loop) -> None:
    outcome = loop.run(explain, "toy_govenor")
    assert outcome.name == "Failed" and "Unknown use case 'toy_govenor'. Known: " in outcome.message
    assert "Did you mean 'toy_governor'?" in outcome.message


def test_an_alias_that_was_moved_by_hand_is_told_by_explain_and_by_the_audit(loop: Loop) -> None:
    version = loop.plant(CASE, "2024-02", ["2024-01"])
    code, lines = audit(CASE)
    assert audit_elsewhere(CASE) == (code, lines)
    assert (code, lines) == (
        1,
        [
            (
                f"{CASE}: NOT WHOLE: MLflow's model has no tag laurel.ledger: it was removed, or "
                "the model is new; MLflow's run vouches for the last entry, and Laurel's next "
                "entry sets the tag again"
            )
        ],
    )
    loop.run(
        retrain, CASE, by_hand=False
    )  # a refusal, and with it the head on the model that there is now
    entries = len(loop.decisions(CASE))
    assert audit(CASE) == (
        0,
        [f"{CASE}: {entries} entries, whole; no champion, and none was crowned"],
    )
    loop.registry.set_alias(version, CHAMPION)
    assert (
        f"is at version {version.number}, and the ledger crowned nobody"
        in loop.run(explain, CASE).result.text
    )
    said = (
        f"the alias champion in MLflow is at version {version.number}, and no entry crowned a "
        "version: somebody moved it by hand"
    )
    assert audit(CASE) == (1, [f"{CASE}: NOT WHOLE: {said}"])
    loop.registry.remove_alias(CASE, CHAMPION)
    assert audit(CASE)[0] == 0


def test_an_entry_that_was_edited_or_removed_on_the_s3_server_is_named_and_the_exit_code_is_1(
    loop: Loop,
) -> None:
    path, last = path_of(CASE, 2), path_of(CASE, len(loop.decisions(CASE)))
    whole, end = loop.lake.read(path), loop.lake.read(last)
    loop.lake.write(
        path,
        json.dumps(json.loads(whole) | {"reasons": ["it was never refused"]}, indent=1).encode(),
    )
    loop.lake.write(last, json.dumps(json.loads(end) | {"verdict": "cooldown"}, indent=1).encode())
    try:
        code, lines = audit(CASE)
    finally:
        loop.lake.write(path, whole)
        loop.lake.write(last, end)
    assert code == 1 and len(lines) == 1
    assert f"{path} was changed: the entry after it has another SHA-256" in lines[0]
    assert f"{last} was changed: its SHA-256 is not the head that MLflow has" in lines[0]
    assert audit(CASE)[0] == 0


def test_a_head_that_is_none_is_a_fault(loop: Loop) -> None:
    head = loop.registry.model_tags(CASE)["laurel.ledger"]
    loop.registry.tag_model(CASE, {"laurel.ledger": "all is well"})
    code, lines = audit(CASE)
    loop.registry.tag_model(CASE, {"laurel.ledger": head})
    assert (
        code == 1
        and (
            "MLflow's model says 'all is well' in the tag laurel.ledger, which is no place and "
            "SHA-256"
        )
        in lines[0]
    )
    assert audit(CASE)[0] == 0


@pytest.mark.nightly("each flow once; test_attacks.py proves the ledger")
def test_ledger_that_somebody_added_to_is_added_to_by_no_flow_until_a_person_accepts_it(
    loop: Loop,
) -> None:
    entries = len(loop.decisions(CASE))
    forged = Decision(
        use_case=CASE,
        time=now(),
        kind="breaker",
        verdict="closed",
        reasons=["forged in the lake"],
        by="nobody",
        run=None,
    )
    append_in_lake(loop.lake, forged)
    said = f"{path_of(CASE, entries + 1)}: not announced in MLflow, which has no head for it"
    assert audit(CASE) == (1, [f"{CASE}: NOT WHOLE: {said}"])
    for asked in (retrain, promote):
        outcome = loop.run(asked, CASE)
        assert outcome.name == "Failed" and said in outcome.message
        assert f"accept_ledger/{CASE}" in "".join(outcome.told)
    assert len(loop.decisions(CASE)) == entries + 1

    accepted = loop.run(accept_ledger, CASE, by="Kim", why="the test forged it")
    assert accepted.message == f"Kim accepted the ledger of {CASE} as it stands: {said}."
    entry = loop.decisions(CASE)[-1]
    assert (entry["kind"], entry["verdict"], entry["run"]) == (
        "ledger",
        "accepted",
        accepted.run_id,
    )
    assert entry["reasons"] == ["accepted by Kim: the test forged it", said]
    assert accepted.told and "Kim accepted the ledger as it stands" in accepted.told[0]
    code, lines = audit(CASE)
    assert code == 0 and f"accepted as it stood by Kim in entry {entries + 2}" in lines[0]
    assert loop.run(accept_ledger, CASE, by="Kim", why="again").name == "Nothing to do"
    assert loop.run(retrain, CASE, by_hand=False).name == "Skipped" and audit(CASE)[0] == 0


def test_what_cannot_be_checked_is_not_whole(loop: Loop) -> None:
    code, lines = audit(CASE, LAUREL_MLFLOW_URL="http://127.0.0.1:1")
    assert code == 1 and lines[0].startswith(
        f"{CASE}: NOT CHECKED: MLflow at http://127.0.0.1:1 could not "
    )
    code, lines = audit(CASE, LAUREL_S3_ENDPOINT="http://127.0.0.1:1")
    assert code == 1 and lines[-1].startswith("The ledgers cannot be checked: The lake ")
    code, lines = audit("nobody")
    assert code == 1 and lines[-1].startswith(
        "Unknown use case nobody. Use cases with a ledger or a file: "
    )
