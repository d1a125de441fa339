"""Drift reports and decisions of a use case, read from the lake as the flows left them there.

    reports/<use_case>/<window>/verdict.json           the latest check of a window: it is replaced when the window is checked again
    reports/<use_case>/<window>/champion-<n>.html      Evidently's report of that check
    decisions/<use_case>/<time>.json                   the ledger; a decision never changes

What cannot be read is listed as unreadable, beside the others. Records are kept in memory for as long as their size and time of
change stay the same, and a listing for two seconds, a failed one too: many pages that are open ask the lake as often as one does.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse, Response

from serving.boundary import Refused, json_response
from serving.errors import LakeAway
from serving.lake import Lake, Stored, open_lake
from serving.lake_records import Checked, Decision, DriftCheck, drift_check, report_key
from serving.security_headers import REPORT_HEADERS
from serving.service import Service

_LISTING_SECONDS = 2.0
_RECORDS = 500
_READERS = 8
_LARGEST_RECORD = 2**20
_LARGEST_REPORT = 64 * 2**20
_AT_ONCE = 2
_MOST = 200

# Made now, by one thread: msgspec ends the process where two threads meet a type for the first time (docs/decisions/0012-hot-path.md).
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(kind) for kind in (Checked, Decision)}

T = TypeVar("T")
Limit = Annotated[int, Query(ge=1, le=_MOST, description="how many, the latest first")]


class History:
    """Reads one lake; blocking, and safe to use from several threads. The methods raise ``LakeAway``."""

    def __init__(self, lake: Lake, listing_seconds: float = _LISTING_SECONDS, most_records: int = _RECORDS) -> None:
        self._lake = lake
        self._most_records = most_records
        self._listing_seconds = listing_seconds
        self._listing = threading.Lock()
        self._listed: dict[str, tuple[float, list[Stored] | LakeAway]] = {}
        self._reading = threading.Lock()
        self._records: OrderedDict[Stored, Any] = OrderedDict()

    def drift(self, use_case: str, limit: int) -> list[DriftCheck]:
        """The checks of the last ``limit`` windows, the latest window first."""
        listed = self._list(f"reports/{use_case}")
        there = {stored.key for stored in listed}
        found = [(stored.key.split("/"), stored) for stored in listed if stored.key.endswith("/verdict.json")]
        last = sorted(((parts[2], stored) for parts, stored in found if len(parts) == 4), reverse=True)[:limit]
        read = self._read([stored for _, stored in last], Checked)
        return [drift_check(window, stored, said, there) for (window, stored), said in zip(last, read, strict=True)]

    def decisions(self, use_case: str, limit: int) -> list[Decision]:
        """The last ``limit`` decisions, the latest first."""
        last = [stored for stored in self._list(f"decisions/{use_case}") if stored.key.endswith(".json")][::-1][:limit]
        read = self._read(last, Decision)
        return [
            said if isinstance(said, Decision) else Decision(time=_name(stored), verdict="unreadable", reasons=[said])
            for stored, said in zip(last, read, strict=True)
        ]

    def report(self, use_case: str, window: str) -> bytes | None:
        """Evidently's HTML of the latest check of ``window``; ``None`` where that made none. Only what was listed is ever read.

        Raises ``Refused`` where it is too large to be held in memory.
        """
        listed = {stored.key: stored for stored in self._list(f"reports/{use_case}")}
        verdict = listed.get(f"reports/{use_case}/{window}/verdict.json")
        (said,) = self._read([verdict], Checked) if verdict else (None,)
        found = listed.get(report_key(use_case, window, said)) if isinstance(said, Checked) else None
        if found is None:
            return None
        if found.size > _LARGEST_REPORT:
            raise Refused(404, "report_too_large", f"The report of {window} has {found.size / 1e6:.0f} MB; open it in MLflow.")
        try:
            return self._lake.get(found.key)
        except FileNotFoundError:
            return None

    def _list(self, prefix: str) -> list[Stored]:
        """One thread at a time asks the lake; who waited for it gets its answer."""
        with self._listing:
            at, found = self._listed.get(prefix, (float("-inf"), []))
            if time.monotonic() - at >= self._listing_seconds:
                try:
                    found = self._lake.list(prefix)
                except LakeAway as error:
                    found = error
                self._listed[prefix] = (time.monotonic(), found)
        if isinstance(found, LakeAway):
            raise LakeAway(str(found))
        return found

    def _read(self, wanted: Sequence[Stored], kind: type[T]) -> list[T | str]:
        """Each as ``kind``, or the words that say why it cannot be read."""
        with self._reading:
            if missing := [stored for stored in wanted if stored not in self._records]:
                with ThreadPoolExecutor(min(_READERS, len(missing))) as readers:
                    found = list(readers.map(lambda stored: self._record(stored, kind), missing))
                self._records |= zip(missing, found, strict=True)
            said = [self._records[stored] for stored in wanted]
            while len(self._records) > self._most_records:
                self._records.popitem(last=False)
        return said

    def _record(self, stored: Stored, kind: type[T]) -> T | str:
        if stored.size > _LARGEST_RECORD:
            return f"{stored.key} is larger than {_LARGEST_RECORD // 2**20} MiB: it is no record of ours."
        try:
            found: T = _DECODERS[kind].decode(self._lake.get(stored.key))
            return found
        except FileNotFoundError:
            return f"{stored.key} went away while it was read."
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"{stored.key} cannot be read: {error}."


def _name(stored: Stored) -> str:
    return stored.key.rpartition("/")[2].removesuffix(".json")


def add_routes(app: FastAPI, service: Service) -> None:
    """``/v1/{use_case}/drift``, its reports, and ``/decisions``: a few at a time, on threads that score nothing."""
    history = History(open_lake(service.settings))
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(use_case: str, work: Callable[[], T]) -> T:
        service.watch(use_case)
        async with turns:
            return await asyncio.to_thread(work)

    @app.get("/v1/{use_case}/drift", tags=["history"])
    async def drift(use_case: str, limit: Limit = 50) -> Response:
        """What the drift checks of the last windows found, and what drove it."""
        return json_response({"use_case": use_case, "drift": await ask(use_case, lambda: history.drift(use_case, limit))})

    @app.get("/v1/{use_case}/drift/{window}/report", tags=["history"], response_class=HTMLResponse)
    async def report(use_case: str, window: str) -> Response:
        """Evidently's report of a window's latest check. Its scripts run in an origin of their own and reach nothing."""
        found = await ask(use_case, lambda: history.report(use_case, window))
        if found is None:
            raise Refused(404, "no_report", f"There is no drift report of {use_case} for {window!r}; GET /v1/{use_case}/drift lists them.")
        return HTMLResponse(found, headers=dict(REPORT_HEADERS))

    @app.get("/v1/{use_case}/decisions", tags=["history"])
    async def decisions(use_case: str, limit: Limit = 50) -> Response:
        """The last contests and rollbacks: who wanted the crown, who had it, and why it went as it did."""
        return json_response({"use_case": use_case, "decisions": await ask(use_case, lambda: history.decisions(use_case, limit))})
