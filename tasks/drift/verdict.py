"""Drift: how far a window is from the champion's reference, and what to call it. The rule in words:
docs/drift.md.

Why thresholds of our own, out-of-sample scores and weights: docs/decisions/0007-drift.md.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from serving.records.drift import DriftVerdict, Finding, Outcome
from tasks.drift.checks.distances import distance
from tasks.drift.drivers import drifted_columns
from tasks.drift.profile.profile import LEAST_LIMIT, draw_days, family_of
from usecases.definition import SCORE, Column, DriftPolicy, UseCase

_DRIVERS = 5
_DRAWS = 20
_LEAST = 1e-9  # a threshold of nothing at all would be beyond itself


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a window when it is judged: ``rows`` predictions on ``days`` days (``None``:
    not counted).

    ``broken``: what is wrong with its data; ``findings`` of the checks beside the distances.
    ``distances`` of the monitored columns; one that is not known is NaN. ``importance`` of each
    input, as the package has it; without it each column counts alike. ``earlier``: whether each of
    the checked windows before this one was beyond the limit, the newest last; the policy's
    ``k_of_n`` looks back. ``sequence`` is the sequential view's sum."""

    window: str
    rows: int
    distances: Mapping[str, float]
    thresholds: Mapping[str, float]
    calibrated: bool
    broken: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    earlier: Sequence[bool] = ()
    days: int | None = None
    sequence: float = 0.0


def monitored(case: UseCase, thresholds: Collection[str] = ()) -> list[Column]:
    """What the prediction log leaves out cannot be monitored. The model's score is, where
    ``thresholds`` has one for it.
    """
    columns = [
        column
        for column in case.columns
        if column.monitored and column.name not in case.prediction_log.leave_out
    ]
    return [*columns, *([Column(name=SCORE, kind="number")] if SCORE in thresholds else [])]


def without(case: UseCase, absent: Collection[str]) -> UseCase:
    """The use case as a window can be judged that lacks the columns ``absent``, and is not broken
    for it.
    """
    return case.model_copy(
        update={"columns": tuple(column for column in case.columns if column.name not in absent)}
    )


def sample(rows: pl.DataFrame, limit: int, seed: int) -> pl.DataFrame:
    return rows if len(rows) <= limit else rows.sample(limit, seed=seed)


def calibrate(
    case: UseCase, training: pl.DataFrame, seed: int
) -> tuple[pl.DataFrame, dict[str, float], bool]:
    """The drift reference of a model: a sample of its ``training`` rows, the threshold of each
    column, calibrated or not.

    Each period is held against a sample of the others; ``DriftPolicy`` says how the largest
    distance becomes the threshold. With fewer periods than the policy wants, the floor is all there
    is, and the third value is False. The score alone decides, so that its threshold is that of a
    test of its own. A column ``score`` of ``training`` (out of sample:
    ``tasks/models/cross_fitting.py``) is calibrated like the inputs."""
    policy, names = case.drift, _kept(case, training)
    rows = training.select(names).with_columns(case.period_of_rows.alias("_block"))
    blocks = rows["_block"].unique(maintain_order=True).to_list()
    calibrated = len(blocks) >= policy.minimum_blocks
    columns = monitored(case, names)
    between: dict[str, list[float]] = {column.name: [] for column in columns}
    for block in blocks if calibrated else []:
        inside = sample(rows.filter(pl.col("_block") == block), policy.sample_rows, seed)
        others = sample(rows.filter(pl.col("_block") != block), policy.sample_rows, seed)
        for column in columns:
            far = distance(column, others[column.name], inside[column.name], policy.method(column))
            between[column.name].append(far if np.isfinite(far) else 0.0)
    limits = {
        name: max(policy.floor, policy.factor * max(several, default=0.0), _LEAST)
        for name, several in between.items()
    }
    if calibrated and SCORE in limits:
        limits[SCORE] = max(limits[SCORE], _score_limit(case, rows, between[SCORE], seed))
    limits = {name: policy.thresholds.get(name, limit) for name, limit in limits.items()}
    return draw_reference(case, training, seed), limits, calibrated


def _score_limit(case: UseCase, rows: pl.DataFrame, between: Sequence[float], seed: int) -> float:
    """The threshold of the score, which alone decides, so that it is a test of its own
    (``tasks/drift/profile/profile.py``): draws of ``minimum_days`` days count beside the months,
    and where a month lies far from what the others would allow, the next one may too.
    """
    policy, day = case.drift, pl.col(case.event_time).dt.date()
    rows = rows.select(case.event_time, SCORE)
    dates = rows.select(day.unique().sort()).to_series().to_list()
    column, whole = Column(name=SCORE, kind="number"), sample(rows, policy.sample_rows, seed)
    drawn = []
    for flags in draw_days(dates, policy.minimum_days, _DRAWS, np.random.default_rng(seed)):
        chosen = [date for date, flag in zip(dates, flags, strict=True) if flag]
        some = sample(rows.filter(day.is_in(chosen)), policy.sample_rows, seed)[SCORE]
        far = distance(column, whole[SCORE], some, policy.method(column))
        drawn.append(far if np.isfinite(far) else 0.0)
    out, draws = (np.reshape(side, (-1, 1)) for side in (between, drawn))
    family = family_of([SCORE], out, draws, max(policy.floor, _LEAST) / LEAST_LIMIT)
    return family.scales[SCORE] * family.limit * policy.factor / LEAST_LIMIT


def draw_reference(case: UseCase, training: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The sample of the training rows that windows are held against."""
    return sample(training.select(_kept(case, training)), case.drift.sample_rows, seed)


def _kept(case: UseCase, training: pl.DataFrame) -> list[str]:
    scored = SCORE in training.columns and training[SCORE].null_count() < len(training)
    return [case.event_time, *case.column_names, case.label, *([SCORE] if scored else [])]


def measure(
    case: UseCase,
    reference: pl.DataFrame,
    current: pl.DataFrame,
    thresholds: Collection[str],
    methods: Mapping[str, str],
) -> dict[str, float]:
    """The distance of each monitored column that the window has and that has a threshold, by the
    ``methods`` of the thresholds.
    """
    columns = [
        column
        for column in monitored(case, thresholds)
        if column.name in thresholds and column.name in current.columns
    ]
    return {
        column.name: distance(
            column, reference[column.name], current[column.name], methods.get(column.name)
        )
        for column in columns
    }


def judge(policy: DriftPolicy, evidence: Evidence) -> DriftVerdict:
    """The verdict on a window. Too few rows or days, or distances that are not known:
    *inconclusive*.

    *Broken* goes by the origin of a fault, and never by whether a retrain would help: a refit
    learns to do without a broken column. *Drifted*: the share of the columns beyond their threshold
    reaches the limit, or the score alone is beyond its own, or a check says so. With uncalibrated
    thresholds only those that the policy fixes can decide."""
    weights = weigh(policy, evidence.distances, evidence.importance)
    verdict = _undecided(policy, evidence, weights)
    if evidence.rows < policy.minimum_rows:
        return replace(verdict, reasons=[_too_few_rows(policy, evidence.rows)])
    if broken := [*evidence.broken, *_reasons(evidence, "broken")]:
        return replace(verdict, outcome="broken", reasons=broken)
    if evidence.days is not None and evidence.days < policy.minimum_days:
        return replace(verdict, reasons=[_too_few_days(policy, evidence.days)])
    if reason := _unmeasured(evidence, weights):
        return replace(verdict, reasons=[reason])
    share = _share(evidence, weights, evidence.distances)
    causes = _causes(policy, evidence, weights)
    verdict = replace(verdict, share=share, beyond=bool(causes))
    outcome: Outcome = "drifted" if _persists(policy, evidence, verdict) else "stable"
    reasons = _explain(policy, evidence, verdict)
    return replace(verdict, outcome=outcome, retrain=any(causes), reasons=reasons)


def _reasons(evidence: Evidence, *words: str) -> list[str]:
    return [finding.reason for finding in evidence.findings if finding.word in words]


def _causes(policy: DriftPolicy, evidence: Evidence, weights: dict[str, float]) -> list[bool]:
    """Whether each cause of a drift may start a retrain; empty if nothing is beyond its limit."""
    deciding = evidence.distances if evidence.calibrated else policy.thresholds
    by_share = _share(evidence, weights, deciding) >= policy.share
    by_score = SCORE in deciding and weights.get(SCORE, 0) > 0 and _beyond(evidence, SCORE)
    by_check = [finding.retrain for finding in evidence.findings if finding.word == "drifted"]
    return [*([True] if by_share or by_score else []), *by_check]


def _undecided(policy: DriftPolicy, evidence: Evidence, weights: dict[str, float]) -> DriftVerdict:
    """The measurements, before they are judged."""
    distances = evidence.distances
    return DriftVerdict(
        outcome="inconclusive",
        window=evidence.window,
        rows=evidence.rows,
        share=None,
        limit=policy.share,
        distances={name: far if np.isfinite(far) else None for name, far in distances.items()},
        thresholds={name: evidence.thresholds[name] for name in distances},
        importance=weights,
        described=[name for name in distances if name in policy.described],
        calibrated=evidence.calibrated,
        findings=list(evidence.findings),
        sequence=evidence.sequence,
        reasons=[],
    )


def _too_few_rows(policy: DriftPolicy, rows: int) -> str:
    return f"{rows} predictions in the window, at least {policy.minimum_rows} are needed"


def _too_few_days(policy: DriftPolicy, days: int) -> str:
    counted = f"{days} {'day' if days == 1 else 'days'}"
    return (
        f"{counted} in the window, at least {policy.minimum_days} are needed: days differ more "
        "than months do"
    )


def _unmeasured(evidence: Evidence, weights: dict[str, float]) -> str | None:
    """Why the share is unknown: a column that counts has no distance, or no input counts."""
    names = [name for name, weight in weights.items() if weight > 0]
    unknown = [name for name in names if not np.isfinite(evidence.distances[name])]
    if unknown or all(name == SCORE for name in names):
        return f"no distance for {', '.join(unknown) or 'any column that the model uses'}"
    return None


def _share(evidence: Evidence, weights: dict[str, float], deciding: Collection[str]) -> float:
    """The weight of those ``deciding`` columns that are beyond their threshold (0-1)."""
    beyond = (
        weight
        for name, weight in weights.items()
        if weight > 0 and name in deciding and _beyond(evidence, name)
    )
    return round(sum(beyond), 9)


def _beyond(evidence: Evidence, name: str) -> bool:
    distances = evidence.distances
    return name in distances and distances[name] >= evidence.thresholds[name]


def _persists(policy: DriftPolicy, evidence: Evidence, verdict: DriftVerdict) -> bool:
    """Whether this window is beyond the limit, and so were as many of the last ones as the policy
    wants.
    """
    return bool(verdict.beyond) and _times_beyond(policy, evidence, verdict) >= policy.k_of_n[0]


def _times_beyond(policy: DriftPolicy, evidence: Evidence, verdict: DriftVerdict) -> int:
    """How many of the last windows, this one included, are beyond the limit."""
    return [*evidence.earlier, bool(verdict.beyond)][-policy.k_of_n[1] :].count(True)


def _explain(policy: DriftPolicy, evidence: Evidence, verdict: DriftVerdict) -> list[str]:
    limit, windows = policy.k_of_n
    reasons = [
        *_reasons(evidence, "drifted"),
        _measured(verdict, bool(evidence.importance)),
        *_drivers(verdict),
    ]
    if windows > 1 and verdict.beyond:
        times = _times_beyond(policy, evidence, verdict)
        reasons.append(
            f"{times} of the last {windows} windows are beyond the limit; drift is declared at "
            f"{limit}"
        )
    if not evidence.calibrated:
        reasons.append(
            "uncalibrated: the champion was trained on too few months for thresholds that decide"
        )
    return [*reasons, *_reasons(evidence, "said", "uncalibrated", "unjudged")]


def weigh(
    policy: DriftPolicy, measured: Collection[str], importance: Mapping[str, float]
) -> dict[str, float]:
    """The weight of each measured column in the share, all together 1; described columns have none.

    Where a score was measured it has ``score_weight``, and the inputs share the rest as the model
    uses them. Empty if the model uses none of the inputs that were measured."""
    inputs = [name for name in measured if name != SCORE and name not in policy.described]
    used = {name: importance.get(name, 0.0) if importance else 1.0 for name in inputs}
    whole = sum(used.values())
    if whole <= 0:
        return {}
    of_score = policy.score_weight if SCORE in measured and SCORE not in policy.described else 0.0
    weights = {name: (1 - of_score) * use / whole for name, use in used.items()}
    return weights | ({SCORE: of_score} if of_score else {})


def _measured(verdict: DriftVerdict, weighed: bool) -> str:
    drifted = len(drifted_columns(verdict))
    columns = sum(weight > 0 for weight in verdict.importance.values())
    by = (
        "of the weight"
        if weighed
        else "counted alike, since the package does not say what the model uses"
    )
    return (
        f"{drifted} of {columns} columns, {verdict.share:.0%} {by}, are beyond their threshold; "
        f"the limit is {verdict.limit:.0%}"
    )


def _drivers(verdict: DriftVerdict) -> list[str]:
    """The drivers of the drift, the weightiest first."""
    return [
        (
            f"{name}: distance {verdict.distances[name]:.3g}, threshold "
            f"{verdict.thresholds[name]:.3g}, weight {verdict.importance[name]:.1%}"
        )
        for name in drifted_columns(verdict)[:_DRIVERS]
    ]
