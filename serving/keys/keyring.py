"""Who may call: the keys in force, checked at each request and read again when their file changes.

    python -m serving.keys add web --scope predict     (``serving/keys/command.py``)

Beside the keys of the file there may be one from the service's own environment
(``LAUREL_SERVING_KEY``), valid for everything: containers that get secrets from their environment
need no file.

A check costs about a microsecond: one SHA-256 of the key sent, and comparisons in constant time
with the few digests that begin with the same byte. There is deliberately no cache by key: it would
save a third of that, but keep the keys themselves in memory for the life of the process, and
compare them byte by byte."""

import hashlib
import hmac
import logging
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from serving.errors import Forbidden, KeysError, Unauthorized
from serving.keys.file import KEY_LENGTH, SCOPES, Key, Stamp, read_keys, stamp_of

_HOW = "send yours as 'Authorization: Bearer laurel_...' or 'X-Api-Key: laurel_...'"
_MAKE = "python -m serving.keys add NAME --scope predict --scope feedback"
_OR = "Or set LAUREL_SERVING_KEY to 32 random characters or more."
_OWN = re.compile(r"[!-~]{32,256}")
OWN_NAME = "environment"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _LoadedKey:
    digest: bytes
    name: str
    scopes: frozenset[str]
    expires: float  # seconds since the epoch; infinite: never


class Keys:
    """The keys of one service. If none is ``required``, the file is never read and everybody may do
    everything.

    ``own`` is the key from the service's environment. ``may_lack``: the service is useful without
    keys, and starts without any."""

    def __init__(
        self, path: Path, required: bool, own: str | None = None, *, may_lack: bool = False
    ) -> None:
        self.required = required
        self.last_error: str | None = None
        self._path = path
        self._is_own_valid = own is None or bool(_OWN.fullmatch(own))
        self._own = (
            ()
            if own is None
            else (
                _LoadedKey(
                    hashlib.sha256(own.encode()).digest(), OWN_NAME, frozenset(SCOPES), math.inf
                ),
            )
        )
        self._lengths = {KEY_LENGTH} if own is None else {KEY_LENGTH, len(own)}
        self._needs_file = not (own or may_lack)
        self._had_file = False
        self._stamp: Stamp | None = None
        self._keys_by_byte: dict[int, tuple[_LoadedKey, ...]] = _by_first_byte(self._own)

    def load(self, where: str = "loopback") -> None:
        """Read the keys before the service listens on ``where``. Raises ``KeysError`` if no caller
        could have a valid key.
        """
        if not self.required:
            return
        if not self._is_own_valid:
            raise KeysError(
                "LAUREL_SERVING_KEY is not a valid key: it must be 32 random characters "
                "or more, without spaces."
            )
        if not self._path.exists():
            if self._needs_file:
                raise KeysError(
                    f"The service requires keys on {where}, but there is no {self._path}. "
                    f"Make a key: {_MAKE}. {_OR}"
                )
            return
        keys, self._stamp = read_keys(self._path)
        if self._needs_file and all(key.expired(datetime.now(UTC)) for key in keys):
            raise KeysError(
                f"The service requires keys on {where}, but {self._path} has no valid "
                f"key. Make one: {_MAKE}. {_OR}"
            )
        self._take(keys)

    def reload(self) -> None:
        """Read the file again if it changed. If it is broken or missing, log it and keep the keys
        that were read before.
        """
        if not self.required:
            return
        try:
            stamp = stamp_of(self._path.stat())
        except OSError as error:
            if self._had_file or not isinstance(error, FileNotFoundError):
                self._stay(None, f"The key file cannot be read: {error.strerror}.")
            return
        if stamp == self._stamp:
            return
        try:
            keys, self._stamp = read_keys(self._path)
        except KeysError as error:
            self._stay(stamp, str(error))
            return
        self._take(keys)
        self.last_error = None
        logger.info("keys read names=%s", ",".join(sorted({key.name for key in keys})))

    def check(self, headers: Iterable[tuple[bytes, bytes]], scope: str) -> str:
        """``identify`` for headers as ASGI gives them: pairs, names in lower case."""
        return self.identify(dict(headers), scope)

    def identify(self, headers: Mapping[bytes, bytes], scope: str) -> str:
        """Return the name of the key that allows ``scope`` (empty: anybody may); empty if none is
        required.

        Raises ``Unauthorized`` without a valid key, ``Forbidden`` if the key has other scopes."""
        if not scope or not self.required:
            return ""
        presented = _presented_key(headers)
        if len(presented) not in self._lengths:
            raise Unauthorized(
                f"This key is unknown: {_HOW}." if presented else f"A key is required: {_HOW}."
            )
        digest = hashlib.sha256(presented).digest()
        match = None
        for key in self._keys_by_byte.get(digest[0], ()):
            if hmac.compare_digest(digest, key.digest):
                match = key
        if match is None:
            raise Unauthorized(f"This key is unknown: {_HOW}.")
        if time.time() >= match.expires:
            raise Unauthorized(
                f"The key of {match.name!r} expired at {_format_time(match.expires)}; "
                "ask for another."
            )
        if scope not in match.scopes:
            raise Forbidden(
                f"The key of {match.name!r} lacks the scope {scope!r}; it has "
                f"{', '.join(sorted(match.scopes))}."
            )
        return match.name

    def _take(self, keys: Iterable[Key]) -> None:
        """Use these keys. The file's entry comes after the environment's: of two that match, the
        later one counts.
        """
        self._had_file = True
        self._keys_by_byte = _by_first_byte([*self._own, *map(_load, keys)])

    def _stay(self, stamp: Stamp | None, why: str) -> None:
        """Keep the keys; log once for each state of the file, not at each look."""
        if stamp is not None or self._stamp is not None:
            logger.error("keys unchanged path=%s: %s", self._path, why)
        self._stamp = stamp
        self.last_error = (
            "The key file is missing or broken: the keys that were read before stay in force. "
            "The service's log says more."
        )


def _presented_key(headers: Mapping[bytes, bytes]) -> bytes:
    authorization = headers.get(b"authorization", b"")
    if authorization[:7].lower() == b"bearer ":
        return authorization[7:].strip()
    return headers.get(b"x-api-key", b"")


def _load(key: Key) -> _LoadedKey:
    return _LoadedKey(
        bytes.fromhex(key.sha256),
        key.name,
        frozenset(key.scopes),
        math.inf if key.expires is None else key.expires.timestamp(),
    )


def _by_first_byte(keys: Iterable[_LoadedKey]) -> dict[int, tuple[_LoadedKey, ...]]:
    """Two digests seldom share their first byte, so a check does not slow down with more keys."""
    by_digest: dict[int, tuple[_LoadedKey, ...]] = {}
    for key in keys:
        by_digest[key.digest[0]] = (*by_digest.get(key.digest[0], ()), key)
    return by_digest


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
