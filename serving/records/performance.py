"""The record of a champion's performance on a window, from the received labels."""

from dataclasses import field
from typing import Annotated, Literal

from serving.records.reasons import Coded, Codes, Sentence
from serving.records.record import OneOf, record

PerformanceVerdict = Literal["level", "worse", "provisional", "unknown"]
Held = Literal["", "as promised", "fewer", "more"]


@record
class Interval:
    """A score with its two-sided bounds at 90 %. ``None``: unknown, since a class is missing, at
    least on some replicates.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


@record
class Estimate:
    """The expected score of all rows, labelled or not. ``error`` is the estimate minus the realised
    score on the labelled rows.
    """

    value: float | None = None
    error: float | None = None


@record
class Performance(Coded):
    """The champion's scores on a window, and their evidence.

    This champion answered ``rows``; other versions answered ``other_rows``, which are left out.
    ``labels`` of the ``rows`` have come (``coverage``, 0-1), on ``days`` days; ``repeated`` of them
    came more than once, ``skewed`` ones before the outcome could be known. ``unknown_ids`` are
    labels for ids outside the window; ``None``: not counted, since the window was sampled.
    ``provisional``: there are too few labels yet. ``held``: whether the answers' intervals or sets
    held ``fewer`` or ``more`` of the labels than they promise, surely, or ``as promised``; empty if
    that is not known. ``metrics`` are those of the window, ``holdout``
    the champion's own on its hold-out."""

    champion: str | None
    verdict: Annotated[str, OneOf(PerformanceVerdict)]
    provisional: bool
    reasons: list[Sentence]
    rows: int
    other_rows: int = 0
    labels: int
    coverage: float
    days: int
    unknown_ids: int | None = 0
    repeated: int = 0
    skewed: int = 0
    held: Annotated[str, OneOf(Held)] = ""
    metrics: dict[str, Interval] = field(default_factory=dict)
    holdout: dict[str, Interval] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    seed: int = 0
    codes: Codes = field(default_factory=list)

    def __post_init__(self) -> None:
        self._join("reasons", "codes")

    @property
    def scores(self) -> dict[str, float]:
        return {
            name: interval.value
            for name, interval in self.metrics.items()
            if interval.value is not None
        }
