"""A fake of Slack's Web API on a free loopback port: chat.postMessage, chat.update, auth.test, and
uploads.

It refuses what Slack refuses (token, scope, channel, content type, empty or oversized messages, a
channel's name instead of its id, a file that was not sent), stores what it accepts, and misbehaves
in the next calls if a test says so:

    with SlackServer() as slack:
        slack.rate_limit(times=2)
        SlackNotifier(token="xoxb-test", channel="#ml", api_url=slack.url).send(message)
        assert slack.statuses == [429, 429, 200]
"""

import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.loopback import Handler, LoopbackServer

ALWAYS = 1000
CHANNEL_ID = "C0ML000001"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Misbehaviour:
    """``status`` 0 closes the connection without an answer, -1 keeps the caller waiting.
    ``method``: only in that call.
    """

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = ""


class SlackServer(LoopbackServer):
    """``messages`` are the posted messages as Slack would show them now, ``edits`` the arguments of
    chat.update, oldest first.

    ``files`` are the shared pictures, and ``statuses`` one HTTP status for each call.
    """

    def __init__(
        self,
        token: str = "xoxb-test",
        channels: dict[str, str] | None = None,
        scopes: tuple[str, ...] = ("chat:write", "files:write"),
    ) -> None:
        self.token = token
        self.channels = channels or {"#ml": CHANNEL_ID}
        self.scopes = scopes
        self.messages: list[dict[str, Any]] = []
        self.edits: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.misbehaviours: deque[Misbehaviour] = deque()
        self.closing = threading.Event()
        self._posted = 0
        self._pending: dict[str, dict[str, Any]] = {}
        self._busy = threading.Lock()
        super().__init__(_Handler)

    @property
    def url(self) -> str:
        return f"{super().url}/api/"

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        super().__exit__()

    @property
    def heads(self) -> list[dict[str, Any]]:
        """The messages that are not replies."""
        return [message for message in self.messages if not message.get("thread_ts")]

    def replies(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        return [message for message in self.messages if message.get("thread_ts") == head["ts"]]

    def delete(self, message: dict[str, Any]) -> None:
        """Delete the message, as a person would in Slack."""
        self.messages.remove(message)

    def rate_limit(self, times: int = 1, retry_after: str = "0", method: str = "") -> None:
        body = json.dumps({"ok": False, "error": "ratelimited"})
        self._misbehave(Misbehaviour(429, body, {"Retry-After": retry_after}, method), times)

    def break_down(self, times: int = 1, status: int = 500, method: str = "") -> None:
        self._misbehave(
            Misbehaviour(status, "<html>something is wrong</html>", method=method), times
        )

    def refuse(self, error: str, times: int = 1, method: str = "") -> None:
        self._misbehave(
            Misbehaviour(200, json.dumps({"ok": False, "error": error}), method=method), times
        )

    def babble(self, body: str, times: int = 1) -> None:
        """Answer 200 with a body that Slack would never send, as a proxy may."""
        self._misbehave(Misbehaviour(200, body), times)

    def hang_up(self, times: int = 1, method: str = "") -> None:
        self._misbehave(Misbehaviour(0, method=method), times)

    def keep_waiting(self, times: int = 1) -> None:
        self._misbehave(Misbehaviour(-1), times)

    def behave(self) -> None:
        """Drop the misbehaviours that are still to come."""
        self.misbehaviours.clear()

    def _misbehave(self, misbehaviour: Misbehaviour, times: int) -> None:
        self.misbehaviours.extend([misbehaviour] * times)

    def next_misbehaviour(self, method: str) -> Misbehaviour | None:
        with self._busy:
            match = next(
                (candidate for candidate in self.misbehaviours if candidate.method in ("", method)),
                None,
            )
            if match:
                self.misbehaviours.remove(match)
            return match

    def answer(
        self, method: str, authorization: str | None, content_type: str, body: bytes
    ) -> dict[str, Any]:
        """Return Slack's answer to an undisturbed call."""
        if not authorization:
            return _refused("not_authed")
        if authorization != f"Bearer {self.token}":
            return _refused("invalid_auth")
        if method == "auth.test":
            return {"ok": True, "team": "Laurel", "user": "laurel"}
        needed = "files:write" if method.startswith("files.") else "chat:write"
        if needed not in self.scopes:
            return {
                **_refused("missing_scope"),
                "needed": needed,
                "provided": ",".join(self.scopes),
            }
        with self._busy:
            if method.startswith("files."):
                return self._answer_upload(
                    method, {name: values[0] for name, values in parse_qs(body.decode()).items()}
                )
            if not content_type.startswith("application/json"):
                return _refused("invalid_post_type")
            arguments = json.loads(body)
            if fault := _fault(arguments):
                return _refused(fault)
            if method == "chat.postMessage":
                return self._post(arguments)
            if method == "chat.update":
                return self._update(arguments)
            return _refused("unknown_method")

    def _post(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Accept a channel's name or id, and answer with its id."""
        channel = self.channels.get(arguments.get("channel", ""), arguments.get("channel"))
        if channel not in self.channels.values():
            return _refused("channel_not_found")
        if arguments.get("thread_ts") and not self._at(arguments["thread_ts"]):
            return _refused("thread_not_found")
        arguments |= {"channel": channel, "ts": f"1700000000.{self._posted:06d}"}
        self._posted += 1
        self.messages.append(arguments)
        return {"ok": True, "channel": channel, "ts": arguments["ts"], "message": arguments}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("channel") not in self.channels.values():
            return _refused("channel_not_found")
        message = self._at(arguments.get("ts"))
        if message is None:
            return _refused("message_not_found")
        message.update(arguments)
        self.edits.append(dict(arguments))
        return {
            "ok": True,
            "channel": arguments["channel"],
            "ts": arguments["ts"],
            "text": arguments.get("text"),
        }

    def _at(self, ts: str | None) -> dict[str, Any] | None:
        return next((message for message in self.messages if message["ts"] == ts), None)

    def _answer_upload(self, method: str, arguments: dict[str, str]) -> dict[str, Any]:
        if method == "files.getUploadURLExternal":
            if not arguments.get("filename") or not arguments.get("length", "").isdecimal():
                return _refused("invalid_arguments")
            file_id = f"F0{len(self._pending):08d}"
            self._pending[file_id] = {
                "id": file_id,
                "length": int(arguments["length"]),
                "alt": arguments.get("alt_txt", ""),
                "data": None,
            }
            return {
                "ok": True,
                "upload_url": self.url.replace("/api/", f"/upload/v1/{file_id}"),
                "file_id": file_id,
            }
        if method == "files.completeUploadExternal":
            return self._share(arguments)
        return _refused("unknown_method")

    def take_file(self, file_id: str, data: bytes) -> int:
        """Return the HTTP status of an upload, which must have the announced length."""
        if file_id not in self._pending or len(data) != self._pending[file_id]["length"]:
            return 400
        self._pending[file_id]["data"] = data
        return 200

    def _share(self, arguments: dict[str, str]) -> dict[str, Any]:
        channel, shared = arguments.get("channel_id", ""), json.loads(arguments.get("files", "[]"))
        if not re.fullmatch(r"[CGDZ][A-Z0-9]{8,}", channel):
            messages = [
                (
                    "[ERROR] input must match regex pattern: ^[CGDZ][A-Z0-9]{8,}$ "
                    "[json-pointer:/channel_id]"
                )
            ]
            return {**_refused("invalid_arguments"), "response_metadata": {"messages": messages}}
        if channel not in self.channels.values():
            return _refused("channel_not_found")
        if (
            any(self._pending.get(file["id"], {}).get("data") is None for file in shared)
            or not shared
        ):
            return _refused("file_not_found")
        if arguments.get("thread_ts") and not self._at(arguments["thread_ts"]):
            return _refused("thread_not_found")
        for file in shared:
            self.files.append(
                {
                    **self._pending.pop(file["id"]),
                    "title": file["title"],
                    "thread_ts": arguments.get("thread_ts"),
                    "channel": channel,
                }
            )
        return {
            "ok": True,
            "files": [{"id": file["id"], "title": file["title"]} for file in shared],
        }


def _refused(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _fault(arguments: dict[str, Any]) -> str | None:
    """Return Slack's error code for a message's content, by the limits of its Block Kit
    reference.
    """
    blocks = arguments.get("blocks") or []
    if not arguments.get("text") and not blocks:
        return "no_text"
    if len(arguments.get("text") or "") > 4000:
        return "msg_too_long"
    if len(blocks) > 50 or not all(_fits(block) for block in blocks):
        return "invalid_blocks"
    named = [block["block_id"] for block in blocks if "block_id" in block]
    if len(set(named)) != len(named):
        return "invalid_blocks"
    return "msg_blocks_too_long" if len(json.dumps(blocks, ensure_ascii=False)) > 13_000 else None


def _fits(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    if not 0 < len(block.get("block_id", "x")) <= 255:
        return False
    if kind == "section":
        fields = block.get("fields", [])
        texts = [*fields, *([block["text"]] if "text" in block else [])]
        return (
            bool(texts)
            and len(fields) <= 10
            and all(_text_fits(text, 2000) for text in fields)
            and all(_text_fits(text, 3000) for text in texts)
        )
    if kind == "context":
        return 0 < len(block["elements"]) <= 10 and all(
            _text_fits(element, 3000) for element in block["elements"]
        )
    if kind == "header":
        return _plain_fits(block["text"], 150)
    if kind == "actions":
        ids = [button.get("action_id") for button in block["elements"]]
        return (
            0 < len(ids) <= 25
            and len(set(ids)) == len(ids)
            and all(_button_fits(button) for button in block["elements"])
        )
    return kind == "divider"


def _button_fits(button: dict[str, Any]) -> bool:
    allowed = {
        "type",
        "text",
        "action_id",
        "value",
        "style",
        "confirm",
        "url",
        "accessibility_label",
    }
    return (
        button.get("type") == "button"
        and set(button) <= allowed
        and _plain_fits(button["text"], 75)
        and 0 < len(button["action_id"]) <= 255
        and len(button.get("value", "")) <= 2000
        and button.get("style", "primary") in ("primary", "danger")
        and ("confirm" not in button or _confirm_fits(button["confirm"]))
    )


def _confirm_fits(confirm: dict[str, Any]) -> bool:
    limits = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
    return set(confirm) - {"style"} == set(limits) and all(
        _text_fits(confirm[name], limit) for name, limit in limits.items()
    )


def _plain_fits(text: dict[str, Any], limit: int) -> bool:
    return text.get("type") == "plain_text" and _text_fits(text, limit)


def _text_fits(text: dict[str, Any], limit: int) -> bool:
    return text.get("type") in ("mrkdwn", "plain_text") and 0 < len(text.get("text", "")) <= limit


class _Handler(Handler):
    def do_POST(self) -> None:
        slack: SlackServer = self.owner
        body = self.body()
        method = self.path.removeprefix("/api/")
        if misbehaviour := slack.next_misbehaviour(method):
            return self._misbehave(slack, misbehaviour)
        if self.path.startswith("/upload/v1/"):
            return self._answer(
                slack, slack.take_file(self.path.rpartition("/")[2], body), "OK", {}
            )
        answer = slack.answer(
            method, self.headers.get("Authorization"), self.headers.get("Content-Type", ""), body
        )
        return self._answer(slack, 200, json.dumps(answer), {})

    def _misbehave(self, slack: SlackServer, how: Misbehaviour) -> None:
        if how.status > 0:
            return self._answer(slack, how.status, how.body, how.headers)
        slack.statuses.append(how.status)
        if how.status < 0:
            slack.closing.wait()
        self.close_connection = True
        return None

    def _answer(self, slack: SlackServer, status: int, body: str, headers: dict[str, str]) -> None:
        slack.statuses.append(status)
        self.reply(
            status, body.encode(), {"Content-Type": "application/json; charset=utf-8", **headers}
        )
