"""The edge of the service: what holds for every request, on the hot path and on the way through
FastAPI.

Request ids, admission, bounded bodies, security headers, errors in one shape, counts and the access
log."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.edge.refusals import classify
from serving.edge.security_headers import API_HEADERS
from serving.errors import InputError, Overloaded, Refused, ServingError
from serving.formats.encodings import STEP_BYTES, Gunzip, check_charset, is_compressed

Headers = list[tuple[bytes, bytes]]

# A larger body is joined on a thread: its memory is new, and to touch it takes milliseconds.
LARGE_BODY_BYTES = 1 << 20

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")

_OPEN = frozenset(
    {
        "/",
        "/docs",
        "/openapi.json",
        "/health",
        "/ready",
        "/ping",
        "/version",
        "/webhooks/mlflow",
        "/slack/actions",
    }
)
_PROBES = frozenset((b"/health", b"/ready", b"/ping"))
_OPERATE = ("/metrics", "/drift", "/decisions", "/report", "/approvals")


def scope_of(method: str, path: str) -> str:
    """Which scope a key needs for a request; empty where none is needed. What is not named here
    needs ``predict``.
    """
    if (
        path in _OPEN
        or path.startswith("/v2/health/")
        or (path.startswith("/v2/") and path.endswith("/ready"))
    ):
        return ""
    if path.endswith("/feedback"):
        return "feedback"
    if path.endswith("/rollback") or _is_answer(path):
        return "decide"  # who may look, such as Prometheus, may not change who serves
    return "operate" if path.endswith(_OPERATE) else "predict"


def is_probe(method: bytes, target: bytes) -> bool:
    """Whether a request asks only whether the service is well: it is answered when there is room
    for nothing else.
    """
    path = target.partition(b"?")[0]
    return method in (b"GET", b"HEAD") and (path in _PROBES or path.startswith(b"/v2/health/"))


def _is_answer(path: str) -> bool:
    """``/v1/<use case>/approvals/<run>``."""
    parts = path.split("/")
    return len(parts) == 5 and parts[1] == "v1" and parts[3] == "approvals"


class RequestIds:
    """Ids for callers that bring none: a random part of the process, and a count."""

    def __init__(self) -> None:
        self._prefix = f"{secrets.token_hex(6)}-".encode()
        self._next = 0

    def take(self) -> bytes:
        self._next += 1
        return b"%b%x" % (self._prefix, self._next)


class Budget:
    """Bytes of request bodies that the process holds at a time: large ones must not add up to more
    than its memory.
    """

    _SMALL = 64 * 1024

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes

    def take(self, size: int) -> bool:
        """Whether a body of ``size`` bytes may come. Small ones always may: the number of
        connections bounds them.
        """
        if size <= self._SMALL:
            return True
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        if size > self._SMALL:
            self._left += size


def find_request_id(headers: Headers) -> bytes | None:
    """The caller's own ``X-Request-Id``, where it is fit to stand in logs."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
    return None


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Refused"


class _Heads:
    """The constant part of answers on the hot path: made again when uvicorn's ``Date`` changes,
    once a second.
    """

    def __init__(self) -> None:
        self._defaults: Headers | None = None
        self._heads: dict[int, bytes] = {}
        self._common = b"".join(
            f"{name.lower()}: {value}\r\n".encode() for name, value in API_HEADERS
        )

    def get(self, status: int, defaults: Headers) -> bytes:
        if defaults is not self._defaults:
            self._defaults, self._heads = defaults, {}
        head = self._heads.get(status)
        if head is None:
            date = b"".join(b"%b: %b\r\n" % pair for pair in defaults)
            head = b"HTTP/1.1 %d %b\r\n%bcontent-type: application/json\r\n%b" % (
                status,
                _reason(status),
                date,
                self._common,
            )
            self._heads[status] = head
        return head


answer_head = _Heads().get


class Boundary:
    """ASGI middleware of every route that is not on the hot path."""

    def __init__(
        self,
        app: ASGIApp,
        admit: Callable[[Scope], str],
        account: Callable[..., None],
        ids: RequestIds,
    ) -> None:
        self._app = app
        self._admit = admit
        self._account = account
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        # What GET answers, HEAD does, without the body: that uvicorn leaves out, by a scope of its
        # own.
        scope = {**scope, "method": "GET" if method == "HEAD" else method}
        scope["laurel.request_id"] = request_id = (
            find_request_id(scope["headers"]) or self._ids.take()
        )
        began, started, status, key = time.perf_counter(), False, 500, ""

        async def send_complete(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                there = {name for name, _ in message["headers"]}
                message["headers"].append((b"x-request-id", request_id))
                message["headers"].extend(pair for pair in _SECURITY if pair[0] not in there)
            await send(message)

        try:
            try:
                scope["laurel.key"] = key = self._admit(scope)
            except ServingError as error:
                await json_response(*classify(error, scope["path"], request_id))(
                    scope, receive, send_complete
                )
                return
            await self._app(scope, receive, send_complete)
        except Exception as error:  # noqa: BLE001 - the last place that can tell the caller; ``classify`` logs it whole
            if started:
                raise
            await json_response(*classify(error, scope["path"], request_id))(
                scope, receive, send_complete
            )
        finally:
            self._account(
                scope | {"method": method}, status, time.perf_counter() - began, key, request_id
            )


_SECURITY = [(name.lower().encode(), value.encode()) for name, value in API_HEADERS]


async def read_body(request: Request) -> bytes:
    """The body, unpacked and unread. Raises ``Refused`` for its coding or its size, ``Overloaded``
    where too many are large.

    What counts is the size of what it holds, not of what was sent.
    """
    service = request.app.state.service
    limit, budget = service.max_body_bytes, service.budget
    check_charset(request.headers.get("content-type", ""))
    gunzip = (
        Gunzip() if is_compressed(",".join(request.headers.getlist("content-encoding"))) else None
    )
    too_large = Refused(
        413,
        "body_too_large",
        f"The body is larger than {limit / 1e6:g} MB; send fewer rows at a time.",
    )
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    pieces, size, taken = [], 0, 0
    try:
        async for sent in request.stream():
            for piece in gunzip.unpack(sent) if gunzip else (sent,):
                size += len(piece)
                if size > limit:
                    raise too_large
                while taken < size:
                    if not budget.take(STEP_BYTES):
                        raise Overloaded("Too many large requests at once. Try again later.")
                    taken += STEP_BYTES
                pieces.append(piece)
                if gunzip:
                    await asyncio.sleep(0)  # a step takes a millisecond: the others have their turn
        if gunzip:
            gunzip.finish()
        return (
            b"".join(pieces)
            if size <= LARGE_BODY_BYTES
            else await asyncio.to_thread(b"".join, pieces)
        )
    finally:
        for _ in range(0, taken, STEP_BYTES):
            budget.give(STEP_BYTES)


def read_content_type(request: Request) -> str:
    """The body's media type in lower case, without parameters; JSON where the caller says
    nothing.
    """
    return request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()


def read_flag(request: Request, name: str, *, default: bool) -> bool:
    """A query parameter that is ``true`` or ``false``. Raises ``InputError`` for anything else."""
    if not request.scope["query_string"]:
        return default
    given = request.query_params.get(name)
    if given not in (None, "true", "false"):
        raise InputError(
            f"Query parameter {name!r}: expected true or false, got {given!r}.", field=name
        )
    return default if given is None else given == "true"


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")
