"""What decides on a challenger: the gate, and the rule of the contest."""

import math
from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from usecases.definition.columns import Frozen
from usecases.definition.metrics import Metric, RegisteredMetric
from usecases.definition.period_kinds import PeriodKind
from usecases.definition.periods import window_kind

_DAY = timedelta(days=1)


class Gate(Frozen):
    """The absolute floor on the hold-out: a candidate below ``threshold`` is never registered."""

    metric: RegisteredMetric
    threshold: float

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        metric = self.metric
        reachable = metric.lowest <= self.threshold <= metric.highest
        if not reachable or math.isinf(self.threshold):
            percent = (
                f"; for {self.threshold:g} percent write {self.threshold / 100:g}"
                if metric.highest == 1 < self.threshold <= 100
                else ""
            )
            raise ValueError(
                f"the threshold is {self.threshold:g}, but {metric.name} lies between "
                f"{metric.lowest:g} and {metric.highest:g}{percent}"
            )
        return self

    def passes(self, score: float) -> bool:
        """Not-a-number never passes."""
        return score >= self.threshold if self.metric.higher_is_better else score <= self.threshold


class Guard(Frozen):
    """A second metric that the challenger may lose by at most ``tolerance`` (in the metric's own
    unit).
    """

    metric: RegisteredMetric
    tolerance: float = Field(ge=0, allow_inf_nan=False)


class Promotion(Frozen):
    """The rule of the contest (``tasks/contest/verdict.py``), by ``block`` of the event time.

    The hold-out is the latest ``holdout_periods`` labelled periods. More of them find smaller
    gains, and a contest waits until the champion has learned none of them.
    Promoted when the lower ``1 - confidence`` bound of the gain is above zero, and those of all
    guards and slices, which hold together, are above minus their tolerance. Critical values are
    those of ``replicates`` simulated worlds. The bound of the gain includes how much ``refits``
    fits of the recipe differ; ``None``: three if they cost little, else none, which is said.
    ``slice_tolerance`` is in the metric's own unit, and of an error of a number a share of the
    champion's. Slices below ``slice_minimum_rows`` are not judged, and that is said. Taken for a
    leak are a gain in ROC AUC above the share ``suspicious_share`` of what the champion lacks (1
    minus its own), whatever the metric, and one in R² of a number above
    ``suspicious_number_share``; a gain above ``suspicious_gain`` in the metric's own unit
    (``None``: any); a ROC AUC or R² above ``suspicious_score``; and one column that ranks better
    than the champion and alone reaches the share ``suspicious_column`` of the challenger's lift
    over chance, or half of it while it agrees with a yes or no in the share
    ``suspicious_agreement`` of the rows (classes weigh the same); ``suspicious_column=None`` does
    not look at columns. So are rows of the hold-out that are nearly training rows, unless
    ``suspicious_copies`` is off. A hold-out of fewer than ``minimum_rows``, ``minimum_blocks``
    (by default ten, or five weeks) or ``minimum_class_rows`` of the rarer class tells nothing:
    a contest is *inconclusive*, and a first champion, whom the gate alone judges, has a
    provisional crown. A package that takes more than ``latency_ratio`` times the champion's
    time, and ``latency_floor_milliseconds`` longer, stays out."""

    holdout_periods: int = Field(1, ge=1)
    block: Literal["hour", "day", "week"] = "day"
    replicates: int = Field(40_000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    refits: int | None = Field(None, ge=0, le=20)
    minimum_blocks: int | None = Field(None, ge=2)
    minimum_rows: int = Field(500, ge=1)
    minimum_class_rows: int = Field(10, ge=1)
    guards: tuple[Guard, ...] = ()
    slices: tuple[str, ...] = ()
    slice_tolerance: float = Field(0.02, ge=0, allow_inf_nan=False)
    slice_minimum_rows: int = Field(1000, ge=1)
    suspicious_share: float = Field(0.20, gt=0, le=1)
    suspicious_number_share: float = Field(0.50, gt=0, le=1)
    suspicious_gain: float | None = Field(None, gt=0)
    suspicious_score: float = Field(0.97, gt=0, le=1)
    suspicious_column: float | None = Field(0.95, gt=0)
    suspicious_agreement: float = Field(0.80, gt=0.5, le=1)
    suspicious_copies: bool = True
    latency_ratio: float = Field(3.0, gt=1)
    latency_floor_milliseconds: float = Field(5.0, ge=0)

    @field_validator("refits")
    @classmethod
    def _differ(cls, refits: int | None) -> int | None:
        if refits == 1:
            raise ValueError(
                "refits is 1, and one fit does not differ from itself: 0, or 2 or more"
            )
        return refits

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        named = {"guards": [guard.metric.name for guard in self.guards], "slices": self.slices}
        for field, names in named.items():
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{field} named twice: {repeated}")
        return self

    def problems(self, period: PeriodKind) -> list[str]:
        """Why a hold-out of such periods never has blocks enough for a contest."""
        if self._most_blocks(period) >= self.enough_blocks:
            return []
        length = window_kind(self.block).longest
        enough = -(-self.enough_blocks * length // period.shortest)
        ways = [f"holdout_periods={enough}"]
        for block in ("day", "hour"):
            other = self.model_copy(update={"block": block})
            if other._most_blocks(period) >= other.enough_blocks:
                ways.append(f'block="{block}"')
                break
        count = self.holdout_periods
        span = f"{count} {period.plural}" if count > 1 else period.one
        return [
            f"promotion: a hold-out of {span} has "
            f"{self._most_blocks(period)} of the {self.enough_blocks} blocks of "
            f"{window_kind(self.block).one} that a contest needs (minimum_blocks), so that each "
            f"would be inconclusive: write Promotion({') or Promotion('.join(ways)})"
        ]

    def _most_blocks(self, period: PeriodKind) -> int:
        """How many blocks a hold-out has at most: it may begin with the last part of one."""
        block, span = window_kind(self.block).longest, self.holdout_periods * period.longest
        step = min(block, period.longest if period.noun == "week" else _DAY, period.longest)
        return 1 - (step - span) // block

    @property
    def enough_blocks(self) -> int:
        """``minimum_blocks``; by default five weeks, or ten shorter blocks."""
        return self.minimum_blocks or (5 if self.block == "week" else 10)

    def tolerated(self, metric: Metric, champion: float | None) -> float:
        """How much a slice may lose in the metric; ``champion`` is the champion's score there."""
        scale = abs(champion or 0.0) if metric.is_error_of_number else 1.0
        return self.slice_tolerance * scale

    def too_good(self, metric: Metric, score: float) -> bool:
        """Whether the score is so near perfection that a leak is likelier than a good model."""
        return metric.near_perfect_is_suspicious and score > self.suspicious_score
