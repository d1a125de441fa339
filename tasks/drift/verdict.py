"""What to call a window of predictions: how the distances, the weights and the findings of all
checks become a verdict. The rule in words: docs/drift.md; why weights:
docs/decisions/0007-drift.md."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from serving.records.drift import DriftVerdict, Finding, Outcome
from serving.records.reasons import Reason, because
from tasks.drift.drivers import drifted_columns
from usecases.definition import SCORE, DriftPolicy
from usecases.definition.drift import WEEK_DAYS

_DRIVERS = 5


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a window when it is judged: ``rows`` predictions on ``days`` days (``None``:
    not counted), of which ``days_needed`` would be enough.

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
    days_needed: int = WEEK_DAYS
    sequence: float = 0.0


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
        few = because("too_few_predictions", rows=evidence.rows, needed=policy.minimum_rows)
        return replace(verdict, reasons=[few])
    if broken := [*evidence.broken, *_reasons(evidence, "broken")]:
        return replace(verdict, outcome="broken", reasons=broken)
    if evidence.days is not None and evidence.days < evidence.days_needed:
        few = because("too_few_days", days=evidence.days, needed=evidence.days_needed)
        return replace(verdict, reasons=[few])
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


def _unmeasured(evidence: Evidence, weights: dict[str, float]) -> Reason | None:
    """Why the share is unknown: a column that counts has no distance, or no input counts."""
    names = [name for name, weight in weights.items() if weight > 0]
    unknown = [name for name in names if not np.isfinite(evidence.distances[name])]
    if unknown:
        return because("no_distance", columns=unknown)
    return because("no_distance_at_all") if all(name == SCORE for name in names) else None


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
        reasons.append(because("windows_beyond", times=times, windows=windows, needed=limit))
    if not evidence.calibrated:
        reasons.append(because("thresholds_uncalibrated"))
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


def _measured(verdict: DriftVerdict, weighed: bool) -> Reason:
    drifted = len(drifted_columns(verdict))
    columns = sum(weight > 0 for weight in verdict.importance.values())
    share, limit = verdict.share, verdict.limit
    if weighed:
        return because(
            "share_by_weight", drifted=drifted, columns=columns, share=share, limit=limit
        )
    return because("share_alike", drifted=drifted, columns=columns, share=share, limit=limit)


def _drivers(verdict: DriftVerdict) -> list[Reason]:
    """The drivers of the drift, the weightiest first."""
    return [
        because(
            "driver",
            column=name,
            distance=verdict.distances[name],
            threshold=verdict.thresholds[name],
            weight=verdict.importance[name],
        )
        for name in drifted_columns(verdict)[:_DRIVERS]
    ]
