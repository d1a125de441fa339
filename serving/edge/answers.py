"""Answers: the constant head of answers on the hot path, and JSON for the others."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.responses import Response

from serving.edge.security_headers import API_HEADERS
from serving.records.reasons import Reason, told
from serving.words.template import LANGUAGES

Headers = list[tuple[bytes, bytes]]


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")


def told_response(content: Any, language: str) -> Response:
    """JSON with its reasons in that language."""
    body = _TELLERS[language].encode(content)
    headers = {"Content-Language": language, "Vary": "Accept-Language"}
    return Response(body, headers=headers, media_type="application/json")


def _teller(language: str) -> msgspec.json.Encoder:
    def tell(value: Any) -> str:
        if isinstance(value, Reason):
            return told(value, language)
        raise TypeError(f"{type(value).__name__} has no JSON")

    return msgspec.json.Encoder(enc_hook=tell)


_TELLERS = {language: _teller(language) for language in LANGUAGES}


class _Heads:
    """The constant part of answers on the hot path; rebuilt when uvicorn's ``Date`` changes, once a
    second.
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


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Refused"
