"""The record of a drift check: ``reports/<use case>/<window>/verdict.json``."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from serving.records.performance import Performance
from serving.records.record import OneOf, record

Outcome = Literal["stable", "drifted", "broken", "inconclusive", "silent"]
Cause = Literal["data", "performance", "data and performance"]


@record
class DriftVerdict:
    """The result of a window's check. Columns with a total weight of ``share`` (0-1) are beyond
    their threshold; drift begins at ``limit``.

    ``beyond``: whether the share of this window reaches the limit; ``None`` without a share.
    Unknown ``distances`` are ``None``. ``importance`` is the weight of each column that counts, all
    together 1; ``described`` columns have a distance and do not count. ``how`` describes how the
    window was read."""

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
    reasons: list[str]


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
