import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from blocks.message import (
    FACTS,
    SECTION_LIMIT,
    TEXT_LIMIT,
    Button,
    Confirm,
    Message,
    Picture,
    Step,
    escaped,
)
from blocks.settings import Settings
from blocks.slack import Refused, SlackNotifier
from tests.fakes.slack import ALWAYS, CHANNEL_ID, PNG, SlackServer

TOKEN = "xoxb-test"
WON = Message(
    headline="flights: challenger v4 beats champion v3",
    facts={"gain": "+0.0142"},
    details=("at least +0.0087",),
    links={"run": "http://127.0.0.1/run?a=1&b=2"},
    emoji=":crown:",
)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer(token=TOKEN) as server:
        yield server


def notifier(slack: SlackServer, **changed: object) -> SlackNotifier:
    return SlackNotifier(**{"token": TOKEN, "channel": "#ml", "api_url": slack.url, **changed})


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Our warnings only: Prefect's threads may complain about another test's server at any time."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name == "laurel.slack"
    ]


def test_message_arrives_in_the_channel_with_text_and_blocks(slack: SlackServer) -> None:
    ts = notifier(slack).send(WON)
    [message] = slack.messages
    assert message["ts"] == ts
    assert message["channel"] == CHANNEL_ID
    assert message["text"].splitlines()[0] == WON.headline
    assert [block["type"] for block in message["blocks"]] == [
        "section",
        "section",
        "section",
        "context",
    ]
    assert (
        message["blocks"][0]["text"]["text"] == ":crown: *flights: challenger v4 beats champion v3*"
    )
    assert message["blocks"][1]["fields"][0]["text"] == "*gain*\n+0.0142"
    assert message["blocks"][3]["elements"][0]["text"] == "<http://127.0.0.1/run?a=1&amp;b=2|run>"


def test_reply_carries_the_thread_of_the_first_message(slack: SlackServer) -> None:
    block = notifier(slack)
    first = block.send(WON)
    block.send(Message("flights: version 4 serves"), thread_ts=first)
    assert slack.messages[0].get("thread_ts") is None
    assert slack.messages[1]["thread_ts"] == first


def test_rate_limit_is_waited_for_and_the_message_arrives_once(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.rate_limit(times=2)
    assert notifier(slack).send(WON) is not None
    assert slack.statuses == [429, 429, 200]
    assert len(slack.messages) == 1
    assert warnings(caplog) == []


@pytest.mark.parametrize("retry_after", ["3600", "soon", ""])
def test_rate_limit_that_asks_for_an_hour_or_nonsense_is_not_waited_for(
    slack: SlackServer, retry_after: str, caplog: pytest.LogCaptureFixture
) -> None:
    slack.rate_limit(retry_after=retry_after)
    assert notifier(slack).send(WON) is None
    assert slack.statuses == [429]
    assert "ratelimited" in warnings(caplog)[0]


def test_server_error_is_retried(slack: SlackServer) -> None:
    slack.break_down()
    assert notifier(slack).send(WON) is not None
    assert slack.statuses == [500, 200]


def test_closed_connection_is_retried(slack: SlackServer) -> None:
    slack.hang_up()
    assert notifier(slack).send(WON) is not None
    assert slack.statuses == [0, 200]


def test_lasting_server_error_ends_as_one_warning_with_the_whole_text(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.break_down(times=ALWAYS)
    assert notifier(slack, retries=2).send(WON) is None
    assert slack.statuses == [500, 500, 500]
    [warning] = warnings(caplog)
    assert "HTTP 500" in warning
    assert WON.text in warning


def test_connections_that_always_close_end_as_one_warning(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.hang_up(times=ALWAYS)
    assert notifier(slack, retries=1).send(WON) is None
    assert slack.statuses == [0, 0]
    assert len(warnings(caplog)) == 1


def test_silent_slack_is_given_up_and_not_told_twice(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    # Slack may have posted the message before it went silent, so a timeout is not retried.
    slack.keep_waiting()
    assert notifier(slack, timeout_seconds=1).send(WON) is None
    assert slack.statuses == [-1]
    assert "TimeoutError" in warnings(caplog)[0]


def test_no_server_at_all_ends_as_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with SlackServer() as slack:
        gone = notifier(slack, retries=1)
    assert gone.send(WON) is None
    assert "Connection refused" in warnings(caplog)[0]


@pytest.mark.parametrize("body", ["", "[]", "null", "{", "<html>", '{"ok": true'])
def test_answer_of_something_that_is_not_slack_ends_as_one_warning(
    slack: SlackServer, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    slack.babble(body)
    assert notifier(slack).send(WON) is None
    [warning] = warnings(caplog)
    assert WON.text in warning


@pytest.mark.parametrize(
    "url", ["not a url", "httpx://127.0.0.1/", "http://[::1/", "http://127.0.0.1:99999/"]
)
def test_wrong_api_url_ends_as_one_warning(url: str, caplog: pytest.LogCaptureFixture) -> None:
    assert SlackNotifier(token=TOKEN, channel="#ml", api_url=url, retries=0).send(WON) is None
    assert len(warnings(caplog)) == 1


def test_wrong_token_is_answered_with_what_to_do(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert notifier(slack, token="xoxb-of-another").send(WON) is None
    [warning] = warnings(caplog)
    assert "invalid_auth" in warning
    assert "LAUREL_SLACK_TOKEN" in warning
    assert slack.statuses == [200]


def test_unknown_channel_is_answered_with_what_to_do(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert notifier(slack, channel="#nowhere").send(WON) is None
    [warning] = warnings(caplog)
    assert "channel_not_found" in warning
    assert "LAUREL_SLACK_CHANNEL" in warning


def test_refusal_without_advice_is_named_as_slack_names_it(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.refuse("restricted_action")
    assert notifier(slack).send(WON) is None
    assert "restricted_action" in warnings(caplog)[0]


@pytest.mark.parametrize("token", [None, "", " \n"])
def test_without_a_token_the_log_gets_the_text_and_slack_nothing(
    slack: SlackServer, token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert notifier(slack, token=token).send(WON) is None
    assert slack.statuses == []
    assert [record.getMessage() for record in caplog.records if record.name == "laurel.slack"] == [
        WON.text
    ]


@pytest.mark.parametrize("token", ["xoxb-secret", "xoxb-secret\nsecond-line", "xoxb-sécret"])
def test_token_is_in_no_log_and_no_repr(
    slack: SlackServer, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    block = notifier(slack, token=token)
    assert block.send(WON) is None
    output = caplog.text + repr(block) + str(block) + block.model_dump_json()
    assert WON.text in output
    assert "secret" not in output
    assert "sécret" not in output


def test_settings_make_the_block() -> None:
    settings = Settings(
        slack_token=TOKEN, slack_channel="C012345", prefect_url="http://10.0.0.7:4200/api"
    )
    block = SlackNotifier.of(settings)
    assert block.token is not None
    assert block.token.get_secret_value() == TOKEN
    assert (block.channel, block.ui_url) == ("C012345", "http://10.0.0.7:4200")


def test_special_characters_reach_people_and_mention_nobody(slack: SlackServer) -> None:
    notifier(slack).send(
        Message(
            "a < b & <!channel>",
            facts={"<x>": "&"},
            details=("p > .05",),
            links={"<l>": "http://h/|<a b>"},
        )
    )
    [message] = slack.messages
    payload = str(message["blocks"]) + message["text"]
    assert "a &lt; b &amp; &lt;!channel&gt;" in message["text"]
    assert "<!channel>" not in payload
    assert message["blocks"][1]["fields"][0]["text"] == "*&lt;x&gt;*\n&amp;"
    assert message["blocks"][2]["text"]["text"] == "• p &gt; .05"
    assert message["blocks"][3]["elements"][0]["text"] == "<http://h/%7C%3Ca%20b%3E|&lt;l&gt;>"


@pytest.mark.parametrize("length", range(1, 12))
def test_cutting_never_splits_an_entity(length: int) -> None:
    cut = escaped("&<>&<>", length)
    assert len(cut) <= length
    assert cut.count("&") == cut.count(";")


def test_very_long_message_is_accepted_and_is_whole_in_the_log(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    long = Message(
        headline="flights: " + "<" * 5000,
        facts={f"{'&' * 400}{position}": ">" * 5000 for position in range(40)},
        details=["reason & " * 500] * 60,
        links={f"{position}": "http://h/" + "&" * 900 for position in range(30)},
    )
    assert notifier(slack).send(long) is not None
    [message] = slack.messages
    assert len(message["text"]) <= TEXT_LIMIT
    assert len(message["blocks"][1]["fields"]) == FACTS
    assert len(message["blocks"][2]["text"]["text"]) <= SECTION_LIMIT
    assert long.text in caplog.text


def asking(**changed: Any) -> Message:
    sure = Confirm("Crown v4?", "It then serves flights.", "Approve", "Not now")
    approve = Button(
        "Approve", "laurel.approve", {"use_case": "flights", "run": "f00d"}, "primary", sure
    )
    reject = Button("Reject", "laurel.reject", {"use_case": "flights", "run": "f00d"}, "danger")
    return replace(
        Message(
            "flights: may v4 take the crown?",
            buttons=(approve, reject),
            otherwise="Answer in Prefect.",
        ),
        **changed,
    )


def test_buttons_are_there_where_the_service_answers_them(slack: SlackServer) -> None:
    notifier(slack, buttons=True).send(asking(links={"run": "http://h/"}))
    [message] = slack.messages
    assert [block["type"] for block in message["blocks"]] == ["section", "actions", "context"]
    actions = message["blocks"][1]
    assert actions["block_id"] == "laurel"
    assert [
        (button["action_id"], button["style"], json.loads(button["value"]))
        for button in actions["elements"]
    ] == [
        ("laurel.approve", "primary", {"use_case": "flights", "run": "f00d"}),
        ("laurel.reject", "danger", {"use_case": "flights", "run": "f00d"}),
    ]
    assert actions["elements"][0]["confirm"]["confirm"]["text"] == "Approve"
    assert "Answer in Prefect." not in message["text"]


@pytest.mark.parametrize("changed", [{}, {"buttons": True, "token": None}])
def test_where_nobody_answers_a_press_the_message_says_where_to_answer(
    slack: SlackServer, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    notifier(slack, **changed).send(asking())
    assert "- Answer in Prefect." in caplog.text
    assert all("actions" not in str(message["blocks"]) for message in slack.messages)


def test_buttons_come_with_the_signing_secret() -> None:
    assert SlackNotifier.of(Settings()).buttons is False
    assert SlackNotifier.of(Settings(slack_signing_secret=" ".strip())).buttons is False
    assert SlackNotifier.of(Settings(slack_signing_secret="of the app")).buttons is True


def test_words_of_a_button_are_cut_to_what_slack_takes(slack: SlackServer) -> None:
    sure = Confirm("t" * 200, "x" * 400, "y" * 50, "n" * 50)
    long = Button(
        "b" * 100, "laurel.approve", {"use_case": "u" * 1900, "run": "f00d"}, "primary", sure
    )
    assert notifier(slack, buttons=True).send(asking(buttons=(long,))) is not None


def test_value_that_slack_would_not_send_back_whole_is_refused() -> None:
    with pytest.raises(ValueError, match=r"laurel\.approve.*2000"):
        Button("Approve", "laurel.approve", {"run": "x" * 2000})


def test_longest_head_with_its_checklist_and_buttons_is_accepted(slack: SlackServer) -> None:
    pairs = {f"{'&' * 400}{position}": ">" * 5000 for position in range(40)}
    links = {f"{position}": "http://h/" + "&" * 900 for position in range(30)}
    long = asking(headline="<" * 5000, facts=pairs, details=["reason & " * 500] * 60, links=links)
    steps = tuple(
        Step(stage, "done", "&<>" * 200, "stage")
        for stage in ("start", "gate", "contest", "deploy")
    )
    block = notifier(slack, buttons=True)
    posted = block.post(block.prepared(long), steps=steps)
    assert len(slack.messages[0]["text"]) <= TEXT_LIMIT
    block.edit(posted, long.text, long.blocks, steps)
    assert slack.messages[0]["text"].endswith(steps[-1].line)


def test_language_of_the_block_is_that_of_slack_and_of_the_log(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bilingual = Message("flights: served", translations={"ko": Message("flights: 서비스 중")})
    for token in (TOKEN, None):
        notifier(slack, language="ko", token=token).send(bilingual)
    notifier(slack).send(bilingual)
    assert [message["text"] for message in slack.messages] == [
        "flights: 서비스 중",
        "flights: served",
    ]
    assert [record.getMessage() for record in caplog.records if record.name == "laurel.slack"] == [
        "Posted to Slack (#ml): flights: 서비스 중",
        "flights: 서비스 중",
        "Posted to Slack (#ml): flights: served",
    ]
    assert SlackNotifier.of(Settings(slack_language="ko")).language == "ko"


def test_picture_is_beneath_its_message(slack: SlackServer) -> None:
    ts = notifier(slack).send(
        replace(WON, pictures=(Picture(PNG + b"drawn", "Contest", "the gain"),))
    )
    [shared] = slack.files
    assert (shared["data"], shared["title"], shared["alt"]) == (
        PNG + b"drawn",
        "Contest",
        "the gain",
    )
    assert (shared["channel"], shared["thread_ts"]) == (CHANNEL_ID, ts)


@pytest.mark.parametrize(
    "method",
    ["files.getUploadURLExternal", "files.completeUploadExternal", "/upload/v1/F000000000"],
    ids=["address", "share", "bytes"],
)
def test_picture_that_slack_does_not_take_is_one_warning_and_the_text_is_told(
    slack: SlackServer, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    slack.break_down(times=ALWAYS, method=method)
    assert (
        notifier(slack, retries=1).send(
            replace(WON, pictures=(Picture(PNG, "Contest", "the gain"),))
        )
        is not None
    )
    assert slack.files == []
    [warning] = warnings(caplog)
    assert "rejected the pictures (Contest)" in warning and "500" in warning


def test_picture_for_a_channels_name_is_refused_as_slack_refuses_it(
    slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    block = notifier(slack)
    block.upload(
        replace(WON, pictures=(Picture(PNG, "Contest", "the gain"),)), "#ml", block.send(WON) or ""
    )
    assert "invalid_arguments" in warnings(caplog)[0]


@pytest.mark.parametrize(
    ("scopes", "needed"), [((), "chat:write"), (("chat:write",), "files:write")]
)
def test_missing_scope_is_named(
    scopes: tuple[str, ...], needed: str, caplog: pytest.LogCaptureFixture
) -> None:
    with SlackServer(token=TOKEN, scopes=scopes) as slack:
        notifier(slack).send(replace(WON, pictures=(Picture(PNG, "Contest", "the gain"),)))
    [warning] = warnings(caplog)
    assert f"give the app the scope {needed}" in warning


def test_message_that_was_deleted_is_told_apart_from_other_refusals(slack: SlackServer) -> None:
    block = notifier(slack)
    posted = block.post(WON)
    slack.delete(slack.messages[0])
    with pytest.raises(Refused, match="message_not_found") as gone:
        block.edit(posted, WON.text, WON.blocks, ())
    with pytest.raises(Refused, match="channel_not_found") as other:
        block.edit(replace(posted, channel="#ml"), WON.text, WON.blocks, ())
    assert (gone.value.is_gone, other.value.is_gone) == (True, False)
