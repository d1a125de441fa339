"""Drift reports and decisions of a use case, read from the lake as the flows wrote them.

    reports/<use_case>/<window>/verdict.json           the latest check of a window: it is replaced
                                                       when the window is checked again
    reports/<use_case>/<window>/champion-<n>.html      Evidently's report of that check
    reports/<use_case>/<window>/comparison-<a>-<b>.json two versions on a window's labels
    decisions/<use_case>/<place>.json                  the ledger; a decision never changes
    traffic/<use_case>/<month>/<process>.json          what a process of the service answered

Unreadable records are listed as such, beside the others. Records, and what is made of them, stay
in memory while their size and time of change stay the same, and a listing for two seconds, a failed
one too: many open pages ask the lake as often as one does."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from blocks.clients.objects import Stored
from serving.errors import LakeAway, Refused
from serving.history.comparisons import (
    Brought,
    brought_by,
    latest_comparison,
    promotion_of,
    read_comparison,
)
from serving.history.decisions import Item, Page, Placed, Wanted, fold, page_of
from serving.history.drift import DriftCheck, drift_check, read_check, report_key
from serving.history.heads import HeadReader
from serving.history.ledger import (
    Approval,
    Link,
    chain,
    end_of,
    pending,
    read_link,
)
from serving.history.reigns import Reign, reigns
from serving.history.rollouts import LatestRollout, latest_rollout
from serving.history.traffic import Hours, Month, read_month
from serving.history.window_order import begin_of
from serving.outside.lake import Lake
from serving.records.chain import place_of
from serving.records.drift import Checked
from serving.records.heads import End, find_end_faults

_LISTING_SECONDS = 2.0
_RECORDS = 2000
_CHAINS, _MONTHS = 8, 60  # of a ledger up to 1,000 entries each, and a few hundred kB each
_READERS = 8
_LARGEST_RECORD = 2**20
_LARGEST_REPORT = 64 * 2**20
_SEARCHED = 1000  # entries of the ledger that are searched for decisions
SEARCHED_FOR_QUESTIONS = 300  # and for questions that wait: a question has a time limit

T = TypeVar("T")


class History:
    """Reads one lake; blocking, and safe to use from several threads. The methods raise
    ``LakeAway``.
    """

    def __init__(
        self,
        lake: Lake,
        listing_seconds: float = _LISTING_SECONDS,
        most_records: int = _RECORDS,
        heads: HeadReader | None = None,
    ) -> None:
        self._lake = lake
        self._heads = heads
        self._confirmed: dict[str, tuple[End, str]] = {}
        self._most_records = most_records
        self._listing_seconds = listing_seconds
        self._listing = threading.Lock()
        self._listed: dict[str, tuple[float, list[Stored] | LakeAway]] = {}
        self._reading = threading.Lock()
        self._records: OrderedDict[Stored, Any] = OrderedDict()
        self._descriptions: dict[tuple[Stored, bool], DriftCheck] = {}
        self._months: dict[tuple[str, str], tuple[list[Stored], Month]] = {}
        self._chains: dict[tuple[str, int], tuple[list[Stored], list[Placed], End]] = {}

    def drift(
        self,
        use_case: str,
        limit: int,
        within: Callable[[datetime], bool] = lambda begin: True,
    ) -> list[DriftCheck]:
        """The checks of the last ``limit`` windows, the latest window first; of those windows that
        begin ``within`` a time.
        """
        listed = self._list(f"reports/{use_case}")
        keys = {stored.key for stored in listed}
        verdicts = [
            (stored.key.split("/"), stored)
            for stored in listed
            if stored.key.endswith("/verdict.json")
        ]
        last = sorted(
            (
                (parts[2], stored)
                for parts, stored in verdicts
                if len(parts) == 4 and within(begin_of(parts[2]))
            ),
            key=lambda item: (begin_of(item[0]), item[0]),
            reverse=True,
        )[:limit]
        read = self._read([stored for _, stored in last], read_check)
        return [
            self._described(window, stored, check, keys)
            for (window, stored), check in zip(last, read, strict=True)
        ]

    def _described(
        self, window: str, stored: Stored, check: Checked | str, keys: set[str]
    ) -> DriftCheck:
        """A check is described once, as long as its report stays or stays away."""
        has_report = (
            isinstance(check, Checked)
            and report_key(stored.key.split("/")[1], window, check) in keys
        )
        known = self._descriptions.get((stored, has_report))
        if known is None:
            if len(self._descriptions) >= self._most_records:
                self._descriptions.clear()
            known = drift_check(window, stored, check, keys)
            self._descriptions[stored, has_report] = known
        return known

    def decisions(self, use_case: str, wanted: Wanted, before: int | None, limit: int) -> Page:
        """``limit`` items at most, the latest first, from those before the item ``before``."""
        placed = self._ledger(use_case, _SEARCHED)
        if before is not None and placed and before <= placed[0].place:
            placed = self._ledger(use_case, _SEARCHED, before)
        return page_of(placed, wanted, before, limit)

    def decision(self, use_case: str, place: int) -> Item | None:
        """The item with the entry at ``place``; ``None`` if the ledger has no such entry."""
        placed = self._ledger(use_case, _SEARCHED)
        if placed and place < placed[0].place:
            placed = self._ledger(use_case, _SEARCHED, place + _SEARCHED // 2)
        entry = next((each.entry for each in placed if each.place == place), None)
        return next(
            (item for item in fold(placed) if any(part is entry for part in item.parts)), None
        )

    def fingerprint(self, use_case: str) -> tuple[object, ...]:
        """Another one whenever an entry or a report of the use case is new or was written again."""
        entries, reports = self._list(f"decisions/{use_case}"), self._list(f"reports/{use_case}")
        newest = max((stored.modified for stored in (*entries, *reports)), default=None)
        return len(entries), len(reports), newest

    def entries(self, use_case: str, most: int) -> list[Placed]:
        """The last ``most`` entries in order."""
        return self._ledger(use_case, most)

    def reigns(self, use_case: str) -> list[Reign]:
        """Who was champion, the latest first, as far back as the ledger is searched."""
        return reigns(self._ledger(use_case, _SEARCHED))

    def brought(self, use_case: str) -> Brought:
        """What the last promotion brought, by the latest comparison with the champion before."""
        promotion = promotion_of(self.reigns(use_case))
        if promotion is None:
            return Brought(unknown="no_promotion")
        version, before = promotion
        listed = {stored.key: stored for stored in self._list(f"reports/{use_case}")}
        key = latest_comparison(list(listed), version, before)
        if key is None:
            return Brought(version=version, before=before, unknown="not_compared")
        (contest,) = self._read([listed[key]], read_comparison)
        return brought_by(version, before, key.split("/")[2], contest)

    def rollout(self, use_case: str) -> LatestRollout | None:
        """The running rollout, or the one that ended last unless a contest was held since."""
        return latest_rollout(self._ledger(use_case, SEARCHED_FOR_QUESTIONS))

    def traffic(self, use_case: str) -> Hours:
        """What all services answered, by hour; nothing where the service may not list it."""
        try:
            listed = self._list(f"traffic/{use_case}")
        except LakeAway:
            return Hours({})
        files: dict[str, list[Stored]] = {}
        for item in listed:
            if item.key.endswith(".json") and item.key.count("/") == 3:
                files.setdefault(item.key.split("/")[2], []).append(item)
        return Hours({name: self._month(use_case, name, files[name]) for name in files})

    def _month(self, use_case: str, name: str, files: list[Stored]) -> Month:
        """A month that is over is added up once."""
        known = self._months.get((use_case, name))
        if known is None or known[0] != files:
            if len(self._months) >= _MONTHS:
                self._months.clear()
            known = self._months[use_case, name] = (files, Month(self._read(files, read_month)))
        return known[1]

    def approvals(self, use_case: str) -> list[Approval]:
        """The questions without an answer in the ledger, the latest first."""
        placed = self._ledger(use_case, SEARCHED_FOR_QUESTIONS)
        return pending([each.entry for each in placed])

    def _ledger(self, use_case: str, most: int, before: int | None = None) -> list[Placed]:
        """The last ``most`` entries (of those at places before ``before``) in order, each checked
        against the one before it, and the last one of all against MLflow's heads.

        The two stores are asked one after the other: a fault at the end counts if it is there at a
        second look."""
        placed, end = self._chained(use_case, most, before)
        if before is not None:
            return placed
        fault = self._fault_of_end(use_case, end)
        if fault and self._confirmed.get(use_case) != (end, fault):
            placed, end = self._chained(use_case, most, fresh=True)
            fault = self._fault_of_end(use_case, end, fresh=True)
            self._confirmed[use_case] = (end, fault)
        if fault and placed:
            place, entry = placed[-1]
            words = " ".join(filter(None, [entry.fault, f"{fault}."]))
            placed[-1] = Placed(place, replace(entry, tampered=True, fault=words))
        return placed

    def _fault_of_end(self, use_case: str, end: End, fresh: bool = False) -> str:
        heads = self._heads.read(use_case, fresh) if self._heads else None
        # The tag is the audit's matter: without it, the heads vouch for the entries.
        return "; ".join(find_end_faults(use_case, end, heads, None)) if heads else ""

    def _chained(
        self, use_case: str, most: int, before: int | None = None, fresh: bool = False
    ) -> tuple[list[Placed], End]:
        listed = self._list(f"decisions/{use_case}", fresh)
        stored = [
            item
            for item in listed
            if item.key.endswith(".json") and (before is None or place_of(item.key) < before)
        ][-most - 1 :]
        known = self._chains.get((use_case, most))
        if known is not None and known[0] == stored:
            return list(known[1]), known[2]
        links = [
            Link(link, None) if isinstance(link, str) else link
            for link in self._read(stored, read_link)
        ]
        places = [place_of(item.key) for item in stored]
        placed, end = list(map(Placed, places, chain(stored, links)))[-most:], end_of(stored, links)
        if before is None and all(link.sha256 is not None for link in links):
            if len(self._chains) >= _CHAINS:
                self._chains.clear()
            self._chains[use_case, most] = (stored, placed, end)
        return list(placed), end

    def report(self, use_case: str, window: str) -> bytes | None:
        """Evidently's HTML of the latest check of ``window``; ``None`` if it has none. Only listed
        keys are ever read.

        Raises ``Refused`` if it is too large to hold in memory."""
        listed = {stored.key: stored for stored in self._list(f"reports/{use_case}")}
        verdict = listed.get(f"reports/{use_case}/{window}/verdict.json")
        (check,) = self._read([verdict], read_check) if verdict else (None,)
        stored = (
            listed.get(report_key(use_case, window, check)) if isinstance(check, Checked) else None
        )
        if stored is None:
            return None
        if stored.size > _LARGEST_REPORT:
            raise Refused(
                404,
                "report_too_large",
                f"The report of {window} is {stored.size / 1e6:.0f} MB; open it in MLflow.",
            )
        try:
            return self._lake.get(stored.key)
        except FileNotFoundError:
            return None

    def _list(self, prefix: str, fresh: bool = False) -> list[Stored]:
        """One thread at a time asks the lake; threads that waited for it get its answer."""
        with self._listing:
            at, listing = self._listed.get(prefix, (float("-inf"), []))
            if fresh or time.monotonic() - at >= self._listing_seconds:
                try:
                    listing = self._lake.list(prefix)
                except LakeAway as error:
                    listing = error
                self._listed[prefix] = (time.monotonic(), listing)
        if isinstance(listing, LakeAway):
            raise LakeAway(str(listing))
        return listing

    def _read(self, objects: Sequence[Stored], read: Callable[[bytes], T]) -> list[T | str]:
        """The content of each object as ``read`` returns it, or the reason why it is unreadable."""
        with self._reading:
            if missing := [stored for stored in objects if stored not in self._records]:
                with ThreadPoolExecutor(min(_READERS, len(missing))) as readers:
                    records = list(readers.map(lambda stored: self._record(stored, read), missing))
                self._records |= zip(missing, records, strict=True)
            contents = [self._records[stored] for stored in objects]
            while len(self._records) > self._most_records:
                self._records.popitem(last=False)
        return contents

    def _record(self, stored: Stored, read: Callable[[bytes], T]) -> T | str:
        if stored.size > _LARGEST_RECORD:
            return (
                f"{stored.key} is larger than {_LARGEST_RECORD // 2**20} MiB: it is not a record "
                "of Laurel's."
            )
        try:
            return read(self._lake.get(stored.key))
        except FileNotFoundError:
            return f"{stored.key} disappeared while it was read."
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return f"{stored.key} cannot be read: {error}."
