"""The facts that the workers of one service share, on the disk: they share nothing else.

    <folder>/run               name of the current run: files of an earlier run are ignored
    <folder>/<run>.<n>.lock    held (flock) by worker ``n`` for as long as it lives
    <folder>/<run>.<n>.json    the facts that it published last

A dead worker leaves its lock free, and its last facts: its counts stay counted. The worker that
replaces it has a number of its own."""

import fcntl
import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Any

import msgspec

from blocks.settings import Settings

logger = logging.getLogger(__name__)


class Sibling(msgspec.Struct, frozen=True):
    """Another worker of this run: its number, whether it lives, and the facts that it published
    last.
    """

    id: str
    alive: bool
    facts: dict[str, Any]


def folder_of(settings: Settings) -> Path:
    """The folder that the workers of this service share; services on the same disk differ by their
    port.
    """
    return settings.state / "serving" / "workers" / str(settings.serving_port)


def begin_run(folder: Path) -> None:
    """Delete what earlier runs left. Called once, before the first worker starts. Raises
    ``OSError``.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _name_run(folder)
        for lock in folder.glob("*.lock"):
            if not _is_held(lock):  # a worker of the last run may be finishing its requests
                for file in folder.glob(f"{lock.stem}.*"):
                    file.unlink(missing_ok=True)


class WorkerBoard:
    """This worker's place among its siblings. Each call reads or writes a few kilobytes;
    ``publish`` may be called from any thread.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = ""
        self._run = ""
        self._lock = -1
        self._dead: dict[Path, Sibling] = {}
        self._failing = False
        self._turn = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> "WorkerBoard":
        return cls(folder_of(settings))

    def join(self) -> None:
        """Take the run's next number; ``publish`` does it if nobody did. Raises ``OSError``."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / "turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not (self.folder / "run").exists():
                _name_run(self.folder)
            self._run = (self.folder / "run").read_text()
            numbers = [
                int(lock.stem.rpartition(".")[2])
                for lock in self.folder.glob(f"{self._run}.*.lock")
            ]
            self.id = str(max(numbers, default=0) + 1)
            self._lock = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def publish(self, facts: dict[str, Any] | bytes) -> bool:
        """Publish ``facts`` (fit for JSON, or JSON already) to the siblings. ``False``, and one
        line of the log, if the disk fails.
        """
        content = facts if isinstance(facts, bytes) else msgspec.json.encode(facts)
        try:
            with self._turn:
                if self._lock < 0:
                    self.join()
                partial = self._path("partial")
                partial.write_bytes(content)
                partial.replace(self._path("json"))
        except OSError as error:
            if not self._failing:
                logger.error("worker cannot publish its figures to the others: %s", error)
            self._failing = True
            return False
        self._failing = False
        return True

    def others(self) -> list[Sibling]:
        """All other workers of this run that have published, dead ones too, by number."""
        if not self._run:
            return []
        own = self._path("json")
        siblings = [
            self._read(path) for path in self.folder.glob(f"{self._run}.*.json") if path != own
        ]
        return sorted(
            (sibling for sibling in siblings if sibling is not None),
            key=lambda sibling: int(sibling.id),
        )

    def leave(self) -> None:
        """Count as dead from now on. The facts published last stay."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _path(self, kind: str) -> Path:
        return self.folder / f"{self._run}.{self.id}.{kind}"

    def _read(self, path: Path) -> Sibling | None:
        if path in self._dead:
            return self._dead[path]
        try:
            alive = _is_held(
                path.with_suffix(".lock")
            )  # before reading: the facts of a dead worker are then its last
            facts = msgspec.json.decode(path.read_bytes(), type=dict)
        except (OSError, msgspec.DecodeError):
            return None  # another run began and deleted it
        sibling = Sibling(path.stem.rpartition(".")[2], alive, facts)
        if not alive:
            self._dead[path] = sibling
        return sibling


def _name_run(folder: Path) -> None:
    (folder / "run").write_text(secrets.token_hex(4))


def _is_held(lock: Path) -> bool:
    """Whether its worker lives. Raises ``OSError`` if there is no such lock."""
    file = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
