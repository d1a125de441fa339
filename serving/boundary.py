"""The edge of the service, around every route: request ids, counts and latency, errors as JSON, bounded bodies."""

import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import InputError, MalformedBody, NotReady, ServingError, UnknownUseCase
from serving.metrics import Metrics

MAX_BODY_BYTES = 16 * 2**20
RETRY_AFTER_SECONDS = 2

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_STATUS: dict[type[ServingError], tuple[int, str]] = {
    MalformedBody: (400, "malformed_json"),
    InputError: (422, "invalid_input"),
    UnknownUseCase: (404, "unknown_use_case"),
    NotReady: (503, "not_ready"),
}

logger = logging.getLogger(__name__)


class Boundary:
    """ASGI middleware: an id on each answer (the caller's own ``X-Request-Id`` if it has one), and its metrics."""

    def __init__(self, app: ASGIApp, metrics: Metrics, use_cases: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._use_cases = use_cases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = next((value for name, value in scope["headers"] if name == b"x-request-id" and _REQUEST_ID.fullmatch(value)), None)
        scope["laurel.request_id"] = request_id = request_id or secrets.token_hex(8).encode()
        started, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            use_case = scope.get("path_params", {}).get("use_case", "")
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(use_case if use_case in self._use_cases else "", route, status, time.perf_counter() - started)


class Refused(Exception):
    """A request that is refused for its form, before anybody looks at its content."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


async def read_json(request: Request) -> bytes:
    """The body, unread. Raises ``Refused`` where it says that it is no JSON, is compressed, or is too large."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "unsupported_media_type", f"The body's Content-Type is {kind!r}; send application/json.")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "unsupported_media_type", "The body is compressed; send it as it is.")
    too_large = Refused(413, "body_too_large", f"The body is larger than {MAX_BODY_BYTES // 2**20} MiB; send fewer rows at a time.")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise too_large
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


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
    error: dict[str, Any] = {"code": code, "message": message}
    error |= {name: value for name, value in (("row", row), ("field", field)) if value is not None}
    return json_response({"error": error}, status, {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None)


def add_error_answers(app: FastAPI) -> None:
    """No answer of the service holds a stack trace, and each has the same shape."""

    async def serving(request: Request, error: Exception) -> Response:
        for kind in type(error).__mro__:
            if kind in _STATUS:
                return error_response(*_STATUS[kind], str(error), getattr(error, "row", None), getattr(error, "field", None))
        logger.error("request failed path=%s: %s", request.url.path, error)
        return error_response(500, "model_failed", str(error))

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return error_response(error.status, error.code, str(error))

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

    async def unexpected(request: Request, _: Exception) -> Response:
        request_id = request.scope.get("laurel.request_id", b"").decode()
        answer = error_response(500, "internal", f"The service failed; its log tells why, under request id {request_id}.")
        answer.headers["x-request-id"] = request_id
        logger.error("request failed path=%s request_id=%s", request.url.path, request_id)
        return answer

    app.add_exception_handler(ServingError, serving)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unexpected)
