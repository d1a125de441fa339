"""The ledger as the service reports it: every decision, whether the chain holds as far as it was
read, and the open questions.

The last entry is compared with MLflow's heads; ``make audit`` checks the whole chain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from blocks.clients.objects import Stored
from serving.records.chain import FIRST, digest, find_fault, place_of
from serving.records.contest import Contest
from serving.records.heads import End
from serving.records.ledger import Entry
from serving.records.reasons import Code


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedEntry(Entry):
    """An entry, and whether the chain holds there. Its ``kind`` is not checked, because a newer
    version may have written it.

    ``verdict`` is ``unreadable`` for an unreadable entry. ``tampered``: the chain does not hold,
    and ``fault`` says where it breaks."""

    tampered: bool = False
    fault: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """An open question: may ``challenger`` take the crown? ``run`` is the approve run that waits
    for the answer.

    ``state`` is that run's state in Prefect: waiting, answered, begins, or unknown."""

    run: str
    asked: str
    until: str | None
    challenger: str | None
    champion: str | None
    reasons: list[str]
    codes: list[Code | None]
    holdout: str
    contest: Contest | None
    sequence: int
    state: str = "unknown"


class Link(NamedTuple):
    """The entry in an object of the ledger, or why it is unreadable, and the SHA-256 of its bytes
    (``None`` if they could not be read).
    """

    entry: CheckedEntry | str
    sha256: str | None


# Made now, by one thread: msgspec ends the process if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_DECODER = msgspec.json.Decoder(CheckedEntry)


def read_link(data: bytes) -> Link:
    sha256 = digest(data)
    try:
        return Link(_DECODER.decode(data), sha256)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Link(f"It cannot be read: {error}.", sha256)


def chain(stored: Sequence[Stored], links: Sequence[Link]) -> list[CheckedEntry]:
    """The entries in order, each checked against the one before it. The first has none here to
    check against.
    """
    places = [place_of(item.key) for item in stored]
    digests = {place: link.sha256 for place, link in zip(places, links, strict=True)}
    entries = []
    for item, link in zip(stored, links, strict=True):
        entry = link.entry if isinstance(link.entry, CheckedEntry) else None
        fault = find_fault(item.key, entry, digests, first_place=places[0])
        # An entry's own word on tampering does not count.
        entries.append(
            replace(
                entry or _unreadable(item.key, str(link.entry)),
                tampered=bool(fault),
                fault=f"{fault}." if fault else "",
            )
        )
    return entries


def end_of(stored: Sequence[Stored], links: Sequence[Link]) -> End:
    """The last entry, for the check against MLflow's heads. One whose bytes could not be read has
    no SHA-256."""
    for item, link in reversed(list(zip(stored, links, strict=True))):
        if place := place_of(item.key):
            entry = link.entry if isinstance(link.entry, CheckedEntry) else None
            return End(
                place,
                link.sha256 or "",
                entry.previous if entry else "",
                entry.head_run if entry else "",
            )
    return End(0, FIRST)


def _unreadable(key: str, reason: str) -> CheckedEntry:
    return CheckedEntry(
        use_case=key.split("/")[1],
        time=key.rpartition("/")[2].removesuffix(".json"),
        kind="",
        verdict="unreadable",
        reasons=[reason],
        by="",
        run=None,
        sequence=place_of(key),
        previous="",
    )


def pending(entries: Sequence[CheckedEntry]) -> list[Approval]:
    """The questions of ``entries`` (in order) without an answer there, the latest first; each with
    the contest that led to it.
    """
    approvals = [entry for entry in entries if entry.kind == "approval"]
    answered_runs = {entry.run for entry in approvals if entry.verdict != "asked"}
    contests = {entry.challenger: entry for entry in entries if entry.contest is not None}
    return [
        _approval(question, question.run, contests.get(question.challenger, question))
        for question in reversed(approvals)
        if question.verdict == "asked" and question.run and question.run not in answered_runs
    ]


def _approval(question: CheckedEntry, run: str, contest_entry: CheckedEntry) -> Approval:
    until = question.facts.get("until")
    contest_entry = question if question.contest else contest_entry
    champion = contest_entry.champion if question.champion is None else question.champion
    return Approval(
        run=run,
        asked=question.time,
        until=until if isinstance(until, str) else None,
        challenger=question.challenger,
        champion=champion,
        reasons=question.reasons,
        codes=question.codes,
        holdout=question.holdout or contest_entry.holdout,
        contest=contest_entry.contest,
        sequence=question.sequence,
    )
