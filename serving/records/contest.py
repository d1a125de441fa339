"""The record of a contest: scores of champion and challenger, behaviour and latency."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from serving.records.reasons import Coded, Codes, OneCode, Sentence
from serving.records.record import OneOf, record

Verdict = Literal["promote", "keep", "suspicious", "unfair", "inconclusive"]
# Left out where it says nothing: records from before such a field are spelled as they were.
_LATER = Field(exclude_if=lambda value: value in (None, 0, []))
BehaviourKind = Literal["invariance", "direction", "minimum function"]


def mean_difference(place: int) -> str:
    """The fact of a contest that says by how much the challenger's mean answer is above the
    champion's on the hold-out; of classes, that of the class at ``place``."""
    return f"mean_difference_{place}"


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
class Spending:
    """What a try on a hold-out that was contested before may spend (``tasks/contest/tries.py``).

    ``tries`` counts this one. ``level`` is the chance (0-1) to crown an equal challenger that this
    try spends of the hold-out's ``of``; ``standard_errors`` is what the gain had to exceed, and
    ``first_standard_errors`` what it would have on days that no contest has seen."""

    tries: int
    level: float
    of: float
    standard_errors: float
    first_standard_errors: float


@record
class Contest(Coded):
    """The record of a contest. ``low`` and ``high`` bound the gain one-sidedly: those of ``main``
    at ``confidence`` (0-1) each, those of all ``guards`` and ``slices`` together at
    ``joint_confidence`` (``None``: also at ``confidence``).

    ``unjudged``: the slices that were too small to judge, with their rows. ``verdict`` follows from
    the scores alone: a decision may know more (``tasks/contest/decide.py``).

    ``days`` names the blocks in time order, and ``influences`` has what each adds to the error of
    the gain, of the challenger first and then of the candidates that it was chosen from on the same
    rows: later tries on these days are judged together with them. ``dependence`` is the correlation
    of one block's gain with the next one's. ``refit_error`` is how much refits of the challenger's
    recipe differ (a standard deviation, in the metric's unit, over ``refits`` fits); it is part of
    the bounds of ``main``. ``replicates`` were simulated for the critical values; in records from
    before November 2026 they were bootstrapped, and the new fields are empty. ``decidable`` is the
    smallest true gain that such a contest would find in eight of ten; ``None``: not known."""

    verdict: Annotated[str, OneOf(Verdict)]
    reasons: list[Sentence]
    blocks: int
    replicates: int
    confidence: float
    seed: int
    main: Comparison
    guards: list[Comparison] = field(default_factory=list)
    slices: dict[str, Comparison] = field(default_factory=dict)
    unjudged: dict[str, int] = field(default_factory=dict)
    joint_confidence: Annotated[float | None, _LATER] = None
    spending: Annotated[Spending | None, _LATER] = None
    days: Annotated[list[str], _LATER] = field(default_factory=list)
    influences: Annotated[list[list[float]], _LATER] = field(default_factory=list)
    dependence: Annotated[float | None, _LATER] = None
    refits: Annotated[int, _LATER] = 0
    refit_error: Annotated[float | None, _LATER] = None
    decidable: Annotated[float | None, _LATER] = None
    codes: Codes = field(default_factory=list)

    def __post_init__(self) -> None:
        self._join("reasons", "codes")

    @property
    def promoted(self) -> bool:
        return self.verdict == "promote"


@record
class Behaviour(Coded):
    """The result of a behavioural test of the challenger (``tasks/contest/behaviour.py``).

    ``held``: the number of the tested ``rows`` that pass. ``reason`` is empty for a pass.
    """

    name: str
    kind: Annotated[str, OneOf(BehaviourKind)]
    passed: bool
    rows: int
    held: int
    reason: Sentence = ""
    code: OneCode = None

    def __post_init__(self) -> None:
        self._join_one("reason", "code")


@record
class Latency:
    """Both packages' time for a request with ``rows`` rows (``tasks/contest/latency.py``)."""

    rows: int
    champion_milliseconds: float
    challenger_milliseconds: float
