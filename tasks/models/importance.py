"""Measures which columns a fitted model uses."""

from typing import TYPE_CHECKING

import numpy as np

from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import Metric

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.base import ClassifierMixin


def permutation_importance(
    model: "ClassifierMixin",
    matrix: "np.ndarray | csr_matrix",
    truth: np.ndarray,
    owners: np.ndarray,
    metric: Metric,
    seed: int,
    rows: int = 2000,
    alike: bool = False,
) -> np.ndarray:
    """What the score loses when the values of one column are shuffled ``(n_columns,)``, on at most
    ``rows`` rows (Breiman 2001). ``owners`` ``(width,)`` is the column of each place of ``matrix``.

    ``alike``: both classes are drawn alike, as far as there are rows of either. It is for a
    ``metric`` that compares pairs of a yes and a no, and is the same in any mixture."""
    chance = np.random.default_rng(seed)
    positions = chance.permutation(len(truth))
    positions = _alike(positions, truth, rows) if alike else positions[:rows]
    matrix, truth = matrix[positions], truth[positions]
    whole = score(metric, truth, modelling.scores_of(model, matrix))
    losses = np.empty(owners.max() + 1)
    for column in range(len(losses)):
        places = np.flatnonzero(owners == column)
        shuffled = _shuffled(matrix, places, chance.permutation(len(truth)))
        losses[column] = metric.gain(
            whole, score(metric, truth, modelling.scores_of(model, shuffled))
        )
    return losses


def _alike(positions: np.ndarray, truth: np.ndarray, rows: int) -> np.ndarray:
    """The first ``rows`` of ``positions``, half of them of either class: of the other class more,
    if there are too few of one."""
    yes = truth[positions] == 1
    count = min(int(yes.sum()), max(rows // 2, rows - int((~yes).sum())))
    return np.concatenate([positions[yes][:count], positions[~yes][: rows - count]])


def _shuffled(
    matrix: "np.ndarray | csr_matrix", places: np.ndarray, order: np.ndarray
) -> "np.ndarray | csr_matrix":
    """A copy with the rows of ``places``, which are neighbours, in another order."""
    from scipy.sparse import hstack, issparse

    if not issparse(matrix):
        shuffled = matrix.copy()
        shuffled[:, places] = matrix[np.ix_(order, places)]
        return shuffled
    first, end = places[0], places[-1] + 1
    parts = [matrix[:, :first], matrix[:, first:end][order], matrix[:, end:]]
    return hstack(parts, format="csr")
