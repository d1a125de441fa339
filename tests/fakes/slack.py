"""A small server that plays Slack's Web API: chat.postMessage, chat.update and auth.test, on a free loopback port.

It refuses what Slack refuses (token, channel, content type, empty or oversized messages), keeps what it accepts, and can
be told to misbehave for the next calls:

    with SlackServer() as slack:
        slack.rate_limit(times=2)
        SlackNotifier(token="xoxb-test", channel="#ml", api_url=slack.url).send(message)
        assert slack.statuses == [429, 429, 200]
"""

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

ALWAYS = 1000


@dataclass(frozen=True)
class Misbehaviour:
    """``status`` 0 closes the connection without an answer, -1 keeps the caller waiting."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class SlackServer:
    """``messages`` are the posted ones as Slack would keep them, ``statuses`` one HTTP status for each call."""

    def __init__(self, token: str = "xoxb-test", channels: tuple[str, ...] = ("#ml",)) -> None:
        self.token = token
        self.channels = channels
        self.messages: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.misbehaviours: deque[Misbehaviour] = deque()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.slack = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/api/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rate_limit(self, times: int = 1, retry_after: str = "0") -> None:
        body = json.dumps({"ok": False, "error": "ratelimited"})
        self._misbehave(Misbehaviour(429, body, {"Retry-After": retry_after}), times)

    def break_down(self, times: int = 1, status: int = 500) -> None:
        self._misbehave(Misbehaviour(status, "<html>something is wrong</html>"), times)

    def refuse(self, error: str, times: int = 1) -> None:
        self._misbehave(Misbehaviour(200, json.dumps({"ok": False, "error": error})), times)

    def babble(self, body: str, times: int = 1) -> None:
        """Answer 200 with a body that Slack would never send, as a proxy in between may."""
        self._misbehave(Misbehaviour(200, body), times)

    def hang_up(self, times: int = 1) -> None:
        self._misbehave(Misbehaviour(0), times)

    def keep_waiting(self, times: int = 1) -> None:
        self._misbehave(Misbehaviour(-1), times)

    def _misbehave(self, misbehaviour: Misbehaviour, times: int) -> None:
        self.misbehaviours.extend([misbehaviour] * times)

    def answer(self, method: str, authorization: str | None, content_type: str, body: bytes) -> dict[str, Any]:
        """What Slack says to a call that nothing disturbs."""
        if not authorization:
            return _refused("not_authed")
        if authorization != f"Bearer {self.token}":
            return _refused("invalid_auth")
        if method == "auth.test":
            return {"ok": True, "team": "Laurel", "user": "laurel"}
        if not content_type.startswith("application/json"):
            return _refused("invalid_post_type")
        said = json.loads(body)
        if said.get("channel") not in self.channels:
            return _refused("channel_not_found")
        if fault := _fault(said):
            return _refused(fault)
        if method == "chat.postMessage":
            said["ts"] = f"1700000000.{len(self.messages):06d}"
            self.messages.append(said)
            return {"ok": True, "channel": said["channel"], "ts": said["ts"], "message": said}
        if method == "chat.update":
            return self._update(said)
        return _refused("unknown_method")

    def _update(self, said: dict[str, Any]) -> dict[str, Any]:
        for message in self.messages:
            if message["ts"] == said.get("ts"):
                message.update(said)
                return {"ok": True, "channel": said["channel"], "ts": said["ts"], "text": said.get("text")}
        return _refused("message_not_found")


def _refused(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _fault(said: dict[str, Any]) -> str | None:
    """Slack's name for what is wrong with a message's content, by the limits of its Block Kit reference."""
    blocks = said.get("blocks") or []
    if not said.get("text") and not blocks:
        return "no_text"
    if len(said.get("text") or "") > 4000:
        return "msg_too_long"
    if len(blocks) > 50 or not all(_fits(block) for block in blocks):
        return "invalid_blocks"
    return "msg_blocks_too_long" if len(json.dumps(blocks, ensure_ascii=False)) > 13_000 else None


def _fits(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    if kind == "section":
        fields = block.get("fields", [])
        texts = [*fields, *([block["text"]] if "text" in block else [])]
        return (
            bool(texts)
            and len(fields) <= 10
            and all(_text_fits(one, 2000) for one in fields)
            and all(_text_fits(one, 3000) for one in texts)
        )
    if kind == "context":
        return 0 < len(block["elements"]) <= 10 and all(_text_fits(one, 3000) for one in block["elements"])
    if kind == "header":
        return block["text"]["type"] == "plain_text" and _text_fits(block["text"], 150)
    return kind == "divider"


def _text_fits(text: dict[str, Any], limit: int) -> bool:
    return text.get("type") in ("mrkdwn", "plain_text") and 0 < len(text.get("text", "")) <= limit


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        slack: SlackServer = self.server.slack  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if slack.misbehaviours:
            return self._misbehave(slack, slack.misbehaviours.popleft())
        method = self.path.removeprefix("/api/")
        answer = slack.answer(method, self.headers.get("Authorization"), self.headers.get("Content-Type", ""), body)
        return self._reply(slack, 200, json.dumps(answer), {})

    def _misbehave(self, slack: SlackServer, how: Misbehaviour) -> None:
        if how.status > 0:
            return self._reply(slack, how.status, how.body, how.headers)
        slack.statuses.append(how.status)
        if how.status < 0:
            slack.closing.wait()
        self.close_connection = True
        return None

    def _reply(self, slack: SlackServer, status: int, body: str, headers: dict[str, str]) -> None:
        slack.statuses.append(status)
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(body.encode())),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Quiet: a test that fails shows ``statuses``."""
