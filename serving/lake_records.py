"""What the flows keep in the lake, as the service tells it: drift checks and decisions.

The records are those of ``tasks/drift_checks.py`` and ``tasks/promotion.py``, which the service does not import: fields that are not
named here are left out, and a test reads what those modules write. A number that is none (NaN) stands as null in the lake.
"""

from datetime import datetime
from urllib.parse import quote

import msgspec

from serving.lake import Stored

_DRIVERS = 5


class DriftColumn(msgspec.Struct, frozen=True):
    """How far a column is from the champion's reference; null where that is no number."""

    name: str
    distance: float | None
    threshold: float | None


class DriftCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The latest check of a window. ``drivers`` are the columns that are furthest beyond (or nearest to) their threshold.

    ``outcome`` is that of the verdict, or ``unreadable``. ``report`` is the path of Evidently's report here, ``report_url`` that in MLflow.
    """

    window: str
    outcome: str
    checked: datetime
    reasons: list[str]
    share: float | None = None
    limit: float | None = None
    rows: int | None = None
    columns: int = 0
    drivers: list[DriftColumn] = []
    champion: str | None = None
    label_coverage: float | None = None
    scores: dict[str, float | None] = {}
    report: str | None = None
    report_url: str | None = None


class Comparison(msgspec.Struct, frozen=True):
    """Both scores, and the gain with its one-sided bounds."""

    metric: str
    rows: int
    champion: float | None
    challenger: float | None
    gain: float | None
    low: float | None
    high: float | None


class Contest(msgspec.Struct, frozen=True):
    """``confidence`` (0-1) is that of each bound of the gain."""

    confidence: float
    blocks: int
    main: Comparison


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Who wanted the crown, who had it, and what became of it. ``verdict`` is the decision's own, or ``unreadable``."""

    time: str
    verdict: str
    reasons: list[str]
    promoted: bool = False
    challenger: str | None = None
    champion: str | None = None
    holdout: str = ""
    contest: Contest | None = None
    gate_score: float | None = None
    by: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """The part of ``verdict.json`` that says what was found."""

    outcome: str
    rows: int
    share: float | None
    limit: float
    distances: dict[str, float | None]
    thresholds: dict[str, float | None]
    reasons: list[str]


class Checked(msgspec.Struct, frozen=True):
    """``verdict.json``, as ``tasks/drift_checks.py`` writes it."""

    champion: str
    verdict: Verdict
    report_path: str | None
    report_url: str | None
    label_coverage: float
    scores: dict[str, float | None]


def drift_check(window: str, stored: Stored, said: Checked | str, there: set[str]) -> DriftCheck:
    if isinstance(said, str):
        return DriftCheck(window=window, outcome="unreadable", checked=stored.modified, reasons=[said])
    verdict, use_case = said.verdict, stored.key.split("/")[1]
    columns = [DriftColumn(name, far, verdict.thresholds.get(name)) for name, far in verdict.distances.items()]
    return DriftCheck(
        window=window,
        outcome=verdict.outcome,
        checked=stored.modified,
        reasons=verdict.reasons,
        share=verdict.share,
        limit=verdict.limit,
        rows=verdict.rows,
        columns=len(columns),
        drivers=sorted(columns, key=_beyond, reverse=True)[:_DRIVERS],
        champion=said.champion,
        label_coverage=said.label_coverage,
        scores=said.scores,
        report=f"/v1/{use_case}/drift/{quote(window, safe='')}/report" if report_key(use_case, window, said) in there else None,
        report_url=said.report_url,
    )


def _beyond(column: DriftColumn) -> float:
    """The distance in thresholds; a column without a distance is what one wants to hear of first."""
    return column.distance / column.threshold if column.distance is not None and column.threshold else float("inf")


def report_key(use_case: str, window: str, said: Checked) -> str:
    """Empty where the check made no report. An older check of the window may have left one: it is not this one's."""
    return f"reports/{use_case}/{window}/champion-{said.champion}.html" if said.report_path else ""
