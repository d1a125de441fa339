"""A retrain as people see it in Slack: one thread, whatever happens to Slack or to the run
meanwhile. In the order of the file.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run
from prefect.states import Scheduled
from pydantic import SecretStr
from usecases.toy import toy_rows

from blocks.message import Message
from blocks.slack import BLOCK, RUN_LINK, SlackNotifier
from flows.drift_check import drift_check
from flows.retrain import retrain
from tasks.outside.blocks_of_run import tell
from tests.fakes.slack import CHANNEL_ID, PNG
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop, Outcome

CASE = "toy_slack"
DEPLOYED = {CASE: ("retrain", "close_lost_run")}
STAGES = ["start", "gate", "contest", "deploy"]


def threads(loop: Loop, since: int) -> list[list[dict[str, Any]]]:
    """What Slack has of our use case after that many messages: each head with its replies."""
    ours = [one for one in loop.slack.messages[since:] if one["text"].startswith(f"{CASE}: ")]
    return [
        [head, *[one for one in ours if one.get("thread_ts") == head["ts"]]]
        for head in ours
        if not one_is_reply(head)
    ]


def one_is_reply(message: dict[str, Any]) -> bool:
    return message.get("thread_ts") is not None


def checklist(head: dict[str, Any]) -> list[str]:
    return head["blocks"][1]["text"]["text"].splitlines()


def files(loop: Loop, head: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in loop.slack.files if one["thread_ts"] == head["ts"]]


def kinds(message: dict[str, Any]) -> list[str]:
    return [block["type"] for block in message["blocks"]]


@pytest.fixture
def korean(loop: Loop) -> Iterator[None]:
    """The block as ``deployments.apply`` makes it with a signing secret and the Korean language."""
    changed = loop.settings.model_copy(
        update={"slack_language": "ko", "slack_signing_secret": SecretStr("of the app")}
    )
    SlackNotifier.of(changed).save(BLOCK, overwrite=True, _sync=True)  # type: ignore[call-arg]
    yield
    SlackNotifier.of(loop.settings).save(BLOCK, overwrite=True, _sync=True)  # type: ignore[call-arg]


def test_a_retrain_is_one_thread_whose_head_ends_with_all_stages_done(loop: Loop) -> None:
    before, edited = len(loop.slack.messages), len(loop.slack.edits)
    outcome: Outcome = loop.run(retrain, CASE, through="2024-03", reason="the first one")
    assert outcome.name == "Completed", outcome.message
    [[head, *replies]] = threads(loop, before)
    assert head["text"].startswith(f"{CASE}: retrain started: the first one")
    assert [line.split("*")[0] for line in checklist(head)] == [":white_check_mark: "] * 4
    assert [line.split("*")[1] for line in checklist(head)] == STAGES
    assert "version" in checklist(head)[3] and "gate 0.75" in checklist(head)[1]
    said = " ".join(reply["text"].splitlines()[0] for reply in replies)
    for word in (
        "training started",
        "HPO starts",
        "HPO found",
        "becomes the first champion",
        "serves after",
    ):
        assert word in said
    written = [
        edit["blocks"][1]["text"]["text"].splitlines()[1].split("*")[0].strip()
        for edit in loop.slack.edits[edited:]
    ]
    assert list(dict.fromkeys(written)) == [
        ":white_circle:",
        ":hourglass_flowing_sand:",
        ":white_check_mark:",
    ], "the gate's line, edit by edit"
    assert loop.lake.exists(f"slack/{outcome.run_id}.json")


@task
def say(text: str) -> None:
    tell(Message(f"{CASE}: {text}"))


@flow
async def inner(use_case: str) -> None:
    say("from a subflow")


@flow
async def carry_on(use_case: str, asked_by: str = "") -> None:
    say("carried on")
    await inner(use_case)


def test_a_run_that_carries_another_on_tells_in_its_thread_from_subflows_too(loop: Loop) -> None:
    before = len(loop.slack.messages)
    first = loop.run(carry_on, CASE)
    loop.run(carry_on, CASE, asked_by=first.run_id)
    [[_, *replies]] = threads(loop, before)
    said = [reply["text"].splitlines()[0].removeprefix(f"{CASE}: ") for reply in replies]
    assert said == ["from a subflow", "carried on", "from a subflow"]


@pytest.mark.nightly("waits for real seconds")
def test_slack_that_is_away_at_the_start_still_makes_one_thread_with_the_picture_and_the_way_back(
    loop: Loop, korean: None
) -> None:
    before, champion = len(loop.slack.messages), loop.crowned(CASE)
    loop.slack.break_down(times=4, method="chat.postMessage")  # one message, with its three retries
    outcome = loop.run(retrain, CASE, through="2024-07", reason="drift in 2024-07")
    assert outcome.name == "Completed", outcome.message
    assert not loop.slack.misbehaviours
    [[head, *replies]] = threads(loop, before)
    assert [line.split("*")[1] for line in checklist(head)] == [
        "시작",
        "게이트",
        "비교 평가",
        "배포",
    ]
    assert {line.split("*")[0] for line in checklist(head)} == {":white_check_mark: "}
    [picture] = files(loop, head)
    assert picture["data"].startswith(PNG) and picture["channel"] == CHANNEL_ID and picture["alt"]
    contest = next(reply for reply in replies if "챌린저가" in reply["text"])
    assert contest["reply_broadcast"] is True
    [served] = [reply for reply in replies if "actions" in kinds(reply)]
    [button] = served["blocks"][kinds(served).index("actions")]["elements"]
    assert button["action_id"] == "laurel.rollback"
    assert json.loads(button["value"]) == {
        "use_case": CASE,
        "version": champion,
        "from": loop.crowned(CASE),
    }


@pytest.mark.nightly("waits for real seconds")
def test_a_run_that_was_killed_and_goes_on_continues_its_thread(loop: Loop) -> None:
    before = len(loop.slack.messages)
    (loop.settings.state / "held").unlink(missing_ok=True)
    (loop.settings.state / "hold").touch()
    try:
        deployment = loop.prefect.read_deployment_by_name(f"retrain/{CASE}")
        run = loop.prefect.create_flow_run_from_deployment(
            deployment.id, parameters={"through": "2024-08", "reason": "a lost one"}
        )
        wait_until(
            (loop.settings.state / "held").exists,
            "the run on the worker is in mid-train",
            seconds=120,
        )
        os.kill(int((loop.settings.state / "held").read_text()), signal.SIGKILL)
        wait_until(
            lambda: any("retrain failed" in one["text"] for one in loop.slack.messages[before:]),
            "Slack is told of the crash",
            120,
        )
    finally:
        (loop.settings.state / "hold").unlink(missing_ok=True)
    [[head, *_]] = threads(loop, before)
    assert [line.split("*")[0] for line in checklist(head)] == [
        ":white_check_mark: ",
        ":x: ",
        ":heavy_minus_sign: ",
        ":heavy_minus_sign: ",
    ]
    time.sleep(
        4
        # a second report of the crash comes within three seconds, and would crash the next attempt
        # too
    )
    loop.prefect.set_flow_run_state(run.id, Scheduled(), force=True)

    def over() -> bool:
        state = loop.prefect.read_flow_run(run.id).state
        return state is not None and state.is_final() and state.name != "Crashed"

    wait_until(over, "the run ends", seconds=240)
    [[same, *replies]] = threads(loop, before)
    assert same is head
    assert all(":x:" not in line for line in checklist(head)), checklist(head)
    assert checklist(head)[2].startswith(":white_check_mark: *contest*")
    assert len([one for one in replies if "training started" in one["text"]]) == 1


def test_drift_is_told_with_its_picture_and_what_the_governor_refuses_has_a_thread_of_its_own(
    loop: Loop,
) -> None:
    before = len(loop.slack.messages)
    loop.plant_predictions(
        CASE,
        "2024-01",
        toy_rows("2024-01").with_columns(first=toy_rows("2024-01")["first"] + 4),
    )
    check = loop.run(drift_check, CASE, window="2024-01")
    assert check.result.verdict.outcome == "drifted", check.result.verdict
    [[head, *_], *_] = threads(loop, before)
    assert "drifted" in head["text"]
    [picture] = files(loop, head)
    assert picture["data"].startswith(PNG)
    beyond = picture["alt"].partition("Beyond the line: ")[2]
    assert "score" in beyond
    wait_until(
        lambda: any("retrain skipped" in one["text"] for one in loop.slack.messages[before:]),
        "the governor refuses",
        120,
    )
    assert len(threads(loop, before)) == 2


def test_flow_run_log_holds_the_message_where_nothing_is_configured(loop: Loop) -> None:
    SlackNotifier(channel="#ml", ui_url="http://ui").save("told-to-the-log")

    @flow
    async def announce() -> str:
        notifier: Any = await SlackNotifier.aload("told-to-the-log")
        notifier.send(Message("toy: v2 takes the crown"))
        return str(flow_run.id)

    run_id = asyncio.run(announce())
    APILogHandler().flush()
    logs = loop.prefect.read_logs(
        log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)]))
    )
    assert f"toy: v2 takes the crown\n{RUN_LINK}: http://ui/runs/flow-run/{run_id}" in [
        log.message for log in logs
    ]


def test_saved_block_shows_its_token_to_nobody_and_still_sends_with_it(loop: Loop) -> None:
    SlackNotifier.of(loop.settings).save("told-to-slack")
    shown = loop.prefect.read_block_document_by_name(
        "told-to-slack", "laurel-slack-notifier", include_secrets=False
    )
    assert loop.slack.token not in shown.model_dump_json()
    loaded = SlackNotifier.load("told-to-slack")
    assert isinstance(loaded, SlackNotifier)
    assert loaded.send(Message("toy: sent by a saved block")) == loop.slack.messages[-1]["ts"]
