"""Reading the flows' records for routes: on threads that score nothing, and never longer than a
person waits."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeVar

from serving.errors import LakeAway
from serving.history.checks import History
from serving.history.fleet import Records, read_records
from serving.history.heads import TIMEOUT_SECONDS, HeadReader
from serving.outside.lake import open_lake
from serving.outside.registry import Registry
from serving.service.service import Service

AT_ONCE = 2
_PATIENCE_SECONDS = 2.5
_FLEET_PATIENCE_SECONDS = 1.0
_FRESH_SECONDS = 10.0
_COMPARED_SECONDS = 120.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Brief(NamedTuple):
    """The records of a use case in brief, when they were read (ISO 8601, UTC), and why there are
    none."""

    records: Records | None
    as_of: str | None
    trouble: str = ""


class LakeReader:
    """One for all routes of a service: they share what was read. Constructing it does no I/O."""

    def __init__(self, service: Service) -> None:
        registry = Registry.of(service.settings, TIMEOUT_SECONDS)
        lake = open_lake(service.settings, for_page=True)
        self._service = service
        self._history = History(lake, heads=HeadReader(registry))
        self._readers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="history")
        self._fleet_readers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fleet")
        self._briefs: dict[str, tuple[float, Brief]] = {}
        self._pending: dict[str, Future[None]] = {}
        self._read_at: dict[str, tuple[float, object, Records | None]] = {}

    async def ask(self, use_case: str, work: Callable[[History], T]) -> T:
        """Raises ``UnknownUseCase``, and ``LakeAway`` if the lake does not answer in time: its
        thread goes on waiting, and nobody with it.
        """
        self._service.use_cases.watch(use_case)
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._readers, work, self._history)
        finished, _ = await asyncio.wait([reading], timeout=_PATIENCE_SECONDS)
        if not finished:
            reading.cancel()  # work that has not begun never will
            raise LakeAway(
                f"The lake did not answer within {_PATIENCE_SECONDS:g} seconds. Try again later."
            )
        return reading.result()

    async def briefs(self, use_cases: Sequence[str]) -> dict[str, Brief]:
        """The records of each use case, at most ten seconds old when asked; older ones are read
        again and meanwhile given with their time. Of one that was never read: why not."""
        for name in use_cases:
            at, _ = self._briefs.get(name, (float("-inf"), None))
            if time.monotonic() - at > _FRESH_SECONDS and name not in self._pending:
                self._pending[name] = self._fleet_readers.submit(self._read, name)
                self._pending[name].add_done_callback(partial(self._done, name))
        new = [self._pending[name] for name in use_cases if name in self._pending]
        if new and any(name not in self._briefs for name in use_cases):
            waited = [asyncio.wrap_future(reading) for reading in new]
            await asyncio.wait(waited, timeout=_FLEET_PATIENCE_SECONDS)
        unread = (0.0, Brief(None, None, "not_read_yet"))
        return {name: self._briefs.get(name, unread)[1] for name in use_cases}

    def _read(self, use_case: str) -> None:
        """Records that have not changed are read again only to compare them with MLflow's heads."""
        now, as_of = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        try:
            fingerprint = self._history.fingerprint(use_case)
            read_at, known, records = self._read_at.get(use_case, (float("-inf"), None, None))
            if records is None or fingerprint != known or now - read_at > _COMPARED_SECONDS:
                records = read_records(self._history, use_case)
                self._read_at[use_case] = (now, fingerprint, records)
            brief = Brief(records, as_of)
        except LakeAway:
            brief = Brief(None, as_of, "lake_away")
        self._briefs[use_case] = (now, brief)

    def _done(self, use_case: str, reading: Future[None]) -> None:
        self._pending.pop(use_case, None)
        if not reading.cancelled() and (error := reading.exception()):
            logger.error("records not read use_case=%s", use_case, exc_info=error)
