"""Whether one column alone says what the whole model says, as a column does that was written after
the label was known.

A leak shows as a single input that ranks the hold-out as well as the model does (Kaufman et al.
2012, *Leakage in Data Mining*)."""

import numpy as np
import polars as pl

from tasks.data.kinds import KINDS
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import ROC_AUC, Column, UseCase


def strongest_column(case: UseCase, rows: pl.DataFrame) -> tuple[str, float]:
    """Return the input that alone ranks labelled ``rows`` best, and its ROC AUC; NaN for one class.

    A column ranks by the share of positives among the rows of its value (a number's: of its
    quantile). Every other row is counted and the rest are ranked, so that a column with many values
    does not rank rows by their own labels. Null is a value."""
    truth = modelling.labels(case, rows)
    scores = {
        column.name: score(ROC_AUC, truth, _alone(column, rows[column.name], truth))
        for column in case.columns
    }
    name = max(scores, key=lambda name: -1.0 if np.isnan(scores[name]) else scores[name])
    return name, scores[name]


def doubt(
    share: float | None, column: str, alone: float, challenger: float, champion: float | None
) -> list[str]:
    """Return why the column makes the challenger suspicious. All are ROC AUC; ``share`` is of the
    lift over chance.

    A column that ranks no better than the champion is not new: the champion lives with it."""
    tells_all = challenger > 0.5 and alone - 0.5 >= (share or 0.0) * (
        challenger - 0.5
    )  # false for a NaN
    if share is None or not tells_all or (champion is not None and alone <= champion):
        return []
    return [
        (
            f"{column!r} alone has a ROC AUC of {alone:.4f}, and the whole model "
            f"{challenger:.4f}: look for a leak in that column."
        )
    ]


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
