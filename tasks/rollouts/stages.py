"""A stage as it is planned before it begins: its terms, and what it can find."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise

import numpy as np

from serving.records.contest import Contest
from serving.records.reasons import Reason, because
from serving.records.rollout import Stage
from tasks.rollouts.blocks import BLOCK_DAYS
from tasks.rollouts.planning import Spread, decidable, plan, spread_of
from tasks.rollouts.rewards import MEAN_COST, MEAN_REWARD, REWARDS
from tasks.rollouts.sequential import MOST_BLOCKS
from usecases.definition import METRICS, Canary, Metric, Shadow, UseCase
from usecases.definition import Stage as Written

MOST_DAYS = MOST_BLOCKS * BLOCK_DAYS


def planned(case: UseCase, written: Written, spread: Spread | None) -> Stage:
    """The stage for the ledger. Without ``days`` of its own it gets those that find its smallest
    gain, if that is known."""
    if isinstance(written, Canary):
        return Stage(
            kind=written.kind,
            header=written.header,
            field=written.field,
            steps=list(written.steps),
            minimum_requests=written.minimum_requests,
            minimum_minutes=written.minimum_minutes,
            patience_days=written.patience_days,
            largest_shift=written.largest_shift,
        )
    days, reward = written.days, getattr(written, "reward", None)
    if reward is not None:
        metric = MEAN_REWARD if reward.higher_is_better else MEAN_COST
        missing = "negative" if reward.missing == "zero" else "unknown"
    else:
        metric, missing = written.metric or case.gate.metric, written.missing_label
    if days is None and written.smallest_gain and spread and isinstance(written, Shadow):
        blocks = plan(written.smallest_gain, spread, planned=True).blocks
        days = blocks * BLOCK_DAYS if blocks else None
    return Stage(
        kind=written.kind,
        header=getattr(written, "header", ""),
        field=getattr(written, "field", ""),
        share=getattr(written, "share", 0.0),
        metric=metric.name,
        days=days,
        smallest_gain=written.smallest_gain,
        label_days=written.label_days,
        missing_label=missing,
        margin=getattr(written, "margin", 0.0),
        largest_shift=written.largest_shift,
        reward_cap=reward.cap if reward is not None else None,
    )


def metric_of(case: UseCase, stage: Stage) -> Metric:
    """The metric that judges the stage. Raises ``LookupError`` if the use case has lost it."""
    if stage.reward_cap is not None:
        return REWARDS[stage.metric]
    own = [case.gate.metric, *(guard.metric for guard in case.promotion.guards)]
    own += [each.metric for each in case.stages if not isinstance(each, Canary) and each.metric]
    by_name = {**METRICS, **{metric.name: metric for metric in own}}
    if stage.metric not in by_name:
        raise LookupError(
            f"The rollout is judged in {stage.metric!r}, which {case.name!r} no longer has: write "
            "the metric into the file again, or end the rollout with do=revert."
        )
    return by_name[stage.metric]


def horizon_of(stage: Stage) -> int | None:
    """The planned number of blocks."""
    return None if stage.days is None else stage.days // BLOCK_DAYS


def spread_of_contest(contest: Contest | None) -> Spread | None:
    """How a gain differs between blocks of two days, by the contest that the challenger has just
    won; ``None`` where its days are too few, or weeks.

    What a day adds to the error of the gain is its own gain's distance from the mean, over the
    number of days."""
    if contest is None or not contest.influences:
        return None
    by_day: dict[date, float] = {}
    for name, added in zip(contest.days, contest.influences[0], strict=True):
        day = date.fromisoformat(name[:10])
        by_day[day] = by_day.get(day, 0.0) + added
    days = sorted(by_day)
    if any((later - day).days >= 7 for day, later in pairwise(days)):
        return None
    gains = np.array([by_day[day] for day in days]) * len(days)
    whole = len(gains) // BLOCK_DAYS * BLOCK_DAYS
    return spread_of([gains[:whole].reshape(-1, BLOCK_DAYS).mean(axis=1)])


def plan_in_words(
    case: UseCase, stages: Sequence[Stage], spread: Spread | None, spread_in: str
) -> list[Reason]:
    """What the stages that labels judge can find; ``spread`` is that of gains in ``spread_in``."""
    reasons = []
    for stage in stages:
        if stage.kind == "canary":
            continue
        metric = metric_of(case, stage).in_each_language
        blocks = horizon_of(stage) or MOST_BLOCKS
        is_planned = stage.days is not None
        known = spread if stage.metric == spread_in else None
        gain = decidable(known, blocks, planned=is_planned) if known else None
        if known is None or gain is None:
            reasons.append(because("plan_unknown"))
            continue
        days = blocks * BLOCK_DAYS
        reasons.append(because("plan_finds", days=days, blocks=blocks, gain=gain, metric=metric))
        if stage.smallest_gain is not None:
            reasons.append(_for_smallest(stage.smallest_gain, known, days, is_planned, metric))
        if stage.kind == "ab":
            reasons.append(because("plan_of_other_callers"))
    return reasons


def _for_smallest(
    gain: float, spread: Spread, days: int, is_planned: bool, metric: dict[str, str]
) -> Reason:
    blocks = plan(gain, spread, planned=is_planned).blocks
    if blocks is None or blocks * BLOCK_DAYS > days:
        return because("plan_never", gain=gain, metric=metric, days=days)
    return because("plan_takes", gain=gain, metric=metric, days=blocks * BLOCK_DAYS)
