"""The ledger as the service tells it: every decision, whether the chain holds as far as it was
read, and which questions wait.

The entries are those of ``tasks/ledger/entries.py``, which the service does not import: what is not
named here is left out, and a test reads what that module writes. Each entry holds the SHA-256 of
the one before it; ``make audit`` goes through all of it and asks MLflow for the head."""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from serving.outside.lake import Stored

Kind = Literal["contest", "approval", "crown", "rollback", "drift", "retrain", "refusal", "breaker"]
_FIRST = "0" * 64
_PLACE_DIGITS = 8


class Comparison(msgspec.Struct, frozen=True):
    """Both scores, and the gain with its one-sided bounds."""

    metric: str
    rows: int
    champion: float | None
    challenger: float | None
    gain: float | None
    low: float | None
    high: float | None


class Contest(msgspec.Struct, frozen=True):
    """``confidence`` (0-1) is that of each bound of a gain."""

    confidence: float
    blocks: int
    main: Comparison
    guards: list[Comparison] = []
    slices: dict[str, Comparison] = {}
    unjudged: dict[str, int] = {}


class Behaviour(msgspec.Struct, frozen=True):
    """How a behavioural test of the challenger went: ``held`` of ``rows`` did as they must."""

    name: str
    passed: bool
    rows: int
    held: int
    reason: str = ""


class Latency(msgspec.Struct, frozen=True):
    """How long both packages take for a request of ``rows`` rows."""

    rows: int
    champion_milliseconds: float
    challenger_milliseconds: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. ``kind`` and ``verdict`` are the entry's own words; ``verdict`` is ``unreadable``
    for what cannot be read.

    ``tampered``: the chain does not hold here, and ``fault`` says where it breaks.
    """

    time: str
    verdict: str
    reasons: list[str]
    kind: str = ""
    sequence: int = 0
    previous: str = ""
    promoted: bool = False
    version: str | None = None
    challenger: str | None = None
    champion: str | None = None
    window: str = ""
    holdout: str = ""
    dataset_version: str = ""
    contest: Contest | None = None
    gate_score: float | None = None
    behaviours: list[Behaviour] = []
    latency: list[Latency] = []
    facts: dict[str, float | str | None] = {}
    by: str = ""
    run: str | None = None
    tampered: bool = False
    fault: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A question that nobody answered yet: may ``challenger`` take the crown? ``run`` is the
    approve run that waits for the answer.

    ``state`` is what Prefect says of that run: waiting, answered, begins, or unknown.
    """

    run: str
    asked: str
    until: str | None
    challenger: str | None
    champion: str | None
    reasons: list[str]
    holdout: str
    contest: Contest | None
    sequence: int
    state: str = "unknown"


class Link(NamedTuple):
    """What an object of the ledger says, or why it cannot be read, and the SHA-256 of its bytes
    (empty where they could not be had).
    """

    said: Decision | str
    sha256: str


_DECODER = msgspec.json.Decoder(Decision)


def read_link(data: bytes) -> Link:
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return Link(_DECODER.decode(data), sha256)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Link(f"It cannot be read: {error}.", sha256)


def place_of(key: str) -> int:
    """0 for an object that is no entry."""
    name, _, kind = key.rpartition("/")[2].partition(".")
    return (
        int(name)
        if kind == "json" and len(name) == _PLACE_DIGITS and name.isascii() and name.isdecimal()
        else 0
    )


def chain(stored: Sequence[Stored], links: Sequence[Link]) -> list[Decision]:
    """The decisions in the order of their places, each held against the one before it. The first
    has none here to be held against.
    """
    digests = {place_of(one.key): link.sha256 for one, link in zip(stored, links, strict=True)}
    told = []
    for number, (one, link) in enumerate(zip(stored, links, strict=True)):
        fault = _fault(one.key, link.said, digests, first=number == 0)
        if isinstance(link.said, Decision):
            # What an entry says of being tampered with is nothing to go by.
            told.append(msgspec.structs.replace(link.said, tampered=bool(fault), fault=fault))
        else:
            name = one.key.rpartition("/")[2].removesuffix(".json")
            told.append(
                Decision(
                    time=name,
                    verdict="unreadable",
                    reasons=[link.said],
                    sequence=place_of(one.key),
                    tampered=bool(fault),
                    fault=fault,
                )
            )
    return told


def _fault(key: str, said: Decision | str, digests: dict[int, str], *, first: bool) -> str:
    place, folder = place_of(key), key.rpartition("/")[0]
    if not place:
        return f"{key} is no entry of the ledger."
    if isinstance(said, str):
        return ""  # what became of it is said by the entry after it
    if said.sequence != place:
        return f"{key} says of itself that it is entry {said.sequence}."
    if place == 1:
        return "" if said.previous == _FIRST else f"{key} is the first and names one before it."
    before = f"{folder}/{place - 1:0{_PLACE_DIGITS}d}.json"
    if place - 1 not in digests:
        return "" if first else f"{before} is missing."
    held = digests[place - 1]
    return (
        f"{before} was changed: this entry, which came after it, has another SHA-256 of it."
        if held and held != said.previous
        else ""
    )


def pending(decisions: Sequence[Decision]) -> list[Approval]:
    """The questions of ``decisions`` (in order) that have no answer there, the latest first; each
    with the contest that led to it.
    """
    answered = {one.run for one in decisions if one.kind == "approval" and one.verdict != "asked"}
    contests = {one.challenger: one for one in decisions if one.contest is not None}
    found = []
    for one in reversed(decisions):
        if (
            one.kind == "approval"
            and one.verdict == "asked"
            and one.run
            and one.run not in answered
        ):
            held = one if one.contest else contests.get(one.challenger, one)
            until = one.facts.get("until")
            found.append(
                Approval(
                    run=one.run,
                    asked=one.time,
                    until=until if isinstance(until, str) else None,
                    challenger=one.challenger,
                    champion=one.champion if one.champion is not None else held.champion,
                    reasons=one.reasons,
                    holdout=one.holdout or held.holdout,
                    contest=held.contest,
                    sequence=one.sequence,
                )
            )
    return found
