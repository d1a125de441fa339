"""How certain the weights of columns are, by how many rows are shuffled and how these are drawn.

    python -m benchmarks.drift.weights [--through 2013-03] [--draws 5]

Three models of the flights, each fitted on 50,000 rows without a third of the months, are asked
about the rows that they have not learned, drawn again and again. Needs no server; a few minutes."""

import argparse

import numpy as np
import polars as pl

from benchmarks.drift.score_drift import read_months
from tasks.models import modelling
from tasks.models.cross_fitting import MOST_FIT_ROWS
from tasks.models.executors import one_core
from tasks.models.importance import permutation_importance
from usecases.definition import UseCase, load, period_named

_MOST_ROWS = 8000  # what the others are compared with, in the mean of all draws
_WAYS = (("at random", 1000), ("at random", 2000), ("at random", 4000), ("either alike", 2500))


def main() -> None:
    """Print the share of the weight that a draw gives to other columns than many rows do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--through", default="2013-03")
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    case, last = load("flights"), period_named(arguments.through)
    months = [rows for name, rows in read_months(case).items() if period_named(name) <= last]
    with one_core():
        held_out = list(_held_out(case, [rows.drop_nulls(case.label) for rows in months]))
        draws = range(arguments.draws)
        many = [_losses(case, held_out, seed, _MOST_ROWS, "at random") for seed in draws]
        truth = _weights(np.mean(many, axis=0))
        print("| rows of a model | drawn | weight elsewhere |\n|---|---|---|")
        for way, rows in _WAYS:
            several = [_weights(_losses(case, held_out, seed, rows, way)) for seed in draws]
            elsewhere = np.mean([np.abs(weights - truth).sum() / 2 for weights in several])
            print(f"| {rows:,} | {way} | {elsewhere:.1%} |", flush=True)


def _held_out(case: UseCase, months: list[pl.DataFrame]):  # noqa: ANN202 - of scikit-learn
    """A model, its owners of places, and matrix and labels of the months that it has not learned,
    for each third."""
    candidate = case.candidate("boosting")
    for third in range(3):
        inside = [number * 3 // len(months) == third for number in range(len(months))]
        others = pl.concat(rows for rows, flag in zip(months, inside, strict=True) if not flag)
        others = others.sample(min(MOST_FIT_ROWS, len(others)), seed=third)
        fitted = modelling.fit(case, candidate, candidate.params, others, third)
        unseen = pl.concat(rows for rows, flag in zip(months, inside, strict=True) if flag)
        matrix = modelling.encode(fitted, case, unseen)
        owners = modelling.owners(case, fitted)
        yield fitted.named_steps["model"], owners, matrix, modelling.labels(case, unseen)


def _losses(case: UseCase, held_out: list, seed: int, rows: int, way: str) -> np.ndarray:
    """The mean loss of each column over the models ``(n_columns,)``."""
    metric, alike = case.gate.metric, way != "at random"
    return np.mean(
        [
            permutation_importance(model, matrix, truth, owners, metric, seed, rows, alike)
            for model, owners, matrix, truth in held_out
        ],
        axis=0,
    )


def _weights(losses: np.ndarray) -> np.ndarray:
    used = np.maximum(losses, 0)
    return used / used.sum()


if __name__ == "__main__":
    main()
