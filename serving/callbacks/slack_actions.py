"""Buttons that people press in Slack: Approve and Reject of a contest, Rollback of a deployment.

Slack signs each call (https://docs.slack.dev/authentication/verifying-requests-from-slack) with the
app's signing secret: ``X-Slack-Signature: v0=<hex of HMAC-SHA256>`` over ``v0:<timestamp>:<body>``.
A call that is forged, old or was there before is refused with 401. Slack waits three seconds for an
answer, so a call is answered at once, the work is done after that, and its outcome is told to the
one who pressed, through the call's ``response_url``."""

import hashlib
import hmac
import logging
from collections.abc import Iterator

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.background import BackgroundTask

from blocks.settings import Settings
from serving.callbacks.signatures import LONGEST_AGE_SECONDS, Seen, is_of_now, read_small_body
from serving.callbacks.slack_press import Press, read_press
from serving.callbacks.slack_replies import Replies
from serving.errors import Refused, ServingError
from serving.history.approvals import Answer, answer_run, roll_back
from serving.service.service import Service
from serving.service.workers import folder_of

PATH = "/slack/actions"
_DOCUMENT = {
    "requestBody": {
        "required": True,
        "description": "Slack's own: its field payload is the JSON of an interaction",
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "properties": {"payload": {"type": "string"}}}
            }
        },
    },
    "responses": {"200": {"description": "Taken; what becomes of it is told in Slack"}},
}

logger = logging.getLogger(__name__)


class Signatures:
    """Tells Slack's calls from others, and new ones from old ones."""

    def __init__(self, secret: str, seen: Seen) -> None:
        self._secret = secret.encode()
        self._seen = seen

    @classmethod
    def of(cls, settings: Settings) -> "Signatures | None":
        """``None`` where there is no secret: no call can be told from a forged one then."""
        secret = (
            settings.slack_signing_secret.get_secret_value()
            if settings.slack_signing_secret
            else ""
        )
        return cls(secret, Seen(folder_of(settings) / "slack")) if secret else None

    def check(self, timestamp: str, signature: str, body: bytes) -> None:
        """Raises ``Refused`` for a call that is forged, old, or was there before, or cannot be
        remembered.
        """
        expected = (
            b"v0="
            + hmac.digest(self._secret, b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256)
            .hex()
            .encode()
        )
        if not hmac.compare_digest(expected, signature.encode()):
            raise Refused(
                401, "bad_signature", "The signature is not that of LAUREL_SLACK_SIGNING_SECRET."
            )
        if not is_of_now(timestamp):
            raise Refused(
                401,
                "too_old",
                f"The call's timestamp is not within {LONGEST_AGE_SECONDS} s of this "
                "machine's clock.",
            )
        try:
            if not self._seen.is_new(signature):
                raise Refused(401, "seen_before", "A call with this signature was accepted before.")
        except OSError as error:
            raise Refused(
                503, "disk_refuses", "The call cannot be remembered now. Press again later."
            ) from error


class Desk:
    """Does what was asked for with a button, and tells the one who pressed it what came of that."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self._service = service
        self._replies = Replies(settings)
        self._approvers = frozenset(_names(settings.slack_approvers))
        self._pages = settings.prefect_pages

    def act(self, press: Press) -> None:
        """Blocking. Everything that can be in the way is told in Slack; the log has it without what
        was written.
        """
        try:
            if self._approvers and press.user not in self._approvers:
                raise Refused(
                    403,
                    "not_listed",
                    f"{press.by} is not among those who may: LAUREL_SLACK_APPROVERS lists them.",
                )
            outcome = self._roll_back(press) if press.action == "rollback" else self._answer(press)
            logger.info(
                "slack button action=%s use_case=%s user=%s done",
                press.action,
                press.use_case,
                press.user,
            )
        except (Refused, ServingError) as error:
            outcome = self._replies.refused(error)
            logger.warning(
                "slack button action=%s use_case=%s user=%s refused: %s",
                press.action,
                press.use_case,
                press.user,
                error,
            )
        self._replies.send(press.response_url, outcome)

    def _answer(self, press: Press) -> str:
        answer = Answer(press.action == "approve", press.by, press.why)
        run = answer_run(self._service.prefect, press.use_case, press.run, answer)
        version = str(run.parameters.get("version", "?"))
        said = {
            "by": press.by,
            "use_case": press.use_case,
            "version": version,
            "page": self._page(run.id),
        }
        return self._replies.say("approved" if answer.approved else "rejected", **said)

    def _roll_back(self, press: Press) -> str:
        """A button that is older than the champion does nothing: it would take the crown from
        another version than the one it names.
        """
        crowned = self._service.registry.champion(press.use_case)
        if crowned is None or crowned.version != press.left:
            raise Refused(
                409,
                "moved_on",
                f"Version {press.left} of {press.use_case!r} is not the champion any more; "
                "nothing was rolled back.",
            )
        reason = (
            f"{press.by} in Slack: {press.why}"
            if press.why
            else f"{press.by} asked for it in Slack"
        )
        started = roll_back(
            self._service.prefect, press.use_case, press.version, reason, press.once
        )
        name = (
            "rolling_already"
            if not started.is_new
            else "rolling_back"
            if press.version
            else "rolling_back_one"
        )
        said = {
            "by": press.by,
            "use_case": press.use_case,
            "left": press.left,
            "version": press.version or "",
        }
        return self._replies.say(name, **said, page=self._page(started.id))

    def _page(self, run: str) -> str:
        return f"{self._pages}/runs/flow-run/{run}"


def add_routes(app: FastAPI, service: Service) -> None:
    signatures = Signatures.of(service.settings)
    desk = Desk(service)

    @app.post(PATH, tags=["operation"], openapi_extra=_DOCUMENT, response_class=Response)
    async def press(request: Request) -> Response:
        """Slack says that somebody pressed a button. Signed with the app's signing secret; each
        call counts once.
        """
        if signatures is None:
            raise Refused(
                404,
                "no_slack",
                "This service takes no calls of Slack: LAUREL_SLACK_SIGNING_SECRET is not set.",
            )
        body = await read_small_body(request, "Slack")
        try:
            signatures.check(
                request.headers.get("x-slack-request-timestamp", ""),
                request.headers.get("x-slack-signature", ""),
                body,
            )
        except Refused as error:
            logger.warning(
                "slack call refused reason=%s client=%s",
                error.code,
                request.client.host if request.client else "",
            )
            raise
        pressed = read_press(body)
        return Response(background=BackgroundTask(desk.act, pressed) if pressed else None)


def _names(listed: str) -> Iterator[str]:
    return (name.strip() for name in listed.split(",") if name.strip())
