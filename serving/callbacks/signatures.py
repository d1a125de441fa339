"""What calls from outside have in common that are signed instead of keyed: they are small, of now,
and each counts once.

What was seen is on the disk, so that no other worker of this machine, and none after a restart,
takes it again."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from fastapi import Request

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


class Seen:
    """Remembers names for as long as a call that bears them could still be of now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_new(self, name: str) -> bool:
        """Whether nobody asked this about ``name`` before. Raises ``OSError`` where it cannot be
        remembered.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for seen in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another worker clears up as well
                if time.time() - seen.stat().st_mtime > _KEPT_SECONDS:
                    seen.unlink()
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


async def read_small_body(request: Request, who: str) -> bytes:
    """Raises ``Refused`` for a body that is larger than any of ``who``."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_BYTES:
            raise Refused(
                413,
                "body_too_large",
                f"A call of {who} is no larger than {_LARGEST_BYTES // 1024} KiB.",
            )
    return body
