"""Which side answers a caller: a salted hash of the routing key, the same on every replica and
after each restart. A caller who is on the challenger's side stays there while the share grows."""

from hashlib import blake2b
from typing import Any

import msgspec

from serving.records.rollout import places_of


class Split:
    """The challenger's ``share`` (0-1) of the routing keys. ``salt`` is the rollout's own, so that
    the same callers are not the first ones each time."""

    def __init__(self, salt: str, share: float) -> None:
        self._hash = blake2b(salt.encode(), digest_size=4)
        self._below = places_of(share)

    def place(self, key: bytes) -> int:
        """The place of the caller with this key, from 0 to ``PLACES``: the same in every step."""
        hashed = self._hash.copy()
        hashed.update(key)
        return int.from_bytes(hashed.digest(), "big")

    def takes(self, place: int) -> bool:
        """Whether the challenger answers the caller at this place."""
        return place < self._below


class RowKey:
    """The value of ``field`` in the first row of a request, as a routing key: the same for every
    form in which a caller may write it, such as 7 and 7.0."""

    def __init__(self, field: str) -> None:
        row = msgspec.defstruct("Row", [("key", Any, None)], rename={"key": field}, gc=False)
        request = msgspec.defstruct("Request", [("rows", list[row])])  # type: ignore[valid-type]
        self._decoder = msgspec.json.Decoder(request)
        self.of(b'{"rows":[{}]}')  # msgspec meets the types now, on one thread

    def of(self, body: bytes) -> bytes:
        """The key in a request of native JSON; empty if there is none."""
        try:
            rows: Any = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""  # whoever answers refuses it, and says why
        value = rows.rows[0].key if rows.rows else None
        if isinstance(value, str):
            return value.encode(errors="surrogatepass")
        if isinstance(value, int | float):
            return repr(float(value)).encode() if abs(value) < 2**53 else repr(value).encode()
        return b""
