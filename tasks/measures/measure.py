"""How a metric is computed: a score as a function of how often each block of rows counts.

Whoever leaves blocks out or repeats them asks for the same score many times. A measure reduces the
rows once to statistics of each block, after which each costs a few multiplications; one that has no
such statistics scores the repeated rows again. The influence of each block on the score is told in
closed form where there is one, and is otherwise a jackknife (``tasks/measures/influence.py``)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from usecases.definition import Metric

Reweighted = Callable[[np.ndarray], np.ndarray]
"""Takes counts ``(n_replicates, n_blocks)``, gives scores ``(n_replicates,)``; NaN if a score
does not exist.
"""

Reweight = Callable[[np.ndarray, np.ndarray, np.ndarray, int], Reweighted]
"""Takes truth and finite predictions ``(n_rows,)``, the block of each row in 0..n_blocks-1
``(n_rows,)``, and n_blocks.
"""

Influences = Callable[[np.ndarray, np.ndarray, np.ndarray, int], tuple[float, np.ndarray, int]]
"""Takes what ``Reweight`` takes, at least one row, and gives the score, the influence of each block
on it ``(n_blocks,)``, and the number of blocks that the score rests on; NaN where there is none.
"""


@dataclass(frozen=True)
class Measure:
    """How ``metric`` is computed.

    ``expect`` takes scores and the chance of a positive ``(n_rows,)`` and gives the score to be
    expected before any label is known; ``None`` if there is no such expectation. One that is
    ``always`` measured is reported whatever a use case's gate and guards are. Where the score is
    ``of_mean`` of the mean of ``row_loss(truth, predicted)`` ``(n_rows,)``, that says so."""

    metric: Metric
    reweight: Reweight
    expect: Callable[[np.ndarray, np.ndarray], float] | None = None
    always: bool = False
    influence: Influences | None = None
    row_loss: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    of_mean: Callable[[float], float] = float


def mean_of(scores: np.ndarray, block: np.ndarray, blocks: int) -> Reweighted:
    """The mean of ``scores`` ``(n_rows,)`` over the rows of their blocks."""
    total = np.bincount(block, weights=scores, minlength=blocks)
    rows = np.bincount(block, minlength=blocks)

    def at(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (counts @ total) / (counts @ rows)

    return at


def measure_rows(
    metric: Metric, row_score: Callable[[np.ndarray, np.ndarray], np.ndarray], always: bool = False
) -> Measure:
    """The mean of ``row_score(truth, predicted)`` ``(n_rows,)`` over the rows."""

    def reweight(
        truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
    ) -> Reweighted:
        scores = row_score(np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float))
        return mean_of(scores, block, blocks)

    def influence(
        truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
    ) -> tuple[float, np.ndarray, int]:
        scores = row_score(np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float))
        mean = float(scores.mean())
        by_block = np.bincount(block, weights=scores - mean, minlength=blocks) / len(scores)
        return mean, by_block, len(np.unique(block))

    def expect(scores: np.ndarray, chances: np.ndarray) -> float:
        scores = np.asarray(scores, dtype=float)
        if_positive, if_negative = (row_score(np.full(len(scores), y), scores) for y in (1.0, 0.0))
        return float(np.mean(chances * if_positive + (1 - chances) * if_negative))

    return Measure(metric, reweight, expect, always, influence, row_score)


def measure_again(metric: Metric, score: Callable[[np.ndarray, np.ndarray], float]) -> Measure:
    """Any ``score(truth, predicted)``: each reweighting is computed anew on its repeated rows."""

    def reweight(
        truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
    ) -> Reweighted:
        def once(times: np.ndarray) -> float:
            rows = np.repeat(np.arange(len(truth)), times.astype(np.int64)[block])
            return float(score(truth[rows], predicted[rows])) if len(rows) else float("nan")

        return lambda counts: np.array([once(times) for times in counts])

    return Measure(metric, reweight)
