"""Buttons pressed in Slack: who is believed, what is done, and what is words. Prefect, MLflow and
Slack are small real servers.
"""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given
from hypothesis import settings as searching
from hypothesis import strategies as st

from blocks.settings import Settings
from serving.callbacks.signatures import LONGEST_AGE_SECONDS
from serving.callbacks.slack_actions import add_routes
from serving.callbacks.slack_press import STEERS, Press, read_press
from serving.callbacks.slack_replies import WORDS, Replies
from serving.edge.refusals import add_error_answers
from serving.errors import InputError
from serving.service.service import Service
from tests.fakes.prefect import PrefectServer
from tests.fakes.registry import RegistryServer
from tests.fixtures.rollout_ledger import CANARY, began, write_rollout
from tests.fixtures.slack_calls import PATH, SECRET, ReplyServer, form, payload, signed
from tests.fixtures.toy_services import two_toys

TEN_MINUTES = 600
HOOK = "https://hooks.slack.com/actions/T01/1/abc"


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with PrefectServer(auth="admin:secret") as server:
        flows = ("approve/toy", "approve/other", "rollback/toy", "rollout/toy", "retrain/toy")
        for name in flows:
            server.deploy(name)
        yield server


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with two_toys(tmp_path / "artifacts", champion=2) as server:
        yield server


@pytest.fixture
def replies() -> Iterator[ReplyServer]:
    with ReplyServer() as server:
        yield server


class Worker:
    """A worker's route; several with the same folder are workers of one service."""

    def __init__(
        self, folder: Path, prefect_url: str, mlflow_url: str, replies: ReplyServer, **changed: Any
    ) -> None:
        settings: dict[str, Any] = {
            "state": folder,
            "lake": f"file://{folder}/lake",
            "serving_use_cases": "toy",
            "prefect_url": prefect_url,
        }
        settings |= {
            "mlflow_url": mlflow_url,
            "prefect_auth": "admin:secret",
            "slack_signing_secret": SECRET,
        }
        settings |= {
            "slack_api_url": f"{replies.url}/api/",
            "prefect_page_url": "https://prefect.example",
        }
        app = FastAPI()
        add_error_answers(app)
        add_routes(app, Service(Settings.model_validate(settings | changed)))
        self.client = TestClient(app)
        self.response_url = f"{replies.url}/actions/1"

    def press(
        self,
        action: str,
        value: dict[str, Any],
        *,
        age_seconds: float = 0,
        secret: str = SECRET,
        **changed: Any,
    ) -> Any:
        body = form(payload(action, value, **{"response_url": self.response_url} | changed))
        return self.send(body, signed(body, secret, age_seconds))

    def send(self, body: bytes, headers: dict[str, str]) -> Any:
        return self.client.post(PATH, content=body, headers=headers)


@pytest.fixture
def worker(
    tmp_path: Path, prefect: PrefectServer, registry: RegistryServer, replies: ReplyServer
) -> Worker:
    return Worker(tmp_path, prefect.url, registry.url, replies)


@pytest.mark.parametrize(
    ("action", "approved"), [("laurel.approve", True), ("laurel.reject", False)]
)
def test_a_press_answers_the_approve_run_in_the_name_of_who_pressed(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer, action: str, approved: bool
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3", asked_by="1")
    answer = worker.press(action, {"use_case": "toy", "run": run}, why="looks good\nto me")
    assert (answer.status_code, answer.content) == (200, b"")
    assert prefect.answers == {
        run: {"approved": approved, "by": "minsu (U012ABC)", "why": "looks good to me"}
    }
    (message,) = replies.messages
    assert (message["response_type"], message["replace_original"]) == ("ephemeral", False)
    assert message["text"].startswith(
        f"{'Approved' if approved else 'Rejected'} by minsu (U012ABC): version 3 of toy."
    )
    assert f"<https://prefect.example/runs/flow-run/{run}|" in message["text"]


def test_the_outcome_is_told_in_the_language_of_the_messages(
    tmp_path: Path, prefect: PrefectServer, registry: RegistryServer, replies: ReplyServer
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    Worker(tmp_path, prefect.url, registry.url, replies, slack_language="ko").press(
        "laurel.approve", {"use_case": "toy", "run": run}
    )
    assert "승인했습니다" in replies.texts[0]


def test_every_reply_is_there_in_both_languages_with_the_same_places_to_fill() -> None:
    for english, korean in WORDS.values():
        filled = dict.fromkeys(("by", "use_case", "version", "from_version", "page", "error"), "x")
        assert english.format(**filled) and any(
            "가" <= letter <= "힣" for letter in korean.format(**filled)
        )
        assert {name for name in filled if f"{{{name}}}" in english} == {
            name for name in filled if f"{{{name}}}" in korean
        }


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"secret": "another secret"}, "bad_signature"),
        ({"age_seconds": LONGEST_AGE_SECONDS + 2}, "too_old"),
        ({"age_seconds": TEN_MINUTES}, "too_old"),
        ({"age_seconds": -TEN_MINUTES}, "too_old"),
    ],
)
def test_a_call_that_is_forged_or_of_another_time_is_refused_and_logged_once(
    worker: Worker,
    prefect: PrefectServer,
    replies: ReplyServer,
    caplog: pytest.LogCaptureFixture,
    how: dict[str, Any],
    reason: str,
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    with caplog.at_level(logging.INFO):
        answer = worker.press("laurel.approve", {"use_case": "toy", "run": run}, **how)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, reason)
    assert prefect.answers == {} and replies.messages == [] and prefect.requests == []
    (line,) = [
        record.getMessage() for record in caplog.records if record.name.startswith("serving")
    ]
    assert f"reason={reason}" in line
    assert not any(secret in caplog.text for secret in (SECRET, run, "minsu"))


@pytest.mark.parametrize("late", [-LONGEST_AGE_SECONDS + 20, LONGEST_AGE_SECONDS - 20])
def test_clocks_that_differ_by_less_than_five_minutes_do_not_matter(
    worker: Worker, prefect: PrefectServer, late: int
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    assert (
        worker.press(
            "laurel.approve", {"use_case": "toy", "run": run}, age_seconds=late
        ).status_code
        == 200
    )
    assert run in prefect.answers


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-slack-signature", ""),
        ("x-slack-signature", "v0="),
        ("x-slack-signature", "v0=é"),
        ("x-slack-signature", "v1=" + "0" * 64),
        ("x-slack-request-timestamp", ""),
        ("x-slack-request-timestamp", "now"),
        ("x-slack-request-timestamp", "9" * 5000),
        ("x-slack-request-timestamp", "٣"),
    ],
)
def test_headers_that_are_none_of_slack_s_are_refused(
    worker: Worker, prefect: PrefectServer, header: str, value: str
) -> None:
    body = form(
        payload(
            "laurel.approve",
            {"use_case": "toy", "run": prefect.suspended("approve/toy", use_case="toy")},
            HOOK,
        )
    )
    headers = {name: value.encode() for name, value in signed(body).items()} | {
        header: value.encode()
    }
    assert worker.send(body, headers).status_code == 401  # type: ignore[arg-type]
    assert worker.client.post(PATH, content=body).status_code == 401
    assert prefect.answers == {}


@pytest.mark.parametrize("stamp", ["soon", "-1", "1e9", "0" * 4000, "٣٣"])
def test_a_timestamp_that_is_none_is_refused_though_it_is_signed(
    worker: Worker, stamp: str
) -> None:
    import hashlib
    import hmac

    body = form(payload("laurel.approve", {"use_case": "toy", "run": "1"}, HOOK))
    signature = (
        "v0="
        + hmac.new(
            SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256
        ).hexdigest()
    )
    answer = worker.send(
        body, {"x-slack-request-timestamp": stamp.encode(), "x-slack-signature": signature.encode()}
    )  # type: ignore[dict-item]
    assert answer.status_code == 401


def test_a_changed_body_is_forged(worker: Worker, prefect: PrefectServer) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    body = form(payload("laurel.reject", {"use_case": "toy", "run": run}, HOOK))
    assert (
        worker.send(body.replace(b"laurel.reject", b"laurel.approve"), signed(body)).status_code
        == 401
    )
    assert prefect.answers == {}


def test_a_call_that_was_seen_by_any_worker_is_refused(
    tmp_path: Path,
    worker: Worker,
    prefect: PrefectServer,
    registry: RegistryServer,
    replies: ReplyServer,
) -> None:
    body = form(
        payload(
            "laurel.rollback",
            {"use_case": "toy", "version": None, "from": "2"},
            worker.response_url,
        )
    )
    headers = signed(body)
    assert worker.send(body, headers).status_code == 200
    for replayed in (worker, Worker(tmp_path, prefect.url, registry.url, replies)):
        answer = replayed.send(body, headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "seen_before")
    assert len(prefect.started) == 1


def test_of_many_copies_at_once_one_counts(worker: Worker, prefect: PrefectServer) -> None:
    body = form(
        payload(
            "laurel.rollback", {"use_case": "toy", "version": "1", "from": "2"}, worker.response_url
        )
    )
    headers = signed(body)
    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(lambda _: worker.send(body, headers).status_code, range(8)))
    assert sorted(answers) == [200] + [401] * 7 and len(prefect.started) == 1


def test_a_forged_call_does_not_use_up_a_true_one(worker: Worker, prefect: PrefectServer) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    body = form(payload("laurel.approve", {"use_case": "toy", "run": run}, worker.response_url))
    headers = signed(body)
    assert worker.send(body + b"&x=1", headers).status_code == 401
    assert worker.send(body, headers).status_code == 200 and run in prefect.answers


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_the_route_says_which_setting_is_missing(
    tmp_path: Path,
    prefect: PrefectServer,
    registry: RegistryServer,
    replies: ReplyServer,
    secret: str | None,
) -> None:
    worker = Worker(tmp_path, prefect.url, registry.url, replies, slack_signing_secret=secret)
    answer = worker.press("laurel.approve", {"use_case": "toy", "run": "1"}, secret="x")
    assert (
        answer.status_code == 404
        and "LAUREL_SLACK_SIGNING_SECRET" in answer.json()["error"]["message"]
    )


def test_a_call_that_cannot_be_remembered_is_not_taken(
    worker: Worker, tmp_path: Path, prefect: PrefectServer
) -> None:
    (tmp_path / "serving").write_text("a file where the folder should be")
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    assert worker.press("laurel.approve", {"use_case": "toy", "run": run}).status_code == 503
    assert prefect.answers == {}


def test_a_body_that_is_far_too_large_is_refused(worker: Worker) -> None:
    body = b"payload=" + b"x" * 70_000
    assert worker.send(body, signed(body)).status_code == 413


def test_the_second_of_two_answers_is_told_that_it_comes_too_late(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    worker.press("laurel.approve", {"use_case": "toy", "run": run})
    worker.press("laurel.reject", {"use_case": "toy", "run": run}, user="U999")
    assert prefect.answers[run]["approved"] is True
    assert (
        replies.texts[0].startswith("Approved")
        and "somebody has already answered" in replies.texts[1]
    )


def test_of_two_answers_at_once_one_counts(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    with ThreadPoolExecutor(4) as people:
        list(
            people.map(
                lambda n: worker.press(
                    "laurel.approve", {"use_case": "toy", "run": run}, user=f"U{n}"
                ),
                range(4),
            )
        )
    assert len([text for text in replies.texts if text.startswith("Approved")]) == 1
    assert len([text for text in replies.texts if "has already answered" in text]) == 3


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"])
def test_a_run_that_is_over_is_not_answered(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer, state: str
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    prefect.end(run, state)
    assert worker.press("laurel.approve", {"use_case": "toy", "run": run}).status_code == 200
    assert prefect.answers == {} and "the approve run is over" in replies.texts[0]


def test_a_run_that_has_not_begun_to_wait_is_told(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    prefect.end(run, "RUNNING", "Running")
    worker.press("laurel.approve", {"use_case": "toy", "run": run})
    assert "Press again in a moment" in replies.texts[0]


def test_a_forged_value_lets_no_other_run_go_on(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer
) -> None:
    others = [
        prefect.suspended("retrain/toy", use_case="toy"),
        prefect.suspended("approve/other", use_case="other"),
        prefect.suspended("approve/toy", use_case="other"),
        "00000000-0000-0000-0000-000000000000",
        "../flow_runs/filter",
    ]
    for run in others:
        assert worker.press("laurel.approve", {"use_case": "toy", "run": run}).status_code == 200
    assert prefect.answers == {} and len(replies.messages) == len(others)
    assert all("has no such approve run" in text for text in replies.texts)
    assert not any(path.endswith("/resume") for path in prefect.requests)


def test_with_prefect_away_the_one_who_pressed_is_told_to_press_again(
    tmp_path: Path, registry: RegistryServer, prefect: PrefectServer, replies: ReplyServer
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    away = Worker(tmp_path, "http://127.0.0.1:1/api", registry.url, replies)
    assert away.press("laurel.approve", {"use_case": "toy", "run": run}).status_code == 200
    prefect.broken = True
    broken = Worker(tmp_path, prefect.url, registry.url, replies)
    assert (
        broken.press("laurel.approve", {"use_case": "toy", "run": run}, user="U1").status_code
        == 200
    )
    assert (
        all(
            "Prefect is unreachable" in text and "Press again later" in text
            for text in replies.texts
        )
        and len(replies.texts) == 2
    )
    prefect.broken = False
    assert (
        broken.press("laurel.approve", {"use_case": "toy", "run": run}, user="U2").status_code
        == 200
    )
    assert prefect.answers[run]["by"] == "minsu (U2)"


def test_a_password_that_prefect_does_not_take_is_told(
    tmp_path: Path, registry: RegistryServer, prefect: PrefectServer, replies: ReplyServer
) -> None:
    worker = Worker(tmp_path, prefect.url, registry.url, replies, prefect_auth="admin:wrong")
    worker.press(
        "laurel.approve",
        {"use_case": "toy", "run": prefect.suspended("approve/toy", use_case="toy")},
    )
    assert "LAUREL_PREFECT_AUTH" in replies.texts[0] and "wrong" not in replies.texts[0]


@pytest.mark.parametrize(
    ("version", "words"), [("1", "to version 1"), (None, "to the previous champion")]
)
def test_rollback_starts_the_flow_once_for_each_button(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer, version: str | None, words: str
) -> None:
    value = {"use_case": "toy", "version": version, "from": "2"}
    for user in ("U1", "U2"):
        assert worker.press("laurel.rollback", value, user=user).status_code == 200
    assert prefect.started == [
        {"use_case": "toy", "version": version, "reason": "minsu (U1) asked for it in Slack"}
    ]
    assert words in replies.texts[0] and "already started a rollback" in replies.texts[1]


def test_a_rollback_from_what_is_not_champion_any_more_does_nothing(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer
) -> None:
    worker.press("laurel.rollback", {"use_case": "toy", "version": None, "from": "1"})
    assert prefect.started == [] and "the champion has changed" in replies.texts[0]


def test_nothing_is_rolled_back_while_nobody_knows_the_champion(
    tmp_path: Path, prefect: PrefectServer, registry: RegistryServer, replies: ReplyServer
) -> None:
    Worker(tmp_path, prefect.url, "http://127.0.0.1:1", replies).press(
        "laurel.rollback", {"use_case": "toy", "version": None, "from": "2"}
    )
    assert prefect.started == [] and "the current champion is unknown" in replies.texts[0]


AT = {"use_case": "toy", "rollout": "3-abc", "stage": "0", "step": "0"}


def test_the_buttons_of_a_rollout_start_its_flow_once_each(
    tmp_path: Path, worker: Worker, prefect: PrefectServer, replies: ReplyServer
) -> None:
    write_rollout(tmp_path / "lake", 50, "began", began(CANARY))
    for action in ("hold", "hold", "resume", "advance", "revert"):
        assert worker.press(f"laurel.{action}", AT).status_code == 200
    assert [run["do"] for run in prefect.started] == ["hold", "resume", "advance", "revert"]
    assert all(run["by"].startswith("minsu (U") and run["why"] for run in prefect.started)
    assert "steers the rollout" in replies.texts[0] and "pressed before" in replies.texts[1]


@pytest.mark.parametrize("changed", [{"step": "1"}, {"stage": "1"}, {"rollout": "2-of-before"}])
def test_a_button_of_another_step_or_rollout_does_nothing(
    tmp_path: Path,
    worker: Worker,
    prefect: PrefectServer,
    replies: ReplyServer,
    changed: dict[str, str],
) -> None:
    write_rollout(tmp_path / "lake", 50, "began", began(CANARY))
    worker.press("laurel.advance", AT | changed)
    assert prefect.started == [] and "has moved on" in replies.texts[0]


def test_a_button_of_an_ended_rollout_does_nothing(
    tmp_path: Path, worker: Worker, prefect: PrefectServer, replies: ReplyServer
) -> None:
    write_rollout(tmp_path / "lake", 50, "reverted", began(CANARY), "it failed")
    worker.press("laurel.revert", AT)
    assert prefect.started == [] and "has moved on" in replies.texts[0]


def test_only_those_who_are_listed_may_where_there_is_a_list(
    tmp_path: Path, prefect: PrefectServer, registry: RegistryServer, replies: ReplyServer
) -> None:
    worker = Worker(tmp_path, prefect.url, registry.url, replies, slack_approvers=" U111 , U222 ")
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    for user in ("U333", "U11", "U1111"):
        worker.press("laurel.approve", {"use_case": "toy", "run": run}, user=user)
        worker.press(
            "laurel.rollback", {"use_case": "toy", "version": None, "from": "2"}, user=user
        )
        worker.press("laurel.revert", AT, user=user)
    assert (
        prefect.requests == []
        and all("you may not do this" in text for text in replies.texts)
        and len(replies.texts) == 9
    )
    worker.press("laurel.approve", {"use_case": "toy", "run": run}, user="U222")
    assert prefect.answers[run]["by"] == "minsu (U222)"


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/",
        "http://169.254.169.254/latest/meta-data/",
        "https://hooks.slack.com.evil.example/x",
        "https://hooks.slack.com@evil.example/x",
        "https://evil.example/hooks.slack.com",
        "http://hooks.slack.com/x",
        "file:///etc/passwd",
        "https://[",
        "",
    ],
)
def test_no_answer_goes_to_an_address_that_is_not_slack_s(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Replies(Settings(state=Path("/nowhere"))).send(address, "text")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "not at https://hooks.slack.com" in line and (not address or address not in line)


def test_an_answer_that_slack_refuses_is_logged_without_its_address(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer, caplog: pytest.LogCaptureFixture
) -> None:
    replies.status = 500
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    with caplog.at_level(logging.INFO):
        assert worker.press("laurel.approve", {"use_case": "toy", "run": run}).status_code == 200
    assert "Slack answers 500" in caplog.text and run in prefect.answers
    assert not any(
        worker.response_url in record.getMessage()
        for record in caplog.records
        if record.name.startswith("serving")
    )


def test_words_of_people_are_text_in_the_reply_and_one_line_in_the_ledger(
    worker: Worker, prefect: PrefectServer, replies: ReplyServer
) -> None:
    run = prefect.suspended("approve/toy", use_case="toy", version="3")
    call = payload(
        "laurel.approve",
        {"use_case": "toy", "run": run},
        worker.response_url,
        why="a\r\nb\x00" + "c" * 5000,
    )
    body = form(call | {"user": {"id": "U1", "username": "<!channel> & \u202etxt"}})
    worker.send(body, signed(body))
    answer = prefect.answers[run]
    assert (
        answer["by"] == "<!channel> & txt (U1)"
        and answer["why"].startswith("a b c")
        and len(answer["why"]) == 1000
    )
    assert "&lt;!channel&gt; &amp;" in replies.texts[0]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"actions": []}, 200),
        ({"actions": [{"action_id": "open-page", "type": "button"}]}, 200),
        ({"type": "view_submission"}, 200),
        ({"user": {"id": "not an id!"}}, 422),
        ({"user": None}, 422),
        ({"actions": [{"action_id": "laurel.approve", "value": "{"}]}, 400),
        ({"actions": [{"action_id": "laurel.approve", "value": None}]}, 400),
        (
            {
                "actions": [
                    {"action_id": "laurel.approve", "value": '{"use_case": "../x", "run": "1"}'}
                ]
            },
            422,
        ),
        (
            {
                "actions": [
                    {
                        "action_id": "laurel.rollback",
                        "value": '{"use_case": "toy", "from": "2; rm", "version": null}',
                    }
                ]
            },
            422,
        ),
        (
            {
                "actions": [
                    {
                        "action_id": "laurel.rollback",
                        "value": '{"use_case": "toy", "from": "2", "version": 1}',
                    }
                ]
            },
            422,
        ),
    ],
)
def test_what_is_no_button_of_laurel_s_starts_nothing(
    worker: Worker,
    prefect: PrefectServer,
    replies: ReplyServer,
    changed: dict[str, Any],
    status: int,
) -> None:
    body = form(
        payload("laurel.approve", {"use_case": "toy", "run": "1"}, worker.response_url) | changed
    )
    assert worker.send(body, signed(body)).status_code == status
    assert prefect.requests == [] and replies.messages == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["use_case", "run", "from", "version", "value", "id", "x"]), inner
        )
    ),
    max_leaves=8,
)
PARTS = st.just({}) | st.dictionaries(
    st.sampled_from(["type", "user", "actions", "response_url", "state", "container", "message"]),
    VALUES,
    max_size=4,
)


@st.composite
def pressed(draw: st.DrawFn) -> bytes:
    """A true payload, with a part of it replaced, and now and then with a byte that was damaged."""
    approval = {"use_case": "toy", "run": "1"}
    values = {
        "laurel.approve": approval,
        "laurel.reject": approval,
        "laurel.rollback": {"use_case": "toy", "from": "2", "version": None},
        "laurel.advance": AT,
        "laurel.revert": AT,
        "other": approval,
    }
    action = draw(st.sampled_from(list(values)))
    true = values[action]
    value = draw(VALUES) if draw(st.integers(0, 3)) == 3 else true
    body = bytearray(
        form(
            payload(action, value, HOOK, draw(st.none() | st.text(max_size=20)))
            | {"trigger_id": "1"}
            | draw(PARTS)
        )
    )  # type: ignore[arg-type]
    if draw(st.integers(0, 3)) == 3:
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


@searching(suppress_health_check=list(HealthCheck))
@example(b"payload=%FF")
@example(b"payload=" + b"[" * 60_000)
@example(b"payload={}&payload={}")
@example(
    b"payload="
    + json.dumps(
        {
            "type": "block_actions",
            "user": {"id": "U1"},
            "actions": [{"action_id": "laurel.approve"}],
        }
    ).encode()
)
@example(b"\xff\xfe")
@given(st.binary(max_size=200) | pressed())
def test_whatever_bytes_come_they_are_refused_in_words_or_read_as_a_press(body: bytes) -> None:
    try:
        press = read_press(body)
    except InputError as error:
        assert 0 < len(str(error)) < 3000
        return
    assert press is None or isinstance(press, Press)
    if press:
        assert (
            press.action in ("approve", "reject", "rollback", *STEERS)
            and press.use_case
            and (press.run or press.from_version or press.rollout)
        )


def test_the_search_finds_presses_and_refusals() -> None:
    results: list[bool] = []

    @given(pressed())
    def search(body: bytes) -> None:
        try:
            results.append(read_press(body) is not None)
        except InputError:
            results.append(False)

    search()
    assert 5 < sum(results) < len(results) - 5
