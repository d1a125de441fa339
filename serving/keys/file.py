"""The file of API keys: who may call the service, for what, and until when. It holds digests, never
a key.

    [{"name": "web", "scopes": ["predict"], "sha256": "9f86d0...", "created":
        "2026-11-21T04:00:00Z", "expires": "2027-02-19T04:00:00Z"}]

A key is ``laurel_`` and 43 random characters, 256 bits. A plain SHA-256 of it is enough: slow
hashes and salts protect passwords, which people choose and others can guess; nobody can guess 256
random bits, however fast the hash is."""

import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from serving.errors import KeysError

PREFIX = "laurel_"
KEY_LENGTH = len(PREFIX) + 43
SCOPES = ("predict", "feedback", "operate", "decide")

# Anyone who can write the file can let himself in, so only the owner may. A group may read it:
# orchestrators mount secrets that way for a service that is not root, and the digests open nothing.
_FORBIDDEN_MODE = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO

Scope = Literal["predict", "feedback", "operate", "decide"]
Moment = Annotated[datetime, Meta(tz=True)]
Stamp = tuple[
    int, int, int
]  # time of change (ns), size (bytes), inode: another one after each write, replacement and chmod


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key. Several may have the same name, while one takes over from another. ``expires`` null:
    never.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
    scopes: Annotated[list[Scope], Meta(min_length=1)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: Moment
    expires: Moment | None = None

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


_DECODER = msgspec.json.Decoder(list[Key])


def make_key() -> str:
    """Return a new key, to be shown once and stored by its user."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def stamp_of(status: os.stat_result) -> Stamp:
    return status.st_ctime_ns, status.st_size, status.st_ino


def read_keys(path: Path) -> tuple[list[Key], Stamp]:
    """Return the keys and the stamp of the file. Raises ``KeysError`` for a file that is missing,
    broken, or open to others.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & _FORBIDDEN_MODE:
                raise KeysError(
                    f"Users other than the owner may change or read {path} (mode "
                    f"{status.st_mode & 0o777:o}): chmod 600 {path}"
                )
            data = file.read()
    except OSError as error:
        raise KeysError(f"The key file cannot be read: {path}: {error.strerror}.") from error
    try:
        keys = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KeysError(f"{path} is not a key file: {error}.") from error
    return keys, stamp_of(status)


def change_keys(path: Path, edit: Callable[[list[Key]], list[Key]]) -> list[Key]:
    """Replace the keys by the result of ``edit``: whole or not at all, and one change after the
    other.

    A missing file counts as one without keys. Raises ``KeysError``."""
    path = path.resolve()  # a link stays a link
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(
            os.open(path.with_name(f"{path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600), "w"
        ) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = edit(read_keys(path)[0] if path.exists() else [])
            _write_private(path, msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
    except OSError as error:
        raise KeysError(f"The key file cannot be written: {path}: {error.strerror}.") from error
    return keys


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read from its first byte on, and sync it before it
    replaces the old one.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
