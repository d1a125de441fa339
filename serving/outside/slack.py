"""Messages to people in Slack about problems that the service cannot solve itself. No answer and no
swap waits for them.
"""

import logging
import threading
from http.client import HTTPException

from blocks.settings import Settings

_TIMEOUT_SECONDS = 5
_RETRIES = 3
_TEXT_LIMIT = 3000

logger = logging.getLogger(__name__)


class Slack:
    """One channel. Without a token nothing is sent: the service's own log has it already."""

    def __init__(self, token: str, channel: str, api_url: str) -> None:
        self._token = token
        self._channel = channel
        self._api_url = api_url

    @classmethod
    def of(cls, settings: Settings) -> "Slack":
        token = settings.slack_token.get_secret_value().strip() if settings.slack_token else ""
        return cls(token, settings.slack_channel, settings.slack_api_url)

    def tell(self, text: str) -> None:
        """Send ``text`` (plain, a headline and lines) on a thread of its own. Does not raise: what
        Slack refuses is logged.
        """
        if self._token:
            threading.Thread(target=self._send, args=(text,), name="slack", daemon=True).start()

    def _send(self, text: str) -> None:
        from slack_sdk import WebClient
        from slack_sdk.errors import SlackClientError
        from slack_sdk.http_retry.builtin_handlers import (
            ConnectionErrorRetryHandler,
            RateLimitErrorRetryHandler,
            ServerErrorRetryHandler,
        )

        silent = logging.Logger(
            "laurel.slack.sdk", level=logging.CRITICAL + 1
        )  # the one warning below says it all
        kinds = (RateLimitErrorRetryHandler, ServerErrorRetryHandler, ConnectionErrorRetryHandler)
        client = WebClient(
            token=self._token,
            base_url=self._api_url,
            timeout=_TIMEOUT_SECONDS,
            logger=silent,
            retry_handlers=[kind(max_retry_count=_RETRIES) for kind in kinds],
        )
        safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        try:
            client.chat_postMessage(
                channel=self._channel, text=safe[:_TEXT_LIMIT], unfurl_links=False
            )
        # Errors that a peer other than Slack provokes pass through the SDK unchanged.
        except (
            SlackClientError,
            OSError,
            HTTPException,
            ValueError,
            LookupError,
            AttributeError,
        ) as error:
            reason = f"{type(error).__name__}: {error}".replace(self._token, "<token>")
            logger.warning("Slack (%s) did not get a message: %s", self._channel, reason)
