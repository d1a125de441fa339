"""How much each block of rows moves a score: its influence, by which the score is linear in blocks.

The influences of all blocks sum to zero, and their sum of squares is about the variance of the
score where blocks are independent (Hampel 1974; Efron 1982, *The Jackknife, the Bootstrap and Other
Resampling Plans*). No replicate is drawn, so none can lack a class. A difference of two scores on
the same rows has the difference of their influences."""

from dataclasses import dataclass

import numpy as np

from tasks.measures.measure import Reweighted
from tasks.measures.metrics import measure_of
from usecases.definition import Metric


@dataclass(frozen=True)
class Influence:
    """A ``score`` and what each block adds to its error, ``by_block`` ``(n_blocks,)`` in the
    score's unit.

    ``blocks`` is the number of blocks that the score rests on. Score and influences are NaN where
    they do not exist: without rows, for a single class, or if one block alone has a class."""

    score: float
    by_block: np.ndarray
    blocks: int

    @property
    def is_known(self) -> bool:
        return bool(np.isfinite(self.by_block).all())


def influence(
    metric: Metric, truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Influence:
    """The score of ``predicted`` ``(n_rows,)`` or ``(n_rows, n_classes)`` and the influence of each
    block. ``block`` ``(n_rows,)`` holds 0..blocks-1.

    A measure without influences of its own gets those of the jackknife: each block is left out
    once."""
    unknown = Influence(np.nan, np.full(blocks, np.nan), 0)
    if not len(truth) or not np.isfinite(predicted).all():
        return unknown
    measure = measure_of(metric, predicted)
    if measure.influence is not None:
        return Influence(*measure.influence(truth, predicted, block, blocks))
    present = np.bincount(block, minlength=blocks) > 0
    at = measure.reweight(truth, predicted, block, blocks)
    return Influence(*_jackknife(at, present), int(present.sum()))


def _jackknife(at: Reweighted, present: np.ndarray) -> tuple[float, np.ndarray]:
    """Leave out each block that has rows (Quenouille 1949; Tukey 1958)."""
    number = int(present.sum())
    counts = np.vstack([np.ones(len(present)), 1.0 - np.eye(len(present))[present]])
    scores = at(counts)
    by_block = np.zeros(len(present))
    without = scores[1:]
    by_block[present] = (number - 1) / number * (without.mean() - without)
    return float(scores[0]), by_block if np.isfinite(without).all() else by_block + np.nan
