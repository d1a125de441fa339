"""Gains of a challenger by blocks of event time, from labels that come late.

Only days are judged that are older than the time by which labels are in, and a judged block is
never judged again: labels that come earlier for one outcome than for the other would else crown
equal challengers. For the same reason there is no verdict while labelled rows are of another kind
than those without a label."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from tasks.measures.metrics import score
from usecases.definition import Metric

BLOCK_DAYS = 2
MINIMUM_ROWS = 30
MissingLabel = Literal["unknown", "negative", "none"]
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
class Arms:
    """Rows that one of the models answered, in any order: the challenger where ``is_challenger``
    ``(n_rows,)``; the others are as in ``Rows``."""

    day: np.ndarray
    truth: np.ndarray
    answers: np.ndarray
    is_challenger: np.ndarray

    def of(self, chosen: np.ndarray) -> "Arms":
        return Arms(
            self.day[chosen], self.truth[chosen], self.answers[chosen], self.is_challenger[chosen]
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
    before: Judged, rows: Rows | Arms, metric: Metric, mature_through: int, missing: MissingLabel
) -> Judged:
    """Judge the days up to ``mature_through`` that ``before`` has not. A block is closed as soon as
    it has ``BLOCK_DAYS`` days, ``MINIMUM_ROWS`` labelled rows and a score of both models; days that
    lack them wait for the next. Each side of ``Arms`` needs as many labelled rows."""
    if missing == "negative":
        rows = replace(rows, truth=np.nan_to_num(rows.truth))
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


def _block(rows: Rows | Arms, metric: Metric, first: int, last: int) -> Block | None:
    has_label = ~np.isnan(rows.truth)
    judged = rows.of(has_label)
    sides = _sides(judged)
    if min(len(truth) for truth, _ in sides) < MINIMUM_ROWS:
        return None
    champion, challenger = (
        score(metric, truth if "number" in metric.targets else truth.astype(np.int64), answers)
        for truth, answers in sides
    )
    if not np.isfinite([champion, challenger]).all():
        return None
    gain = metric.gain(challenger, champion)
    labelled = int(has_label.sum())
    return Block(first, last, len(has_label), labelled, gain, _furthest_apart(rows, has_label))


def _sides(judged: Rows | Arms) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truth and answers of the champion's side, then of the challenger's."""
    if isinstance(judged, Rows):
        return [(judged.truth, judged.champion), (judged.truth, judged.challenger)]
    sides = (~judged.is_challenger, judged.is_challenger)
    return [(judged.truth[side], judged.answers[side]) for side in sides]


def _furthest_apart(rows: Rows | Arms, has_label: np.ndarray) -> float | None:
    """By how much rows with and without a label differ, by the champion's answers; of arms by those
    of the side that differs more."""
    if isinstance(rows, Rows):
        return _apart(rows.champion, has_label)
    sides = (~rows.is_challenger, rows.is_challenger)
    known = [_apart(rows.answers[side], has_label[side]) for side in sides]
    return max((each for each in known if each is not None), key=abs, default=None)


def _apart(answers: np.ndarray, has_label: np.ndarray) -> float | None:
    if has_label.all():
        return None
    deviation = answers.std(axis=0)
    away = answers[~has_label].mean(axis=0) - answers[has_label].mean(axis=0)
    largest = np.atleast_1d(away / np.where(deviation > 0, deviation, 1.0))
    return float(largest[np.abs(largest).argmax()])
