"""The record of a rollout: its plan, and how far it is. The last entry of kind ``rollout`` says
where it goes on; nothing else keeps that."""

import dataclasses
from typing import Annotated, Literal
from urllib.parse import quote

from serving.records.record import OneOf, record

# What an entry of kind ``rollout`` decides: it goes on, it won and is to be crowned, or it ends and
# the champion stays.
RUNNING = ("began", "judged", "stepped", "held", "resumed")
WON = "won"
ENDS = ("lost", "no difference", "not enough traffic", "inconclusive", "reverted")

PLACES = 2**32

StageKind = Literal["shadow", "canary", "ab"]


def places_of(share: float) -> int:
    """Callers are at places from 0 to ``PLACES``, by a hash: the challenger, which has a ``share``
    (0-1) of them, answers those below this place."""
    return round(share * PLACES)


@record
class Stage:
    """One stage as it was planned: a use case's file that changes meanwhile changes no running
    rollout. ``reward_cap``: rewards judge it, cut off there, and no labels.

    A canary has ``steps``, an A/B a ``share`` of the callers; shadow and A/B are judged in
    ``metric`` (its name) over ``days`` (``None``: no planned end), on days older than
    ``label_days``. ``largest_shift``: see ``Rollout.shift``; beyond it a stage ends (``None``:
    never)."""

    kind: Annotated[str, OneOf(StageKind)]
    header: str = ""
    field: str = ""
    steps: list[float] = dataclasses.field(default_factory=list)
    minimum_requests: int = 0
    minimum_minutes: float = 0.0
    patience_days: float = 0.0
    share: float = 0.0
    metric: str = ""
    days: int | None = None
    smallest_gain: float | None = None
    label_days: int = 0
    missing_label: str = "unknown"
    margin: float = 0.0
    largest_shift: float | None = None
    reward_cap: float | None = None


@record
class RolloutBlock:
    """Days ``first`` to ``last`` (ISO 8601) of event time and the challenger's gain there.

    ``apart``: by how many standard deviations the champion's mean answer to rows without a label
    differs from that to labelled ones; ``None`` if no row lacks one."""

    first: str
    last: str
    rows: int
    labelled: int
    gain: float
    apart: float | None = None


@record
class Findings:
    """What a stage of this ``kind`` found: the fields are those of ``Rollout``."""

    kind: Annotated[str, OneOf(StageKind)]
    blocks: list[RolloutBlock] = dataclasses.field(default_factory=list)
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    requests: int | None = None
    shift: float | None = None


@record
class Rollout:
    """``id`` names it in the registry's tag and salts the routing. It is at ``stages[stage]``, and
    a canary there at ``steps[step]``, since ``since`` (UTC, ISO 8601); ``held``: a person holds it
    there.

    ``blocks`` are the judged ones of this stage, and ``next_day`` the first day that is not yet
    judged. ``gain`` is their mean, from ``low`` to ``high``, an interval that holds at all looks
    together, each end at 95 %. ``requests`` are the rows that the challenger has answered in this
    step.

    ``differences`` are by how much the challenger's mean answer was above the champion's on the
    contest's hold-out (of classes, each one's; empty: unknown), and ``shift`` is by how many
    standard deviations of the champion's answers that was otherwise at the last look. ``earlier``
    is what the stages found that are over. ``thread`` is
    the run whose thread in Slack tells of it."""

    id: str
    stages: list[Stage]
    since: str
    stage: int = 0
    step: int = 0
    held: bool = False
    blocks: list[RolloutBlock] = dataclasses.field(default_factory=list)
    next_day: str | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    requests: int | None = None
    differences: list[float] = dataclasses.field(default_factory=list)
    shift: float | None = None
    earlier: list[Findings] = dataclasses.field(default_factory=list)
    thread: str | None = None

    @property
    def now(self) -> Stage:
        """The stage that it is at."""
        return self.stages[self.stage]

    @property
    def findings(self) -> Findings:
        """What the stage that it is at has found so far."""
        return Findings(
            kind=self.now.kind,
            blocks=self.blocks,
            gain=self.gain,
            low=self.low,
            high=self.high,
            requests=self.requests,
            shift=self.shift,
        )

    @property
    def share(self) -> float:
        """The challenger's share (0-1) of the callers now."""
        now = self.now
        return now.steps[self.step] if now.kind == "canary" else now.share

    @property
    def terms(self) -> dict[str, str | float]:
        """What the registry's tag says to every service."""
        now = self.now
        terms: dict[str, str | float] = {"id": self.id, "kind": now.kind, "share": self.share}
        keys = {"header": now.header, "field": now.field}
        return terms | {name: key for name, key in keys.items() if key}


def revert_key(use_case: str, rollout: str) -> str:
    """Where the lake says that a service has reverted the rollout, whatever its name."""
    return f"rollouts/{use_case}/{quote(rollout, safe='').replace('.', '%2E')}/reverted.json"
