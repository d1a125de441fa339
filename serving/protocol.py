"""The hot path: predictions answered inside uvicorn's HTTP protocol, before a task, a scope or a router is made for them.

uvicorn parses the request as ever (httptools). ``POST /v1/{use_case}/predict`` with plain JSON becomes a ``PredictCall``; the
``Scorer`` answers it at the end of the event loop's turn, and the answer is written to the socket. Everything else, and whatever
is unusual about such a request (a query, another content type, chunks, HTTP/1.0), takes the way through ASGI, where FastAPI has a
route of the same name and the same answers: ``serving/app.py``. What this saves is measured in docs/serving-performance.md.

It also does what ASGI cannot: a caller that dawdles over its request, or does not read its answers, is let go.
"""

import asyncio
import time
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.boundary import Refused, answer_head, error_answer, find_request_id
from serving.champion import Champion
from serving.errors import Overloaded, ServingError, TooSlow
from serving.rows import Asked
from serving.service import HotRoute, Service

_MOST_HEAD_BYTES = 64 * 1024


class _Nobody:
    """Stands where uvicorn sets an event that a task would wait for."""

    def set(self) -> None: ...


_NOBODY = _Nobody()


class PredictCall:
    """One request on its way. To uvicorn it is a request-response cycle: it has the attributes that uvicorn looks at."""

    __slots__ = (
        *("asked", "began", "body", "champion", "disconnected", "headers", "keep_alive", "key", "message_event", "more_body", "pieces"),
        *("protocol", "refusal", "request_id", "response_complete", "route", "size"),
    )

    def __init__(self, protocol: "PredictProtocol", route: HotRoute, headers: list[tuple[bytes, bytes]], began: float, size: int) -> None:
        self.protocol = protocol
        self.route = route
        self.headers = headers
        self.began = began
        self.size = size
        self.request_id = find_request_id(headers) or protocol.service.request_ids.take()
        self.key = ""
        self.refusal: ServingError | None = None
        self.pieces: list[bytes] = []
        self.body = b""
        self.asked: Asked | None = None
        self.champion: Champion = None  # type: ignore[assignment]  # set when the body is there
        self.more_body = True
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False
        self.message_event = _NOBODY

    def succeed(self, answer: bytes, rows: int) -> None:
        self.protocol.respond(self, 200, answer, rows)

    def fail(self, error: Exception) -> None:
        status, answer, headers = error_answer(error, self.route.path, self.request_id)
        self.protocol.respond(self, status, answer, 0, headers)


class PredictProtocol(HttpToolsProtocol):
    """One connection."""

    service: Service
    cycle: Any
    pipeline: Any

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.service = self.app_state["service"]
        self.service.connections = self.connections  # type: ignore[assignment]
        self.receiving = False
        self.in_head = False
        self.head_bytes = 0
        self.since = time.perf_counter()
        if len(self.connections) > self.service.settings.serving_connections:
            self._refuse(Overloaded("Too many connections. Try again later."))

    def connection_lost(self, exc: Exception | None) -> None:
        queued = {call for call, _ in self.pipeline}
        for call in {self.cycle, *queued}:
            if type(call) is PredictCall and not call.response_complete and (call.more_body or call in queued):
                self.service.budget.give(call.size)
                self.service.account(call, 499, 0, self.client)  # the caller went away before its turn
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head must end some time: the parser itself would gather it for ever. What began a head is not counted, what goes on is."""
        goes_on = self.in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # there is nothing here to upgrade to: it was answered as what it is without
        except httptools.HttpParserError:
            self._refuse(Refused(400, "malformed_request", "What came is no HTTP request."))
            return
        if goes_on and self.in_head:
            self.head_bytes += len(data)
            if self.head_bytes > _MOST_HEAD_BYTES:
                self._refuse(Refused(431, "head_too_large", f"The request's head is larger than {_MOST_HEAD_BYTES // 1024} KiB."))

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.receiving = True
        self.in_head = True
        self.head_bytes = 0
        self.since = time.perf_counter()

    def on_headers_complete(self) -> None:
        self.in_head = False
        route = self.service.hot_routes.get(self.url)
        size = -1 if route is None else self._plain_size()
        if route is None or size < 0:
            self._take_asgi_way()
            return
        before = self.cycle
        self.cycle = call = PredictCall(self, route, self.headers, self.since, size)
        try:
            call.key = self.service.admission.admit("POST", self.headers, "predict")  # a stranger's body takes no room
            if not self.service.budget.take(size):
                raise Overloaded("Too many large requests at once. Try again later.")
        except ServingError as error:
            call.size = 0
            call.refusal = error
        if before is not None and not before.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((call, self.app))

    def on_body(self, body: bytes) -> None:
        if type(self.cycle) is not PredictCall:
            super().on_body(body)
        elif self.cycle.refusal is None:
            self.cycle.pieces.append(body)

    def on_message_complete(self) -> None:
        self.receiving = False
        call = self.cycle
        if type(call) is not PredictCall:
            super().on_message_complete()
            return
        call.more_body = False
        call.keep_alive = call.keep_alive and self.parser.should_keep_alive()
        call.body = call.pieces[0] if len(call.pieces) == 1 else b"".join(call.pieces)
        call.pieces = []
        if not self.pipeline:  # else it waits its turn, and uvicorn starts it
            self._begin(call)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self.since = time.perf_counter()
        self._go_on()

    def pause_writing(self) -> None:
        self.since = time.perf_counter()
        super().pause_writing()
        self.flow.pause_reading()  # nobody reads the answers: no more questions

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle is None or self.cycle.response_complete:
            self._go_on()

    def _go_on(self) -> None:
        """An answer is on its way: the next request that waits, or else room for new ones."""
        if self.flow.write_paused or self.transport.is_closing():
            return
        following = self.pipeline.pop() if self.pipeline else None
        if not self.pipeline:
            self.flow.resume_reading()
        if following is not None:
            self._start_asgi_task(*following)

    def respond(self, call: PredictCall, status: int, body: bytes, rows: int, headers: bytes = b"") -> None:
        """Write the answer of ``call`` and count it."""
        call.response_complete = True
        call.body, call.asked = b"", None  # the connection holds its last call for as long as it is idle
        self.service.budget.give(call.size)
        self.service.account(call, status, rows, self.client)
        if self.transport.is_closing():
            return
        close = b"" if call.keep_alive else b"connection: close\r\n"
        self.transport.write(
            b"%b%b%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (answer_head(status, self.server_state.default_headers), headers, close, call.request_id, len(body), body)
        )
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def sweep(self, now: float, request_seconds: float, idle_seconds: float) -> None:
        """Let go of a caller that dawdles. ``now`` is of ``time.perf_counter``; called every second."""
        waited = now - self.since
        answering = self.cycle is not None and not self.cycle.response_complete and not self.receiving
        if self.transport.is_closing() or self.flow.write_paused:
            if waited > request_seconds:
                self.transport.abort()
        elif self.receiving and waited > request_seconds and not self.in_head and getattr(self.cycle, "response_started", False):
            self.transport.close()  # it has its answer, and goes on sending all the same
        elif self.receiving and waited > request_seconds:
            self._refuse(TooSlow(f"The request was not there after {request_seconds:g} seconds."))
        elif not self.receiving and not answering and waited > idle_seconds:
            self.transport.close()

    def _plain_size(self) -> int:
        """The body's size in bytes; -1 for a request that goes the way through ASGI."""
        parser = self.parser
        if parser.get_method() != b"POST" or self.expect_100_continue or parser.should_upgrade() or parser.get_http_version() != "1.1":
            return -1
        size = -1
        for name, value in self.headers:
            if name == b"content-length":
                size = int(value) if value.isdigit() else -1
            elif name == b"content-type":
                if value != b"application/json":
                    return -1
            elif name == b"accept":
                if b"csv" in value or b"arrow" in value:
                    return -1
            elif name == b"content-encoding" or name == b"transfer-encoding":
                return -1
        return size if size <= self.service.max_body_bytes else -1

    def _take_asgi_way(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the list that the scope holds
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if type(cycle) is not PredictCall:
            super()._start_asgi_task(cycle, app)
        elif not cycle.more_body:
            self._begin(cycle)

    def _begin(self, call: PredictCall) -> None:
        try:
            if call.refusal is not None:
                raise call.refusal
            self.service.begin(call)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller hears of it and the log keeps it
            call.fail(error)

    def _refuse(self, error: ServingError | Refused) -> None:
        """Answer and close, whatever is going on."""
        request_id = self.service.request_ids.take()
        status, body, headers = error_answer(error, "", request_id)
        head = answer_head(status, self.server_state.default_headers)
        self.service.account_refusal(request_id, status, time.perf_counter() - self.since, self.client)
        self.transport.write(
            b"%b%bconnection: close\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (head, headers, request_id, len(body), body)
        )
        self.transport.close()
