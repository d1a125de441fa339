"""Gains of a challenger by blocks of event time, from labels that come late.

Only days are judged that are older than the time by which labels are in, and a judged block is
never judged again: labels that come earlier for one outcome than for the other would else crown
equal challengers. For the same reason there is no verdict while labelled rows are of another kind
than those without a label."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tasks.measures.metrics import score
from usecases.definition import Metric

BLOCK_DAYS = 2
MINIMUM_ROWS = 30
MissingLabel = Literal["unknown", "negative"]
_APART = 0.1  # standard deviations of the champion's answer
_SURELY = 3.0  # standard errors


@dataclass(frozen=True)
class Rows:
    """Rows that both models answered, in any order. ``day`` ``(n_rows,)`` counts days of event
    time, ``truth`` is ``nan`` without a label; predictions are ``(n_rows,)`` or
    ``(n_rows, n_classes)``."""

    day: np.ndarray
    truth: np.ndarray
    champion: np.ndarray
    challenger: np.ndarray

    def of(self, chosen: np.ndarray) -> "Rows":
        return Rows(
            self.day[chosen], self.truth[chosen], self.champion[chosen], self.challenger[chosen]
        )


@dataclass(frozen=True)
class Block:
    """Days ``first`` to ``last`` and their gain. ``apart`` is by how much the champion's mean
    answer to rows without a label differs from that to labelled ones, in standard deviations of
    its answers; ``None`` if no row lacks one."""

    first: int
    last: int
    rows: int
    labelled: int
    gain: float
    apart: float | None = None


@dataclass(frozen=True)
class Judged:
    """All blocks so far, in time order, and the first day that is not yet judged."""

    blocks: list[Block] = field(default_factory=list)
    next_day: int | None = None

    @property
    def gains(self) -> np.ndarray:
        return np.array([block.gain for block in self.blocks])


def judge_days(
    before: Judged, rows: Rows, metric: Metric, mature_through: int, missing: MissingLabel
) -> Judged:
    """Judge the days up to ``mature_through`` that ``before`` has not. A block is closed as soon as
    it has ``BLOCK_DAYS`` days, ``MINIMUM_ROWS`` labelled rows and a score of both models; days that
    lack them wait for the next."""
    if missing == "negative":
        rows = Rows(rows.day, np.nan_to_num(rows.truth), rows.champion, rows.challenger)
    fresh = rows.day <= mature_through
    if before.next_day is not None:
        fresh &= rows.day >= before.next_day
    if not fresh.any():
        return before
    rows = rows.of(fresh)
    blocks = list(before.blocks)
    start = int(rows.day.min()) if before.next_day is None else before.next_day
    for last in range(start, mature_through + 1):
        if last - start + 1 < BLOCK_DAYS:
            continue
        block = _block(rows.of((rows.day >= start) & (rows.day <= last)), metric, start, last)
        if block is not None:
            blocks.append(block)
            start = last + 1
    return Judged(blocks, start)


def is_informative(blocks: Sequence[Block]) -> bool:
    """Whether the rows without a label are surely of another kind than the labelled ones, so that a
    verdict on the latter would not be one on all."""
    apart = np.array([block.apart for block in blocks if block.apart is not None])
    if len(apart) < 2:
        return False
    error = max(apart.std(ddof=1), 1e-12) / np.sqrt(len(apart))
    return bool(abs(apart.mean()) > max(_APART, _SURELY * error))


def _block(rows: Rows, metric: Metric, first: int, last: int) -> Block | None:
    has_label = ~np.isnan(rows.truth)
    labelled = int(has_label.sum())
    if labelled < MINIMUM_ROWS:
        return None
    judged = rows.of(has_label)
    truth = judged.truth if "number" in metric.targets else judged.truth.astype(np.int64)
    champion, challenger = (
        score(metric, truth, predicted) for predicted in (judged.champion, judged.challenger)
    )
    if not np.isfinite([champion, challenger]).all():
        return None
    return Block(
        first,
        last,
        len(has_label),
        labelled,
        metric.gain(challenger, champion),
        _apart(rows.champion, has_label),
    )


def _apart(answers: np.ndarray, has_label: np.ndarray) -> float | None:
    if has_label.all():
        return None
    deviation = answers.std(axis=0)
    away = answers[~has_label].mean(axis=0) - answers[has_label].mean(axis=0)
    largest = np.atleast_1d(away / np.where(deviation > 0, deviation, 1.0))
    return float(largest[np.abs(largest).argmax()])
