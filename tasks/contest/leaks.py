"""Signs that a challenger knows the label from elsewhere: a gain that no honest model makes, or a
column that alone says what the whole model says, as one does that was written after the label was
known.

A leak shows as a single input that ranks the hold-out as well as the model does (Kaufman et al.
2012, *Leakage in Data Mining*). All is measured in ROC AUC, or in R² of a number, which mean the
same under every metric of a gate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from serving.records.reasons import Reason, because
from tasks.data.kinds import KINDS
from tasks.data.traits import texts_by_traits
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import (
    R2,
    ROC_AUC,
    Classes,
    Column,
    Metric,
    Promotion,
    UseCase,
    trait_columns,
)

_LEAST = 0.1  # of a column's lift over chance: one with less tells no label by itself
_MOST = 0.5  # of the challenger's lift over chance
SURE = 0.98  # of a ROC AUC or R²
_NEARLY, _NEARLY_R2 = (0.9, 0.05), (0.8, 0.1)  # and how far above the next column
_FEW = 3  # columns that are far above all others together


def yardstick(metric: Metric) -> Metric:
    """Return what models and columns are compared in: ROC AUC, or R² for a metric of numbers."""
    return R2 if "number" in metric.targets else ROC_AUC


def _chance(metric: Metric) -> float:
    """Return what a model reaches that knows nothing."""
    return 0.0 if metric.name == R2.name else 0.5


@dataclass(frozen=True)
class Alone:
    """What one column tells by itself: its ``score``, a ROC AUC or R², and the share of rows in
    which it agrees with a yes or no at its best threshold, both weighing the same. NaN for one
    class."""

    column: str
    score: float
    agreement: float


def strongest_column(case: UseCase, rows: pl.DataFrame) -> Alone:
    """Return the input, or the trait of one, that alone ranks labelled ``rows`` best, among those
    that are not ``trusted``. It has no name and no score if all are."""
    trusted = trusted_columns(case)
    others = (alone for alone in rank_columns(case, rows) if alone.column not in trusted)
    return next(others, Alone("", np.nan, np.nan))


def trusted_columns(case: UseCase) -> set[str]:
    """Return the names of the trusted columns and of their traits."""
    trusted = [column for column in case.columns if column.trusted]
    traits = [trait for column in trusted for trait in trait_columns(column)]
    return {column.name for column in (*trusted, *traits)}


def suspects(case: UseCase, ranked: Sequence[Alone]) -> list[Alone]:
    """Return the columns of ``ranked`` that tell the label alone, or nearly so and far better than
    all others; none that is ``trusted``.

    The limits are those that told leaks from good columns on 48 tables (``SURE``, ``_NEARLY``).
    Without the gap, ten columns of the breast-cancer data would be named."""
    metric = yardstick(case.gate.metric)
    scores = [alone.score for alone in ranked]
    count = max(sum(score > SURE for score in scores), count_far_above(metric, scores))
    trusted = trusted_columns(case)
    return [alone for alone in ranked[:count] if alone.column not in trusted]


def count_far_above(metric: Metric, scores: Sequence[float]) -> int:
    """Return how many of ``scores``, the best first, are near perfect and far above the others."""
    nearly, gap = _NEARLY_R2 if metric is R2 else _NEARLY
    places = range(min(_FEW, len(scores) - 1))
    return max(
        (
            place + 1
            for place in places
            if scores[place] > nearly and scores[place] - scores[place + 1] >= gap
        ),
        default=0,
    )


def rank_columns(case: UseCase, rows: pl.DataFrame) -> list[Alone]:
    """Return what each input, or each trait of one, tells alone of labelled ``rows``: the best
    first, and NaN last.

    A column ranks by the mean label among the rows of its value (a number's: of its quantile), or
    by the share of each class. Every other row is counted and the rest are ranked, so that a column
    with many values does not rank rows by their own labels. Null is a value."""
    case, rows = texts_by_traits(case, rows)
    truth, metric = modelling.labels(case, rows), yardstick(case.gate.metric)
    count = len(case.target.classes) if isinstance(case.target, Classes) else 0
    targets = np.eye(count)[truth] if count else np.asarray(truth, dtype=float).reshape(-1, 1)
    ranks = {column.name: _alone(column, rows[column.name], targets) for column in case.columns}
    scores = {name: score(metric, truth, rank) for name, rank in ranks.items()}
    is_binary = case.target.kind == "binary"
    order = sorted(scores, key=lambda name: np.inf if np.isnan(scores[name]) else -scores[name])
    return [
        Alone(name, scores[name], _agreement(truth, ranks[name]) if is_binary else np.nan)
        for name in order
    ]


def _agreement(truth: np.ndarray, ranks: np.ndarray) -> float:
    """Return the largest balanced accuracy of a threshold (Youden 1950)."""
    positive = np.asarray(truth, dtype=bool)
    if positive.all() or not positive.any():
        return float("nan")
    _, place = np.unique(ranks, return_inverse=True)
    hits, alarms = (
        np.cumsum(np.bincount(place[rows], minlength=place.max() + 1)) / rows.sum()
        for rows in (positive, ~positive)
    )
    return float((1 + np.abs(alarms - hits).max()) / 2)


def gain_doubts(
    policy: Promotion,
    metric: Metric,
    truth: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
) -> list[Reason]:
    """Return why the gain on labels ``truth`` makes the challenger suspicious; predictions of both,
    and the gate's ``metric``. Nothing can be said if the labels have one value, or the champion is
    perfect.

    On flights, honest challengers gained at most .13 of what the champion lacked in ROC AUC, and
    models fitted on the hold-out .34 and more, which looks like little in Brier score or log loss.
    Of numbers honest gains are larger: docs/decisions/0021-targets.md."""
    measure = yardstick(metric)
    most = policy.suspicious_share if measure.name == "roc_auc" else policy.suspicious_number_share
    before, after = (score(measure, truth, scores) for scores in (champion, challenger))
    if not after - before > most * (1 - before):  # also for a NaN
        return []
    return [
        because(
            "gain_too_good",
            metric=measure.in_each_language,
            before=before,
            after=after,
            share=(after - before) / (1 - before),
            most=most,
        )
    ]


def column_doubts(
    policy: Promotion, metric: Metric, alone: Alone, challenger: float, champion: float | None
) -> list[Reason]:
    """Return why a column makes the challenger suspicious; both models' scores are those of the
    ``yardstick`` of the gate's ``metric``.

    A column that ranks no better than the champion is not new: the champion lives with it."""
    measure = yardstick(metric)
    chance = _chance(measure)
    if policy.suspicious_column is None or not challenger > chance:
        return []
    if not alone.score - chance >= _LEAST:
        return []
    if champion is not None and alone.score <= champion:
        return []
    share = (alone.score - chance) / (challenger - chance)
    if share >= policy.suspicious_column:
        return [
            because(
                "column_tells",
                column=alone.column,
                metric=measure.in_each_language,
                score=alone.score,
                model=challenger,
            )
        ]
    if share >= _MOST and alone.agreement >= policy.suspicious_agreement:
        return [
            because("column_agrees", column=alone.column, agreement=alone.agreement, share=share)
        ]
    return []


def _alone(column: Column, values: pl.Series, targets: np.ndarray) -> np.ndarray:
    """Return for each row the mean of ``targets`` ``(n_rows, n_targets)`` among rows of the other
    half with its value; of all rows if none has it. One target has one dimension."""
    groups = KINDS[column.kind].groups(values)
    half, means = np.arange(len(targets)) % 2, np.empty(targets.shape)
    size = groups.max(initial=0) + 1
    for fold in (0, 1):
        learned = half != fold
        rows = np.bincount(groups[learned], minlength=size)
        for place, target in enumerate(targets.T):
            total = np.bincount(groups[learned], weights=target[learned], minlength=size)
            whole = target[learned].mean() if learned.any() else 0.0
            by_group = np.where(rows > 0, total / np.maximum(rows, 1), whole)
            means[half == fold, place] = by_group[groups[half == fold]]
    return means[:, 0] if targets.shape[1] == 1 else means
