"""Handle compressed bodies and answers, and the character set of bodies: ``Content-Encoding``,
``Accept-Encoding``, ``charset``.

A small compressed body can become a large one, so it is unpacked in steps, and each step is counted
before the next."""

import asyncio
import zlib
from collections.abc import Iterable, Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import Refused

STEP_BYTES = 256 * 1024
SMALLEST_ANSWER_BYTES = 1024
_LOOP_BYTES = (
    64 * 1024
)  # a larger answer takes more than a millisecond, and is compressed on a thread
_GZIP = frozenset(("gzip", "x-gzip"))
_UTF8 = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_WINDOW = 31  # zlib's code for gzip

Headers = Iterable[tuple[bytes, bytes]]


def check_charset(content_type: str) -> None:
    """Raises ``Refused`` if a body is not UTF-8: read as UTF-8, its names would change."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = (part.strip().lower() for part in parameter.partition("="))
        if name == "charset" and value.strip('"') not in _UTF8:
            raise Refused(
                415,
                "unsupported_media_type",
                f"The body's charset is {value[:40]!r}; send it in UTF-8.",
            )


def is_compressed(content_encoding: str) -> bool:
    """Whether a body is gzip. Raises ``Refused`` for any other coding."""
    codings = [coding.strip().lower() for coding in content_encoding.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if codings and (len(codings) > 1 or codings[0] not in _GZIP):
        message = (
            f"The body's Content-Encoding is {content_encoding[:100]!r}; send gzip, or an "
            "uncompressed body."
        )
        raise Refused(415, "unsupported_media_type", message, {"Accept-Encoding": "gzip, identity"})
    return bool(codings)


class Gunzip:
    """Unpacks one body that arrives in pieces."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_WINDOW)

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """The content of ``piece``, in steps of at most ``STEP_BYTES``. Raises ``Refused`` if it is
        not gzip.
        """
        try:
            while piece and not self._stream.eof:
                if data := self._stream.decompress(piece, STEP_BYTES):
                    yield data
                piece = self._stream.unconsumed_tail
        except zlib.error:
            raise _broken("is not gzip") from None
        if piece or self._stream.unused_data:
            raise _broken("continues after the end of the gzip stream")

    def finish(self) -> None:
        """Raises ``Refused`` for an incomplete stream."""
        if not self._stream.eof:
            raise _broken("ends before the gzip stream does")


def _broken(problem: str) -> Refused:
    return Refused(
        415,
        "unsupported_media_type",
        f"The body's Content-Encoding is gzip, but the body {problem}.",
    )


def accepts_gzip(headers: Headers) -> bool:
    """Whether a caller accepts gzip and prefers nothing else (RFC 9110, 12.5.3)."""
    accepted = (
        b",".join(value for name, value in headers if name == b"accept-encoding")
        .decode("latin-1")
        .lower()
    )
    qualities: dict[str, float] = {}
    for part in accepted.split(",")[:20]:
        coding, *parameters = (word.strip() for word in part.split(";"))
        quality = next((word[2:].strip() for word in parameters if word.startswith("q=")), "1")
        qualities[coding] = float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0
    gzip = max(
        (qualities[coding] for coding in _GZIP if coding in qualities),
        default=qualities.get("*", 0.0),
    )
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


class GzipAnswers:
    """ASGI middleware that compresses a large answer if the caller accepts gzip."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not accepts_gzip(scope["headers"]):
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def send_compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                head, start = start, None
                body = message.get("body", b"")
                if (
                    not message.get("more_body")
                    and len(body) >= SMALLEST_ANSWER_BYTES
                    and _is_plain(head["headers"])
                ):
                    packed = (
                        await asyncio.to_thread(_compress, body)
                        if len(body) > _LOOP_BYTES
                        else _compress(body)
                    )
                    headers = [pair for pair in head["headers"] if pair[0] != b"content-length"]
                    coding = [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
                    head = {
                        **head,
                        "headers": [
                            *headers,
                            *coding,
                            (b"content-length", str(len(packed)).encode()),
                        ],
                    }
                    message = {**message, "body": packed}
                await send(head)
            await send(message)

        await self._app(scope, receive, send_compressed)


def _is_plain(headers: Headers) -> bool:
    return all(name != b"content-encoding" for name, _ in headers)


def _compress(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, _WINDOW)
    return packer.compress(body) + packer.flush()
