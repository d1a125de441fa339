"""Measures which columns a fitted model uses."""

from typing import TYPE_CHECKING

import numpy as np

from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import Metric

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


def permutation_importance(
    model: "ClassifierMixin",
    matrix: np.ndarray,
    truth: np.ndarray,
    owners: np.ndarray,
    metric: Metric,
    seed: int,
    rows: int = 2000,
) -> np.ndarray:
    """What the score loses when the values of one column are shuffled ``(n_columns,)``, on at most
    ``rows`` rows (Breiman 2001). ``owners`` ``(width,)`` is the column of each place of ``matrix``.
    """
    chance = np.random.default_rng(seed)
    positions = chance.permutation(len(matrix))[:rows]
    matrix, truth = matrix[positions].copy(), truth[positions]
    whole = score(metric, truth, modelling.scores_of(model, matrix))
    losses = np.empty(owners.max() + 1)
    for column in range(len(losses)):
        places = np.flatnonzero(owners == column)
        values = matrix[:, places].copy()
        matrix[:, places] = values[chance.permutation(len(values))]
        losses[column] = metric.gain(
            whole, score(metric, truth, modelling.scores_of(model, matrix))
        )
        matrix[:, places] = values
    return losses
