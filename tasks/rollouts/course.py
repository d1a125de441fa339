"""One look at a running rollout, and the one thing that follows from it. Pure.

Everything that the next look needs is in the record that comes out: it goes into the ledger, so
that a rollout goes on where it was, whatever was restarted meanwhile."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from serving.records.reasons import Reason, because
from serving.records.rollout import Rollout, RolloutBlock
from tasks.rollouts.blocks import (
    BLOCK_DAYS,
    Arms,
    Block,
    Judged,
    MissingLabel,
    Rows,
    is_informative,
    judge_days,
)
from tasks.rollouts.moves import Move, go_on
from tasks.rollouts.sequential import Look, first_finding
from tasks.rollouts.sides import RATIO_ERROR, Ratio, Shift
from tasks.rollouts.stages import MOST_DAYS, horizon_of
from usecases.definition import Metric

_TOO_LONG = 2  # times the planned days
_CLOCKS_APART = timedelta(minutes=10)  # of two machines


@dataclass(frozen=True)
class Sight:
    """What is there to see ``now``. Of a canary the ``requests`` that the challenger has answered
    in this step; of other stages the ``rows`` of days that are not yet judged, and the last day
    whose labels are in, ``through`` (``None``: there are no predictions yet). Days are proleptic
    ordinals. ``ratio`` and ``shift`` are those of recent answers; ``None``: unknown."""

    now: datetime
    requests: int = 0
    rows: Rows | Arms | None = None
    through: int | None = None
    ratio: Ratio | None = None
    shift: Shift | None = None


def next_move(rollout: Rollout, sight: Sight, metric: Metric | None) -> Move:
    """Judge what was seen. ``metric`` is the stage's; a canary has none."""
    if rollout.held:
        return Move("", [because("rollout_is_held")], rollout)
    if datetime.fromisoformat(rollout.since) > sight.now + _CLOCKS_APART:
        # Nothing counts before its beginning, and the stage would wait until then.
        since = sight.now.isoformat(timespec="milliseconds")
        ahead = because("rollout_clock_was_ahead", since=rollout.since)
        return Move("judged", [ahead], replace(rollout, since=since))
    rollout = replace(rollout, shift=sight.shift.size if sight.shift else None)
    if unsound := _judge_sides(rollout, sight):
        return unsound
    if metric is None:
        return _judge_canary(replace(rollout, requests=sight.requests), sight)
    return _judge_days(rollout, sight, metric)


def _judge_sides(rollout: Rollout, sight: Sight) -> Move | None:
    """The end of a rollout whose sides cannot be compared, or whose challenger answers too
    differently."""
    shift, largest = sight.shift, rollout.now.largest_shift
    if shift is not None and largest is not None and shift.is_beyond(largest):
        why = because("rollout_shifted", size=shift.size, error=shift.error, largest=largest)
        return Move("reverted", [why], rollout)
    ratio = sight.ratio
    # A stage of many days asks once for each pair of them.
    error = RATIO_ERROR if rollout.now.kind == "canary" else RATIO_ERROR / MOST_DAYS
    if ratio is not None and ratio.is_off(error):
        why = because(
            "rollout_ratio_off",
            seen=100 * ratio.seen,
            planned=100 * ratio.share,
            callers=ratio.champion + ratio.challenger,
        )
        return Move("inconclusive", [why], rollout)
    return None


def _judge_canary(rollout: Rollout, sight: Sight) -> Move:
    stage, requests = rollout.now, sight.requests
    minutes = (sight.now - datetime.fromisoformat(rollout.since)).total_seconds() / 60
    if requests >= stage.minimum_requests and minutes >= stage.minimum_minutes:
        over = because("rollout_step_over", requests=requests, minutes=minutes)
        return go_on(rollout, [over], sight.now)
    wanted = stage.minimum_requests
    if requests < wanted and minutes > stage.patience_days * 24 * 60:
        days = minutes / 24 / 60
        thin = because("rollout_too_few_requests", requests=requests, days=days, wanted=wanted)
        return Move("not enough traffic", [thin], rollout)
    waits = because(
        "rollout_waits_for_requests",
        requests=requests,
        wanted=wanted,
        minutes=minutes,
        least=stage.minimum_minutes,
    )
    return Move("", [waits], rollout)


def _judge_days(rollout: Rollout, sight: Sight, metric: Metric) -> Move:
    stage, before = rollout.now, _judged_of(rollout)
    judged = before
    if sight.rows is not None and sight.through is not None:
        missing: MissingLabel = "negative" if stage.missing_label == "negative" else "unknown"
        judged = judge_days(before, sight.rows, metric, sight.through, missing)
    seen = first_finding(judged.gains, horizon_of(stage), stage.margin)
    after = replace(
        rollout,
        blocks=[_block_record(block) for block in judged.blocks],
        next_day=date.fromordinal(judged.next_day).isoformat() if judged.next_day else None,
        gain=seen.gain,
        low=seen.low,
        high=seen.high,
    )
    if seen.finding != "undecided":
        # Rows without an outcome are no part of what is judged, whatever they are like.
        if stage.missing_label != "none" and is_informative(judged.blocks[: seen.blocks]):
            return Move("inconclusive", [because("rollout_informative")], after)
        return _found(after, seen, metric, sight.now)
    if thin := _too_thin(after, judged, sight):
        return Move("not enough traffic", [thin], after)
    if len(judged.blocks) > len(before.blocks):
        undecided = because(
            "rollout_undecided",
            blocks=seen.blocks,
            gain=seen.gain,
            metric=metric.in_each_language,
            low=seen.low,
            high=seen.high,
        )
        return Move("judged", [undecided], after)
    waits = because("rollout_waits_for_labels", blocks=len(judged.blocks), days=stage.label_days)
    return Move("", [waits], after)


def _found(rollout: Rollout, seen: Look, metric: Metric, now: datetime) -> Move:
    name, blocks = metric.in_each_language, seen.blocks
    gain, low, high = seen.gain, seen.low, seen.high
    if seen.finding == "worse":
        worse = because("rollout_worse", gain=gain, metric=name, low=low, high=high, blocks=blocks)
        return Move("lost", [worse], rollout)
    if seen.finding == "no_difference":
        alike = because("rollout_alike", gain=gain, metric=name, low=low, high=high, blocks=blocks)
        return Move("no difference", [alike], rollout)
    margin = rollout.now.margin
    if margin:
        good = because(
            "rollout_not_worse",
            margin=margin,
            gain=gain,
            metric=name,
            low=low,
            high=high,
            blocks=blocks,
        )
    else:
        good = because("rollout_better", gain=gain, metric=name, low=low, high=high, blocks=blocks)
    return go_on(rollout, [good], now)


def _too_thin(rollout: Rollout, judged: Judged, sight: Sight) -> Reason | None:
    """Why the rollout will not be decided: twice its days are over, of event time or on the clock,
    and too few blocks have come. Days of event time count if rows came: a single caller may ask
    about a day of last year."""
    stage = rollout.now
    planned = stage.days or MOST_DAYS
    by_events = BLOCK_DAYS * len(judged.blocks)
    if sight.rows is not None:
        fresh = sight.rows.day[sight.rows.day >= (judged.next_day or 0)]
        by_events += len(set(fresh.tolist()))
    waited = (sight.now - datetime.fromisoformat(rollout.since)).days - stage.label_days
    days = max(by_events, waited)
    wanted = horizon_of(stage) or MOST_DAYS // 2
    if days < _TOO_LONG * planned or len(judged.blocks) >= wanted:
        return None
    return because("rollout_too_few_labels", days=days, blocks=len(judged.blocks), wanted=wanted)


def _judged_of(rollout: Rollout) -> Judged:
    """The blocks that are judged already, which stay as they are."""
    blocks = [
        Block(
            date.fromisoformat(block.first).toordinal(),
            date.fromisoformat(block.last).toordinal(),
            block.rows,
            block.labelled,
            block.gain,
            block.apart,
        )
        for block in rollout.blocks
    ]
    day = date.fromisoformat(rollout.next_day).toordinal() if rollout.next_day else None
    return Judged(blocks, day)


def _block_record(block: Block) -> RolloutBlock:
    return RolloutBlock(
        first=date.fromordinal(block.first).isoformat(),
        last=date.fromordinal(block.last).isoformat(),
        rows=block.rows,
        labelled=block.labelled,
        gain=block.gain,
        apart=block.apart,
    )
