"""The heads of a ledger as MLflow has them, for the service's pages: the same check as the flows'.

A page is not kept waiting by MLflow: the answer may be two seconds old, and after a failed request
none is made for half a minute. Then nothing is said about the end of the ledger."""

import threading
import time

from blocks.clients.heads import LATEST_RUNS
from serving.errors import RegistryAway
from serving.outside.registry import Registry
from serving.records.heads import Heads, read_heads

TIMEOUT_SECONDS = 0.7
_OLD_SECONDS = 2.0
_REST_SECONDS = 30.0


class HeadReader:
    """Blocking, and safe to use from several threads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._asking = threading.Lock()
        self._read: dict[str, tuple[float, Heads]] = {}
        self._rests_until = float("-inf")

    def read(self, use_case: str, fresh: bool = False) -> Heads | None:
        """The heads of the ledger; ``None`` if MLflow does not tell."""
        with self._asking:
            at, heads = self._read.get(use_case, (float("-inf"), None))
            now = time.monotonic()
            if heads is not None and not fresh and now - at < _OLD_SECONDS:
                return heads
            if now < self._rests_until:
                return None
            try:
                heads = read_heads(self._registry.head_runs(use_case, LATEST_RUNS))
            except RegistryAway:
                self._rests_until = time.monotonic() + _REST_SECONDS
                return None
            self._read[use_case] = (time.monotonic(), heads)
            return heads
