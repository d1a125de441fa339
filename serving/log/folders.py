"""Decide which process owns which segments: each locks its own folder, and takes over the folders
of dead processes.

<root>/lock              held while folders are made, taken or left, so that no process takes one
                         between its creation and its locking
<root>/<process>/lock    held (flock) as long as the process lives, however it ends
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from serving.log.segments import sync_folder


class LogFolders:
    """The folders of this process: ``own``, and those that it took over. Names sort by the start
    time of their process.
    """

    def __init__(self, root: Path, durable: bool) -> None:
        self.own = root / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._root = root
        self._durable = durable
        self._locks: dict[Path, int] = {}

    @property
    def exists(self) -> bool:
        return self.own in self._locks

    def adopt(self) -> list[Path]:
        """Take over the segments of dead processes, oldest first. Needs no disk space. Raises
        ``OSError``.
        """
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        all_segments: list[Path] = []
        with self._turn():
            for folder in sorted(self._root.iterdir()):
                if folder.is_dir() and self._lock(folder):
                    for draft in folder.glob("*.draft"):  # of an unanswered request
                        draft.unlink()
                    segments = sorted(folder.glob("*.jsonl"))
                    all_segments += segments
                    if not segments:
                        self._leave(folder)
        return all_segments

    def make(self) -> None:
        """Make and lock ``own``; may be repeated. Raises ``OSError``."""
        with self._turn():
            self.own.mkdir(exist_ok=True, mode=0o700)
            self._lock(self.own)
        if self._durable:
            for folder in (self._root, *self._root.parents[:2]):
                sync_folder(folder)

    def leave(self) -> None:
        """Release all folders, and remove the empty ones."""
        if self._locks:
            with self._turn():
                for folder in list(self._locks):
                    self._leave(folder)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with (self._root / "lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    def _lock(self, folder: Path) -> bool:
        """Lock the folder; ``False`` if a live process has it."""
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._locks[folder] = lock
        return True

    def _leave(self, folder: Path) -> None:
        if [entry.name for entry in folder.iterdir()] == ["lock"]:
            (folder / "lock").unlink()
            folder.rmdir()
        os.close(self._locks.pop(folder))
