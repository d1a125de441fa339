"""Refusals as callers read them. The path decides the shape, so that what is refused before a route
is known has it too.

    /v2, /v2/...     {"error": "<message>"}                      Open Inference Protocol
    /invocations     {"error_code": "...", "message": "..."}     MLflow
    all else         {"error": {"code": "...", "message": "...", "row": 0, "field": "..."}}

The first two know no 422: there it is 400.
"""

import logging
from typing import Any
from urllib.parse import unquote

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serving.errors import (
    Forbidden,
    InputError,
    LakeAway,
    MalformedBody,
    NotReady,
    Overloaded,
    PrefectAway,
    Refused,
    ServingError,
    TooSlow,
    Unauthorized,
    UnknownUseCase,
    UnseenUseCase,
)

RETRY_AFTER_SECONDS = 2

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
_MLFLOW_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    503: "TEMPORARILY_UNAVAILABLE",
}

logger = logging.getLogger(__name__)


def classify(
    error: Exception, path: str, request_id: bytes
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Return content, status and headers that report ``error`` to the caller; details for the
    operator go to the log.

    ``path`` is as the caller wrote it, or as much of it as arrived."""
    status, code, headers = _place(error)
    message = str(error)
    if status == 500:
        unexpected = None if isinstance(error, ServingError) else error
        logger.error(
            "request failed path=%r request_id=%s: %s",
            path,
            request_id.decode(),
            message,
            exc_info=unexpected,
        )
        if unexpected is not None:
            message = (
                f"The service failed; its log says why, under request id {request_id.decode()}."
            )
    if status == 503:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} | headers
    elif status == 401:
        headers = {"WWW-Authenticate": "Bearer"} | headers
    place = path.partition("?")[0]
    place = (unquote(place) if "%" in place else place).lower()
    if place == "/v2" or place.startswith("/v2/"):
        return {"error": message}, 400 if status == 422 else status, headers
    if place == "/invocations" or place.startswith("/invocations/"):
        status = 400 if status == 422 else status
        fallback = "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR"
        return (
            {"error_code": _MLFLOW_CODES.get(status, fallback), "message": message},
            status,
            headers,
        )
    content: dict[str, Any] = {"code": code, "message": message}
    details = {name: getattr(error, name, None) for name in ("row", "field")}
    return (
        {"error": content | {name: value for name, value in details.items() if value is not None}},
        status,
        headers,
    )


def error_answer(error: Exception, path: str, request_id: bytes) -> tuple[int, bytes, bytes]:
    """Return status, body and raw headers for the hot path."""
    content, status, headers = classify(error, path, request_id)
    return (
        status,
        msgspec.json.encode(content),
        b"".join(f"{name.lower()}: {value}\r\n".encode() for name, value in headers.items()),
    )


def error_response(error: Exception, request: Request) -> Response:
    """Return the response of a route."""
    # Not ``request.url``, which also depends on the Host header.
    content, status, headers = classify(
        error, request.scope["path"], request.scope.get("laurel.request_id", b"")
    )
    return Response(msgspec.json.encode(content), status, headers, "application/json")


def add_error_answers(app: FastAPI) -> None:
    """Give every error answer the shape that its path requires, and never a stack trace."""

    async def refused(request: Request, error: Exception) -> Response:
        return error_response(error, request)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message, code = (
            str(error.detail),
            "method_not_allowed" if error.status_code == 405 else "http_error",
        )
        if error.status_code == 404:
            code, message = (
                "not_found",
                f"There is nothing at {request.url.path}; / and /openapi.json list the routes.",
            )
        return error_response(Refused(error.status_code, code, message, error.headers), request)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return error_response(
            InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}."), request
        )

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it; it is counted

    app.add_exception_handler(ServingError, refused)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, gone)


def _place(error: Exception) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, Refused):
        return error.status, error.code, error.headers
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return *_STATUS[kind], {}
    return 500, "model_failed" if isinstance(error, ServingError) else "internal", {}
