"""Rules for every request off the hot path: an id, admission, security headers, errors in one
shape, a count and a line in the access log.
"""

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.edge.answers import json_response
from serving.edge.refusals import classify
from serving.edge.requests import RequestIds, find_request_id
from serving.edge.security_headers import API_HEADERS
from serving.errors import ServingError

_SECURITY = [(name.lower().encode(), value.encode()) for name, value in API_HEADERS]


class Edge:
    """ASGI middleware around FastAPI."""

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
        # HEAD is answered like GET; uvicorn leaves out the body, by a scope of its own.
        scope = {**scope, "method": "GET" if method == "HEAD" else method}
        scope["laurel.request_id"] = request_id = (
            find_request_id(scope["headers"]) or self._ids.take()
        )
        began, started, status, key = time.perf_counter(), False, 500, ""

        async def send_complete(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                present = {name for name, _ in message["headers"]}
                message["headers"].append((b"x-request-id", request_id))
                message["headers"].extend(pair for pair in _SECURITY if pair[0] not in present)
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
        except Exception as error:  # noqa: BLE001 - ``classify`` logs it whole
            if started:
                raise
            await json_response(*classify(error, scope["path"], request_id))(
                scope, receive, send_complete
            )
        finally:
            self._account(
                scope | {"method": method}, status, time.perf_counter() - began, key, request_id
            )
