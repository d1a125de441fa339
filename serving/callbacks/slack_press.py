"""The parts of Slack's call for a pressed button that matter here
(https://docs.slack.dev/reference/interaction-payloads/block_actions-payload).

``tasks/messages/announcements.py`` sets the values of the buttons."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from serving.errors import InputError, MalformedBody
from serving.history.approvals import USE_CASE, VERSION

STEERS = ("advance", "hold", "resume", "revert")
_ACTIONS = {f"laurel.{action}": action for action in ("approve", "reject", "rollback", *STEERS)}
PLACE = r"^[0-9]{1,2}\Z"
_WHY = "laurel.why"
_MOST_FIELDS = 10


@dataclass(frozen=True)
class Press:
    """A button was pressed by ``by``, whom Slack calls ``user``. ``once`` is the same for each
    press of the same button.

    approve, reject: ``run`` is the approve run. rollback: ``from_version`` was the champion when
    the button was made, ``version`` is to follow it (``None``: its predecessor). advance, hold,
    resume, revert: ``rollout`` was at ``stage`` and ``step`` then."""

    action: str
    use_case: str
    by: str
    user: str
    response_url: str
    once: str
    why: str = ""
    run: str = ""
    from_version: str = ""
    version: str | None = None
    rollout: str = ""
    stage: int = 0
    step: int = 0


class _User(msgspec.Struct):
    id: Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,32}\Z")]
    username: str | None = None
    name: str | None = None


class _Action(msgspec.Struct):
    action_id: str = ""
    value: str | None = None


class _Input(msgspec.Struct):
    value: str | None = None


class _State(msgspec.Struct):
    values: dict[str, dict[str, _Input]] = {}


class _Container(msgspec.Struct):
    channel_id: str | None = None
    message_ts: str | None = None


class _Call(msgspec.Struct):
    type: str
    user: _User
    actions: list[_Action] = []
    response_url: str = ""
    state: _State | None = None
    container: _Container | None = None


class _Approval(msgspec.Struct):
    use_case: Annotated[str, Meta(pattern=USE_CASE)]
    run: Annotated[str, Meta(min_length=1, max_length=64)]


class _Rollback(msgspec.Struct, rename={"from_version": "from"}):
    use_case: Annotated[str, Meta(pattern=USE_CASE)]
    from_version: Annotated[str, Meta(pattern=VERSION)]
    version: Annotated[str, Meta(pattern=VERSION)] | None = None


class _Steer(msgspec.Struct):
    use_case: Annotated[str, Meta(pattern=USE_CASE)]
    rollout: Annotated[str, Meta(min_length=1, max_length=100)]
    stage: Annotated[str, Meta(pattern=PLACE)]
    step: Annotated[str, Meta(pattern=PLACE)]


# Made now, by one thread: msgspec ends the process if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_CALL = msgspec.json.Decoder(_Call)
_APPROVAL = msgspec.json.Decoder(_Approval)
_ROLLBACK = msgspec.json.Decoder(_Rollback)
_STEER = msgspec.json.Decoder(_Steer)


def read_press(body: bytes) -> Press | None:
    """Decode the form with its field ``payload``. ``None`` for other elements: Slack reports links
    and menus too.

    Raises ``MalformedBody`` for another form or invalid JSON, ``InputError`` for content that
    differs from Slack's or Laurel's."""
    try:
        (payload,) = parse_qs(body.decode(), strict_parsing=True, max_num_fields=_MOST_FIELDS)[
            "payload"
        ]
    except (ValueError, KeyError) as error:
        raise MalformedBody("Slack's call must be a form with one field, payload.") from error
    try:
        call = _CALL.decode(payload)
        pressed = next((action for action in call.actions if action.action_id in _ACTIONS), None)
        return _press(call, pressed) if call.type == "block_actions" and pressed else None
    except msgspec.ValidationError as error:
        raise InputError(
            f"The payload is not Slack's for a button of Laurel: {error}.", field="payload"
        ) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedBody("The payload of Slack's call is not JSON.") from error


def _press(call: _Call, pressed: _Action) -> Press:
    action, value, container = (
        _ACTIONS[pressed.action_id],
        pressed.value or "",
        call.container or _Container(),
    )
    button, fields = _button(action, value)
    return Press(
        action=action,
        use_case=button.use_case,
        by=f"{call.user.username or call.user.name or 'somebody'} ({call.user.id})",
        user=call.user.id,
        response_url=call.response_url,
        once=hashlib.sha256(
            f"{container.channel_id} {container.message_ts} {value}".encode(errors="replace")
        ).hexdigest(),
        why=_read_reason(call.state),
        **fields,
    )


def _button(action: str, value: str) -> tuple[_Approval | _Rollback | _Steer, dict[str, Any]]:
    """What the button says, and the fields of ``Press`` that are its own."""
    if action == "rollback":
        rollback = _ROLLBACK.decode(value)
        return rollback, {"from_version": rollback.from_version, "version": rollback.version}
    if action in STEERS:
        steer = _STEER.decode(value)
        place = {"stage": int(steer.stage), "step": int(steer.step)}
        return steer, {"rollout": steer.rollout, **place}
    approval = _APPROVAL.decode(value)
    return approval, {"run": approval.run}


def _read_reason(state: _State | None) -> str:
    """The text in the message's own field for the reason; empty if there is none."""
    blocks = state.values.values() if state else ()
    return next((block[_WHY].value or "" for block in blocks if _WHY in block), "")
