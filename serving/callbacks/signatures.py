"""What calls from outside have in common that are signed instead of keyed: they are small, of now,
and each counts once.

What was seen is on the disk, so that no other worker of this machine, and none after a restart,
takes it again."""

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
_KEPT_SECONDS = 2 * LONGEST_AGE_SECONDS + 60  # a timestamp may lie as far in the future
_LARGEST_BYTES = 64 * 1024


def is_of_now(timestamp: str) -> bool:
    """Whether the seconds since the epoch are near this machine's clock, before or after it."""
    return (
        timestamp.isascii()
        and timestamp.isdecimal()
        and abs(time.time() - int(timestamp[:15])) <= LONGEST_AGE_SECONDS
    )


class ReplayGuard:
    """Remembers names for as long as a call that bears them could still be of now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_new(self, name: str) -> bool:
        """Whether nobody asked this about ``name`` before. Raises ``OSError`` where it cannot be
        remembered.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for record in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another worker clears up as well
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
    """How a caller writes its signature, and how a call that does not count is refused."""

    write: Callable[[bytes], bytes]
    forged: str
    repeated: str
    unrecorded: str
    too_old_status: int
    repeated_status: int


class Signatures:
    """Tells calls of one caller from forged ones, and new ones from old ones."""

    def __init__(self, caller: Caller, secret: str, guard: ReplayGuard) -> None:
        self._caller = caller
        self._secret = secret.encode()
        self._guard = guard

    @classmethod
    def of(cls, caller: Caller, secret: SecretStr | None, folder: Path) -> "Signatures | None":
        """``None`` where there is no secret: no call can be told from a forged one then."""
        text = secret.get_secret_value() if secret else ""
        return cls(caller, text, ReplayGuard(folder)) if text else None

    def check(self, signed: bytes, signature: str, timestamp: str, name: str) -> None:
        """``signed`` are the bytes that the signature is of; a call counts once for each ``name``.

        Raises ``Refused`` for a call that is forged, old, or was there before, or cannot be
        remembered.
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
    """Raises ``Refused`` for a body that is larger than any of ``who``."""
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
