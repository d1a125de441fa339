"""The drift checks that the flows keep in the lake, as the service reports them. For the decisions
see ``serving/history/ledger.py``.
"""

from datetime import datetime
from urllib.parse import quote

import msgspec

from blocks.clients.objects import Stored
from serving.records.drift import Checked
from serving.records.performance import Performance
from serving.records.reasons import Code

_DRIVERS = 5


class DriftColumn(msgspec.Struct, frozen=True):
    """How far a column is from the champion's reference; null if unknown. ``weight`` (0-1): its
    part in the share.
    """

    name: str
    distance: float | None
    threshold: float | None
    weight: float | None = None


class DriftCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The latest check of a window. ``drivers`` are the columns that are furthest beyond (or
    nearest to) their threshold.

    ``outcome`` is that of the verdict, or ``unreadable``. ``weighted``: the share counts columns by
    their weight in the model. ``report`` is the path of Evidently's report here, ``report_url``
    that in MLflow."""

    window: str
    outcome: str
    checked: datetime
    reasons: list[str]
    codes: list[Code | None] = []
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
    weighted: bool = False
    how: str = ""
    cause: str | None = None
    performance: Performance | None = None


# Made now, by one thread: msgspec ends the process if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_DECODER = msgspec.json.Decoder(Checked)


def read_check(data: bytes) -> Checked:
    """``verdict.json``. Raises ``msgspec.DecodeError``, ``UnicodeDecodeError``,
    ``RecursionError``.
    """
    return _DECODER.decode(data)


def drift_check(window: str, stored: Stored, check: Checked | str, keys: set[str]) -> DriftCheck:
    if isinstance(check, str):
        return DriftCheck(
            window=window, outcome="unreadable", checked=stored.modified, reasons=[check]
        )
    verdict, use_case = check.verdict, stored.key.split("/")[1]
    distances = {
        name: distance
        for name, distance in verdict.distances.items()
        if name not in verdict.described
    }
    columns = [
        DriftColumn(name, distance, verdict.thresholds.get(name), verdict.importance.get(name))
        for name, distance in distances.items()
    ]
    return DriftCheck(
        window=window,
        outcome=verdict.outcome,
        checked=stored.modified,
        reasons=verdict.reasons,
        codes=verdict.codes,
        share=verdict.share,
        limit=verdict.limit,
        rows=verdict.rows,
        columns=len(columns),
        drivers=sorted(columns, key=_drive, reverse=True)[:_DRIVERS],
        champion=check.champion,
        label_coverage=check.label_coverage,
        scores=check.scores,
        report=f"/v1/{use_case}/drift/{quote(window, safe='')}/report"
        if report_key(use_case, window, check) in keys
        else None,
        report_url=check.report_url,
        weighted=bool(verdict.importance),
        how=verdict.how,
        cause=check.cause,
        performance=check.performance,
    )


def _drive(column: DriftColumn) -> tuple[bool, float, float]:
    """Sort key of what drives the share: beyond the threshold, then by weight, then by distance."""
    beyond = _beyond(column)
    return beyond >= 1, column.weight or 0.0, beyond


def _beyond(column: DriftColumn) -> float:
    """The distance in thresholds; a column without a distance comes first."""
    return (
        column.distance / column.threshold
        if column.distance is not None and column.threshold
        else float("inf")
    )


def report_key(use_case: str, window: str, check: Checked) -> str:
    """Empty if the check made no report: a report by an older check does not count."""
    return (
        f"reports/{use_case}/{window}/champion-{check.champion}.html" if check.report_path else ""
    )
