import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from blocks.lake import Lake, LakeAway
from blocks.message import Button, Message, Picture, Step
from blocks.slack import SlackNotifier
from tasks.outside.blocks_of_run import thread_of
from tasks.outside.slack_threads import HEAD_WAIT_SECONDS, tell_in_thread
from tests.fakes.slack import ALWAYS, CHANNEL_ID, PNG, SlackServer

RUN = "0f7b6a3e-0000-4000-8000-000000000001"
STARTED = Message(
    "flights: retrain started",
    emoji=":seedling:",
    steps=(
        Step("start", "done", "drift", "Start"),
        Step("gate", "pending", "", "Gate"),
        Step("deploy", "pending", "", "Deploy"),
    ),
)
GATE = Message("flights: the gate is passed", steps=(Step("gate", "done", "0.78", "Gate"),))
SERVED = Message(
    "flights: version 4 serves", steps=(Step("deploy", "done", "version 4", "Deploy"),)
)
PLAIN = Message("flights: by the way")
ASKED = Message(
    "flights: may challenger v4 take the crown?",
    links={"run": "http://h/"},
    buttons=(
        Button("Approve", "laurel.approve", {"run": "f00d"}),
        Button("Reject", "laurel.reject", {"run": "f00d"}),
    ),
    steps=(Step("gate", "running", "waits", "Gate"),),
)
ANSWERED = Message(
    "flights: Ana approved v4",
    emoji=":white_check_mark:",
    steps=(Step("gate", "done", "Ana", "Gate"),),
    answers=True,
)
PICTURE = Picture(PNG + b"drawn", "Contest", "the gain and its interval")


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}/lake", credentials=None)


def notifier(slack: SlackServer, **changed: Any) -> SlackNotifier:
    return SlackNotifier(
        **{"token": slack.token, "channel": "#ml", "api_url": slack.url, "retries": 0, **changed}
    )


def tell(slack: SlackServer, lake: Lake, *messages: Message, run: str = RUN) -> None:
    """Each as a process of its own would: with a notifier that remembers nothing."""
    for message in messages:
        tell_in_thread(notifier(slack), lake, run, message)


def marks(head: dict[str, Any]) -> list[str]:
    return head["blocks"][1]["text"]["text"].splitlines()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name == "laurel.slack"
    ]


def test_a_run_is_one_thread_and_its_head_says_how_far_it_is(
    slack: SlackServer, lake: Lake
) -> None:
    tell(slack, lake, STARTED)
    [head] = slack.messages
    assert marks(head) == [
        ":white_check_mark: *Start*  drift",
        ":white_circle: *Gate*",
        ":white_circle: *Deploy*",
    ]
    tell(slack, lake, GATE, PLAIN, SERVED)
    assert slack.heads == [head]
    assert [reply["text"] for reply in slack.replies(head)] == [
        GATE.headline,
        PLAIN.headline,
        SERVED.headline,
    ]
    assert marks(head) == [
        ":white_check_mark: *Start*  drift",
        ":white_check_mark: *Gate*  0.78",
        ":white_check_mark: *Deploy*  version 4",
    ]
    assert head["text"].splitlines() == [STARTED.headline, *marks(head)]
    assert len(slack.edits) == 2, "a message without a step edits nothing"


def test_runs_have_threads_of_their_own(slack: SlackServer, lake: Lake) -> None:
    tell(slack, lake, STARTED)
    tell(slack, lake, STARTED, run=RUN.replace("1", "2"))
    assert len(slack.heads) == 2


def test_a_stage_that_will_not_come_is_said_in_the_head(slack: SlackServer, lake: Lake) -> None:
    tell(slack, lake, STARTED, Message("flights: flow retrain failed", closes="failed"))
    assert marks(slack.heads[0])[1:] == [":x: *Gate*", ":heavy_minus_sign: *Deploy*"]


@pytest.mark.parametrize(
    ("asked_by", "thread"),
    [(RUN, RUN), ("a direct call", None), ("../reports", None), ("", None), (None, None)],
)
def test_the_run_that_carries_an_approval_on_continues_the_thread_of_the_one_that_asked(
    asked_by: str | None, thread: str | None
) -> None:
    root = FlowRun(
        flow_id=uuid4(),
        parameters={"use_case": "flights"} | ({} if asked_by is None else {"asked_by": asked_by}),
    )
    assert thread_of(root) == (thread or str(root.id))


def test_one_stage_alone_is_no_checklist(slack: SlackServer, lake: Lake) -> None:
    tell(slack, lake, SERVED)
    assert [block["type"] for block in slack.messages[0]["blocks"]] == ["section"]


def test_what_everybody_must_know_stands_in_the_channel_too(slack: SlackServer, lake: Lake) -> None:
    matters = Message("flights: deployment failed", broadcast=True)
    tell(slack, lake, matters, matters, PLAIN)
    assert [message.get("reply_broadcast") for message in slack.messages] == [None, True, None]


def kinds(message: dict[str, Any]) -> list[str]:
    return [block["type"] for block in message["blocks"]]


def test_an_answer_takes_the_place_of_the_buttons_and_only_of_those_in_its_thread(
    slack: SlackServer, lake: Lake
) -> None:
    asking = notifier(slack, buttons=True)
    for run in (RUN, RUN.replace("1", "2")):
        for message in (STARTED, ASKED):
            tell_in_thread(asking, lake, run, message)
    question, other = (slack.replies(head)[0] for head in slack.heads)
    before = dict(question)
    assert kinds(question) == ["section", "actions", "context"]
    tell(slack, lake, PLAIN)
    assert kinds(question) == ["section", "actions", "context"], (
        "what answers nothing leaves the buttons"
    )
    tell(slack, lake, ANSWERED)
    assert kinds(question) == ["section", "context", "context"]
    assert (
        question["blocks"][1]["elements"][0]["text"]
        == ":white_check_mark: *flights: Ana approved v4*"
    )
    assert [question["blocks"][0], question["blocks"][2], question["text"]] == [
        before["blocks"][0],
        before["blocks"][2],
        before["text"],
    ]
    assert kinds(other) == ["section", "actions", "context"]
    edits = len(slack.edits)
    tell(slack, lake, replace(ANSWERED, steps=()))
    assert len(slack.edits) == edits, "answered once"


def test_a_question_that_is_the_head_keeps_its_checklist_and_never_gets_its_buttons_back(
    slack: SlackServer, lake: Lake
) -> None:
    tell_in_thread(notifier(slack, buttons=True), lake, RUN, replace(ASKED, steps=STARTED.steps))
    [head] = slack.messages
    assert kinds(head) == ["section", "section", "actions", "context"]
    tell(slack, lake, ANSWERED)
    assert kinds(head) == ["section", "section", "context", "context"]
    assert marks(head)[1] == ":white_check_mark: *Gate*  Ana"
    tell(slack, lake, SERVED)
    assert kinds(head) == ["section", "section", "context", "context"] and marks(head)[
        2
    ].startswith(":white_check_mark: *Deploy*")


def test_a_message_with_buttons_replaces_those_above_it_and_keeps_its_own(
    slack: SlackServer, lake: Lake
) -> None:
    asking = notifier(slack, buttons=True)
    step = replace(ASKED, steps=(), answers=True)
    tell_in_thread(asking, lake, RUN, STARTED)
    for headline in ("flights: rollout began", "flights: next step"):
        tell_in_thread(asking, lake, RUN, replace(step, headline=headline))
    began, stepped = slack.replies(slack.heads[0])
    assert "actions" not in kinds(began) and "actions" in kinds(stepped)
    tell(slack, lake, replace(ANSWERED, steps=()))
    assert "actions" not in kinds(stepped)


def test_a_question_that_somebody_deleted_is_no_trouble_and_one_that_slack_keeps_is_one_warning(
    slack: SlackServer, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    asking = notifier(slack, buttons=True)
    for message in (STARTED, replace(ASKED, steps=())):
        tell_in_thread(asking, lake, RUN, message)
    [question] = slack.replies(slack.heads[0])
    slack.delete(question)
    tell(slack, lake, replace(ANSWERED, steps=()))
    assert [reply["text"] for reply in slack.replies(slack.heads[0])] == [
        ANSWERED.headline
    ] and not warnings(caplog)
    tell_in_thread(asking, lake, RUN, replace(ASKED, steps=()))
    slack.refuse("internal_error", method="chat.update")
    tell(slack, lake, replace(ANSWERED, steps=()))
    assert ["remove the buttons" in warning for warning in warnings(caplog)] == [True]


def test_pictures_are_in_the_thread_by_the_channels_id(slack: SlackServer, lake: Lake) -> None:
    tell(
        slack,
        lake,
        replace(STARTED, pictures=(PICTURE,)),
        replace(GATE, pictures=(PICTURE, PICTURE)),
    )
    assert [(file["thread_ts"], file["channel"]) for file in slack.files] == [
        (slack.heads[0]["ts"], CHANNEL_ID)
    ] * 3
    assert [(file["data"], file["title"], file["alt"]) for file in slack.files] == [
        (PICTURE.png, PICTURE.title, PICTURE.alt)
    ] * 3


def test_without_the_scope_the_text_is_told_and_one_warning_names_the_scope(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    with SlackServer(scopes=("chat:write",)) as slack:
        tell(slack, lake, replace(STARTED, pictures=(PICTURE, PICTURE)))
        assert (len(slack.messages), slack.files) == (1, [])
    [warning] = warnings(caplog)
    assert "files:write" in warning and "Contest" in warning


def test_a_head_that_somebody_deleted_is_posted_anew_with_the_whole_checklist(
    slack: SlackServer, lake: Lake
) -> None:
    tell(slack, lake, STARTED, GATE)
    slack.delete(slack.heads[0])
    tell(slack, lake, SERVED, PLAIN)
    head = slack.heads[-1]
    assert head["text"].startswith(SERVED.headline)
    assert marks(head) == [
        ":white_check_mark: *Start*  drift",
        ":white_check_mark: *Gate*  0.78",
        ":white_check_mark: *Deploy*  version 4",
    ]
    assert [reply["text"] for reply in slack.replies(head)] == [PLAIN.headline]


def test_a_reply_to_a_deleted_head_becomes_the_head(slack: SlackServer, lake: Lake) -> None:
    tell(slack, lake, STARTED)
    slack.delete(slack.heads[0])
    tell(slack, lake, PLAIN)
    assert [message["text"].splitlines()[0] for message in slack.heads] == [PLAIN.headline]


def test_slack_that_was_away_at_the_start_has_the_whole_checklist_later(
    slack: SlackServer, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    slack.break_down(times=ALWAYS)
    tell(slack, lake, STARTED)
    assert STARTED.headline in warnings(caplog)[0]
    slack.behave()
    tell(slack, lake, GATE, SERVED)
    [head] = slack.heads
    assert head["text"].startswith(GATE.headline)
    assert len(marks(head)) == 3 and ":white_check_mark: *Start*  drift" in marks(head)


def test_slack_that_fails_in_between_loses_no_stage_and_makes_no_second_head(
    slack: SlackServer, lake: Lake
) -> None:
    tell(slack, lake, STARTED)
    slack.break_down(times=ALWAYS)
    tell(slack, lake, GATE)
    slack.behave()
    tell(slack, lake, SERVED)
    [head] = slack.heads
    assert ":white_check_mark: *Gate*  0.78" in marks(head)
    assert [reply["text"] for reply in slack.replies(head)] == [SERVED.headline]


def test_an_edit_that_slack_refuses_leaves_the_reply(
    slack: SlackServer, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    tell(slack, lake, STARTED)
    slack.refuse("internal_error", method="chat.update")
    tell(slack, lake, GATE)
    assert [reply["text"] for reply in slack.replies(slack.heads[0])] == [GATE.headline]
    assert "internal_error" in warnings(caplog)[0]


def test_a_lake_that_is_away_keeps_nobody_from_telling(
    slack: SlackServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lake").write_text("a file where a folder should be")
    tell(slack, Lake(url=f"file://{tmp_path}/lake", credentials=None), STARTED, GATE)
    assert len(slack.messages) == 2
    assert "posted outside" in warnings(caplog)[0]


class FullLake(Lake):
    """Takes claims and no state: the disk was full in between."""

    _block_type_name = "Full lake"
    _block_type_slug = "full-lake"

    def write(self, path: str, data: bytes) -> None:
        raise LakeAway("no space left")


def test_a_thread_that_cannot_be_kept_is_told_once(
    slack: SlackServer, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    tell(slack, FullLake(url=lake.url, credentials=None), STARTED)
    assert len(slack.messages) == 1
    [warning] = warnings(caplog)
    assert "cannot be recorded" in warning and "no space left" in warning


def test_two_threads_that_tell_at_once_make_one_head(slack: SlackServer, lake: Lake) -> None:
    start = threading.Barrier(6)

    def tell_one(position: int) -> None:
        start.wait()
        tell(slack, lake, Message(f"flights: {position}"))

    tellers = [threading.Thread(target=tell_one, args=(position,)) for position in range(6)]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join()
    assert len(slack.heads) == 1
    assert len(slack.messages) == 6


def _tell_elsewhere(url: str, lake_url: str, start: Any, position: int) -> None:
    start.wait()
    block = SlackNotifier(token="xoxb-test", channel="#ml", api_url=url)
    tell_in_thread(
        block, Lake(url=lake_url, credentials=None), RUN, Message(f"flights: {position}")
    )


@pytest.mark.slow("a process that imports everything")
def test_two_processes_that_tell_at_once_make_one_head(slack: SlackServer, lake: Lake) -> None:
    """This one, and another that shares nothing with it but the lake and Slack."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    elsewhere = context.Process(target=_tell_elsewhere, args=(slack.url, lake.url, start, 0))
    elsewhere.start()
    _tell_elsewhere(slack.url, lake.url, start, 1)
    elsewhere.join()
    assert elsewhere.exitcode == 0
    assert len(slack.heads) == 1
    assert len(slack.messages) == 2


def test_a_head_whose_poster_was_lost_is_posted_by_the_next(slack: SlackServer, lake: Lake) -> None:
    lake.create(f"slack/{RUN}/0.head", repr(time.time() - HEAD_WAIT_SECONDS - 1).encode())
    tell(slack, lake, STARTED, GATE)
    assert len(slack.heads) == 1
    assert len(slack.messages) == 2
