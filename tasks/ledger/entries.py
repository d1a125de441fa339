"""The ledger: every decision of a use case, one JSON object each, tamper-evident.

    decisions/<use_case>/00000017.json      {"sequence": 17, "previous": "<SHA-256 of
                                            00000016.json>", "kind": "contest", ...}

An entry is created only if its place is free (``Lake.create``), so of two writers one takes the
next place. Each holds the SHA-256 of the one before it, and MLflow's model that of the latest (tag
``laurel.ledger``): ``find_tampering`` names an entry that was edited, removed or inserted. The
order is that of the places: clocks of machines differ, and places do not."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TypedDict

from prefect.runtime import flow_run
from pydantic import ValidationError

from blocks.clients.registry import LEDGER_TAG
from blocks.lake import Lake
from serving.records.chain import FIRST, digest, find_fault, path_of, place_of
from serving.records.ledger import Decision, Entry, Kind
from serving.records.record import decode, encode, fields_of
from tasks.outside.blocks_of_run import lake, registry

_READERS = 8
_BETWEEN = 32


class LedgerBroken(RuntimeError):
    """The ledger cannot be added to: its last entry cannot be read. The message names it."""


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
    """Add to the ledger of the lake, and note its head on MLflow's model.

    Raises ``LedgerBroken``, ``LakeAway``, ``RegistryAway``, and ``Overtaken`` as ``append`` does.
    """
    entry = append(lake(), decision, after)
    registry().tag_model(
        decision.use_case, {LEDGER_TAG: f"{entry.sequence} {digest(encode(entry))}"}
    )
    return entry


def append(store: Lake, decision: Decision, after: int | None = None) -> Entry:
    """Take the next place. An event that its run has already recorded (a retried step) is not added
    twice.

    With ``after`` (a sequence, 0 for an empty ledger) the entry takes exactly the place after that
    one: a decision based on what was read up to there must otherwise read again. Raises
    ``Overtaken``."""
    while True:
        paths = store.list(f"decisions/{decision.use_case}")
        places = [path for path in paths if place_of(path)]
        sequence, previous = 1, FIRST
        if places:
            data = store.read(places[-1])
            sequence, previous = place_of(places[-1]) + 1, digest(data)
            _decode(places[-1], data)
        if after is None and (recorded := _same_event(store, places, decision)):
            return recorded
        if after not in (None, sequence - 1):
            raise Overtaken(
                f"Entry {sequence - 1} of {decision.use_case!r} was added after entry {after} was "
                "read."
            )
        entry = Entry(**fields_of(decision), sequence=sequence, previous=previous)
        try:
            store.create(path_of(entry.use_case, sequence), encode(entry))
        except FileExistsError:
            continue  # another writer was first
        return entry


def _same_event(store: Lake, places: Sequence[str], decision: Decision) -> Entry | None:
    """Return the entry of the same event, among those that other runs may have added between a step
    and its retry.

    An event is what its run decided, without the clock: each try of a step reads another time, and
    says the same otherwise. A direct call has no run, so its time belongs to the event. A run that
    was started again ends once more: an end belongs to the start before it."""
    event = _event(decision)
    latest_places = places[-_BETWEEN:]
    with ThreadPoolExecutor(_READERS) as readers:
        contents = list(readers.map(store.read, latest_places))
    for path, data in zip(reversed(latest_places), reversed(contents), strict=True):
        with suppress(LedgerBroken):  # the audit names it; it need not stop this
            entry = _decode(path, data)
            if _event(decision_of(entry)) == event:
                return entry
            if decision.kind == "retrain" and (entry.kind, entry.verdict, entry.run) == (
                "retrain",
                "started",
                decision.run,
            ):
                return None
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
    selected = places if last is None else places[-last:]
    with ThreadPoolExecutor(_READERS) as readers:
        return [
            _decode(path, data)
            for path, data in zip(selected, readers.map(store.read, selected), strict=True)
        ]


def find_tampering(store: Lake, use_case: str, head: str | None) -> list[str]:
    """Return what is wrong with the chain; empty for an intact one. ``head`` is the model's tag
    ``laurel.ledger``: place and SHA-256.

    The entry after a changed one, which holds its digest, or the head reveals the change."""
    paths = store.list(f"decisions/{use_case}")
    with ThreadPoolExecutor(_READERS) as readers:
        places = [path for path in paths if place_of(path)]
        contents = dict(zip(places, readers.map(store.read, places), strict=True))
    digests = {place_of(path): digest(data) for path, data in contents.items()}
    strangers = [find_fault(path, None, digests) for path in paths if not place_of(path)]
    faults = [_fault(path, data, digests) for path, data in contents.items()]
    faults = [*strangers, *faults, _fault_of_head(use_case, head, digests)]
    return list(dict.fromkeys(filter(None, faults)))


def _fault(path: str, data: bytes, digests: dict[int, str]) -> str:
    try:
        return find_fault(path, _decode(path, data), digests)
    except LedgerBroken as error:
        return str(error)


def _fault_of_head(use_case: str, head: str | None, digests: dict[int, str]) -> str:
    if head is None:
        return ""
    place, _, digest_ = head.partition(" ")
    path = path_of(use_case, int(place))
    if int(place) not in digests:
        return f"{path} is missing: MLflow's model names it as the head"
    if digests[int(place)] != digest_:
        return f"{path} was changed: its SHA-256 is not the one on MLflow's model"
    return ""


def latest(entries: Sequence[Entry], *kinds: Kind) -> Entry | None:
    """Return the last entry of one of ``kinds``."""
    return next((entry for entry in reversed(entries) if entry.kind in kinds), None)


def _decode(path: str, data: bytes) -> Entry:
    try:
        return decode(Entry, data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LedgerBroken(
            f"{path} cannot be read as an entry of the ledger: "
            f"{where + ': ' if where else ''}{first['msg']}"
        ) from error
