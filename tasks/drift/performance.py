"""How well the champion did on a window, from labels that come late, and how well it probably does
until they come.

The judgement is pure: predictions and labels in, a record with its reasons out. *Worse* is said
only where it is sure: the whole interval of the window lies beyond the worse end of the champion's
own hold-out interval, both two-sided at 90 % by whole days. A point below the lower bound would be
a false alarm far more often (docs/performance.md has the rates). Only the gate's metric judges. A
loss moves with the share of positives alone, so the others are told, and alarm nobody."""

from dataclasses import replace

import numpy as np
import polars as pl

from serving.package.manifest import Manifest
from serving.records.drift import Cause, DriftVerdict
from serving.records.performance import Estimate, Interval, Performance, PerformanceVerdict
from tasks.measures.estimate import calibrate_scores, estimate
from tasks.measures.intervals import LEVEL, days_of, intervals
from tasks.measures.metrics import metrics_of, score
from usecases.definition import Metric, UseCase

_TITLES = (
    "realised",
    "low",
    "high",
    "hold-out low",
    "hold-out high",
    "estimated",
    "estimate less realised",
)


def judge_performance(
    case: UseCase,
    manifest: Manifest,
    logged: pl.DataFrame,
    labels: pl.DataFrame,
    seed: int,
    version: str | None = None,
    left_out: int | None = 0,
) -> Performance:
    """Judge the champion of ``manifest`` (registered as ``version``) on the predictions ``logged``
    and the ``labels`` of a window.

    ``logged`` has id, score and event_time, and may have time and model_version; ``labels`` has id,
    label and time (when it was known), and may have received (when it came) or given (how many
    came, of which this is the last). Either may be empty, without columns. ``left_out`` labels for
    ids that are not in the window were not read (``None``: nobody counted)."""
    own = (
        logged
        if version is None or "model_version" not in logged.columns
        else logged.filter(pl.col("model_version") == version)
    )
    last = last_labels(labels)
    strangers = len(last.join(logged, on="id", how="anti")) if len(logged) else len(last)
    unknown_ids = None if left_out is None else left_out + strangers
    joined = own.join(last, on="id", how="inner") if len(own) else pl.DataFrame()
    metrics = metrics_of(case)
    holdout = {
        name: Interval(low=low, high=high)
        for name, (low, high) in manifest.holdout_intervals.items()
    }
    realised = _realised(metrics, joined, seed)
    days = joined["event_time"].cast(pl.Date).n_unique() if len(joined) else 0
    verdict, provisional, reasons = _judge(case, holdout, realised, len(own), len(joined), days)
    return Performance(
        champion=version,
        verdict=verdict,
        provisional=provisional,
        reasons=reasons + _remarks(len(logged) - len(own), unknown_ids or 0),
        rows=len(own),
        other_rows=len(logged) - len(own),
        labels=len(joined),
        coverage=len(joined) / len(own) if len(own) else 0.0,
        days=days,
        unknown_ids=unknown_ids,
        repeated=int((joined["given"] > 1).sum()) if len(joined) else 0,
        skewed=_skewed(joined),
        metrics=realised if len(joined) else {},
        holdout=holdout,
        estimates=_estimates(case, manifest, own, joined),
        seed=seed,
    )


def last_labels(labels: pl.DataFrame) -> pl.DataFrame:
    """Of each id the label that was known last: id, label, time (UTC), given (how many came).

    Of two that were known at the same time the one that came later: by ``received``, where that is
    told, and by the order of the rows."""
    if labels.is_empty():
        return pl.DataFrame(
            schema={
                "id": pl.String,
                "label": pl.Boolean,
                "label_time": pl.Datetime("us", "UTC"),
                "given": pl.UInt32,
            }
        )
    ordered = labels.with_columns(_in_utc(labels["time"]).alias("label_time")).with_row_index(
        "_row"
    )
    order = ["label_time", *(["received"] if "received" in labels.columns else []), "_row"]
    count = pl.col("given").last() if "given" in labels.columns else pl.len()
    by_id = ordered.sort(order, nulls_last=False).group_by("id", maintain_order=True)
    return by_id.agg(
        pl.col("label").last().cast(pl.Boolean), pl.col("label_time").last(), count.alias("given")
    )


def _in_utc(time: pl.Series) -> pl.Series:
    """A time that names no zone is in UTC."""
    zone = getattr(time.dtype, "time_zone", None)
    return (
        time.dt.replace_time_zone("UTC") if zone is None else time.dt.convert_time_zone("UTC")
    ).dt.cast_time_unit("us")


def _realised(metrics: list[Metric], joined: pl.DataFrame, seed: int) -> dict[str, Interval]:
    if joined.is_empty():
        return {metric.name: Interval() for metric in metrics}
    truth = joined["label"].cast(pl.Int64).to_numpy()
    return intervals(
        metrics, truth, joined["score"].to_numpy(), days_of(joined["event_time"]), seed
    )


def _judge(
    case: UseCase,
    holdout: dict[str, Interval],
    realised: dict[str, Interval],
    rows: int,
    labels: int,
    days: int,
) -> tuple[PerformanceVerdict, bool, list[str]]:
    """Nothing to judge first, too little next; then whether the two intervals are apart."""
    policy, metric = case.labels, case.gate.metric
    if not rows or not labels:
        return (
            "unknown",
            True,
            [
                "this champion has no predictions here"
                if not rows
                else f"no label has arrived for {rows:,} predictions"
            ],
        )
    little = []
    if labels / rows < policy.coverage:
        little.append(
            f"labels for {labels / rows:.0%} of {rows:,} predictions, {policy.coverage:.0%} "
            "are required"
        )
    if labels < policy.rows:
        little.append(f"{labels} labels, {policy.rows} are required")
    if days < policy.days:
        little.append(f"labels of {days} days, {policy.days} are required")
    if little:
        return "provisional", True, little
    now, then = realised[metric.name], holdout.get(metric.name, Interval())
    if now.bounds is None:
        return (
            "unknown",
            False,
            [f"{metric.name} has no interval: a class is missing on all days but one"],
        )
    if then.bounds is None:
        return (
            "unknown",
            False,
            [
                (
                    f"the champion's package has no hold-out interval of {metric.name}: retrain "
                    "to get one"
                )
            ],
        )
    worse = (
        now.bounds[1] < then.bounds[0]
        if metric.higher_is_better
        else now.bounds[0] > then.bounds[1]
    )
    ranges = [f"{low:.4f} to {high:.4f}" for low, high in (now.bounds, then.bounds)]
    summary = f"{metric.name} {now.value:.4f} ({ranges[0]} at {LEVEL:.0%}, {labels:,} labels)"
    if worse:
        return "worse", False, [f"{summary} is worse than the champion's own hold-out, {ranges[1]}"]
    return (
        "level",
        False,
        [f"{summary} is not surely worse than the champion's own hold-out, {ranges[1]}"],
    )


def _remarks(other_rows: int, unknown_ids: int) -> list[str]:
    remarks = [f"{other_rows:,} predictions of other versions are left out"] if other_rows else []
    if unknown_ids:
        remarks.append(
            f"{unknown_ids:,} labels are for ids that are not in this window: from another "
            "window, not logged, or mistaken"
        )
    return remarks


def _skewed(joined: pl.DataFrame) -> int:
    """Labels that say they were known before the row was answered and before its event: a clock is
    wrong. They count all the same.
    """
    if joined.is_empty() or "time" not in joined.columns:
        return 0
    label_time, answer_time, event_time = (
        _in_utc(joined[name]) for name in ("label_time", "time", "event_time")
    )
    return int(((label_time < answer_time) & (label_time < event_time)).sum())


def _estimates(
    case: UseCase, manifest: Manifest, own: pl.DataFrame, joined: pl.DataFrame
) -> dict[str, Estimate]:
    """None without a calibration in the package. The error needs as many labels as a metric
    does.
    """
    if not manifest.calibration or own.is_empty():
        return {}
    enough = len(joined) >= case.labels.rows
    scores = own["score"].to_numpy()
    labelled_scores = joined["score"].to_numpy() if enough else scores[:0]
    chances, some = (
        calibrate_scores(manifest.calibration, scores),
        calibrate_scores(manifest.calibration, labelled_scores),
    )
    realised = _points(metrics_of(case), joined) if enough else {}
    estimates: dict[str, Estimate] = {}
    for metric in metrics_of(case):
        error = (
            estimate(metric, labelled_scores, some) - realised[metric.name]
            if enough
            else float("nan")
        )
        value = estimate(metric, scores, chances)
        estimates[metric.name] = Estimate(
            value=value if np.isfinite(value) else None, error=error if np.isfinite(error) else None
        )
    return estimates


def _points(metrics: list[Metric], joined: pl.DataFrame) -> dict[str, float]:
    return {
        metric.name: score(
            metric, joined["label"].cast(pl.Int64).to_numpy(), joined["score"].to_numpy()
        )
        for metric in metrics
    }


def join_verdict(verdict: DriftVerdict, performance: Performance) -> DriftVerdict:
    """A champion that performs worse is *drifted*, whatever the data look like; broken data stay
    broken, since a retrain would learn them.
    """
    if performance.verdict != "worse":
        return verdict
    outcome = "broken" if verdict.outcome == "broken" else "drifted"
    reasons = [*verdict.reasons, performance.reasons[0]]
    return replace(verdict, outcome=outcome, retrain=True, reasons=reasons)


def find_cause(data: DriftVerdict, performance: Performance) -> Cause:
    """Of a drift: ``data`` is the verdict before ``join_verdict``."""
    if performance.verdict != "worse":
        return "data"
    return "data and performance" if data.outcome == "drifted" else "performance"


def say_performance(performance: Performance) -> str:
    """In a sentence or two, for artifacts and messages."""
    came = f"Labels have arrived for {performance.coverage:.0%} of {performance.rows:,} predictions"
    return f"{performance.verdict.capitalize()}: {'; '.join(performance.reasons)}. {came}."


def performance_rows(performance: Performance) -> list[dict[str, str | float]]:
    """A row for each metric: realised with its interval, the champion's own hold-out, the estimate
    with its error.
    """
    rows: list[dict[str, str | float]] = []
    for name in dict.fromkeys([*performance.metrics, *performance.estimates]):
        now, then = (
            performance.metrics.get(name, Interval()),
            performance.holdout.get(name, Interval()),
        )
        guess = performance.estimates.get(name, Estimate())
        numbers = (now.value, now.low, now.high, then.low, then.high, guess.value, guess.error)
        values = ("not known" if number is None else round(number, 4) for number in numbers)
        rows.append({"metric": name, **dict(zip(_TITLES, values, strict=True))})
    return rows


def performance_facts(performance: Performance | None) -> dict[str, float | str | None]:
    """For the ledger."""
    if performance is None:
        return {}
    scores = {f"labelled {name}": value for name, value in performance.scores.items()}
    estimated = {f"estimated {name}": entry.value for name, entry in performance.estimates.items()}
    return {
        "performance": performance.verdict,
        "label coverage": performance.coverage,
        **scores,
        **estimated,
    }
