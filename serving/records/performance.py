"""How well a champion did on a window, from the labels that came."""

from dataclasses import field
from typing import Annotated, Literal

from serving.records.record import OneOf, record

PerformanceVerdict = Literal["level", "worse", "provisional", "unknown"]


@record
class Interval:
    """A score with its two-sided bounds at 90 %. ``None``: not known, since a class is missing, or
    is on some replicates.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


@record
class Estimate:
    """The expected score of all rows, labelled or not. ``error`` is estimate less realised on the
    rows whose label came.
    """

    value: float | None = None
    error: float | None = None


@record
class Performance:
    """The champion's scores on a window, and what they are worth.

    ``rows`` were answered by this champion, ``other_rows`` by other versions, which are left out.
    ``labels`` of the ``rows`` have come (``coverage``, 0-1), on ``days`` days; ``repeated`` of them
    more than once, ``skewed`` before there was anything to know. ``unknown_ids`` are labels for ids
    that the window does not hold; ``None``: not counted, since the window was sampled.
    ``provisional``: the labels are too few yet. ``metrics`` are those of the window, ``holdout``
    the champion's own on its hold-out."""

    champion: str | None
    verdict: Annotated[str, OneOf(PerformanceVerdict)]
    provisional: bool
    reasons: list[str]
    rows: int
    other_rows: int = 0
    labels: int
    coverage: float
    days: int
    unknown_ids: int | None = 0
    repeated: int = 0
    skewed: int = 0
    metrics: dict[str, Interval] = field(default_factory=dict)
    holdout: dict[str, Interval] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    seed: int = 0

    @property
    def scores(self) -> dict[str, float]:
        return {
            name: interval.value
            for name, interval in self.metrics.items()
            if interval.value is not None
        }
