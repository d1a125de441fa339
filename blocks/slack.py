"""Telling people in Slack, or in the run's log where no Slack is configured.

A message is built once, as a headline, facts, details and links; its plain text and its Block Kit form say the same.
Telling never fails a flow: what Slack refuses ends as one warning in the run's log that holds the whole text.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, RateLimitErrorRetryHandler, ServerErrorRetryHandler

from blocks.settings import Settings

BLOCK = "slack"
RUN_LINK = "flow run"

# Slack's limits on characters (Block Kit reference, chat.postMessage). The parts below stay under what a message may hold
# in all, about 12,000, which Slack documents nowhere and answers with msg_blocks_too_long.
TEXT_LIMIT = 4000
SECTION_LIMIT = 3000
HEADLINE_LIMIT = 500
FACT_LIMIT = 300
FACTS = 10
LINKS_LIMIT = 2000

LONGEST_WAIT_SECONDS = 30

_COPY_IT = "copy the app's bot token (xoxb-...) into LAUREL_SLACK_TOKEN and run python -m deployments.apply"
ADVICE = {
    "invalid_auth": f"Slack does not know this token: {_COPY_IT}",
    "not_authed": f"no token arrived: {_COPY_IT}",
    "account_inactive": f"the app was removed from the workspace: install it again, then {_COPY_IT}",
    "token_revoked": f"the token was revoked: {_COPY_IT}",
    "token_expired": f"the token has expired: {_COPY_IT}",
    "missing_scope": "give the app the scope chat:write and install it again",
    "channel_not_found": "check LAUREL_SLACK_CHANNEL; a private channel is only found after /invite of the app in it",
    "not_in_channel": "type /invite @<the app> in the channel",
    "is_archived": "the channel is archived: name another one in LAUREL_SLACK_CHANNEL",
    "ratelimited": "Slack asks for less; nothing to do if it stays rare",
}


@dataclass(frozen=True)
class Message:
    """What is told. All parts are plain text: escaping and cutting for Slack happen here, in one place.

    ``facts`` are short label-value pairs (at most 10 are shown in Slack), ``details`` sentences, ``links`` label to URL.
    """

    headline: str
    facts: Mapping[str, str] = field(default_factory=dict)
    details: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    emoji: str = ""

    @property
    def text(self) -> str:
        """Everything, as lines: what the log says, and what Slack shows in a notification."""
        lines = [self.headline, *(f"{label}: {value}" for label, value in self.facts.items())]
        lines += [f"- {detail}" for detail in self.details]
        return "\n".join(lines + [f"{label}: {url}" for label, url in self.links.items()])

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The Block Kit form, within Slack's limits; what is cut there ends in an ellipsis, and is whole in the log."""
        headline = escaped(" ".join(self.headline.split()), HEADLINE_LIMIT)
        built: list[dict[str, Any]] = [{"type": "section", "text": _mrkdwn(f"{self.emoji} *{headline}*".strip())}]
        if self.facts:
            pairs = list(self.facts.items())[:FACTS]
            shown = [_mrkdwn(f"*{escaped(label, FACT_LIMIT)}*\n{escaped(value, FACT_LIMIT)}") for label, value in pairs]
            built.append({"type": "section", "fields": shown})
        if self.details:
            listed = "\n".join(f"• {detail}" for detail in self.details)
            built.append({"type": "section", "text": _mrkdwn(escaped(listed, SECTION_LIMIT))})
        links = _links(self.links)
        return [*built, {"type": "context", "elements": [_mrkdwn(links)]}] if links else built


def escaped(text: str, limit: int) -> str:
    """``text`` with Slack's three special characters as entities, cut to ``limit`` characters, never inside an entity."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe if len(safe) <= limit else re.sub(r"&\w*$", "", safe[: limit - 1]) + "…"


def _mrkdwn(text: str) -> dict[str, Any]:
    # Verbatim: words that look like a channel or a URL stay words; only what is marked as a link is one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _links(links: Mapping[str, str]) -> str:
    """``<url|label>`` of each link; one that no longer fits is left to the log, since half a URL leads nowhere."""
    shown = ""
    for label, url in links.items():
        address = url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C").replace(" ", "%20")
        link = f"<{address}|{escaped(label, FACT_LIMIT)}>"
        if len(shown) + len(link) < LINKS_LIMIT:
            shown += f" · {link}" if shown else link
    return shown


class _BoundedRateLimit(RateLimitErrorRetryHandler):
    """Waits as long as Slack asks in Retry-After, but not beyond ``LONGEST_WAIT_SECONDS``: a flow must not sleep for a message."""

    def _can_retry(self, *, response: Any = None, **rest: Any) -> bool:
        if response is None or not super()._can_retry(response=response, **rest):
            return False
        asked = [value[0] for name, value in response.headers.items() if name.lower() == "retry-after"]
        return not asked or (asked[0].isdecimal() and int(asked[0]) <= LONGEST_WAIT_SECONDS)


class SlackNotifier(Block):
    """Where and as whom messages are told."""

    _block_type_name = "Laurel Slack notifier"
    _block_type_slug = "laurel-slack-notifier"
    _description = "Tells a Slack channel what the loop does; without a token the run's log is told instead."

    token: SecretStr | None = Field(default=None, description="bot token (xoxb-...) with the scope chat:write; unset: tell the log")
    channel: str = Field(description="channel name or id")
    api_url: str = Field(default="https://slack.com/api/", description="changed only by tests")
    ui_url: str | None = Field(default=None, description="Prefect UI as people reach it: messages link to their flow run")
    timeout_seconds: int = Field(default=5, gt=0, description="for each attempt, to connect and to answer")
    retries: int = Field(default=3, ge=0, description="attempts after the first, all reasons together")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            token=settings.slack_token,
            channel=settings.slack_channel,
            api_url=settings.slack_api_url,
            ui_url=settings.prefect_pages,
        )

    def send(self, message: Message, thread_ts: str | None = None) -> str | None:
        """Tell ``message`` and return its ``ts``, which as ``thread_ts`` of a later call makes that one a reply.

        Returns ``None`` where nothing was sent: no token, or a refusal that is then in the log. Does not raise for either.
        """
        message = self._with_run_link(message)
        log = _log()
        secret = self.token.get_secret_value().strip() if self.token else ""
        if not secret:
            log.info("%s", message.text)
            return None
        try:
            answer = self._client(secret).chat_postMessage(
                channel=self.channel, text=escaped(message.text, TEXT_LIMIT), blocks=message.blocks, thread_ts=thread_ts, unfurl_links=False
            )
        # Beside its own errors the SDK lets through what a peer that is not Slack provokes: OSError (away, timeout),
        # HTTPException (not HTTP), ValueError and LookupError (not JSON, unknown charset), AttributeError (JSON, but no object).
        except (SlackClientError, OSError, HTTPException, ValueError, LookupError, AttributeError) as error:
            reason = _reason(error).replace(secret, "<token>")
            log.warning("Slack (%s) was not told: %s. The message was:\n%s", self.channel, reason, message.text)
            return None
        log.info("Told Slack (%s): %s", self.channel, message.text)
        return answer.get("ts")

    def _with_run_link(self, message: Message) -> Message:
        if not self.ui_url or not flow_run.id or RUN_LINK in message.links:
            return message
        return replace(message, links={**message.links, RUN_LINK: f"{self.ui_url}/runs/flow-run/{flow_run.id}"})

    def _client(self, secret: str) -> WebClient:
        if not re.fullmatch(r"[!-~]+", secret):  # the HTTP library would quote it in its error
            raise SlackRequestError(f"the token holds characters that no token has: {_COPY_IT}")
        # The SDK logs each failed attempt as an error of its own; the one warning above says it all.
        silent = logging.Logger("laurel.slack.sdk", level=logging.CRITICAL + 1)
        kinds: list[type[RetryHandler]] = [_BoundedRateLimit, ServerErrorRetryHandler, ConnectionErrorRetryHandler]
        return WebClient(
            token=secret,
            base_url=self.api_url,
            timeout=self.timeout_seconds,
            logger=silent,
            retry_handlers=[kind(max_retry_count=self.retries) for kind in kinds],
        )


def _log() -> Any:
    """The run's logger inside a flow or task run, else ``laurel.slack``."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("laurel.slack")


def _reason(error: Exception) -> str:
    """One sentence: what went wrong, and what to do where that is known."""
    if not isinstance(error, SlackApiError):
        return f"{type(error).__name__}: {error}"
    data = error.response.data
    code = str(data.get("error", "no reason given")) if isinstance(data, dict) else "no JSON object"
    status = error.response.status_code
    said = f"HTTP {status}, {code}" if status != 200 else code
    return f"{said}: {ADVICE[code]}" if code in ADVICE else said
