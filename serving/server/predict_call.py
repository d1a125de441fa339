"""A prediction on the hot path, from its head to its answer."""

from typing import Protocol

from serving.champions.canary import Canary
from serving.champions.champion import Champion
from serving.edge.refusals import error_answer
from serving.edge.requests import find_request_id
from serving.errors import ServingError
from serving.formats.rows import CheckedRows
from serving.service.served_use_cases import HotRoute
from serving.service.service import Service


class Asker(Protocol):
    """The connection of a call."""

    service: Service

    def respond(
        self, call: "PredictCall", status: int, body: bytes, rows: int, headers: bytes = b""
    ) -> None: ...


class _Nobody:
    """Replaces the event on which uvicorn would wake a task."""

    def set(self) -> None: ...


_NOBODY = _Nobody()


class PredictCall:
    """One request on the hot path. To uvicorn it is a request-response cycle: it has the attributes
    that uvicorn reads.
    """

    __slots__ = (
        *(
            "checked_rows",
            "began",
            "body",
            "canary",
            "challenged",
            "place",
            "champion",
            "disconnected",
            "headers",
            "keep_alive",
            "key",
            "message_event",
            "more_body",
            "pieces",
        ),
        *(
            "pace",
            "protocol",
            "refusal",
            "request_id",
            "response_complete",
            "route",
            "size",
            "stand_in",
        ),
    )

    def __init__(
        self,
        protocol: Asker,
        route: HotRoute,
        headers: list[tuple[bytes, bytes]],
        began: float,
        size: int,
    ) -> None:
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
        self.checked_rows: CheckedRows | None = None
        self.champion: Champion = None  # type: ignore[assignment]  # set when the body is there
        self.canary: Canary | None = None
        self.challenged = False
        self.place: int | None = None
        self.pace: tuple[int, float] | None = None
        self.stand_in: Champion | None = None
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
