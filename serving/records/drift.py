"""The record of a drift check: ``reports/<use case>/<window>/verdict.json``."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from serving.records.performance import Performance
from serving.records.reasons import Coded, Codes, OneCode, Sentence
from serving.records.record import OneOf, record

Outcome = Literal["stable", "drifted", "broken", "inconclusive", "silent"]
Cause = Literal["data", "performance", "data and performance"]
Word = Literal["broken", "drifted", "said", "unjudged", "uncalibrated"]


@record
class Finding(Coded):
    """What one check found in a window. ``word`` is what it means: *broken* and *drifted* decide,
    *said* is a note, *unjudged* could not be looked at, *uncalibrated* has too few training periods
    behind its limit to decide.

    ``value`` and ``limit`` are in the check's own measure. ``retrain``: whether the finding alone
    may start a retrain. ``reason`` is a sentence that names the column in quotes."""

    check: str
    word: Annotated[str, OneOf(Word)]
    reason: Sentence
    column: str | None = None
    value: float | None = None
    limit: float | None = None
    retrain: bool = False
    code: OneCode = None

    def __post_init__(self) -> None:
        self._join_one("reason", "code")


@record
class DriftVerdict(Coded):
    """The result of a window's check. Columns with a total weight of ``share`` (0-1) are beyond
    their threshold; drift begins at ``limit``.

    ``beyond``: whether the share of this window reaches the limit; ``None`` without a share.
    Unknown ``distances`` are ``None``. ``importance`` is the weight of each column that counts, all
    together 1; ``described`` columns have a distance and do not count. ``how`` describes how the
    window was read. ``findings`` are those of the checks beside the distances, and ``retrain`` says
    whether a *drifted* window starts a retrain. ``sequence`` is the sum of the day-by-day view at
    the window's end, from which the next window goes on."""

    outcome: Annotated[str, OneOf(Outcome)]
    window: str
    rows: int
    share: float | None
    limit: float
    beyond: bool | None = None
    distances: dict[str, float | None] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)
    described: list[str] = field(default_factory=list)
    calibrated: bool = True
    how: str = ""
    findings: list[Finding] = field(default_factory=list)
    retrain: bool = True
    sequence: float = 0.0
    reasons: list[Sentence]
    codes: Codes = field(default_factory=list)

    def __post_init__(self) -> None:
        self._join("reasons", "codes")


@record
class Checked:
    """A verdict with the place of its report, and the champion's performance on the received
    labels. ``time`` is UTC, in ISO 8601; only checks from before this field have none.

    ``label_coverage`` and ``scores`` are those of ``performance``; ``cause`` is the kind of
    evidence for a drift."""

    use_case: str
    champion: str
    time: Annotated[str, Field(min_length=1, validate_default=True)] = ""
    verdict: DriftVerdict
    report_path: str | None = None
    report_url: str | None = None
    label_coverage: float = 0.0
    scores: dict[str, float | None] = field(default_factory=dict)
    performance: Performance | None = None
    cause: Annotated[str, OneOf(Cause)] | None = None
