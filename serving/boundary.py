"""The edge of the service: what holds for every request, on the hot path and on the way through FastAPI.

Request ids, admission, bounded bodies, security headers, errors in one shape, counts and the access log.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import (
    Forbidden,
    InputError,
    LakeAway,
    MalformedBody,
    NotReady,
    Overloaded,
    PrefectAway,
    ServingError,
    TooSlow,
    Unauthorized,
    UnknownUseCase,
    UnseenUseCase,
)
from serving.security_headers import API_HEADERS

RETRY_AFTER_SECONDS = 2
Headers = list[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_STATUS: dict[type[ServingError], tuple[int, str]] = {
    MalformedBody: (400, "malformed_json"),
    InputError: (422, "invalid_input"),
    Unauthorized: (401, "unauthorized"),
    Forbidden: (403, "forbidden"),
    UnknownUseCase: (404, "unknown_use_case"),
    UnseenUseCase: (404, "unseen_use_case"),
    TooSlow: (408, "too_slow"),
    NotReady: (503, "not_ready"),
    Overloaded: (503, "overloaded"),
    LakeAway: (503, "lake_away"),
    PrefectAway: (503, "prefect_away"),
}
_REASON = {200: b"OK", 401: b"Unauthorized", 403: b"Forbidden", 408: b"Request Timeout", 503: b"Service Unavailable"}

logger = logging.getLogger(__name__)


_OPEN = frozenset({"/", "/docs", "/openapi.json", "/health", "/ready", "/ping", "/version", "/webhooks/mlflow", "/slack/actions"})
_OPERATE = ("/metrics", "/drift", "/decisions", "/report", "/approvals")


def scope_of(method: str, path: str) -> str:
    """Which scope a key needs for a request; empty where none is needed. What is not named here needs ``predict``."""
    if path in _OPEN or path.startswith("/v2/health/") or (path.startswith("/v2/") and path.endswith("/ready")):
        return ""
    if path.endswith("/feedback"):
        return "feedback"
    if path.endswith("/rollback") or _is_answer(path):
        return "decide"  # who may look, such as Prometheus, may not change who serves
    return "operate" if path.endswith(_OPERATE) else "predict"


def _is_answer(path: str) -> bool:
    """``/v1/<use case>/approvals/<run>``."""
    parts = path.split("/")
    return len(parts) == 5 and parts[1] == "v1" and parts[3] == "approvals"


class Refused(Exception):
    """A request that is refused for its form, before anybody looks at its content."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


class RequestIds:
    """Ids for callers that bring none: a random part of the process, and a count."""

    def __init__(self) -> None:
        self._prefix = f"{secrets.token_hex(6)}-".encode()
        self._next = 0

    def take(self) -> bytes:
        self._next += 1
        return b"%b%x" % (self._prefix, self._next)


class Budget:
    """Bytes of request bodies that the process holds at a time: large ones must not add up to more than its memory."""

    _SMALL = 64 * 1024

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes

    def take(self, size: int) -> bool:
        """Whether a body of ``size`` bytes may come. Small ones always may: the number of connections bounds them."""
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


def classify(error: Exception, path: str, request_id: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, content and headers that tell ``error`` to the caller; what only the operator may know goes to the log."""
    if isinstance(error, Refused):
        return error.status, _content(error.code, str(error)), error.headers
    for kind in type(error).__mro__:
        if kind in _STATUS:
            status, code = _STATUS[kind]
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
            headers |= {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            return status, _content(code, str(error), getattr(error, "row", None), getattr(error, "field", None)), headers
    if isinstance(error, ServingError):
        logger.error("request failed path=%r request_id=%s: %s", path, request_id.decode(), error)
        return 500, _content("model_failed", str(error)), {}
    logger.error("request failed path=%r request_id=%s", path, request_id.decode(), exc_info=error)
    return 500, _content("internal", f"The service failed; its log tells why, under request id {request_id.decode()}."), {}


def error_answer(error: Exception, path: str, request_id: bytes) -> tuple[int, bytes, bytes]:
    """For the hot path: status, body, and the headers as they go out."""
    status, content, headers = classify(error, path, request_id)
    return status, msgspec.json.encode(content), b"".join(f"{name.lower()}: {value}\r\n".encode() for name, value in headers.items())


def _content(code: str, message: str, row: int | None = None, field: str | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"code": code, "message": message}
    return {"error": said | {name: value for name, value in (("row", row), ("field", field)) if value is not None}}


class _Heads:
    """The constant part of answers on the hot path: made again when uvicorn's ``Date`` changes, once a second."""

    def __init__(self) -> None:
        self._defaults: Headers | None = None
        self._heads: dict[int, bytes] = {}
        self._common = b"".join(f"{name.lower()}: {value}\r\n".encode() for name, value in API_HEADERS)

    def get(self, status: int, defaults: Headers) -> bytes:
        if defaults is not self._defaults:
            self._defaults, self._heads = defaults, {}
        head = self._heads.get(status)
        if head is None:
            date = b"".join(b"%b: %b\r\n" % pair for pair in defaults)
            head = b"HTTP/1.1 %d %b\r\n%bcontent-type: application/json\r\n%b" % (
                status,
                _REASON.get(status, b"Refused"),
                date,
                self._common,
            )
            self._heads[status] = head
        return head


answer_head = _Heads().get


class Boundary:
    """ASGI middleware of every route that is not on the hot path."""

    def __init__(self, app: ASGIApp, admit: Callable[[Headers, str, str], str], account: Callable[..., None], ids: RequestIds) -> None:
        self._app = app
        self._admit = admit
        self._account = account
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["laurel.request_id"] = request_id = find_request_id(scope["headers"]) or self._ids.take()
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
                scope["laurel.key"] = key = self._admit(scope["headers"], scope["method"], scope["path"])
            except ServingError as error:
                code, content, headers = classify(error, scope["path"], request_id)
                await json_response(content, code, headers)(scope, receive, send_complete)
                return
            await self._app(scope, receive, send_complete)
        except Exception as error:  # noqa: BLE001 - the last place that can tell the caller; ``classify`` logs it whole
            if started:
                raise
            code, content, headers = classify(error, scope["path"], request_id)
            await json_response(content, code, headers)(scope, receive, send_complete)
        finally:
            self._account(scope, status, time.perf_counter() - began, key, request_id)


_SECURITY = [(name.lower().encode(), value.encode()) for name, value in API_HEADERS]


async def read_body(request: Request) -> bytes:
    """The body, unread. Raises ``Refused`` where it is compressed or too large, ``Overloaded`` where too many are."""
    service = request.app.state.service
    limit, budget = service.max_body_bytes, service.budget
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "unsupported_media_type", "The body is compressed; send it as it is.")
    too_large = Refused(413, "body_too_large", f"The body is larger than {limit / 1e6:g} MB; send fewer rows at a time.")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    pieces, size, taken = [], 0, 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise too_large
            while taken < size:
                if not budget.take(_STEP):
                    raise Overloaded("Too many large requests at once. Try again later.")
                taken += _STEP
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        for _ in range(0, taken, _STEP):
            budget.give(_STEP)


_STEP = 256 * 1024


def read_content_type(request: Request) -> str:
    """The body's media type in lower case, without parameters; JSON where the caller says nothing."""
    return request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()


def read_flag(request: Request, name: str, *, default: bool) -> bool:
    """A query parameter that is ``true`` or ``false``. Raises ``InputError`` for anything else."""
    if not request.scope["query_string"]:
        return default
    given = request.query_params.get(name)
    if given not in (None, "true", "false"):
        raise InputError(f"Query parameter {name!r}: expected true or false, got {given!r}.", field=name)
    return default if given is None else given == "true"


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")


def error_response(status: int, code: str, message: str, row: int | None = None, field: str | None = None) -> Response:
    """``{"error": {"code", "message", "row"?, "field"?}}``; an answer to try again later says when."""
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    return json_response(_content(code, message, row, field), status, retry)


def add_error_answers(app: FastAPI) -> None:
    """No answer of the service holds a stack trace, and each has the same shape."""

    async def known(request: Request, error: Exception) -> Response:
        status, content, headers = classify(error, request.url.path, request.scope.get("laurel.request_id", b""))
        return json_response(content, status, headers)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return error_response(404, "not_found", f"There is nothing at {request.url.path}; / and /openapi.json list what there is.")
        answer = error_response(error.status_code, "method_not_allowed" if error.status_code == 405 else "http_error", str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return error_response(422, "invalid_input", f"{'.'.join(map(str, first['loc']))}: {first['msg']}.")

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it; it is counted

    app.add_exception_handler(ServingError, known)
    app.add_exception_handler(Refused, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, gone)
