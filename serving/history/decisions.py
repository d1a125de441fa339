"""The ledger as a table: one item for a retrain, into which its drift check, its contest, its
approval and its deployment are folded; any other decision is an item of its own.

Entries belong together by what they say themselves: the outermost run that wrote them, for an
approval the run that asked (``asked_by``), and for a retrain on drift the window that its reason
names."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from serving.history.ledger import CheckedEntry
from serving.records.reasons import Code, told

_BY_AUTOMATION = "the automation"
_TELLS_MOST = ("retrain", "contest", "rollback", "crown", "approval")


class Placed(NamedTuple):
    """An entry and its place in the ledger: 0 for an object that is not an entry."""

    place: int
    entry: CheckedEntry


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. ``id`` is the place of its first entry, and stays the same while more
    entries join; ``parts`` are its entries in order.

    ``began`` and ``time`` are those of the first and the last entry. ``verdict`` is that of the
    last entry of ``kind``. ``gain`` is that of the contest, with its interval; ``None``: there was
    no contest, or its gain is unknown."""

    id: str
    kind: str
    verdict: str
    began: str
    time: str
    reasons: list[str]
    codes: list[Code | None]
    promoted: bool = False
    tampered: bool = False
    version: str | None = None
    challenger: str | None = None
    champion: str | None = None
    window: str = ""
    holdout: str = ""
    metric: str | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    parts: list[CheckedEntry]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Items, the latest first. ``next`` is the ``before`` of the following page, ``None`` on the
    last one. ``total`` counts the items that match among the entries from place ``first`` to
    ``last``, which were searched."""

    items: list[Item]
    next: str | None
    total: int
    first: int
    last: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which items. ``kind`` and ``verdict`` match an item if the last of its entries of some kind
    has both; an unreadable entry is of any kind. ``text`` is searched in what people read in that
    ``language``, and in the sentences as they were written, whatever its case."""

    kind: str | None = None
    verdict: str | None = None
    text: str = ""
    language: str = "en"

    def matches(self, item: Item) -> bool:
        verdicts = {part.kind: part.verdict for part in item.parts}
        return any(
            self.kind in (None, kind or self.kind) and self.verdict in (None, verdict)
            for kind, verdict in verdicts.items()
        ) and (not self.text or self.text.casefold() in _words_of(item, self.language))


def fold(placed: Sequence[Placed]) -> list[Item]:
    """The items of entries in order, the latest first by their first entries."""
    groups: list[list[Placed]] = []
    by_run: dict[str, list[Placed]] = {}
    for each in placed:
        group = _group_of(each.entry, by_run, groups)
        if group is None:
            groups.append(group := [])
        group.append(each)
        if each.entry.run:
            by_run[each.entry.run] = group
    groups.sort(key=lambda group: group[0].place, reverse=True)
    return [_item(group) for group in groups]


def _group_of(
    entry: CheckedEntry, by_run: dict[str, list[Placed]], groups: list[list[Placed]]
) -> list[Placed] | None:
    if entry.run in by_run:
        return by_run[entry.run]
    if entry.kind == "approval" and (asked_by := entry.facts.get("asked_by")):
        return by_run.get(str(asked_by))
    on_drift = entry.kind == "retrain" and entry.facts.get("started_by") == _BY_AUTOMATION
    return _drift_behind(entry, groups) if on_drift else None


def _drift_behind(retrain: CheckedEntry, groups: list[list[Placed]]) -> list[Placed] | None:
    """The latest drift check that stands alone and whose window the retrain's reason names."""
    named = {word.strip(":,.") for reason in retrain.reasons for word in reason.split()}
    for group in reversed(groups):
        entry = group[-1].entry
        alone = len(group) == 1 and (entry.kind, entry.verdict) == ("drift", "drifted")
        if alone and entry.window in named:
            return group
    return None


def _item(group: Sequence[Placed]) -> Item:
    parts = [each.entry for each in group]
    last_of_kind = {part.kind: part for part in parts}
    kind = next((kind for kind in _TELLS_MOST if kind in last_of_kind), parts[-1].kind)
    leader = last_of_kind[kind]
    contest = next((part.contest for part in reversed(parts) if part.contest), None)
    main = contest.main if contest else None

    def latest(field: str) -> str | None:
        values = (getattr(part, field) for part in reversed(parts))
        return next((value for value in values if value), None)

    return Item(
        id=str(group[0].place),
        kind=kind,
        verdict=leader.verdict,
        began=parts[0].time,
        time=parts[-1].time,
        reasons=leader.reasons,
        codes=leader.codes,
        promoted=any(part.kind == "crown" and part.verdict == "crowned" for part in parts)
        or leader.promoted,
        tampered=any(part.tampered for part in parts),
        version=latest("version"),
        challenger=latest("challenger"),
        champion=_champion_before(parts),
        window=latest("window") or "",
        holdout=latest("holdout") or "",
        metric=main.metric if main else None,
        gain=main.gain if main else None,
        low=main.low if main else None,
        high=main.high if main else None,
        parts=parts,
    )


def _champion_before(parts: Sequence[CheckedEntry]) -> str | None:
    """Who had the crown before: the contest knows best, then the drift check."""
    for kinds in (("contest",), ("crown", "rollback"), ("drift", "approval")):
        for part in reversed(parts):
            if part.kind in kinds and part.champion:
                return part.champion
    return None


def _words_of(item: Item, language: str) -> str:
    words: list[object] = [item.id]
    for part in item.parts:
        words += [part.kind, part.verdict, part.window, part.holdout, part.dataset_version]
        words += [part.version, part.challenger, part.champion, part.run, part.by, part.time]
        facts = [value for value in part.facts.values() if isinstance(value, str)]
        sentences = [*part.reasons, *facts]
        words += [part.fault, *sentences, *(told(words, language) for words in sentences)]
    return "\n".join(str(word) for word in words if word).casefold()


def page_of(placed: Sequence[Placed], wanted: Wanted, before: int | None, limit: int) -> Page:
    """The items of ``placed`` (in order) that match, ``limit`` at most, from those before
    ``before``."""
    matching = [item for item in fold(placed) if wanted.matches(item)]
    rest = [item for item in matching if before is None or int(item.id) < before]
    shown = rest[:limit]
    first, last = (placed[0].place, placed[-1].place) if placed else (0, 0)
    following = None
    if len(rest) > limit:
        following = shown[-1].id
    elif first > 1:
        following = str(first)
    return Page(
        items=[without_influences(item) for item in shown],
        next=following,
        total=len(matching),
        first=first,
        last=last,
    )


def without_influences(item: Item) -> Item:
    """The item for a list. What each day adds to a contest's error is for those who compute on."""

    def short(part: CheckedEntry) -> CheckedEntry:
        if part.contest is None or not part.contest.days:
            return part
        return replace(part, contest=replace(part.contest, days=[], influences=[]))

    return msgspec.structs.replace(item, parts=[short(part) for part in item.parts])
