"""MLflow as the witness of a ledger: each writer asks it before it adds an entry, and tells it
before and after.

    announce the SHA-256  ->  create the object  ->  move the tag laurel.ledger  ->  write the head

A process may be killed between any two of them. Before the object nothing has happened; after it,
the next writer finds an entry that was announced, and writes tag and head itself. The tag moves
before the head: a tag behind the newest head was moved back by somebody."""

import random
import time
from dataclasses import dataclass

from pydantic import ValidationError

from blocks.clients.heads import ANNOUNCED, LATEST_RUNS
from blocks.clients.registry import LEDGER_TAG
from blocks.lake import Lake
from blocks.registry import ModelRegistry
from serving.records.chain import FIRST, digest, place_of
from serving.records.heads import (
    End,
    Heads,
    announcement_key,
    find_end_faults,
    head_key,
    head_of,
    read_heads,
)
from serving.records.ledger import Entry, moves_crown
from serving.records.record import decode

SETTLE_SECONDS = 5.0
"""Another writer gets this long to finish its entry, or to explain what looks wrong."""
_FIRST_LOOK_SECONDS, _LATER_LOOK_SECONDS = 0.02, 0.2


class LedgerBroken(RuntimeError):
    """The ledger cannot be added to: its last entry cannot be read. The message names it."""


class LedgerTampered(LedgerBroken):
    """The lake's ledger is not the one that MLflow vouches for: nothing was added.

    The message says what differs, and the way out."""


@dataclass(frozen=True)
class Witness:
    """MLflow, beside the ledger of one use case."""

    store: Lake
    models: ModelRegistry
    use_case: str

    def settle(self) -> tuple[End, Heads]:
        """Return the end of the ledger and its heads, once they agree; finish an entry whose writer
        was killed.

        Raises ``LedgerTampered`` if they disagree for ``SETTLE_SECONDS`` while nobody writes."""
        since, last_look, pause = time.monotonic(), None, _FIRST_LOOK_SECONDS
        while True:
            end, heads, faults = self.look()
            half_written = heads.is_half_written(end)
            if not faults and not half_written:
                return end, heads
            if (end, heads.last) != last_look:  # somebody is writing
                since, last_look = time.monotonic(), (end, heads.last)
                pause = _FIRST_LOOK_SECONDS
            if time.monotonic() - since > SETTLE_SECONDS:
                if faults:
                    raise LedgerTampered(self._in_words(faults))
                self._close(end.head_run or self.open_run(heads, end), end)
            # Writers who met once would meet again after the same pause.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(2 * pause, _LATER_LOOK_SECONDS)

    def look(self) -> tuple[End, Heads, list[str]]:
        """Return the end of the ledger, its heads, and the faults between them. Raises
        ``LedgerBroken`` if the last entry cannot be read."""
        end = find_end(self.store, self.use_case)
        tag = self.models.model_tags(self.use_case).get(LEDGER_TAG)
        runs = self.models.head_runs(self.use_case, LATEST_RUNS)
        heads = read_heads(runs or self.models.head_runs(self.use_case, deleted=True))
        return end, heads, find_end_faults(self.use_case, end, heads, tag)

    def open_run(self, heads: Heads, end: End) -> str:
        """Return the run that takes the head of the entry after ``end``."""
        if heads.run is not None:
            return heads.run
        base = head_of(end.place, end.sha256)
        return self.models.open_head_run(self.use_case, heads.generation, base)

    def announce(self, run: str, place: int, sha256: str) -> None:
        self.models.log_head(run, announcement_key(place, sha256), ANNOUNCED)

    def close(self, run: str, end: End, announced_at: float) -> None:
        """Move the tag to the entry, and write its head. ``announced_at`` is a monotonic time."""
        self._close(run, end)
        if time.monotonic() - announced_at > SETTLE_SECONDS:
            # Meanwhile another writer may have closed the entry, and added to it: the tag must not
            # stay behind it.
            heads = read_heads(self.models.head_runs(self.use_case, LATEST_RUNS))
            if heads.last > end.place:
                self.models.tag_model(self.use_case, {LEDGER_TAG: heads.base})

    def _close(self, run: str, end: End) -> None:
        self.models.tag_model(self.use_case, {LEDGER_TAG: head_of(end.place, end.sha256)})
        self.models.log_head(run, head_key(end.place), end.sha256)

    def _in_words(self, faults: list[str]) -> str:
        return (
            f"The ledger of {self.use_case!r} is not the one that MLflow vouches for: "
            f"{'; '.join(faults)}. Nothing was added. {way_out(self.use_case)}"
        )


def way_out(use_case: str) -> str:
    """Return what a person can do about a ledger that was tampered with."""
    return (
        f"Find out who wrote there (make audit USE_CASE={use_case} names every fault), and restore "
        "what was changed. If that cannot be done, accept the ledger as it stands: prefect "
        f"deployment run 'accept_ledger/{use_case}' --param by=<you> --param why=<why>"
    )


def find_end(store: Lake, use_case: str) -> End:
    """Return the last entry in the lake. Raises ``LedgerBroken`` if it cannot be read."""
    places = [path for path in store.list(f"decisions/{use_case}") if place_of(path)]
    return end_of(places[-1], store.read(places[-1])) if places else End(0, FIRST)


def end_of(path: str, data: bytes) -> End:
    entry = decode_entry(path, data)
    crown = entry.sequence if moves_crown(entry) else entry.crown
    return End(place_of(path), digest(data), entry.previous, entry.head_run, crown)


def decode_entry(path: str, data: bytes) -> Entry:
    """Read an entry. Raises ``LedgerBroken``."""
    try:
        return decode(Entry, data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LedgerBroken(
            f"{path} cannot be read as an entry of the ledger: "
            f"{where + ': ' if where else ''}{first['msg']}"
        ) from error
