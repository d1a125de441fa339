"""Approval: asked, suspended without a process, answered over Prefect's REST API, and what the
answer is worth. On the real stack.

In the order of the file: the first answer makes the first champion.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from pydantic import SecretStr

from blocks.clients.registry import CHALLENGER, CHAMPION, ROLLOUT
from blocks.registry import ModelVersion
from blocks.slack import BLOCK, SlackNotifier
from flows.approve import approve
from flows.ingest import ingest
from flows.promote import promote
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop, Outcome

CASE = "toy_approval"
HASTY = "toy_hasty"
DEPLOYED = {CASE: ("approve", "close_lost_run"), HASTY: ("approve", "close_lost_run")}
TO_MAY = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]
PATIENCE_SECONDS = 240.0


def approvals(loop: Loop, case: str = CASE) -> list[dict[str, Any]]:
    return [entry for entry in loop.decisions(case) if entry["kind"] == "approval"]


def run_of(loop: Loop, run: str) -> FlowRun:
    return loop.prefect.read_flow_run(UUID(run))


def state_of(loop: Loop, run: str) -> str:
    state = run_of(loop, run).state
    return (state.name if state else None) or ""


def ended(loop: Loop, run: str) -> FlowRun:
    def over() -> bool:
        state = run_of(loop, run).state
        return state is not None and state.is_final()

    wait_until(over, f"the run {run} is over", PATIENCE_SECONDS)
    return run_of(loop, run)


def asked(
    loop: Loop, challenger: ModelVersion, case: str = CASE, rollout: str | None = None
) -> dict[str, Any]:
    """Let ``promote`` ask about the challenger. Returns the ledger's question once its run waits,
    or its time was over before.
    """
    outcome = loop.run(promote, case, version=challenger.number, rollout=rollout)
    assert (outcome.name, outcome.state.is_completed()) == ("Waits for approval", True)
    question = approvals(loop, case)[-1]
    assert (question["verdict"], question["challenger"]) == ("asked", challenger.number)
    assert question["run"] in outcome.message
    wait_until(
        lambda: state_of(loop, question["run"]) in ("Suspended", "Expired"),
        "the run waits",
        PATIENCE_SECONDS,
    )
    return question


def answer(loop: Loop, run: str, approved: bool, by: str, why: str = "") -> dict[str, Any]:
    """As Slack's button and the service send it."""
    body = {"run_input": {"approved": approved, "by": by, "why": why}}
    return httpx.post(
        f"{loop.settings.prefect_api_url}/flow_runs/{run}/resume", json=body, timeout=30
    ).json()


def stays(
    loop: Loop, challenger: ModelVersion, champion: ModelVersion, verdict: str
) -> dict[str, Any]:
    """What holds when the answer is no, whyever. Returns the ledger's answer."""
    assert (loop.crowned(CASE), loop.served(CASE)) == (champion.number, champion.number)
    assert loop.registry.at(CASE, CHALLENGER) is None
    entry = approvals(loop)[-1]
    assert (entry["verdict"], entry["challenger"], entry["promoted"]) == (
        verdict,
        challenger.number,
        False,
    )
    assert (
        loop.registry.version(CASE, challenger.number).tags["laurel.approval"].startswith(verdict)
    )
    return entry


@pytest.fixture(scope="module")
def hasty_question(loop: Loop) -> dict[str, Any]:
    """Asked before all others: its time is over while they are answered."""
    loop.run(ingest, HASTY, through="2024-03")
    return asked(loop, loop.plant(HASTY, "2024-03", TO_MAY[:2]), HASTY)


def test_question_says_until_when_it_can_be_answered(
    loop: Loop, hasty_question: dict[str, Any]
) -> None:
    began, until = (
        datetime.fromisoformat(time)
        for time in (hasty_question["time"], hasty_question["facts"]["until"])
    )
    assert 0 < (until - began).total_seconds() <= 30


@pytest.fixture(scope="module")
def first_question(loop: Loop, hasty_question: dict[str, Any]) -> dict[str, Any]:
    loop.run(ingest, CASE, through="2024-06")
    return asked(loop, loop.plant(CASE, "2024-03", TO_MAY[:2]))


def test_question_is_in_the_ledger_and_told_and_nothing_is_crowned(
    loop: Loop, first_question: dict[str, Any]
) -> None:
    question = first_question
    assert loop.crowned(CASE) is None
    assert loop.registry.at(CASE, CHALLENGER) is not None, "the challenger still wants the crown"
    assert (
        question["facts"]["until"] > question["time"] and question["facts"]["contest"] == "promote"
    )
    run = run_of(loop, question["run"])
    assert (
        run.deployment_id is not None
        and run.parameters["asked_by"] == question["facts"]["asked_by"]
    )
    assert any(
        f"may challenger v{question['challenger']} take the crown?" in text
        for text in loop.told(CASE)
    )
    assert f"May challenger {question['challenger']}" in loop.artifact("toy-approval-approval")


def test_form_asks_for_who_and_takes_no_answer_without(
    loop: Loop, first_question: dict[str, Any]
) -> None:
    run = first_question["run"]
    assert answer(loop, run, True, "  ")["status"] == "REJECT"
    body = {"run_input": {"by": "ann"}}
    said = httpx.post(f"{loop.settings.prefect_api_url}/flow_runs/{run}/resume", json=body).json()
    assert said["status"] == "REJECT"
    assert state_of(loop, run) == "Suspended"
    keyset = run_of(loop, run).state.state_details.run_input_keyset  # type: ignore[union-attr]
    assert keyset is not None
    shown = loop.prefect.read_flow_run_input(UUID(run), keyset["description"])
    assert f"May challenger {first_question['challenger']} of {CASE} take the crown" in str(shown)


@pytest.fixture(scope="module")
def both_answers(loop: Loop, first_question: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Two people approve at the same time."""
    with ThreadPoolExecutor(2) as people:
        given = {
            by: people.submit(answer, loop, first_question["run"], True, by, "fine")
            for by in ("ann", "bob")
        }
        return {by: one.result() for by, one in given.items()}


@pytest.fixture(scope="module")
def champion(
    loop: Loop, first_question: dict[str, Any], both_answers: dict[str, dict[str, Any]]
) -> ModelVersion:
    ended(loop, first_question["run"])
    champion = loop.registry.at(CASE, CHAMPION)
    assert champion is not None
    return champion


def test_of_two_approvals_at_once_one_counts_and_the_other_is_told(
    loop: Loop,
    first_question: dict[str, Any],
    both_answers: dict[str, dict[str, Any]],
    champion: ModelVersion,
) -> None:
    winners = [by for by, said in both_answers.items() if said.get("status") == "ACCEPT"]
    assert len(winners) == 1
    (entry,) = [one for one in approvals(loop) if one["verdict"] != "asked"]
    assert (entry["verdict"], entry["facts"]) == ("approved", {"by": winners[0], "why": "fine"})
    assert entry["run"] == first_question["run"]


def test_approved_challenger_is_refitted_crowned_and_served(
    loop: Loop, first_question: dict[str, Any], champion: ModelVersion
) -> None:
    assert state_of(loop, first_question["run"]) == "Completed"
    assert champion.tags["laurel.refit_of"] == first_question["challenger"]
    assert loop.served(CASE) == champion.number
    assert loop.registry.at(CASE, CHALLENGER) is None
    assert [entry["kind"] for entry in loop.decisions(CASE)] == [
        "contest",
        "approval",
        "approval",
        "crown",
    ]
    assert loop.decisions(CASE)[-1]["run"] == first_question["run"]


def test_time_limit_is_called_off_by_an_answer(
    loop: Loop, first_question: dict[str, Any], champion: ModelVersion
) -> None:
    limits = first_question["facts"]["time_limit"].split()
    assert [state_of(loop, limit) for limit in limits] == ["Cancelled", "Cancelled"]


def test_run_that_is_over_takes_no_answer(
    loop: Loop, first_question: dict[str, Any], champion: ModelVersion
) -> None:
    before = loop.decisions(CASE)
    assert answer(loop, first_question["run"], False, "eve")["status"] == "ABORT"
    assert loop.decisions(CASE) == before


@pytest.fixture
def buttons(loop: Loop) -> Iterator[None]:
    """Slack as it is told where the service has the app's signing secret."""
    changed = loop.settings.model_copy(update={"slack_signing_secret": SecretStr("of the app")})
    SlackNotifier.of(changed).save(BLOCK, overwrite=True, _sync=True)  # type: ignore[call-arg]
    yield
    SlackNotifier.of(loop.settings).save(BLOCK, overwrite=True, _sync=True)  # type: ignore[call-arg]


def test_rejected_challenger_is_retired_also_when_the_server_was_restarted_meanwhile(
    loop: Loop, champion: ModelVersion, buttons: None, hasty_question: dict[str, Any]
) -> None:
    ended(loop, hasty_question["run"])  # else its time may be over while there is no server
    challenger = loop.plant(CASE, "2024-06", TO_MAY)
    question = asked(loop, challenger)
    in_slack = next(
        one
        for one in loop.slack.messages
        if f"{CASE}: may challenger v{challenger.number} take" in one["text"]
    )
    assert "actions" in [block["type"] for block in in_slack["blocks"]]
    with loop.stopped("prefect"):
        pass
    assert state_of(loop, question["run"]) == "Suspended"
    assert [state_of(loop, limit) for limit in question["facts"]["time_limit"].split()] == [
        "Scheduled",
        "Scheduled",
    ]
    assert answer(loop, question["run"], False, "ann", "not on a Friday")["status"] == "ACCEPT"
    assert ended(loop, question["run"]).state.name == "Rejected"  # type: ignore[union-attr]
    entry = stays(loop, challenger, champion, "rejected")
    assert entry["facts"] == {"by": "ann", "why": "not on a Friday"}
    assert entry["reasons"] == ["ann rejected it: not on a Friday"]
    assert any(
        f"challenger v{challenger.number} is rejected; champion v{champion.number} keeps" in text
        for text in loop.told(CASE)
    )
    assert "actions" not in [block["type"] for block in in_slack["blocks"]], (
        "nobody can answer any more, and the buttons are still there"
    )
    assert any("is rejected" in str(block) for block in in_slack["blocks"])


def test_approval_against_another_champion_is_stale(loop: Loop, champion: ModelVersion) -> None:
    challenger = loop.plant(CASE, "2024-06", TO_MAY)
    question = asked(loop, challenger)
    usurper = loop.registry.version(CASE, first_of(loop))
    loop.registry.set_alias(usurper, CHAMPION)
    assert answer(loop, question["run"], True, "ann")["status"] == "ACCEPT"
    assert ended(loop, question["run"]).state.name == "Rejected"  # type: ignore[union-attr]
    assert loop.crowned(CASE) == usurper.number
    loop.registry.set_alias(champion, CHAMPION)
    wait_until(lambda: loop.served(CASE) == champion.number, "the champion serves again")
    entry = stays(loop, challenger, champion, "rejected")
    assert (
        f"it contested champion {champion.number}, and version {usurper.number} has the crown now"
        in entry["reasons"][0]
    )


def first_of(loop: Loop) -> str:
    return str(min(int(version.number) for version in loop.registry.versions(CASE)))


@pytest.fixture(scope="module")
def newer(loop: Loop, champion: ModelVersion) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two questions, one after the other."""
    older = asked(loop, loop.plant(CASE, "2024-06", TO_MAY))
    return older, asked(loop, loop.plant(CASE, "2024-06", TO_MAY, params={"max_iter": 30}))


def test_newer_challenger_withdraws_the_older_question(
    loop: Loop, newer: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    older, question = newer
    assert ended(loop, older["run"]).state.name == "Rejected"  # type: ignore[union-attr]
    (entry,) = [
        one for one in approvals(loop) if one["run"] == older["run"] and one["verdict"] != "asked"
    ]
    assert entry["reasons"] == [f"withdrawn: challenger {question['challenger']} asks now"]
    assert state_of(loop, question["run"]) == "Suspended"
    challenger = loop.registry.at(CASE, CHALLENGER)
    assert challenger and challenger.number == question["challenger"]


def test_question_whose_run_was_cancelled_gets_its_answer_at_the_time_limit(
    loop: Loop, champion: ModelVersion, newer: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    _, question = newer
    asyncio.run(cancel(loop, question["run"]))
    outcome = end(loop, question)
    assert outcome.name == "Time limit" and "ended as Cancelled" in outcome.message
    entry = approvals(loop)[-1]
    assert (entry["verdict"], entry["run"]) == ("expired", question["run"])
    assert end(loop, question).message == "It was already answered."
    assert loop.crowned(CASE) == champion.number
    assert loop.registry.at(CASE, CHALLENGER) is None


async def cancel(loop: Loop, run: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    async with get_client() as client:
        await client.set_flow_run_state(UUID(run), Cancelled(), force=True)


def end(loop: Loop, question: dict[str, Any]) -> Outcome:
    return loop.run(approve, CASE, version=question["challenger"], time_limit_of=question["run"])


def test_run_that_no_contest_started_crowns_nobody(loop: Loop, champion: ModelVersion) -> None:
    outcome = loop.run(approve, CASE, version=champion.tags["laurel.refit_of"])
    assert outcome.name == "Failed" and "No contest of version" in outcome.message
    assert loop.crowned(CASE) == champion.number


def test_nobodys_answer_is_a_no(loop: Loop, hasty_question: dict[str, Any]) -> None:
    case, question = HASTY, hasty_question
    assert ended(loop, question["run"]).state.name == "Expired"  # type: ignore[union-attr]
    entry = approvals(loop, case)[-1]
    assert (entry["verdict"], entry["facts"]["by"]) == ("expired", "the time limit")
    assert entry["time"] >= question["facts"]["until"]
    assert loop.crowned(case) is None and loop.registry.at(case, CHALLENGER) is None
    assert answer(loop, question["run"], True, "late")["status"] == "ABORT"


@pytest.mark.nightly("a contest, a run on the worker and a refit; the step is in tests/unit")
def test_approved_challenger_meets_callers_before_the_crown_if_that_was_asked_for(
    loop: Loop, champion: ModelVersion
) -> None:
    challenger = loop.plant(CASE, "2024-06", TO_MAY)
    question = asked(loop, challenger, rollout="canary")
    assert answer(loop, question["run"], True, "ann", "fine")["status"] == "ACCEPT"
    assert ended(loop, question["run"]).state.name == "Rollout began"  # type: ignore[union-attr]
    (began,) = loop.decisions(CASE, "rollout")
    assert (began["verdict"], began["challenger"]) == ("began", challenger.number)
    assert began["champion"] == loop.crowned(CASE) == champion.number
    holder = loop.registry.at(CASE, ROLLOUT)
    assert holder is not None and holder.number == began["version"]
    assert loop.registry.at(CASE, CHALLENGER) is None
