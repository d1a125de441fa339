"""What a look at a rollout leads to, and where it goes on. It imports nothing that computes: a
rollback ends a rollout, and must not wait for libraries."""

from dataclasses import dataclass, replace
from datetime import datetime

from serving.records.reasons import Reason, because
from serving.records.rollout import WON, Rollout


@dataclass(frozen=True)
class Move:
    """``verdict`` is the ledger's word, empty if nothing is decided; ``rollout`` is where it is
    then."""

    verdict: str
    reasons: list[Reason]
    rollout: Rollout


def go_on(rollout: Rollout, reasons: list[Reason], now: datetime) -> Move:
    """The next step, the next stage, or the crown."""
    steps = rollout.now.steps
    if rollout.step + 1 < len(steps):
        after = replace(rollout, step=rollout.step + 1)
    elif rollout.stage + 1 < len(rollout.stages):
        after = replace(rollout, stage=rollout.stage + 1, step=0)
    else:
        return Move(WON, reasons, replace(rollout, held=False))
    after = replace(
        after,
        since=now.isoformat(timespec="milliseconds"),
        held=False,
        blocks=[],
        decided=rollout.blocks,
        next_day=None,
        gain=None,
        low=None,
        high=None,
        requests=None,
    )
    following = because("rollout_goes_on", stage=stage_in_words(after))
    return Move("stepped", [*reasons, following], after)


def stage_in_words(rollout: Rollout) -> Reason:
    """The stage that it is at."""
    if rollout.now.kind == "canary":
        return because("stage_canary", share=100 * rollout.share)
    if rollout.now.kind == "ab":
        return because("stage_ab", share=100 * rollout.share)
    return because("stage_shadow")
