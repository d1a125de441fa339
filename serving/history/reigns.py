"""Who was champion, since when and until when, as the ledger has it."""

from collections.abc import Sequence

import msgspec

from serving.history.decisions import Placed
from serving.history.ledger import CheckedEntry

_CROWNS = {"crowned", "adopted", "vacated", "rollback"}


class Reign(msgspec.Struct, frozen=True, kw_only=True):
    """The time of one champion. ``version`` is ``None`` while the crown is vacant, ``until`` while
    it lasts. ``decision`` is the place of the entry that began it.

    ``how`` is the verdict of that entry: crowned, adopted, vacated or rollback. ``score`` is the
    one on ``holdout`` that the version, or the challenger that it was refitted from, had when it
    was first crowned; ``None``: the ledger has none, such as for an adopted version. ``metric`` is
    ``None`` where no contest names it, such as for a first champion. ``gain``, between ``low`` and
    ``high``, is what the contest showed over the champion before."""

    version: str | None
    since: str
    until: str | None = None
    how: str
    decision: str
    metric: str | None = None
    score: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    holdout: str = ""


def is_crowning(entry: CheckedEntry) -> bool:
    """Whether the entry gave the crown to a version, or left it vacant."""
    return entry.kind in ("crown", "rollback") and entry.verdict in _CROWNS


def reigns(placed: Sequence[Placed]) -> list[Reign]:
    """The reigns in entries in order, the latest first."""
    contests: dict[str | None, CheckedEntry] = {}
    found: list[Reign] = []
    scored: dict[str, Reign] = {}
    for place, entry in placed:
        if entry.kind == "contest":
            contests[entry.challenger] = entry
        if not is_crowning(entry):
            continue
        version = None if entry.verdict == "vacated" else entry.version
        contest = contests.get(entry.challenger) if entry.challenger else None
        reign = _reign(version, place, entry, contest)
        if version in scored and reign.score is None:
            first = scored[version]
            reign = msgspec.structs.replace(
                reign, metric=first.metric, score=first.score, holdout=first.holdout
            )
        if version is not None and reign.score is not None:
            scored.setdefault(version, reign)
        if found:
            found[-1] = msgspec.structs.replace(found[-1], until=entry.time)
        found.append(reign)
    return found[::-1]


def _reign(
    version: str | None, place: int, entry: CheckedEntry, contest: CheckedEntry | None
) -> Reign:
    main = contest.contest.main if contest and contest.contest else None
    score = main.challenger if main else None
    if contest and score is None:
        score = contest.gate_score
    return Reign(
        version=version,
        since=entry.time,
        how=entry.verdict,
        decision=str(place),
        metric=main.metric if main else None,
        score=score,
        gain=main.gain if main else None,
        low=main.low if main else None,
        high=main.high if main else None,
        holdout=contest.holdout if contest else "",
    )
