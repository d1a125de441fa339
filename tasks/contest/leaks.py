"""Signs that a challenger knows the label from elsewhere: a gain that no honest model makes, or a
column that alone says what the whole model says, as one does that was written after the label was
known.

A leak shows as a single input that ranks the hold-out as well as the model does (Kaufman et al.
2012, *Leakage in Data Mining*). All is measured in ROC AUC, which means the same under every metric
of a gate."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from tasks.data.kinds import KINDS
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import ROC_AUC, Column, Promotion, UseCase

_MOST = 0.5  # of the challenger's lift over chance


@dataclass(frozen=True)
class Alone:
    """What one column tells by itself: its ROC AUC, and the share of rows in which it agrees with
    the label at its best threshold, both classes weighing the same. NaN for one class."""

    column: str
    roc_auc: float
    agreement: float


def strongest_column(case: UseCase, rows: pl.DataFrame) -> Alone:
    """Return the input that alone ranks labelled ``rows`` best.

    A column ranks by the share of positives among the rows of its value (a number's: of its
    quantile). Every other row is counted and the rest are ranked, so that a column with many values
    does not rank rows by their own labels. Null is a value."""
    truth = modelling.labels(case, rows)
    ranks = {column.name: _alone(column, rows[column.name], truth) for column in case.columns}
    scores = {name: score(ROC_AUC, truth, rank) for name, rank in ranks.items()}
    name = max(scores, key=lambda name: -1.0 if np.isnan(scores[name]) else scores[name])
    return Alone(name, scores[name], _agreement(truth, ranks[name]))


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
    policy: Promotion, truth: np.ndarray, champion: np.ndarray, challenger: np.ndarray
) -> list[str]:
    """Return why the gain on labels ``truth`` makes the challenger suspicious; scores ``(n_rows,)``
    of both. Nothing can be said if the labels have one class, or the champion is perfect.

    On flights, honest challengers gained at most .13 of what the champion lacked, and models fitted
    on the hold-out .34 and more, which looks like little in Brier score or log loss."""
    before, after = score(ROC_AUC, truth, champion), score(ROC_AUC, truth, challenger)
    if not after - before > policy.suspicious_share * (1 - before):  # also for a NaN
        return []
    share = (after - before) / (1 - before)
    return [
        (
            f"The gain in ROC AUC, from {before:.4f} to {after:.4f}, is {share:.0%} of what the "
            f"champion lacks; more than {policy.suspicious_share:.0%} is too good to be true: look "
            "for a leak."
        )
    ]


def column_doubts(
    policy: Promotion, alone: Alone, challenger: float, champion: float | None
) -> list[str]:
    """Return why a column makes the challenger suspicious; both models' scores are ROC AUC.

    A column that ranks no better than the champion is not new: the champion lives with it."""
    if policy.suspicious_column is None or not challenger > 0.5:
        return []
    if champion is not None and alone.roc_auc <= champion:
        return []
    share = (alone.roc_auc - 0.5) / (challenger - 0.5)
    if share >= policy.suspicious_column:
        return [
            (
                f"{alone.column!r} alone has a ROC AUC of {alone.roc_auc:.4f}, and the whole model "
                f"{challenger:.4f}: look for a leak in that column."
            )
        ]
    if share >= _MOST and alone.agreement >= policy.suspicious_agreement:
        return [
            (
                f"{alone.column!r} alone agrees with the label in {alone.agreement:.0%} of the "
                f"rows, both classes weighing the same, and has {share:.0%} of the model's lift "
                "over chance: look for a leak in that column."
            )
        ]
    return []


def _alone(column: Column, values: pl.Series, truth: np.ndarray) -> np.ndarray:
    """Return for each row the share of positives among rows of the other half with its value; of
    all rows if none has it."""
    groups = KINDS[column.kind].groups(values)
    half, shares = np.arange(len(truth)) % 2, np.empty(len(truth))
    for fold in (0, 1):
        learned = half != fold
        rows = np.bincount(groups[learned], minlength=groups.max(initial=0) + 1)
        positives = np.bincount(groups[learned], weights=truth[learned], minlength=len(rows))
        whole = truth[learned].mean() if learned.any() else 0.0
        shares[half == fold] = np.where(rows > 0, positives / np.maximum(rows, 1), whole)[
            groups[half == fold]
        ]
    return shares
