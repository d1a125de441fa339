"""The parts of a request that routes read: its id, its body, its media type and its flags."""

import asyncio
import re
import secrets

from fastapi import Request

from serving.errors import InputError, Overloaded, Refused
from serving.formats.encodings import STEP_BYTES, Gunzip, check_charset, is_compressed

Headers = list[tuple[bytes, bytes]]

# A larger body is joined on a thread: touching its new memory takes milliseconds.
LARGE_BODY_BYTES = 1 << 20

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_PROBES = frozenset((b"/health", b"/ready", b"/ping"))


def is_probe(method: bytes, target: bytes) -> bool:
    """Whether a request only asks for the service's health: it is answered even without room for
    others.
    """
    path = target.partition(b"?")[0]
    return method in (b"GET", b"HEAD") and (path in _PROBES or path.startswith(b"/v2/health/"))


class RequestIds:
    """Ids for requests without one: a random part for the process, and a count."""

    def __init__(self) -> None:
        self._prefix = f"{secrets.token_hex(6)}-".encode()
        self._next = 0

    def take(self) -> bytes:
        self._next += 1
        return b"%b%x" % (self._prefix, self._next)


def find_request_id(headers: Headers) -> bytes | None:
    """The caller's own ``X-Request-Id``, if it is safe to log."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
    return None


class Budget:
    """Bytes of request bodies that the process may hold: large bodies together must fit into its
    memory.
    """

    _SMALL = 64 * 1024

    def __init__(self, limit_bytes: int) -> None:
        self._free_bytes = limit_bytes

    def take(self, size: int) -> bool:
        """Whether a body of ``size`` bytes may come. Small ones always may: the number of
        connections bounds them.
        """
        if size <= self._SMALL:
            return True
        if size > self._free_bytes:
            return False
        self._free_bytes -= size
        return True

    def give(self, size: int) -> None:
        if size > self._SMALL:
            self._free_bytes += size


async def read_body(request: Request) -> bytes:
    """Return the body, unpacked but not parsed. Raises ``Refused`` for its coding or its size,
    ``Overloaded`` for too many large bodies.

    The limit applies to the unpacked size, not to the bytes sent."""
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
    pieces, size, reserved = [], 0, 0
    try:
        async for chunk in request.stream():
            for piece in gunzip.unpack(chunk) if gunzip else (chunk,):
                size += len(piece)
                if size > limit:
                    raise too_large
                while reserved < size:
                    if not budget.take(STEP_BYTES):
                        raise Overloaded("Too many large requests at once. Try again later.")
                    reserved += STEP_BYTES
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
        for _ in range(0, reserved, STEP_BYTES):
            budget.give(STEP_BYTES)


def read_content_type(request: Request) -> str:
    """The body's media type in lower case, without parameters; JSON if the caller names none."""
    return request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()


def read_flag(request: Request, name: str, *, default: bool) -> bool:
    """A query parameter that is ``true`` or ``false``. Raises ``InputError`` for anything else."""
    if not request.scope["query_string"]:
        return default
    value = request.query_params.get(name)
    if value not in (None, "true", "false"):
        raise InputError(
            f"Query parameter {name!r}: expected true or false, got {value!r}.", field=name
        )
    return default if value is None else value == "true"
