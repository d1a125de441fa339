"""The ledger: every decision of a use case, one JSON object each, which nobody may change
afterwards.

    decisions/<use_case>/00000017.json      {"sequence": 17, "previous": "<SHA-256 of
                                            00000016.json>", "kind": "contest", ...}

An entry is created only where there is none yet (``Lake.create``), so of two writers one takes the
next place. Each holds the SHA-256 of the one before it, and MLflow's model the one of the latest
(tag ``laurel.ledger``): an entry that was edited, removed or slipped in is named by
``find_tampering``. The order is that of the places: clocks of machines differ, and a place does
not."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from blocks.lake import Lake
from tasks.contest.verdict import Behaviour, Contest, Latency
from tasks.outside.blocks_of_run import lake, registry

Kind = Literal["contest", "approval", "crown", "rollback", "drift", "retrain", "refusal", "breaker"]
HEAD = "laurel.ledger"
FIRST = "0" * 64
_READERS = 8
_BETWEEN = 32


class LedgerBroken(RuntimeError):
    """The ledger cannot be added to: its last entry cannot be read. The message names it."""


class Overtaken(RuntimeError):
    """Somebody else took the place that was asked for: what was read of the ledger is no longer all
    of it.
    """


class Decision(BaseModel):
    """What was decided, why, and by which run.

    ``kind`` and the words of its ``verdict``:
    contest    promote, keep, suspicious, unfair, inconclusive: ``challenger`` against ``champion``
               on ``holdout``
    approval   asked, approved, rejected, expired: whether ``challenger`` may take the crown;
               ``run`` is the one that waits
    crown      crowned, failed: ``version``, ``challenger`` refitted, got into service (or did not);
               ``champion`` had the crown before
               adopted, vacated: a person gave the crown to ``version``, or to nobody, without a
                   contest; ``facts``: by whom, and why
               restored: MLflow's alias was deleted by hand, and is at ``version`` again
    rollback   rollback, failed: the crown went back to ``version`` from ``champion`` (or did not);
               one entry, and none of kind crown
    drift      stable, drifted, broken, inconclusive, silent: what a check of ``window`` against
               ``champion`` found
    retrain    started, and then promoted, kept, no champion yet, below the gate, nothing to do,
               waits for approval, failed,
               or crashed and cancelled, which somebody else writes for the run that died
    refusal    running, cooldown, budget, breaker: why no retrain was started
    breaker    closed: somebody closed the breaker by hand
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    use_case: str
    time: str = Field(default_factory=lambda: now())
    kind: Kind
    verdict: str
    reasons: list[str]
    by: str = Field(default_factory=lambda: author())
    run: str | None = Field(default_factory=lambda: root_run())
    version: str | None = None
    challenger: str | None = None
    champion: str | None = None
    promoted: bool = False
    window: str = ""
    holdout: str = ""
    dataset_version: str = ""
    contest: Contest | None = None
    gate_score: FiniteFloat | None = None
    behaviours: list[Behaviour] = []
    latency: list[Latency] = []
    facts: dict[str, FiniteFloat | str | None] = {}


class Entry(Decision):
    """A decision in its place. ``sequence`` counts from 1 for each use case."""

    sequence: int
    previous: str

    @property
    def decision(self) -> Decision:
        return Decision(**{name: getattr(self, name) for name in Decision.model_fields})


def now() -> str:
    """UTC, to the millisecond, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def author() -> str:
    """The page of the flow run that decides."""
    return flow_run.ui_url or "a direct call"


def root_run() -> str | None:
    """The outermost flow run: that of ``retrain`` for a contest within it."""
    return str(flow_run.root_flow_run_id) if flow_run.id else None


def record(decision: Decision, after: int | None = None) -> Entry:
    """Add to the ledger of the lake, and note its head on MLflow's model.

    Raises ``LedgerBroken``, ``LakeAway``, ``RegistryAway``, and ``Overtaken`` as ``append`` does.
    """
    entry = append(lake(), decision, after)
    registry().tag_model(decision.use_case, {HEAD: f"{entry.sequence} {digest(encode(entry))}"})
    return entry


def append(store: Lake, decision: Decision, after: int | None = None) -> Entry:
    """Take the next place. An event that its run has told already (a step that is tried again) is
    not added twice.

    With ``after`` (a sequence, 0 for an empty ledger) it takes the place after that one, or none:
    whoever decided by what was read up to there must read again. Raises ``Overtaken``."""
    while True:
        paths = store.list(f"decisions/{decision.use_case}")
        places = [path for path in paths if _place(path)]
        sequence, previous = 1, FIRST
        if places:
            data = store.read(places[-1])
            sequence, previous = _place(places[-1]) + 1, digest(data)
            _decode(places[-1], data)
        if after is None and (known := _known(store, places, decision)):
            return known
        if after not in (None, sequence - 1):
            raise Overtaken(
                f"Entry {sequence - 1} of {decision.use_case!r} was added after entry "
                f"{after} was read."
            )
        entry = Entry(**dict(decision), sequence=sequence, previous=previous)
        try:
            store.create(path_of(entry.use_case, sequence), encode(entry))
        except FileExistsError:
            continue  # somebody else was first
        return entry


def _known(store: Lake, places: Sequence[str], decision: Decision) -> Entry | None:
    """The entry of the same event, of those that other runs can have added between a step and its
    second try.

    An event is what its run decided, without the clock: each try of a step reads another time, and
    says the same otherwise. Of a direct call, which has no run, the time belongs to it. A run that
    was started again ends once more: an end belongs to the start before it."""
    ignored = {"time", "by"} if decision.run else set()
    wanted = decision.model_dump(exclude=ignored)
    latest_places = places[-_BETWEEN:]
    with ThreadPoolExecutor(_READERS) as readers:
        contents = list(readers.map(store.read, latest_places))
    for path, data in zip(reversed(latest_places), reversed(contents), strict=True):
        with suppress(LedgerBroken):  # the audit names it; here it is no reason not to go on
            entry = _decode(path, data)
            if entry.run == decision.run and entry.decision.model_dump(exclude=ignored) == wanted:
                return entry
            if decision.kind == "retrain" and (entry.kind, entry.verdict, entry.run) == (
                "retrain",
                "started",
                decision.run,
            ):
                return None
    return None


def read(store: Lake, use_case: str, last: int | None = None) -> list[Entry]:
    """The entries in order, or the ``last`` ones of them. Raises ``LedgerBroken`` for one that
    cannot be read.
    """
    places = [path for path in store.list(f"decisions/{use_case}") if _place(path)]
    wanted = places if last is None else places[-last:]
    with ThreadPoolExecutor(_READERS) as readers:
        return [
            _decode(path, data)
            for path, data in zip(wanted, readers.map(store.read, wanted), strict=True)
        ]


def find_tampering(store: Lake, use_case: str, head: str | None) -> list[str]:
    """What is wrong with the chain; empty for a whole one. ``head`` is the model's tag
    ``laurel.ledger``: place and SHA-256.

    A changed entry is named by the one after it, which holds its digest, or by the head.
    """
    paths = store.list(f"decisions/{use_case}")
    found = [f"{path} is no entry of the ledger" for path in paths if not _place(path)]
    places = [path for path in paths if _place(path)]
    with ThreadPoolExecutor(_READERS) as readers:
        contents = dict(zip(places, readers.map(store.read, places), strict=True))
    digests = {_place(path): digest(data) for path, data in contents.items()}
    for path, data in contents.items():
        found += _faults(path, data, digests)
    if head is not None:
        place, _, wanted = head.partition(" ")
        if int(place) not in digests:
            found.append(
                f"{path_of(use_case, int(place))} is missing: MLflow's model names it as the head"
            )
        elif digests[int(place)] != wanted:
            found.append(
                f"{path_of(use_case, int(place))} was changed: its SHA-256 is not the one on "
                "MLflow's model"
            )
    return list(dict.fromkeys(found))


def _faults(path: str, data: bytes, digests: dict[int, str]) -> list[str]:
    place = _place(path)
    folder = path.rpartition("/")[0]
    try:
        entry = _decode(path, data)
    except LedgerBroken as error:
        return [str(error)]
    if entry.sequence != place:
        return [f"{path} says of itself that it is entry {entry.sequence}"]
    if place == 1:
        return [] if entry.previous == FIRST else [f"{path} is the first and names one before it"]
    if place - 1 not in digests:
        return [f"{folder}/{place - 1:08d}.json is missing"]
    return (
        []
        if digests[place - 1] == entry.previous
        else [f"{folder}/{place - 1:08d}.json was changed: the entry after it has another SHA-256"]
    )


def path_of(use_case: str, sequence: int) -> str:
    return f"decisions/{use_case}/{sequence:08d}.json"


def encode(entry: Entry) -> bytes:
    return entry.model_dump_json(indent=1).encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def latest(entries: Sequence[Entry], *kinds: Kind) -> Entry | None:
    """The last entry of one of ``kinds``."""
    return next((entry for entry in reversed(entries) if entry.kind in kinds), None)


def _place(path: str) -> int:
    """0 for an object that is no entry."""
    name = path.rpartition("/")[2].removesuffix(".json")
    return int(name) if len(name) == 8 and name.isdecimal() and path.endswith(".json") else 0


def _decode(path: str, data: bytes) -> Entry:
    try:
        return Entry.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LedgerBroken(
            f"{path} cannot be read as an entry of the ledger: "
            f"{where + ': ' if where else ''}{first['msg']}"
        ) from error
