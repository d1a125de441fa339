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
    metric: Metric,
    seed: int,
    rows: int = 2000,
) -> np.ndarray:
    """What the score loses when one column is shuffled ``(n_features,)``, on at most ``rows`` rows
    (Breiman 2001).
    """
    chance = np.random.default_rng(seed)
    positions = chance.permutation(len(matrix))[:rows]
    matrix, truth = matrix[positions].copy(), truth[positions]
    whole = score(metric, truth, modelling.scores_of(model, matrix))
    losses = np.empty(matrix.shape[1])
    for feature in range(matrix.shape[1]):
        column = matrix[:, feature].copy()
        matrix[:, feature] = chance.permutation(column)
        losses[feature] = metric.gain(
            whole, score(metric, truth, modelling.scores_of(model, matrix))
        )
        matrix[:, feature] = column
    return losses
