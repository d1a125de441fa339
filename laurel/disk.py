"""How much room each kind of thing takes, in the lake and in the stack's folder."""

import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laurel.figures import WIDTH

if TYPE_CHECKING:
    from blocks.clients.objects import Bucket, Folder
    from blocks.settings import Settings

LAKE_KINDS = (
    *("mlflow", "datasets", "predictions", "feedback", "compacted", "reports", "scores"),
    *("results", "decisions", "traffic", "rollouts", "slack", "tidy"),
)
_STATE_KINDS = ("prefect", "mlflow", "serving", "logs", "tmp", "seaweedfs")
_PATIENCE_SECONDS = 3.0


@dataclass(frozen=True)
class Room:
    """What a kind takes at a ``place``, *lake* or *state*; ``None`` if that is not known."""

    place: str
    kind: str
    bytes: int | None
    files: int | None


def read_rooms(settings: "Settings", everything: bool = False) -> list[Room]:
    """The room of each kind. A lake that lists slowly leaves some unknown, and one that is not on
    this machine is not asked, unless a person wants ``everything``.
    """
    lake = _lake_rooms(settings, everything)
    state = [_state_room(settings.state / kind) for kind in _STATE_KINDS]
    return [*lake, *(room for room in state if room.bytes)]


def _lake_rooms(settings: "Settings", everything: bool) -> list[Room]:
    from deployments.servers import seaweedfs

    here = settings.lake.startswith("file://") or seaweedfs.is_local(settings)
    if not (here or everything) or settings.lake == "none":
        return []
    objects, found = _open(settings), dict[str, Room]()

    def look() -> None:
        for kind in LAKE_KINDS:
            listed = objects.list(kind)
            found[kind] = Room("lake", kind, sum(one.size for one in listed), len(listed))

    def try_to_look() -> None:
        with suppress(OSError):  # a lake that is away is told by the parts of the stack
            look()

    # A listing cannot be broken off: the thread ends with the process.
    thread = threading.Thread(target=try_to_look, daemon=True)
    thread.start()
    thread.join(None if everything else _PATIENCE_SECONDS)
    known = [found.get(kind, Room("lake", kind, None, None)) for kind in LAKE_KINDS]
    return [room for room in known if room.bytes != 0] if found else []


def _open(settings: "Settings") -> "Folder | Bucket":
    from blocks.clients.objects import Access, Patience, open_objects

    key, secret = settings.s3_access_key, settings.s3_secret_key
    access = Access(
        settings.s3_endpoint_url,
        key.get_secret_value() if key else None,
        secret.get_secret_value() if secret else None,
        region=settings.s3_region,
    )
    return open_objects(settings.lake, access, Patience(1, 30, 1))


def _state_room(folder: Path) -> Room:
    size, files, until = 0, 0, time.monotonic() + _PATIENCE_SECONDS
    for path in folder.rglob("*"):
        with suppress(OSError):
            size, files = size + path.lstat().st_size, files + 1
        if time.monotonic() > until:
            return Room("state", folder.name, None, None)
    return Room("state", folder.name, size, files)


def in_words(rooms: Sequence[Room], state: Path) -> list[str]:
    """A line for each place, the largest kinds first, and what is free."""
    folder = next(path for path in (state, *state.resolve().parents) if path.exists())
    lines = [f"disk: {size(shutil.disk_usage(folder).free)} free"]
    for place in ("lake", "state"):
        here = [room for room in rooms if room.place == place]
        here.sort(key=lambda room: -(room.bytes or 0))
        if here:
            lines += _wrapped(f"{place}: ", [_kind(room) for room in here])
    return lines


def _kind(room: Room) -> str:
    return f"{room.kind} {'?' if room.bytes is None else size(room.bytes)}"


def _wrapped(head: str, parts: Sequence[str]) -> list[str]:
    lines = [head]
    for part in parts:
        if len(lines[-1]) + len(part) > WIDTH:
            lines.append(" " * len(head))
        lines[-1] += f"{part}  "
    return [line.rstrip() for line in lines]


def size(count: int | None) -> str:
    """``1.2 GB``; empty for what takes no place on this disk."""
    if count is None:
        return ""
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"
