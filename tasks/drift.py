"""Drift: how far a window is from the champion's reference, and what to call it.

Distances are Evidently's for large samples: the Wasserstein distance divided by the reference's standard deviation for
numbers, Jensen-Shannon's for categories. They are computed here for the thresholds (a hundred pairs, in a second) and
by Evidently for the report; a test holds the two together. Why thresholds of our own: docs/decisions/0007-drift.md.
"""

from collections.abc import Collection
from typing import Literal

import numpy as np
import polars as pl
from polars import selectors
from pydantic import BaseModel, ConfigDict

from tasks.validation import batch_problems
from usecases.definition import Column, DriftPolicy, UseCase

Outcome = Literal["stable", "drifted", "broken", "inconclusive"]


class DriftVerdict(BaseModel):
    """What the check of a window found. ``share`` (0-1) of the monitored columns are beyond their threshold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Outcome
    window: str
    rows: int
    share: float | None
    limit: float
    distances: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    calibrated: bool = True
    reasons: list[str]

    @property
    def drifted_columns(self) -> list[str]:
        """Furthest beyond its own threshold first."""
        over = {name: self.distances[name] / self.thresholds[name] for name in self.distances}
        return sorted((name for name, ratio in over.items() if ratio >= 1), key=lambda name: -over[name])


def distance(column: Column, reference: pl.Series, current: pl.Series) -> float:
    """How far ``current`` is from ``reference``, nulls left out. NaN where one of them has no value."""
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    left, right = _values(reference), _values(current)
    if left.is_empty() or right.is_empty():
        return float("nan")
    if column.kind == "number":
        numbers = left.to_numpy()
        return float(wasserstein_distance(numbers, right.to_numpy()) / max(float(numbers.std()), 0.001))
    counts = [dict(side.value_counts().iter_rows()) for side in (left, right)]
    names = sorted({*counts[0], *counts[1]})
    return float(jensenshannon(*[np.array([side.get(name, 0) for name in names], dtype=float) for side in counts]))


def _values(side: pl.Series) -> pl.Series:
    return (side.fill_nan(None) if side.dtype.is_float() else side).drop_nulls()


def monitored(case: UseCase) -> list[Column]:
    """What the prediction log leaves out cannot be monitored."""
    return [column for column in case.columns if column.monitored and column.name not in case.prediction_log.leave_out]


def without(case: UseCase, absent: Collection[str]) -> UseCase:
    """The use case as a window can be judged that lacks the columns ``absent``, and is not broken for it."""
    return case.model_copy(update={"columns": tuple(column for column in case.columns if column.name not in absent)})


def evened(logged: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Rows thinned to the lowest ``sample_rate`` among them, so that each request counts alike where the rate was changed."""
    if "sample_rate" not in logged.columns:
        return logged
    rates = logged["sample_rate"].fill_null(1.0).to_numpy()
    kept = np.random.default_rng(seed).random(len(rates)) < rates.min(initial=1.0) / rates
    return logged.filter(pl.Series(kept))


def sample(rows: pl.DataFrame, limit: int, seed: int) -> pl.DataFrame:
    return rows if len(rows) <= limit else rows.sample(limit, seed=seed)


def calibrate(case: UseCase, training: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, dict[str, float], bool]:
    """The drift reference of a model: a sample of its ``training`` rows, the threshold of each column, calibrated or not.

    Each month is held against a sample of the other months; ``DriftPolicy`` says how the largest distance becomes the
    threshold. With fewer months than the policy wants, the floor is all there is, and the third value is False.
    """
    policy = case.drift
    kept = [case.event_time, *case.column_names, case.label]
    rows = training.select(kept).with_columns(pl.col(case.event_time).dt.strftime("%Y-%m").alias("_block"))
    blocks = rows["_block"].unique().sort().to_list()
    reference = sample(rows, policy.sample_rows, seed).drop("_block")
    calibrated = len(blocks) >= policy.minimum_blocks
    largest = {column.name: 0.0 for column in monitored(case)}
    for block in blocks if calibrated else []:
        inside = sample(rows.filter(pl.col("_block") == block), policy.sample_rows, seed)
        others = sample(rows.filter(pl.col("_block") != block), policy.sample_rows, seed)
        for column in monitored(case):
            far = distance(column, others[column.name], inside[column.name])
            largest[column.name] = max(largest[column.name], far if np.isfinite(far) else 0.0)
    return reference, {name: max(policy.floor, policy.factor * far) for name, far in largest.items()}, calibrated


def find_broken(case: UseCase, reference: pl.DataFrame, current: pl.DataFrame) -> list[str]:
    """Why a window cannot be trusted at all: the data are wrong, not the world. Empty for a sound one.

    Evidently leaves nulls out, so a column that is 80 % empty reads as stable; a changed unit reads as drift.
    """
    if current.is_empty():
        return ["there are no predictions"]
    if missing := [name for name in case.column_names if name not in current.columns]:
        return [f"column {name!r} is missing" for name in missing]
    current = current.with_columns(selectors.float().fill_nan(None))
    problems = batch_problems(case, current)
    for column in case.columns:
        before, now = _values(reference[column.name]), _values(current[column.name])
        if now.is_empty() and not before.is_empty():
            problems.append(f"column {column.name!r} has no value at all")
        if now.n_unique() == 1 and before.n_unique() > 1:
            problems.append(f"column {column.name!r} is constant ({now[0]!r})")
        if column.kind == "category" and not now.is_empty():
            strangers = (~now.is_in(before.unique().to_list())).sum() / len(current)
            if strangers > case.drift.new_category_tolerance:
                problems.append(f"column {column.name!r} has {strangers:.1%} categories that the reference has not")
    return problems


def judge(
    policy: DriftPolicy,
    window: str,
    rows: int,
    broken: list[str],
    distances: dict[str, float],
    thresholds: dict[str, float],
    calibrated: bool,
) -> DriftVerdict:
    """The verdict on a window of ``rows`` predictions. Too few rows, or distances that are no numbers: *inconclusive*."""

    def verdict(outcome: Outcome, share: float | None, reasons: list[str]) -> DriftVerdict:
        return DriftVerdict(
            outcome=outcome,
            window=window,
            rows=rows,
            share=share,
            limit=policy.share,
            distances=distances,
            thresholds={name: thresholds[name] for name in distances},
            calibrated=calibrated,
            reasons=reasons,
        )

    if rows < policy.minimum_rows:
        return verdict("inconclusive", None, [f"{rows} predictions in the window, at least {policy.minimum_rows} are needed"])
    if broken:
        return verdict("broken", None, broken)
    unknown = [name for name, far in distances.items() if not np.isfinite(far)]
    if unknown or not distances:
        return verdict("inconclusive", None, [f"no distance for {', '.join(unknown) or 'any column'}"])
    over = [name for name in distances if distances[name] >= thresholds[name]]
    share = len(over) / len(distances)
    found = f"{len(over)} of {len(distances)} columns ({share:.0%}) are beyond their threshold; the limit is {policy.share:.0%}"
    return verdict("drifted" if share >= policy.share else "stable", share, [found])
