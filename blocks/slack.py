"""Messages to people in Slack, or in the run's log if no Slack is configured.

A message never fails a flow: if Slack refuses it, one warning in the run's log has the whole
text."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from http.client import HTTPException
from typing import Any, Self

from prefect.blocks.core import Block
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field, SecretStr
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError, SlackRequestError
from slack_sdk.http_retry import RetryHandler
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)

from blocks.message import (
    TEXT_LIMIT,
    Language,
    Message,
    Step,
    checklist,
    escaped,
)
from blocks.settings import Settings

BLOCK = "slack"
RUN_LINK = "flow run"
_RUN_LINKS: dict[Language, str] = {"en": RUN_LINK, "ko": "플로우 실행"}

LONGEST_WAIT_SECONDS = 30

_COPY_IT = (
    "copy the app's bot token (xoxb-...) into LAUREL_SLACK_TOKEN and run python -m "
    "deployments.apply"
)
ADVICE = {
    "invalid_auth": f"Slack does not know this token: {_COPY_IT}",
    "not_authed": f"no token was sent: {_COPY_IT}",
    "account_inactive": (
        f"the app was removed from the workspace: install it again, then {_COPY_IT}"
    ),
    "token_revoked": f"the token was revoked: {_COPY_IT}",
    "token_expired": f"the token has expired: {_COPY_IT}",
    "missing_scope": "give the app the scope {needed} and install it again",
    "channel_not_found": (
        "check LAUREL_SLACK_CHANNEL; the app finds a private channel only after /invite in it"
    ),
    "not_in_channel": "type /invite @<the app> in the channel",
    "is_archived": "the channel is archived: name another one in LAUREL_SLACK_CHANNEL",
    "ratelimited": "Slack received too many messages; ignore this if it is rare",
}
GONE = {
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
    "thread_not_found",
    "invalid_thread_ts",
    "cannot_reply_to_message",
}
"""Slack's answers if the message to edit or to reply to no longer exists, or can no longer be
edited.
"""

# A server that is not Slack makes the SDK raise more than its own errors: OSError (unreachable,
# timeout), HTTPException (not HTTP), ValueError and LookupError (not JSON, unknown charset),
# AttributeError and TypeError (JSON, but not an object).
_TROUBLE = (
    SlackClientError,
    OSError,
    HTTPException,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)


class Refused(RuntimeError):
    """Slack rejected the call. The message says why and what to do; ``code`` is Slack's error code,
    if there is one.
    """

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code

    @property
    def is_gone(self) -> bool:
        return self.code in GONE


@dataclass(frozen=True)
class Posted:
    """A message in Slack. ``channel`` is its id: Slack accepts names only when posting."""

    channel: str
    ts: str


class _BoundedRateLimit(RateLimitErrorRetryHandler):
    """Wait for Slack's Retry-After, but not beyond ``LONGEST_WAIT_SECONDS``: a flow must not sleep
    for a message.
    """

    def _can_retry(self, *, response: Any = None, **rest: Any) -> bool:
        if response is None or not super()._can_retry(response=response, **rest):
            return False
        waits = [
            value[0] for name, value in response.headers.items() if name.lower() == "retry-after"
        ]
        return not waits or (waits[0].isdecimal() and int(waits[0]) <= LONGEST_WAIT_SECONDS)


class SlackNotifier(Block):
    """The channel, the sender and the language of messages."""

    _block_type_name = "Laurel Slack notifier"
    _block_type_slug = "laurel-slack-notifier"
    _description = (
        "Posts what the loop does to a Slack channel, or without a token to the run's log."
    )

    token: SecretStr | None = Field(
        default=None,
        description=(
            "bot token (xoxb-...) with the scopes chat:write and files:write; unset: use the log"
        ),
    )
    channel: str = Field(description="channel name or id")
    language: Language = Field(
        default="en", description="language of messages, in Slack and in the log"
    )
    buttons: bool = Field(
        default=False,
        description="whether the service answers buttons: it has the app's signing secret",
    )
    api_url: str = Field(default="https://slack.com/api/", description="changed only by tests")
    ui_url: str | None = Field(
        default=None,
        description="address of Prefect's UI for people: messages link to their flow run",
    )
    timeout_seconds: int = Field(
        default=5, gt=0, description="time limit of each attempt, to connect and to answer"
    )
    retries: int = Field(
        default=3, ge=0, description="maximum attempts after the first, whatever the reason"
    )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            token=settings.slack_token,
            channel=settings.slack_channel,
            language=settings.slack_language,
            buttons=bool(
                settings.slack_signing_secret and settings.slack_signing_secret.get_secret_value()
            ),
            api_url=settings.slack_api_url,
            ui_url=settings.prefect_pages,
        )

    @property
    def is_connected(self) -> bool:
        """Whether messages go to Slack, and not only to the log."""
        return bool(self._secret)

    def send(self, message: Message, thread_ts: str | None = None) -> str | None:
        """Send ``message`` and return its ``ts``; a later call with this as ``thread_ts`` is a
        reply.

        Returns ``None`` if nothing was sent: there is no token, or Slack refused, which is then in
        the log. Raises in neither case."""
        message = self.prepared(message)
        if not self.is_connected:
            _log().info("%s", message.text)
            return None
        try:
            posted = self.post(message, thread_ts)
        except Refused as refused:
            self.log_refusal(message, refused)
            return None
        self.log_told(message)
        self.upload(message, posted.channel, thread_ts or posted.ts)
        return posted.ts

    def prepared(self, message: Message) -> Message:
        """Return ``message`` in the block's language, with the link to the run, and with buttons
        only if somebody answers them.
        """
        message = message.in_language(self.language)
        if not (self.buttons and self.is_connected):
            message = message.without_buttons()
        page, label = self.run_page(flow_run.id), _RUN_LINKS[self.language]
        if page is None or RUN_LINK in message.links or label in message.links:
            return message
        return replace(message, links={**message.links, label: page})

    def run_page(self, run_id: str | None) -> str | None:
        """Return the address of a flow run's page for people; ``None`` if it is unknown."""
        return f"{self.ui_url}/runs/flow-run/{run_id}" if self.ui_url and run_id else None

    def post(
        self, message: Message, thread_ts: str | None = None, steps: tuple[Step, ...] = ()
    ) -> Posted:
        """Post a prepared message, with the checklist if it begins a thread. Raises ``Refused``."""
        text, blocks = _with_checklist(message.text, message.blocks, steps)
        broadcast = True if message.broadcast and thread_ts else None
        answer = self._call(
            lambda client: client.chat_postMessage(
                channel=self.channel,
                text=text,
                blocks=blocks,
                thread_ts=thread_ts,
                reply_broadcast=broadcast,
                unfurl_links=False,
            )
        )
        return Posted(
            channel=str(answer.get("channel") or self.channel), ts=str(answer.get("ts") or "")
        )

    def edit(
        self, posted: Posted, text: str, blocks: list[dict[str, Any]], steps: tuple[Step, ...] = ()
    ) -> None:
        """Replace a posted message, with the current checklist if it begins a thread. Raises
        ``Refused``.
        """
        text, blocks = _with_checklist(text, blocks, steps)
        self._call(
            lambda client: client.chat_update(
                channel=posted.channel, ts=posted.ts, text=text, blocks=blocks, parse="none"
            )
        )

    def upload(self, message: Message, channel: str, thread_ts: str) -> None:
        """Upload the message's pictures into its thread. If Slack refuses, one warning is enough:
        the text has been posted.

        ``channel`` is an id, since Slack accepts no name here.
        """
        if not message.pictures:
            return
        files = [
            {
                "filename": f"{position}.png",
                "content": picture.png,
                "title": picture.title,
                "alt_txt": picture.alt,
            }
            for position, picture in enumerate(message.pictures, 1)
        ]
        try:
            self._call(
                lambda client: client.files_upload_v2(
                    file_uploads=files, channel=channel, thread_ts=thread_ts
                )
            )
        except Refused as refused:
            titles = ", ".join(picture.title for picture in message.pictures)
            _log().warning(
                "Slack (%s) rejected the pictures (%s): %s.", self.channel, titles, refused
            )

    def log_told(self, message: Message) -> None:
        _log().info("Posted to Slack (%s): %s", self.channel, message.text)

    def log_refusal(self, message: Message, refused: Refused) -> None:
        _log().warning(
            "The message did not reach Slack (%s): %s. It was:\n%s",
            self.channel,
            refused,
            message.text,
        )

    def warn(self, text: str) -> None:
        _log().warning("%s", text)

    @property
    def _secret(self) -> str:
        return self.token.get_secret_value().strip() if self.token else ""

    def _call(self, ask: Callable[[WebClient], Any]) -> dict[str, Any]:
        secret = self._secret
        try:
            if not re.fullmatch(r"[!-~]+", secret):  # the HTTP library would show it in its error
                raise SlackRequestError(f"the token contains invalid characters: {_COPY_IT}")
            answer: dict[str, Any] = ask(self._client).data
            return answer
        except _TROUBLE as error:
            reason, code = _reason(error)
            raise Refused(reason.replace(secret, "<token>"), code) from error

    @cached_property
    def _client(self) -> WebClient:
        # The SDK logs an error for each failed attempt; our one warning is enough.
        silent = logging.Logger("laurel.slack.sdk", level=logging.CRITICAL + 1)
        kinds: list[type[RetryHandler]] = [
            _BoundedRateLimit,
            ServerErrorRetryHandler,
            ConnectionErrorRetryHandler,
        ]
        return WebClient(
            token=self._secret,
            base_url=self.api_url,
            timeout=self.timeout_seconds,
            logger=silent,
            retry_handlers=[kind(max_retry_count=self.retries) for kind in kinds],
        )


def _with_checklist(
    text: str, blocks: list[dict[str, Any]], steps: tuple[Step, ...]
) -> tuple[str, list[dict[str, Any]]]:
    """Return text and blocks for Slack, with the lines of the checklist after the headline."""
    safe = escaped(text, TEXT_LIMIT)
    if not steps:
        return safe, blocks
    lines = "\n".join(step.line for step in steps)
    return f"{escaped(text, TEXT_LIMIT - len(lines) - 1)}\n{lines}", [
        blocks[0],
        checklist(steps),
        *blocks[1:],
    ]


def _log() -> Any:
    """Return the run's logger inside a flow or task run, otherwise ``laurel.slack``."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("laurel.slack")


def _reason(error: Exception) -> tuple[str, str]:
    """Return one sentence with the error and, if known, what to do; and Slack's error code."""
    if not isinstance(error, SlackApiError):
        return f"{type(error).__name__}: {error}", ""
    data = error.response.data
    fields = data if isinstance(data, dict) else {}
    code = (
        str(fields.get("error", "no reason given")) if isinstance(data, dict) else "no JSON object"
    )
    status = error.response.status_code
    reason = f"HTTP {status}, {code}" if status != 200 else code
    advice = ADVICE.get(code, "").format(needed=fields.get("needed") or "chat:write")
    return (f"{reason}: {advice}" if advice else reason), code
