"""The ledger: every decision of a use case, one JSON object each, tamper-evident.

    decisions/<use_case>/00000017.json      {"sequence": 17, "previous": "<SHA-256 of
                                            00000016.json>", "kind": "contest", ...}

An entry is created only if its place is free (``Lake.create``), so of two writers one takes the
next place. Each holds the SHA-256 of the one before it, and MLflow has that of each entry
(``tasks/ledger/witness.py``): ``find_tampering`` names an entry that was edited, removed or
inserted. The order is that of the places: clocks of machines differ, and places do not."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypedDict, TypeVar

from prefect import get_run_logger
from prefect.exceptions import MissingContextError
from prefect.runtime import flow_run

from blocks.lake import Lake
from blocks.registry import ModelRegistry
from serving.records.chain import FIRST, digest, find_fault, path_of, place_of
from serving.records.heads import End, Heads, find_end_faults, find_head_faults
from serving.records.ledger import Decision, Entry, Kind
from serving.records.record import encode, fields_of
from tasks.ledger.witness import LedgerBroken, Witness, decode_entry
from tasks.outside.blocks_of_run import lake, registry

T = TypeVar("T")
STORED_SHA256 = "stored_sha256"
_READERS = 8
_BETWEEN = 32
_FIRST_READ = 32


class Overtaken(RuntimeError):
    """Somebody else took the place: the ledger has grown since it was read."""


class Stamp(TypedDict):
    """When a decision is made, and by which run."""

    time: str
    by: str
    run: str | None


def stamp() -> Stamp:
    """Return the stamp of this moment and this flow run."""
    return {"time": now(), "by": author(), "run": root_run()}


def now() -> str:
    """Return the time in UTC, to the millisecond, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def author() -> str:
    """Return the page of the flow run that decides."""
    return flow_run.ui_url or "a direct call"


def root_run() -> str | None:
    """Return the outermost flow run: that of ``retrain`` for a contest within it."""
    return str(flow_run.root_flow_run_id) if flow_run.id else None


def record(decision: Decision, after: int | None = None) -> Entry:
    """Add to the ledger of the lake, with MLflow as its witness.

    An event that its run has already recorded (a retried step) is not added twice. With ``after``
    (a sequence, 0 for an empty ledger) the entry takes exactly the place after that one: a decision
    based on what was read up to there must otherwise read again, and ``Overtaken`` is raised.
    Raises ``LedgerBroken``, ``LedgerTampered``, ``LakeAway``, ``RegistryAway`` as well."""
    return add_entry(lake(), registry(), decision, after)


def check_ledger(use_case: str) -> None:
    """Compare the end of the ledger with MLflow's heads, as ``record`` does, before a flow decides
    by what it reads there. Raises ``LedgerTampered``."""
    Witness(lake(), registry(), use_case).settle()


def add_entry(
    store: Lake, models: ModelRegistry, decision: Decision, after: int | None = None
) -> Entry:
    """As ``record``, to the given ledger.

    MLflow's heads are compared with the lake first: nothing is added to a ledger that somebody has
    changed. An entry that its run has already recorded is returned as it is."""
    witness = Witness(store, models, decision.use_case)
    while True:
        end, heads = witness.settle()
        if after is None and (recorded := _same_event(store, end.place, decision)):
            return recorded
        _check_place(decision, end, after)
        entry = write_entry(witness, end, decision, witness.open_run(heads, end))
        if entry is not None:
            return entry


def write_entry(witness: Witness, end: End, decision: Decision, run: str) -> Entry | None:
    """Write the entry after ``end``, with its head in ``run``. Return ``None`` if another writer
    was first."""
    entry = _entry_after(end, decision, run)
    data, began = encode(entry), time.monotonic()
    written = End(entry.sequence, digest(data))
    witness.announce(run, written.place, written.sha256)
    try:
        witness.store.create(path_of(entry.use_case, entry.sequence), data)
    except FileExistsError:
        return None
    witness.close(run, written, began)
    # Prefect keeps the run's log: a copy of the head that neither lake nor MLflow has.
    _log().info(
        "ledger use_case=%s entry=%s sha256=%s", entry.use_case, written.place, written.sha256
    )
    return entry


def _log() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)


def _check_place(decision: Decision, end: End, after: int | None) -> None:
    if after not in (None, end.place):
        raise Overtaken(
            f"Entry {end.place} of {decision.use_case!r} was added after entry {after} was read."
        )


def _entry_after(end: End, decision: Decision, head_run: str = "") -> Entry:
    return Entry(
        **fields_of(decision),
        sequence=end.place + 1,
        previous=end.sha256,
        head_run=head_run,
        crown=end.crown,
    )


def _same_event(store: Lake, last: int, decision: Decision) -> Entry | None:
    """Return the entry of the same event, among those that other runs may have added between a step
    and its retry; ``last`` is the last place.

    An event is what its run decided, without the clock: each try of a step reads another time, and
    says the same otherwise. A direct call has no run, so its time belongs to the event. A run that
    was started again ends once more: an end belongs to the start before it."""
    event = _event(decision)
    places = range(max(1, last - _BETWEEN + 1), last + 1)
    paths = [path_of(decision.use_case, place) for place in reversed(places)]
    contents = _read_all(partial(_read_if_there, store), paths)
    for path, data in zip(paths, contents, strict=True):
        with suppress(LedgerBroken):  # the audit names it; it need not stop this
            if data is None:
                continue
            entry = decode_entry(path, data)
            if _event(decision_of(entry)) == event:
                return entry
            if decision.kind == "retrain" and (entry.kind, entry.verdict, entry.run) == (
                "retrain",
                "started",
                decision.run,
            ):
                return None
    return None


def _read_if_there(store: Lake, path: str) -> bytes | None:
    try:
        return store.read(path)
    except FileNotFoundError:  # an accepted ledger may have a gap
        return None


def _event(decision: Decision) -> Decision:
    return replace(decision, time="", by="") if decision.run else decision


def decision_of(entry: Entry) -> Decision:
    """Return the entry without its place."""
    return Decision(**{field.name: getattr(entry, field.name) for field in fields(Decision)})


def read(store: Lake, use_case: str, last: int | None = None) -> list[Entry]:
    """Return the entries in order, or only the ``last`` ones. Raises ``LedgerBroken`` for an
    unreadable one."""
    places = [path for path in store.list(f"decisions/{use_case}") if place_of(path)]
    return _read_entries(store, places if last is None else places[-last:])


def read_back(
    store: Lake, use_case: str, is_enough: Callable[[Sequence[Entry]], bool]
) -> list[Entry]:
    """Return the latest entries in order: as few as ``is_enough`` asks for, or all of them. Raises
    ``LedgerBroken`` for an unreadable one."""
    places = [path for path in store.list(f"decisions/{use_case}") if place_of(path)]
    entries: list[Entry] = []
    while places and not (entries and is_enough(entries)):
        count = max(_FIRST_READ, len(entries))
        entries = _read_entries(store, places[-count:]) + entries
        places = places[:-count]
    return entries


def _read_entries(store: Lake, paths: Sequence[str]) -> list[Entry]:
    return [
        decode_entry(path, data)
        for path, data in zip(paths, _read_all(store.read, paths), strict=True)
    ]


def _read_all(read_one: Callable[[str], T], paths: Sequence[str]) -> list[T]:
    """Read objects at the same time, in a few portions: for each of 20,000 objects, a task of its
    own costs more than to read it from a folder."""
    size = -(-len(paths) // (4 * _READERS)) or 1
    portions = [paths[first : first + size] for first in range(0, len(paths), size)]
    with ThreadPoolExecutor(_READERS) as readers:
        contents = readers.map(lambda portion: [read_one(path) for path in portion], portions)
        return [content for portion in contents for content in portion]


@dataclass(frozen=True)
class Examined:
    """What is wrong with a ledger, and its readable entries in order."""

    faults: list[str]
    entries: list[Entry]
    end: End


def find_tampering(
    store: Lake, use_case: str, head: str | None, heads: Heads | None = None
) -> list[str]:
    """Return what is wrong with the ledger, as ``examine`` finds it; empty for an intact one."""
    return examine(store, use_case, head, heads).faults


def examine(store: Lake, use_case: str, head: str | None, heads: Heads | None = None) -> Examined:
    """Read the ledger, and find what is wrong with it. ``head`` is the tag
    ``laurel.ledger`` of MLflow's model, place and SHA-256; ``heads`` are those of its runs.

    The entry after a changed one, which holds its digest, or a head reveals the change. Faults from
    before an entry by which a person accepted them count no more, as long as all before it is as it
    was. Without ``heads`` none are compared."""
    paths = store.list(f"decisions/{use_case}")
    places = [path for path in paths if place_of(path)]
    contents = dict(zip(places, _read_all(store.read, places), strict=True))
    digests = {place_of(path): digest(data) for path, data in contents.items()}
    strangers = [find_fault(path, None, digests) for path in paths if not place_of(path)]
    entries, broken = _decode_all(contents)
    accepted = _accepted_place(entries, digests)
    faults = [
        broken.get(place) or find_fault(path_of(use_case, place), entries.get(place), digests)
        for place in digests
        if place >= accepted
    ]
    last = max(digests, default=0)
    end = End(last, digests.get(last, FIRST))
    if last in entries and heads is not None:
        end = End(last, digests[last], entries[last].previous, entries[last].head_run)
    witnessed = find_end_faults(use_case, end, heads or Heads(), head)
    named = {fault.partition(" ")[0] for fault in (*faults, *witnessed)}
    others = find_head_faults(use_case, digests, heads) if heads else []
    witnessed += [fault for fault in others if fault.partition(" ")[0] not in named]
    all_faults = list(dict.fromkeys(filter(None, [*strangers, *faults, *witnessed])))
    return Examined(all_faults, [entries[place] for place in sorted(entries)], end)


def _decode_all(contents: Mapping[str, bytes]) -> tuple[dict[int, Entry], dict[int, str]]:
    """Return the entries by place, and why the unreadable ones are."""
    entries, broken = dict[int, Entry](), dict[int, str]()
    for path, data in contents.items():
        try:
            entries[place_of(path)] = decode_entry(path, data)
        except LedgerBroken as error:
            broken[place_of(path)] = str(error)
    return entries, broken


def _accepted_place(entries: Mapping[int, Entry], digests: Mapping[int, str]) -> int:
    """Return the place of the last entry by which a person accepted all before it, if that is still
    what was accepted; otherwise 0."""
    places = [place for place, entry in entries.items() if entry.kind == "ledger"]
    last = max(places, default=0)
    if last and entries[last].facts.get(STORED_SHA256) == digest_of_all(digests, last):
        return last
    return 0


def digest_of_all(digests: Mapping[int, str], before: int) -> str:
    """Return the SHA-256 of the places and SHA-256 of all objects ``before`` a place."""
    lines = [f"{place} {sha256}\n" for place, sha256 in sorted(digests.items()) if place < before]
    return digest("".join(lines).encode())


def latest(entries: Sequence[Entry], *kinds: Kind) -> Entry | None:
    """Return the last entry of one of ``kinds``."""
    return next((entry for entry in reversed(entries) if entry.kind in kinds), None)
