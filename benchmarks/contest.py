"""The block bootstrap of the contest against the direct way: repeat the rows and call scikit-learn.

python -m benchmarks.contest
"""

import time

import numpy as np
from sklearn.metrics import roc_auc_score

from tasks.metrics import reweighted
from usecases.definition import ROC_AUC

ROWS, DAYS, REPLICATES = 28_000, 30, 400


def main() -> None:
    """Print seconds of both, their ratio, and the largest difference between their scores."""
    chance = np.random.default_rng(7)
    truth = chance.random(ROWS) < 0.2
    predicted = chance.random(ROWS) + 0.3 * truth
    day = chance.integers(0, DAYS, ROWS)
    counts = chance.multinomial(DAYS, np.full(DAYS, 1 / DAYS), size=REPLICATES).astype(float)
    start = time.perf_counter()
    ours = reweighted(ROC_AUC, truth, predicted, day, DAYS)(counts)
    seconds = time.perf_counter() - start
    direct, shown = time.perf_counter(), 40
    theirs = [roc_auc_score(truth, predicted, sample_weight=one[day]) for one in counts[:shown]]
    direct_seconds = (time.perf_counter() - direct) * REPLICATES / shown
    print(f"{REPLICATES} replicates of {ROWS:,} rows in {DAYS} days: {1000 * seconds:.0f} ms")
    print(f"scikit-learn on weighted rows: {1000 * direct_seconds:.0f} ms (from {shown}), {direct_seconds / seconds:.0f} times as long")
    print(f"largest difference: {np.abs(ours[:shown] - theirs).max():.1e}")


if __name__ == "__main__":
    main()
