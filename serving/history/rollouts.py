"""A use case's latest rollout, as the ledger tells it: where it is, how its estimate narrowed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from serving.history.decisions import Placed
from serving.history.ledger import CheckedEntry
from serving.records.reasons import Code
from serving.records.rollout import RUNNING, WON, Rollout, RolloutBlock, Stage

BLOCK_DAYS = 2  # of event time
_MOVES = (("crown", "crowned"), ("rollback", "rollback"))  # of the crown


class RolloutLook(msgspec.Struct, frozen=True):
    """The estimate of the stage once ``blocks`` of it were judged, with its interval."""

    time: str
    blocks: int
    gain: float
    low: float | None
    high: float | None


class RolloutBrief(msgspec.Struct, frozen=True, kw_only=True):
    """A running rollout in a row of the fleet."""

    version: str
    kind: str
    share: float
    verdict: str
    held: bool


class LatestRollout(msgspec.Struct, frozen=True, kw_only=True):
    """``verdict`` is that of its last entry, at ``time``, with ``reasons``; ``decision`` the place
    of its first one, which told the ``plan``. ``is_running``: it has not ended, or won and waits
    for the crown.

    ``looks`` and ``blocks`` are those of the stage that it is at, and ``shift`` is by how many
    standard deviations both mean answers are further apart than in the contest. ``minutes_left`` is
    until this step of a canary may end, ``days_left`` until the planned end with its labels;
    ``None`` where it is not known, or not planned."""

    id: str
    decision: str
    version: str | None
    champion: str | None
    verdict: str
    is_running: bool
    held: bool
    began: str
    time: str
    since: str
    reasons: list[str]
    codes: list[Code | None]
    plan: list[str]
    stages: list[Stage]
    stage: int
    step: int
    share: float
    blocks: list[RolloutBlock]
    looks: list[RolloutLook]
    gain: float | None
    low: float | None
    high: float | None
    shift: float | None
    minutes_left: float | None
    days_left: int | None


def latest_rollout(placed: Sequence[Placed], now: datetime | None = None) -> LatestRollout | None:
    """The rollout of entries in order: the running one, or the one that ended last unless another
    contest was held since; ``None`` without one."""
    last = _last_entry([each.entry for each in placed])
    if last is None or last.rollout is None:
        return None
    of_it = [
        each
        for each in placed
        if each.entry.kind == "rollout"
        and each.entry.rollout is not None
        and each.entry.rollout.id == last.rollout.id
    ]
    crowned = any(
        (entry.kind, entry.verdict) in _MOVES and place > of_it[-1].place for place, entry in placed
    )
    is_running = last.verdict in RUNNING or (last.verdict == WON and not crowned)
    return _described(last, last.rollout, of_it, is_running, now or datetime.now(UTC))


def brief_rollout(rollout: LatestRollout | None) -> RolloutBrief | None:
    """For the fleet; ``None`` unless it runs."""
    if rollout is None or not rollout.is_running:
        return None
    return RolloutBrief(
        version=rollout.version or "?",
        kind=rollout.stages[rollout.stage].kind,
        share=rollout.share,
        verdict=rollout.verdict,
        held=rollout.held,
    )


def _last_entry(entries: Sequence[CheckedEntry]) -> CheckedEntry | None:
    """Of the latest rollout; ``None`` if it ended before the latest contest."""
    has_contest = False
    for entry in reversed(entries):
        if entry.kind == "rollout" and _is_sound(entry.rollout):
            is_over = entry.verdict not in (*RUNNING, WON)
            return None if has_contest and is_over else entry
        has_contest = has_contest or entry.kind == "contest"
    return None


def _is_sound(rollout: Rollout | None) -> bool:
    """Whether it is at one of its stages and steps: a person may have written the object."""
    if rollout is None or not 0 <= rollout.stage < len(rollout.stages):
        return False
    return rollout.now.kind != "canary" or 0 <= rollout.step < len(rollout.now.steps)


def _described(
    last: CheckedEntry,
    rollout: Rollout,
    of_it: Sequence[Placed],
    is_running: bool,
    now: datetime,
) -> LatestRollout:
    first = of_it[0].entry
    fields: dict[str, Any] = {
        name: getattr(rollout, name)
        for name in ("id", "since", "stages", "stage", "step", "held", "share", "blocks", "shift")
    }
    return LatestRollout(
        **fields,
        decision=str(of_it[0].place),
        version=last.version,
        champion=last.champion,
        verdict=last.verdict,
        is_running=is_running,
        began=first.time,
        time=last.time,
        reasons=last.reasons,
        codes=last.codes,
        plan=first.reasons[1:] if first.verdict == "began" else [],
        looks=_looks([each.entry for each in of_it], rollout),
        gain=rollout.gain,
        low=rollout.low,
        high=rollout.high,
        minutes_left=_minutes_left(rollout, now) if is_running else None,
        days_left=_days_left(rollout) if is_running else None,
    )


def _looks(entries: Sequence[CheckedEntry], rollout: Rollout) -> list[RolloutLook]:
    """Each estimate of the stage once: an entry of a person repeats the last one."""
    looks: dict[int, RolloutLook] = {}
    for entry in entries:
        then = entry.rollout
        if then is None or then.stage != rollout.stage or then.gain is None or not then.blocks:
            continue
        blocks = len(then.blocks)
        looks.setdefault(blocks, RolloutLook(entry.time, blocks, then.gain, then.low, then.high))
    return [looks[blocks] for blocks in sorted(looks)]


def _minutes_left(rollout: Rollout, now: datetime) -> float | None:
    if rollout.now.kind != "canary":
        return None
    try:
        over = (now - datetime.fromisoformat(rollout.since)).total_seconds() / 60
    except (ValueError, TypeError):
        return None
    return max(0.0, rollout.now.minimum_minutes - over)


def _days_left(rollout: Rollout) -> int | None:
    """Of event time, and the wait for the labels of the last of them."""
    stage = rollout.now
    if stage.kind == "canary" or stage.days is None:
        return None
    return max(0, stage.days - BLOCK_DAYS * len(rollout.blocks)) + stage.label_days
