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
from serving.records.reasons import Reason, because
from tasks.data.targets import late_dtype, possible_labels, truth_of
from tasks.drift.coverage import (
    coverage_columns,
    coverage_remarks,
    judge_coverage,
    measure_coverage,
)
from tasks.measures.estimate import calibrate_classes, calibrate_scores, estimate
from tasks.measures.intervals import LEVEL, days_of, intervals
from tasks.measures.metrics import measure_of, metrics_of, score
from usecases.definition import Metric, UseCase


def judge_performance(
    case: UseCase,
    manifest: Manifest,
    logged: pl.DataFrame,
    labels: pl.DataFrame,
    seed: int,
    version: str | None = None,
    left_out: int | None = 0,
    expected: pl.DataFrame | None = None,
) -> Performance:
    """Judge the champion of ``manifest`` (registered as ``version``) on the predictions ``logged``
    and the ``labels`` of a window.

    ``logged`` has id, the model's numbers and event_time, and may have time and model_version;
    ``labels`` has id, label and time (when it was known), and may have received (when it came) or
    given (how many came, of which this is the last). Either may be empty, without columns.
    ``left_out`` labels for ids that are not in the window were not read (``None``: nobody
    counted). ``expected`` has the id of some predictions of a number, and their expected losses by
    the name of the metric."""
    own = (
        logged
        if version is None or "model_version" not in logged.columns
        else logged.filter(pl.col("model_version") == version)
    )
    known = last_labels(case, labels)
    last = known.filter(possible_labels(case, known["label"]))
    strangers = len(last.join(logged, on="id", how="anti")) if len(logged) else len(last)
    unknown_ids = None if left_out is None else left_out + strangers
    joined = own.join(last, on="id", how="inner") if len(own) else pl.DataFrame()
    metrics = metrics_of(case)
    holdout = {
        name: Interval(low=low, high=high)
        for name, (low, high) in manifest.holdout_intervals.items()
    }
    realised = _realised(case, metrics, joined, seed)
    coverage = measure_coverage(case, joined, seed) if len(joined) else {}
    days = joined["event_time"].cast(pl.Date).n_unique() if len(joined) else 0
    verdict, provisional, reasons = _judge(case, holdout, realised, len(own), len(joined), days)
    held = "" if provisional else judge_coverage(case, manifest, coverage)
    return Performance(
        champion=version,
        verdict=verdict,
        provisional=provisional,
        reasons=[
            *reasons,
            *coverage_remarks(case, coverage, held),
            *_remarks(len(logged) - len(own), unknown_ids or 0, len(known) - len(last)),
        ],
        rows=len(own),
        other_rows=len(logged) - len(own),
        labels=len(joined),
        coverage=len(joined) / len(own) if len(own) else 0.0,
        days=days,
        unknown_ids=unknown_ids,
        repeated=int((joined["given"] > 1).sum()) if len(joined) else 0,
        skewed=_skewed(joined),
        metrics=realised | coverage if len(joined) else {},
        held=held,
        holdout=holdout,
        estimates=(
            _estimates(case, manifest, own, joined)
            if expected is None or expected.is_empty()
            else _estimates_of_losses(case, own, joined, expected)
        ),
        seed=seed,
    )


def logged_numbers(case: UseCase) -> list[str]:
    """The columns of the prediction log that the judgement needs."""
    numbers = [output.name for output in case.outputs if output.kind == "number"]
    return [*numbers, *coverage_columns(case)]


def answers_of(case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    """The model's numbers ``(n_rows,)``, or of classes ``(n_rows, n_classes)``."""
    names = [output.name for output in case.outputs if output.kind == "number"]
    numbers = rows.select(pl.col(names).cast(pl.Float64)).to_numpy()
    return numbers if numbers.shape[1] > 1 else numbers[:, 0]


def last_labels(case: UseCase, labels: pl.DataFrame) -> pl.DataFrame:
    """Of each id the label that was known last: id, label, time (UTC), given (how many came).

    Of two that were known at the same time the one that came later: by ``received``, where that is
    told, and by the order of the rows."""
    if labels.is_empty():
        return pl.DataFrame(
            schema={
                "id": pl.String,
                "label": late_dtype(case),
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
        pl.col("label").last().cast(late_dtype(case)),
        pl.col("label_time").last(),
        count.alias("given"),
    )


def _in_utc(time: pl.Series) -> pl.Series:
    """A time that names no zone is in UTC."""
    zone = getattr(time.dtype, "time_zone", None)
    return (
        time.dt.replace_time_zone("UTC") if zone is None else time.dt.convert_time_zone("UTC")
    ).dt.cast_time_unit("us")


def _realised(
    case: UseCase, metrics: list[Metric], joined: pl.DataFrame, seed: int
) -> dict[str, Interval]:
    if joined.is_empty():
        return {metric.name: Interval() for metric in metrics}
    truth = truth_of(case, joined["label"])
    return intervals(metrics, truth, answers_of(case, joined), days_of(joined["event_time"]), seed)


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
        nothing = because("no_labels", rows=rows) if rows else because("no_own_predictions")
        return "unknown", True, [nothing]
    little: list[str] = []
    if labels / rows < policy.coverage:
        little.append(
            because("labels_cover", share=labels / rows, rows=rows, needed=policy.coverage)
        )
    if labels < policy.rows:
        little.append(because("labels_few", labels=labels, needed=policy.rows))
    if days < policy.days:
        little.append(because("labels_of_days", days=days, needed=policy.days))
    if little:
        return "provisional", True, little
    now, then = realised[metric.name], holdout.get(metric.name, Interval())
    if now.bounds is None:
        reason = because("score_without_interval", metric=metric.in_each_language)
        return "unknown", False, [reason]
    if then.bounds is None:
        reason = because("holdout_without_interval", metric=metric.in_each_language)
        return "unknown", False, [reason]
    worse = (
        now.bounds[1] < then.bounds[0]
        if metric.higher_is_better
        else now.bounds[0] > then.bounds[1]
    )
    if worse:
        return "worse", False, [_worse(metric, now, then, labels)]
    return "level", False, [_level(metric, now, then, labels)]


def _worse(metric: Metric, now: Interval, then: Interval, labels: int) -> Reason:
    return because(
        "score_worse",
        metric=metric.in_each_language,
        score=now.value,
        low=now.low,
        high=now.high,
        level=LEVEL,
        labels=labels,
        then_low=then.low,
        then_high=then.high,
    )


def _level(metric: Metric, now: Interval, then: Interval, labels: int) -> Reason:
    return because(
        "score_level",
        metric=metric.in_each_language,
        score=now.value,
        low=now.low,
        high=now.high,
        level=LEVEL,
        labels=labels,
        then_low=then.low,
        then_high=then.high,
    )


def _remarks(other_rows: int, unknown_ids: int, impossible: int) -> list[Reason]:
    remarks = [because("other_versions", rows=other_rows)] if other_rows else []
    if unknown_ids:
        remarks.append(because("unknown_ids", labels=unknown_ids))
    if impossible:
        remarks.append(because("impossible_labels", labels=impossible))
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
    curves = manifest.calibration if case.target.kind == "binary" else manifest.calibrations
    if not curves or own.is_empty():
        return {}
    enough = len(joined) >= case.labels.rows
    scores = answers_of(case, own)
    labelled_scores = answers_of(case, joined) if enough else scores[:0]
    chances, some = _chances(manifest, scores), _chances(manifest, labelled_scores)
    realised = _points(case, joined) if enough else {}
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


def _estimates_of_losses(
    case: UseCase, own: pl.DataFrame, joined: pl.DataFrame, expected: pl.DataFrame
) -> dict[str, Estimate]:
    """Of each metric whose losses are expected: their mean, as the metric makes it a score."""
    names = [metric.name for metric in metrics_of(case) if metric.name in expected.columns]
    if not names or own.is_empty():
        return {}
    mine = expected.join(own.select("id"), on="id", how="semi")
    labelled = joined.join(expected, on="id", how="inner") if len(joined) else joined
    enough = len(labelled) >= case.labels.rows
    realised = _points(case, labelled) if enough else {}
    estimates: dict[str, Estimate] = {}
    for metric in metrics_of(case):
        if metric.name not in names or mine.is_empty():
            continue
        of_mean = measure_of(metric, np.zeros(0)).of_mean
        value = of_mean(float(mine[metric.name].mean()))  # type: ignore[arg-type]
        error = None
        if enough:
            on_labelled = of_mean(float(labelled[metric.name].mean()))  # type: ignore[arg-type]
            error = on_labelled - realised[metric.name]
        estimates[metric.name] = Estimate(value=value, error=error)
    return estimates


def _chances(manifest: Manifest, scores: np.ndarray) -> np.ndarray:
    if scores.ndim == 2:
        return calibrate_classes(manifest.calibrations, scores)
    return calibrate_scores(manifest.calibration, scores)


def _points(case: UseCase, joined: pl.DataFrame) -> dict[str, float]:
    truth, answers = truth_of(case, joined["label"]), answers_of(case, joined)
    return {metric.name: score(metric, truth, answers) for metric in metrics_of(case)}


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
