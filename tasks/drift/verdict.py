"""Drift: how far a window is from the champion's reference, and what to call it. The rule in words:
docs/drift.md.

Why thresholds of our own, out-of-sample scores and weights: docs/decisions/0007-drift.md.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from tasks.drift.distances import distance
from usecases.definition import SCORE, Column, DriftPolicy, UseCase

Outcome = Literal["stable", "drifted", "broken", "inconclusive", "silent"]

_DRIVERS = 5
_LEAST = 1e-9  # a threshold of nothing at all would be beyond itself


class DriftVerdict(BaseModel):
    """What the check of a window found. Columns that weigh ``share`` (0-1) are beyond their
    threshold; drift begins at ``limit``.

    ``beyond``: whether the share of this window reaches the limit; None where there is no share.
    ``importance`` is the weight of each column that counts, all together 1; ``described`` ones have
    a distance and do not count. ``how`` says how the window was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Outcome
    window: str
    rows: int
    share: float | None
    limit: float
    beyond: bool | None = None
    distances: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    importance: dict[str, float] = {}
    described: list[str] = []
    calibrated: bool = True
    how: str = ""
    reasons: list[str]

    @property
    def drifted_columns(self) -> list[str]:
        """What drives the share: the weightiest first, then the furthest beyond its own
        threshold.
        """
        over = {name: self.times(name) for name in self.distances if self.weight(name) > 0}
        return sorted(
            (name for name, ratio in over.items() if ratio >= 1),
            key=lambda name: (-self.weight(name), -over[name]),
        )

    @property
    def listed(self) -> str:
        """The drifted columns in that order, each with its distance as a multiple of its threshold:
        ``first 6.1×, group 2.0×``.
        """
        return ", ".join(f"{name} {self.times(name):.1f}×" for name in self.drifted_columns)

    @property
    def ordered(self) -> list[str]:
        """All measured columns: the drifted ones as above, then the others by weight and
        distance.
        """
        over = self.drifted_columns
        others = sorted(
            set(self.distances) - set(over),
            key=lambda name: (-self.weight(name), -np.nan_to_num(self.times(name)), name),
        )
        return [*over, *others]

    def times(self, name: str) -> float:
        """The column's distance as a multiple of its threshold."""
        return self.distances[name] / self.thresholds[name]

    def explain(self, name: str) -> str:
        """What became of the column, in words: a distance beyond the threshold alone does not make
        it count.
        """
        if not np.isfinite(self.distances[name]):
            return "its distance is not known"
        if self.times(name) < 1:
            return "within its threshold"
        if name in self.described:
            return "beyond its threshold, and does not count: the policy only describes it"
        if self.weight(name) <= 0:
            return "beyond its threshold, and does not count: the model does not use it"
        return f"beyond its threshold: it drifted, and counts with {self.weight(name):.1%}"

    def weight(self, name: str) -> float:
        """0 for a column that does not count. A verdict that says nothing of weights counts each
        column alike.
        """
        return (
            self.importance.get(name, 0.0) if self.importance else float(name not in self.described)
        )


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

    Each month is held against a sample of the other months; ``DriftPolicy`` says how the largest
    distance becomes the threshold. With fewer months than the policy wants, the floor is all there
    is, and the third value is False. A column ``score`` of ``training`` (out of sample:
    ``tasks/models/cross_fitting.py``) is calibrated like the inputs."""
    policy, kept = case.drift, _kept(case, training)
    rows = training.select(kept).with_columns(
        pl.col(case.event_time).dt.strftime("%Y-%m").alias("_block")
    )
    blocks = rows["_block"].unique().sort().to_list()
    calibrated = len(blocks) >= policy.minimum_blocks
    columns = monitored(case, kept)
    largest = {column.name: 0.0 for column in columns}
    for block in blocks if calibrated else []:
        inside = sample(rows.filter(pl.col("_block") == block), policy.sample_rows, seed)
        others = sample(rows.filter(pl.col("_block") != block), policy.sample_rows, seed)
        for column in columns:
            far = distance(column, others[column.name], inside[column.name], policy.method(column))
            largest[column.name] = max(largest[column.name], far if np.isfinite(far) else 0.0)
    limits = {
        name: policy.thresholds.get(name, max(policy.floor, policy.factor * far, _LEAST))
        for name, far in largest.items()
    }
    return draw_reference(case, training, seed), limits, calibrated


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
        one.name: distance(one, reference[one.name], current[one.name], methods.get(one.name))
        for one in columns
    }


def judge(
    policy: DriftPolicy,
    window: str,
    rows: int,
    broken: list[str],
    distances: dict[str, float],
    thresholds: Mapping[str, float],
    calibrated: bool,
    importance: Mapping[str, float] | None = None,
    earlier: Sequence[bool] = (),
    days: int | None = None,
) -> DriftVerdict:
    """The verdict on a window of ``rows`` predictions on ``days`` days (``None``: not asked). Too
    few of either, or distances that are no numbers: *inconclusive*.

    ``importance`` of each input, as the package has it; without it each column counts alike.
    ``earlier``: whether each of the checked windows before this one was beyond the limit, the
    newest last; asked for where the policy's ``k_of_n`` looks back."""
    weights = weigh(policy, distances, importance or {})

    def verdict(outcome: Outcome, reasons: list[str], share: float | None = None) -> DriftVerdict:
        return DriftVerdict(
            outcome=outcome,
            window=window,
            rows=rows,
            share=share,
            limit=policy.share,
            beyond=None if share is None else share >= policy.share,
            distances=distances,
            thresholds={name: thresholds[name] for name in distances},
            importance=weights,
            described=[name for name in distances if name in policy.described],
            calibrated=calibrated,
            reasons=reasons,
        )

    if rows < policy.minimum_rows:
        return verdict(
            "inconclusive",
            [f"{rows} predictions in the window, at least {policy.minimum_rows} are needed"],
        )
    if broken:
        return verdict("broken", broken)
    if days is not None and days < policy.minimum_days:
        said = (
            f"{days} days in the window, at least {policy.minimum_days} are needed: days "
            "differ "
            "more than months do"
        )
        return verdict("inconclusive", [said])
    unknown = [
        name for name, weight in weights.items() if weight > 0 and not np.isfinite(distances[name])
    ]
    if unknown or not any(name != SCORE for name, weight in weights.items() if weight > 0):
        return verdict(
            "inconclusive",
            [f"no distance for {', '.join(unknown) or 'any column that the model uses'}"],
        )
    share = round(
        sum(
            weight
            for name, weight in weights.items()
            if weight > 0 and distances[name] >= thresholds[name]
        ),
        9,
    )
    found = verdict("stable", [], share)
    times, (wanted, windows) = (
        [*earlier, bool(found.beyond)][-policy.k_of_n[1] :].count(True),
        policy.k_of_n,
    )
    drifted = bool(found.beyond) and times >= wanted
    reasons = [_measured(found, bool(importance)), *_drivers(found)]
    if windows > 1 and found.beyond:
        reasons.append(
            f"{times} of the last {windows} windows are beyond the limit; drift is called at "
            f"{wanted}"
        )
    if not calibrated:
        reasons.append(
            "the thresholds are not calibrated: the champion was trained on too few months"
        )
    return found.model_copy(
        update={"outcome": "drifted" if drifted else "stable", "reasons": reasons}
    )


def weigh(
    policy: DriftPolicy, measured: Collection[str], importance: Mapping[str, float]
) -> dict[str, float]:
    """The weight of each measured column in the share, all together 1; described columns have none.

    Where a score was measured it has ``score_weight``, and the inputs share the rest as the model
    uses them. Empty where the model uses none of the inputs that were measured."""
    inputs = [name for name in measured if name != SCORE and name not in policy.described]
    used = {name: importance.get(name, 0.0) if importance else 1.0 for name in inputs}
    whole = sum(used.values())
    if whole <= 0:
        return {}
    of_score = policy.score_weight if SCORE in measured and SCORE not in policy.described else 0.0
    weights = {name: (1 - of_score) * one / whole for name, one in used.items()}
    return weights | ({SCORE: of_score} if of_score else {})


def _measured(found: DriftVerdict, weighed: bool) -> str:
    over, counted = (
        len(found.drifted_columns),
        sum(weight > 0 for weight in found.importance.values()),
    )
    by = (
        "of the weight"
        if weighed
        else "counted alike, since the package does not say what the model uses"
    )
    return (
        f"{over} of {counted} columns, {found.share:.0%} {by}, are beyond their threshold; the "
        f"limit is {found.limit:.0%}"
    )


def _drivers(found: DriftVerdict) -> list[str]:
    """What drove it, the weightiest first."""
    return [
        (
            f"{name}: distance {found.distances[name]:.3g}, threshold "
            f"{found.thresholds[name]:.3g}, weight {found.importance[name]:.1%}"
        )
        for name in found.drifted_columns[:_DRIVERS]
    ]
