"""The hot path: predictions answered inside uvicorn's HTTP protocol, before a task, a scope or a
router exists for them.

uvicorn parses the request as usual (httptools). ``POST /v1/{use_case}/predict`` with plain JSON
becomes a ``PredictCall``; the ``Scorer`` answers it at the end of the event loop's turn, and the
answer is written to the socket. All other requests, and unusual ones of this kind (a query, another
content type, chunks, HTTP/1.0), go through ASGI, where FastAPI has a route of the same name with
the same answers: ``serving/server/app.py``. docs/serving-performance.md has the measured gain.

It also does what ASGI cannot: it closes the connection of a caller that dawdles over its request or
does not read its answers. And it ensures that what is a body for the caller is never a request here
(``serving/edge/framing.py``)."""

import asyncio
import time
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.edge.answers import answer_head
from serving.edge.framing import Headers, check_head, strip_prefix, without_upgrade
from serving.edge.refusals import error_answer
from serving.edge.requests import LARGE_BODY_BYTES, is_probe
from serving.errors import Overloaded, Refused, ServingError, TooSlow
from serving.formats.encodings import accepts_gzip
from serving.server.predict_call import PredictCall
from serving.service.service import Service

_MOST_HEAD_BYTES = 64 * 1024
_GZIP_BODY_BYTES = 16 * 1024  # a smaller answer is hardly worth compressing
SPARE_CONNECTIONS = 64
_SPARE_SECONDS = 1.0
_NO_ROOM = "Too many connections. Try again later."


class PredictProtocol(HttpToolsProtocol):
    """One connection."""

    service: Service
    connections: "set[PredictProtocol]"  # type: ignore[assignment]
    cycle: Any
    pipeline: Any

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.service = self.app_state["service"]
        self.service.connections = self.connections
        self.receiving = False
        self.in_head = False
        self.upgrading = False
        self.head_bytes = 0
        self.refusal: ServingError | Refused | None = None
        self.since = time.perf_counter()
        service = self.service
        self.address = self.client[0] if self.client else ""
        self.proxied = service.proxies.trust(self.address)
        self.foreign = service.peers is not None and not (
            self.client and self.server and service.peers.is_own(self.client, self.server)
        )
        self.spare = len(self.connections) > service.settings.serving_connections
        if self.spare:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        queued = {call for call, _ in self.pipeline}
        for call in {self.cycle, *queued}:
            if (
                type(call) is PredictCall
                and not call.response_complete
                and (call.more_body or call in queued)
            ):
                self.service.budget.give(call.size)
                self.service.account(
                    call, 499, 0, self.address_of(call.headers)
                )  # the caller left before its turn
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data, and bound head and trailers: the parser itself would collect them for ever.

        The data that begins a request is not counted; further data is, unless it brings a piece of
        the body."""
        if self.refusal is not None:
            return  # data after a refused request belongs to no request
        self.silent = self.receiving
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(
                self.refusal or Refused(400, "malformed_request", "This is not an HTTP request.")
            )
        else:
            if self.silent and self.receiving:
                self.head_bytes += len(data)
                if self.head_bytes > _MOST_HEAD_BYTES:
                    self._refuse(
                        Refused(
                            431,
                            "head_too_large",
                            f"The request's head is larger than {_MOST_HEAD_BYTES // 1024} KiB.",
                        )
                    )

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """The parser takes all that follows such a head for another protocol. A new parser reads
        the head without the upgrade, and the rest.
        """
        head = without_upgrade(
            self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
        )
        self.upgrading = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(
            lenient_data_after_close=True
        )  # as in uvicorn: it is ignored
        self.data_received(head)
        self.data_received(rest)

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.receiving = True
        self.in_head = True
        self.silent = False
        self.head_bytes = 0
        self.since = time.perf_counter()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            # trailers are not headers: a request admitted by its headers must not change them later
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self.upgrading = True
            return
        if self.service.path_prefix:
            self.url = strip_prefix(self.url, self.service.path_prefix)
        route = self.service.use_cases.hot_routes.get(self.url)
        size = -1 if route is None or self.foreign or self.spare else self._plain_size()
        if route is None or size < 0:
            self._take_asgi_way()
            return
        self.in_head = False
        before = self.cycle
        self.cycle = call = PredictCall(self, route, self.headers, self.since, size)
        try:
            call.key = self.service.admission.admit(
                "POST", self.headers, "predict"
            )  # the body of a stranger takes no room
            if not self.service.budget.take(size):
                raise Overloaded("Too many large requests at once. Try again later.")
        except ServingError as error:
            call.size = 0
            call.refusal = error
        if before is not None and not before.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((call, self.app))

    def on_body(self, body: bytes) -> None:
        self.silent = False
        self.head_bytes = 0
        if type(self.cycle) is not PredictCall:
            super().on_body(body)
        elif self.cycle.refusal is None:
            self.cycle.pieces.append(body)

    def on_message_complete(self) -> None:
        if self.upgrading:
            return
        self.receiving = False
        call = self.cycle
        if type(call) is not PredictCall:
            super().on_message_complete()
            return
        call.more_body = False
        call.keep_alive = (
            call.keep_alive and self.parser.should_keep_alive() and not self.service.leaving
        )
        call.body = call.pieces[0] if len(call.pieces) == 1 else b"".join(call.pieces)
        call.pieces = []
        if not self.pipeline:  # otherwise it waits its turn, and uvicorn starts it
            self._begin(call)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self.since = time.perf_counter()
        self._go_on()

    def pause_writing(self) -> None:
        self.since = time.perf_counter()
        super().pause_writing()
        self.flow.pause_reading()  # nobody reads the answers: read no more requests

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle is None or self.cycle.response_complete:
            self._go_on()

    def _go_on(self) -> None:
        """Continue after an answer: with the next request that waits, or else with room for new
        ones.
        """
        if self.flow.write_paused or self.transport.is_closing():
            return
        following = self.pipeline.pop() if self.pipeline else None
        if following is None and self.refusal is not None:
            self._refuse(self.refusal)
            return
        if not self.pipeline:
            self.flow.resume_reading()
        if following is not None:
            self._start_asgi_task(*following)

    def respond(
        self, call: PredictCall, status: int, body: bytes, rows: int, headers: bytes = b""
    ) -> None:
        """Write the answer of ``call`` and count it."""
        call.response_complete = True
        # An idle connection keeps its last call.
        call.body, call.checked_rows = b"", None
        self.service.budget.give(call.size)
        self.service.account(
            call, status, rows, self.address_of(call.headers) if self.proxied else self.address
        )
        if self.transport.is_closing():
            return
        close = b"" if call.keep_alive else b"connection: close\r\n"
        self.transport.write(
            b"%b%b%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (
                answer_head(status, self.server_state.default_headers),
                headers,
                close,
                call.request_id,
                len(body),
                body,
            )
        )
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def address_of(self, headers: Headers) -> str:
        """The sender of these headers: the address at the other end, or the one that a trusted
        proxy names.
        """
        return (
            self.service.proxies.find_caller(headers, self.address)
            if self.proxied
            else self.address
        )

    def sweep(self, now: float, request_seconds: float, idle_seconds: float) -> None:
        """Close the connection of a caller that dawdles. ``now`` is of ``time.perf_counter``;
        called every second.
        """
        waited = now - self.since
        answering = (
            self.cycle is not None and not self.cycle.response_complete and not self.receiving
        )
        if self.transport.is_closing() or self.flow.write_paused:
            if waited > request_seconds:
                self.transport.abort()
        elif self.spare and waited > _SPARE_SECONDS and not answering:
            self._refuse(Overloaded(_NO_ROOM))
        elif self.receiving and waited > request_seconds:
            self._refuse(
                TooSlow(f"The request was not complete after {request_seconds:g} seconds.")
            )
        elif not self.receiving and not answering and waited > idle_seconds:
            self.transport.close()

    def _plain_size(self) -> int:
        """The body's size in bytes; -1 for a request that goes through ASGI."""
        parser = self.parser
        if (
            parser.get_method() != b"POST"
            or self.expect_100_continue
            or parser.get_http_version() != "1.1"
        ):
            return -1
        size, hosts, accepted = -1, 0, b""
        for name, value in self.headers:
            if name == b"content-length":
                size = int(value) if value.isdigit() else -1
            elif name == b"content-type":
                if value != b"application/json":
                    return -1
            elif name == b"accept":
                if b"csv" in value or b"arrow" in value:
                    return -1
            elif name == b"host":
                hosts += 1
            elif name == b"accept-encoding":
                accepted = value
            elif name == b"content-encoding" or name == b"transfer-encoding":
                return -1
        if size > _GZIP_BODY_BYTES and (
            size > LARGE_BODY_BYTES or (accepted and accepts_gzip(self.headers))
        ):
            return -1
        return size if hosts < 2 else -1

    def _take_asgi_way(self) -> None:
        headers, expects = self.headers, self.expect_100_continue
        try:
            url = self._check_head()
        except (Refused, Overloaded) as error:
            self.refusal = error
            raise  # the parser stops here, and ``data_received`` refuses
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the list that the scope holds
        if self.foreign:
            self.scope["laurel.foreign"] = True  # type: ignore[typeddict-unknown-key]
        if self.proxied:
            self.scope["client"] = (self.address_of(headers), 0)
        super().on_headers_complete()
        self.cycle.keep_alive = self.cycle.keep_alive and not (self.spare or self.service.leaving)
        self.in_head = False

    def _check_head(self) -> bytes:
        """Return the request's target. Raises ``Refused``, ``Overloaded``."""
        method = self.parser.get_method()
        if self.spare and not is_probe(method, self.url):
            raise Overloaded(_NO_ROOM)
        return check_head(method, self.url, self.parser.get_http_version(), self.headers)

    def _make_room(self) -> None:
        """A connection over the limit may ask for the service's health, and must ask at once: the
        oldest that has not is closed first.
        """
        spare = [
            connection
            for connection in self.connections
            if connection.spare and connection.refusal is None
        ]
        if len(spare) > SPARE_CONNECTIONS:
            oldest = min(spare, key=lambda connection: connection.since)
            oldest._refuse(Overloaded(_NO_ROOM))

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
        except Exception as error:  # noqa: BLE001 - any failure is answered and logged
            call.fail(error)

    def _refuse(self, error: ServingError | Refused) -> None:
        """Answer and close, once the requests before this one have their answers."""
        last, self.refusal = self.cycle, error
        call = (
            last if self.receiving and not self.in_head else None
        )  # the request being received, if its head was accepted
        if self.pipeline or (last is not None and last is not call and not last.response_complete):
            if self.pipeline and self.pipeline[0][0] is call:
                self.pipeline.popleft()
            self.flow.pause_reading()
            return
        if call is not None and (
            call.response_complete or getattr(call, "response_started", False)
        ):
            self.transport.close()  # a second answer would pass for another request's
            return
        target, sender, is_head = b"", [], False
        if self.receiving:
            target, sender = strip_prefix(self.url, self.service.path_prefix), self.headers
            is_head = self.parser.get_method() == b"HEAD"
        request_id = self.service.request_ids.take()
        status, body, headers = error_answer(error, target.decode("latin-1"), request_id)
        head = answer_head(status, self.server_state.default_headers)
        self.service.account_refusal(
            request_id, status, time.perf_counter() - self.since, self.address_of(sender)
        )
        self.transport.write(
            b"%b%bconnection: close\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (head, headers, request_id, len(body), b"" if is_head else body)
        )
        self.transport.close()
