"""What decides on a challenger: metrics, the gate, and the rule of the contest."""

from typing import Literal

from pydantic import Field

from usecases.definition.columns import Frozen


class Metric(Frozen):
    """A score by name (see ``tasks/metrics.py``) that knows which way is better; it is never negated."""

    name: Literal["roc_auc", "log_loss", "brier", "calibration_error"]
    higher_is_better: bool

    def gain(self, challenger: float, champion: float) -> float:
        """How much better the challenger is, positive when it is, whatever the metric's direction."""
        return challenger - champion if self.higher_is_better else champion - challenger


ROC_AUC = Metric(name="roc_auc", higher_is_better=True)
LOG_LOSS = Metric(name="log_loss", higher_is_better=False)
BRIER = Metric(name="brier", higher_is_better=False)
CALIBRATION_ERROR = Metric(name="calibration_error", higher_is_better=False)


class Gate(Frozen):
    """The absolute floor on the hold-out: a candidate below ``threshold`` is never registered."""

    metric: Metric
    threshold: float

    def passes(self, score: float) -> bool:
        """Not-a-number never passes."""
        return score >= self.threshold if self.metric.higher_is_better else score <= self.threshold


class Guard(Frozen):
    """A second metric that the challenger may lose by at most ``tolerance`` (in the metric's own unit)."""

    metric: Metric
    tolerance: float


class Promotion(Frozen):
    """The rule of the contest (``tasks/contest.py``): paired block bootstrap, by ``block`` of the event time.

    Promoted when the lower ``1 - confidence`` bound of the gain is above zero, and those of all guards and slices, which hold
    together, are above minus their tolerance. Slices below ``slice_minimum_rows`` are not judged, and that is said.
    A gain above ``suspicious_gain``, a ROC AUC above ``suspicious_score``, or one column that alone reaches the share
    ``suspicious_column`` of the challenger's lift over chance and ranks better than the champion is taken for a leak; ``None``
    does not look at columns.
    A package that takes more than ``latency_ratio`` times the champion's time, and ``latency_floor_milliseconds`` longer, stays out.
    """

    block: Literal["hour", "day", "week"] = "day"
    replicates: int = Field(400, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    minimum_blocks: int = 10
    minimum_rows: int = 500
    guards: tuple[Guard, ...] = ()
    slices: tuple[str, ...] = ()
    slice_tolerance: float = 0.02
    slice_minimum_rows: int = 1000
    suspicious_gain: float = 0.10
    suspicious_score: float = 0.97
    suspicious_column: float | None = Field(0.95, gt=0)
    latency_ratio: float = Field(3.0, gt=1)
    latency_floor_milliseconds: float = Field(5.0, ge=0)
