"""Buttons that people press in Slack: Approve and Reject of a contest, Rollback of a deployment,
and those of a rollout.

Slack signs each call (https://docs.slack.dev/authentication/verifying-requests-from-slack) with the
app's signing secret: ``X-Slack-Signature: v0=<hex of HMAC-SHA256>`` over ``v0:<timestamp>:<body>``.
A forged, old or repeated call is refused with 401. Slack waits three seconds for an answer, so a
call is answered at once, the work is done after that, and its outcome goes to the person who
pressed, through the call's ``response_url``."""

import logging
from collections.abc import Iterator

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.background import BackgroundTask

from serving.callbacks.signatures import Caller, Signatures, read_small_body
from serving.callbacks.slack_press import STEERS, Press, read_press
from serving.callbacks.slack_replies import Replies
from serving.errors import Refused, ServingError
from serving.history.approvals import Answer, answer_run, roll_back, steer
from serving.history.checks import History
from serving.outside.lake import open_lake
from serving.service.service import Service
from serving.service.workers import folder_of

PATH = "/slack/actions"
_DOCUMENT = {
    "requestBody": {
        "required": True,
        "description": "Slack's form: its field payload holds an interaction as JSON",
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "properties": {"payload": {"type": "string"}}}
            }
        },
    },
    "responses": {"200": {"description": "Accepted; the outcome is reported in Slack"}},
}

logger = logging.getLogger(__name__)


_SLACK = Caller(
    write=lambda digest: b"v0=" + digest.hex().encode(),
    forged="The signature does not match LAUREL_SLACK_SIGNING_SECRET.",
    repeated="A call with this signature was accepted before.",
    unrecorded="The call cannot be recorded now. Press again later.",
    too_old_status=401,
    repeated_status=401,
)


class Desk:
    """Does what a button asks for, and reports the outcome to the person who pressed it."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self._service = service
        self._replies = Replies(settings)
        self._approvers = frozenset(_names(settings.slack_approvers))
        self._pages = settings.prefect_pages
        self._history = History(open_lake(settings, for_page=True))

    def act(self, press: Press) -> None:
        """Act on a press; blocking. Every obstacle is reported in Slack; the log has it without the
        person's own text.
        """
        try:
            if self._approvers and press.user not in self._approvers:
                raise Refused(
                    403,
                    "not_listed",
                    f"{press.by} may not do this: LAUREL_SLACK_APPROVERS lists who may.",
                )
            outcome = self._do(press)
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

    def _do(self, press: Press) -> str:
        if press.action in STEERS:
            return self._steer(press)
        return self._roll_back(press) if press.action == "rollback" else self._answer(press)

    def _answer(self, press: Press) -> str:
        answer = Answer(press.action == "approve", press.by, press.why)
        run = answer_run(self._service.prefect, press.use_case, press.run, answer)
        version = str(run.parameters.get("version", "?"))
        values = {
            "by": press.by,
            "use_case": press.use_case,
            "version": version,
            "page": self._page(run.id),
        }
        return self._replies.say("approved" if answer.approved else "rejected", **values)

    def _roll_back(self, press: Press) -> str:
        """Start a rollback. A button older than the champion does nothing: it would take the crown
        from a version that it does not name.
        """
        crowned = self._service.registry.champion(press.use_case)
        if crowned is None or crowned.version != press.from_version:
            raise Refused(
                409,
                "moved_on",
                f"Version {press.from_version} of {press.use_case!r} is no longer the champion; "
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
        values = {
            "by": press.by,
            "use_case": press.use_case,
            "from_version": press.from_version,
            "version": press.version or "",
        }
        return self._replies.say(name, **values, page=self._page(started.id))

    def _steer(self, press: Press) -> str:
        """Start the flow that steers the rollout. A button of another step does nothing: it would
        skip one that nobody has seen.
        """
        running = self._history.rollout(press.use_case)
        place = (press.rollout, press.stage, press.step)
        if (
            running is None
            or not running.is_running
            or place != (running.id, running.stage, running.step)
        ):
            raise Refused(
                409,
                "stepped_on",
                f"The rollout of {press.use_case!r} is no longer where this button was made; "
                "nothing was done.",
            )
        why = press.why or "pressed in Slack"
        once = f"{press.once} {press.action}"  # the buttons of a message have one value
        started = steer(self._service.prefect, press.use_case, press.action, press.by, why, once)
        name = "steers" if started.is_new else "steers_already"
        page = self._page(started.id)
        return self._replies.say(name, by=press.by, use_case=press.use_case, page=page)

    def _page(self, run: str) -> str:
        return f"{self._pages}/runs/flow-run/{run}"


def add_routes(app: FastAPI, service: Service) -> None:
    settings = service.settings
    signatures = Signatures.of(_SLACK, settings.slack_signing_secret, folder_of(settings) / "slack")
    desk = Desk(service)

    @app.post(PATH, tags=["operation"], openapi_extra=_DOCUMENT, response_class=Response)
    async def press(request: Request) -> Response:
        """Slack reports that somebody pressed a button. Signed with the app's signing secret; each
        call counts once.
        """
        if signatures is None:
            raise Refused(
                404,
                "no_slack",
                "This service accepts no calls from Slack: LAUREL_SLACK_SIGNING_SECRET is not set.",
            )
        body = await read_small_body(request, "Slack")
        try:
            timestamp = request.headers.get("x-slack-request-timestamp", "")
            signature = request.headers.get("x-slack-signature", "")
            signed = f"v0:{timestamp}:".encode() + body
            signatures.check(signed, signature, timestamp, name=signature)
        except Refused as error:
            logger.warning(
                "slack call refused reason=%s client=%s",
                error.code,
                request.client.host if request.client else "",
            )
            raise
        button_press = read_press(body)
        return Response(background=BackgroundTask(desk.act, button_press) if button_press else None)


def _names(listed: str) -> Iterator[str]:
    return (name.strip() for name in listed.split(",") if name.strip())
