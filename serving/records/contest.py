"""The record of a contest: scores of champion and challenger, behaviour and latency."""

from dataclasses import field
from typing import Annotated, Literal

from serving.records.record import OneOf, record

Verdict = Literal["promote", "keep", "suspicious", "unfair", "inconclusive"]
BehaviourKind = Literal["invariance", "direction", "minimum function"]


@record
class Comparison:
    """One score of both, and the gain with its interval; a gain is positive if the challenger is
    better.

    ``None``: unknown. Rows of one class have no score and no gain; if replicates have only one
    class, there is no interval."""

    metric: str
    rows: int
    champion: float | None
    challenger: float | None
    gain: float | None
    low: float | None
    high: float | None


@record
class Contest:
    """The record of a contest. ``low`` and ``high`` bound the gain one-sidedly at the policy's
    ``confidence`` (0-1) each.

    Those of ``main`` hold by themselves; those of all ``guards`` and ``slices`` hold together.
    ``unjudged``: the slices that were too small to judge, with their rows. ``verdict`` follows from
    the scores alone: a decision may know more (``tasks/contest/decide.py``)."""

    verdict: Annotated[str, OneOf(Verdict)]
    reasons: list[str]
    blocks: int
    replicates: int
    confidence: float
    seed: int
    main: Comparison
    guards: list[Comparison] = field(default_factory=list)
    slices: dict[str, Comparison] = field(default_factory=dict)
    unjudged: dict[str, int] = field(default_factory=dict)

    @property
    def promoted(self) -> bool:
        return self.verdict == "promote"


@record
class Behaviour:
    """The result of a behavioural test of the challenger (``tasks/contest/behaviour.py``).

    ``held``: the number of the tested ``rows`` that pass. ``reason`` is empty for a pass.
    """

    name: str
    kind: Annotated[str, OneOf(BehaviourKind)]
    passed: bool
    rows: int
    held: int
    reason: str = ""


@record
class Latency:
    """Both packages' time for a request with ``rows`` rows (``tasks/contest/latency.py``)."""

    rows: int
    champion_milliseconds: float
    challenger_milliseconds: float
