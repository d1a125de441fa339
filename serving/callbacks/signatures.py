"""Checks for signed calls from outside: they are small and recent, and each counts once.

Accepted calls are recorded on the disk, so that no other worker of this machine, and none after a
restart, accepts them again."""

import hashlib
import hmac
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from pydantic import SecretStr

from serving.errors import Refused

LONGEST_AGE_SECONDS = 300
_KEPT_SECONDS = 2 * LONGEST_AGE_SECONDS + 60  # a timestamp may be as far in the future
_LARGEST_BYTES = 64 * 1024


def is_of_now(timestamp: str) -> bool:
    """Whether a timestamp (seconds since the epoch) is near this machine's clock, before or after
    it.
    """
    return (
        timestamp.isascii()
        and timestamp.isdecimal()
        and abs(time.time() - int(timestamp[:15])) <= LONGEST_AGE_SECONDS
    )


class ReplayGuard:
    """Remembers names for as long as a call with that name could still be recent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_new(self, name: str) -> bool:
        """Whether ``name`` is new. Raises ``OSError`` if it cannot be recorded."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for record in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another worker may delete it first
                if time.time() - record.stat().st_mtime > _KEPT_SECONDS:
                    record.unlink()
        try:
            os.close(
                os.open(
                    self._folder / hashlib.sha256(name.encode()).hexdigest(),
                    os.O_CREAT | os.O_EXCL,
                    0o600,
                )
            )
        except FileExistsError:
            return False
        return True


@dataclass(frozen=True)
class Caller:
    """How a caller writes its signature, and how an invalid call is refused."""

    write: Callable[[bytes], bytes]
    forged: str
    repeated: str
    unrecorded: str
    too_old_status: int
    repeated_status: int


class Signatures:
    """Tells calls of one caller from forged ones, and new calls from old ones."""

    def __init__(self, caller: Caller, secret: str, guard: ReplayGuard) -> None:
        self._caller = caller
        self._secret = secret.encode()
        self._guard = guard

    @classmethod
    def of(cls, caller: Caller, secret: SecretStr | None, folder: Path) -> "Signatures | None":
        """``None`` without a secret: forged calls cannot be detected then."""
        text = secret.get_secret_value() if secret else ""
        return cls(caller, text, ReplayGuard(folder)) if text else None

    def check(self, signed: bytes, signature: str, timestamp: str, name: str) -> None:
        """Check a call with the signed bytes ``signed``; a call counts once for each ``name``.

        Raises ``Refused`` for a call that is forged, old or repeated, or that cannot be recorded.
        """
        expected = self._caller.write(hmac.digest(self._secret, signed, hashlib.sha256))
        if not hmac.compare_digest(expected, signature.encode()):
            raise Refused(401, "bad_signature", self._caller.forged)
        if not is_of_now(timestamp):
            raise Refused(
                self._caller.too_old_status,
                "too_old",
                f"The call's timestamp is not within {LONGEST_AGE_SECONDS} s of this "
                "machine's clock.",
            )
        try:
            is_new = self._guard.is_new(name)
        except OSError as error:
            raise Refused(503, "disk_refuses", self._caller.unrecorded) from error
        if not is_new:
            raise Refused(self._caller.repeated_status, "seen_before", self._caller.repeated)


async def read_small_body(request: Request, sender: str) -> bytes:
    """Read a body. Raises ``Refused`` if it is larger than any call from ``sender``."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_BYTES:
            raise Refused(
                413,
                "body_too_large",
                f"A call from {sender} is no larger than {_LARGEST_BYTES // 1024} KiB.",
            )
    return body
