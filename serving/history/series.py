"""The windows of a use case in the order of time: score, estimate, drift, and the crowns."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from serving.history.drift import DriftCheck
from serving.history.reigns import Reign
from serving.history.traffic import Hours
from serving.history.window_order import begin_of, end_of
from serving.records.performance import Estimate, Interval

MOST_WINDOWS = 400


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The champion's score on the labels that have come: ``coverage`` (0-1) of the rows have one.
    ``value`` is ``None`` if it is unknown, and ``reason`` then says why.

    ``low`` and ``high`` are its bounds at 90 %, ``holdout_low`` and ``holdout_high`` those of the
    champion's own score on its hold-out."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    coverage: float | None = None
    provisional: bool = False
    holdout_low: float | None = None
    holdout_high: float | None = None
    reason: str | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The latest check of a window. ``begin`` is its first moment, without a time zone; ``None``
    if its name tells none. ``estimate`` is the expected score of all its rows, ``estimate_error``
    the estimate minus the score on the labelled rows.

    ``drift_share`` and ``limit`` are shares (0-1). ``rows`` are the predictions that were checked,
    by their event time. ``requests``, ``errors`` (refused or failed ones) and the latencies ``p50``
    and ``p99`` (seconds) are of all services, by the time of the answer; ``None``: not counted
    then, or no request."""

    window: str
    begin: str | None
    champion: str | None
    outcome: str
    checked: str
    score: Score
    estimate: float | None = None
    estimate_error: float | None = None
    drift_share: float | None = None
    limit: float | None = None
    rows: int | None = None
    requests: int | None = None
    errors: int | None = None
    p50: float | None = None
    p99: float | None = None


class Crown(msgspec.Struct, frozen=True, kw_only=True):
    """A version that became champion ``at`` a time, by the entry ``decision``. ``window`` is the
    first window in the series that it was judged on; ``None``: none yet."""

    at: str
    version: str | None
    decision: str
    window: str | None


def metric_of(checks: Sequence[DriftCheck], reigns: Sequence[Reign]) -> str | None:
    """The metric of the series: that of the contests, else the first that a check has."""
    for reign in reigns:
        if reign.metric:
            return reign.metric
    for check in checks:
        if check.performance:
            for names in (check.performance.holdout, check.performance.metrics, check.scores):
                if names:
                    return next(iter(names))
            if check.performance.estimates:
                return next(iter(check.performance.estimates))
    return None


def window_of(check: DriftCheck, metric: str | None, hours: Hours | None = None) -> Window:
    """The point of one check."""
    begin = begin_of(check.window)
    served = hours.within(begin, end_of(check.window)) if hours else None
    performance = check.performance
    estimate = performance.estimates.get(metric or "") if performance else None
    estimate = estimate or Estimate()
    return Window(
        window=check.window,
        begin=begin.isoformat() if begin != datetime.min else None,
        champion=check.champion,
        outcome=check.outcome,
        checked=check.checked.isoformat(),
        score=_score_of(check, metric),
        estimate=estimate.value,
        estimate_error=estimate.error,
        drift_share=check.share,
        limit=check.limit,
        rows=check.rows,
        requests=served.requests if served else None,
        errors=served.errors if served else None,
        p50=served.p50 if served else None,
        p99=served.p99 if served else None,
    )


def _score_of(check: DriftCheck, metric: str | None) -> Score:
    performance = check.performance
    if check.outcome == "unreadable":
        return Score(reason="unreadable")
    if performance is None:
        value = check.scores.get(metric or "")
        reason = "not_judged" if value is None else None
        return Score(value=value, coverage=check.label_coverage, reason=reason)
    interval = performance.metrics.get(metric or "") or Interval()
    holdout = performance.holdout.get(metric or "") or Interval()
    reason = None
    if interval.value is None:
        reason = "no_labels" if not performance.labels else "too_few_labels"
    return Score(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        coverage=performance.coverage,
        provisional=performance.provisional,
        holdout_low=holdout.low,
        holdout_high=holdout.high,
        reason=reason,
    )


def crowns_of(reigns: Sequence[Reign], windows: Sequence[Window]) -> list[Crown]:
    """The crowns in the order of time; ``windows`` as well."""
    crowns = []
    for reign in reversed(reigns):
        judged = (
            window.window
            for window in windows
            if window.champion == reign.version and _checked_after(window, reign)
        )
        window = next(judged, None) if reign.version else None
        crowns.append(
            Crown(at=reign.since, version=reign.version, decision=reign.decision, window=window)
        )
    return crowns


def _checked_after(window: Window, reign: Reign) -> bool:
    """A version that is champion a second time is marked where its second reign begins."""
    try:
        return datetime.fromisoformat(window.checked) >= datetime.fromisoformat(reign.since)
    except (ValueError, TypeError):
        return True
