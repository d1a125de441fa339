"""What the signs of a leak say of honest challengers and of planted ones, on the real flights.

python -m benchmarks.contest.leaks           the verdict under each metric, the share of what the
                                             champion lacks, near rows, and the strongest column
python -m benchmarks.contest.leaks windows   near rows of honest windows of 3 to 14 days
"""

import sys
import time
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from tasks.contest.decide import judge_rows
from tasks.contest.leaks import strongest_column
from tasks.contest.near_rows import find_near_rows
from tasks.data.sources import source_of
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import BRIER, LOG_LOSS, ROC_AUC, Gate, Promotion, UseCase, load

MONTHS = ("2013-05", "2013-11")
ROWS = 20_000  # of a fit
COPIED, JITTER = 0.25, 1e-6
METRICS = (ROC_AUC, BRIER, LOG_LOSS)
WINDOWS, SEED = 40, 12


def main(arguments: list[str]) -> None:
    case = load("flights")
    rows = labelled(case)
    windows(case, rows) if arguments == ["windows"] else verdicts(case, rows)


def labelled(case: UseCase) -> pl.DataFrame:
    """All labelled flights, in the types that ingest gives them."""
    source = source_of(case)
    months = [source.read(name) for name in source.periods()]
    numbers = [pl.col(name).cast(pl.Float64) for name in numbers_of(case)]
    rows = pl.concat(months, how="vertical_relaxed").with_columns(numbers)
    return rows.filter(pl.col(case.label).is_not_null()).sort(case.event_time)


def numbers_of(case: UseCase) -> list[str]:
    return [column.name for column in case.columns if column.kind == "number"]


def jittered(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """Copies of a part of the rows, with other last digits."""
    chance = np.random.default_rng(SEED)
    some = rows.sample(fraction=COPIED, seed=SEED)
    noise = {name: pl.Series(chance.normal(0, JITTER, len(some))) for name in numbers_of(case)}
    return some.with_columns(pl.col(name) + values for name, values in noise.items())


def verdicts(case: UseCase, rows: pl.DataFrame) -> None:
    """Print a line for each month, challenger and metric; the champion is a logistic regression."""
    names = case.period_of_rows
    for month in MONTHS:
        holdout, before = rows.filter(names == month), rows.filter(names < month)
        alone = strongest_column(case, holdout)
        print(
            f"{month}, {len(holdout):,} rows: strongest column {alone.column}, ROC AUC "
            f"{alone.score:.3f}, agrees {alone.agreement:.1%}"
        )
        training = {
            "honest boosting": before.sample(ROWS, seed=SEED),
            "25 % copied": pl.concat([before.sample(ROWS, seed=SEED), jittered(case, holdout)]),
            "fitted on it": holdout,
        }
        champion = fitted_scores(case, "logistic", training["honest boosting"], holdout)
        for name, learned in training.items():
            compare(case, name, holdout, learned, champion)


def fitted_scores(
    case: UseCase, recipe: str, learned: pl.DataFrame, holdout: pl.DataFrame
) -> np.ndarray:
    candidate = case.candidate(recipe)
    fitted = modelling.fit(case, candidate, dict(candidate.params), learned, SEED)
    return modelling.predict(fitted, case, holdout)


def compare(
    case: UseCase, name: str, holdout: pl.DataFrame, learned: pl.DataFrame, champion: np.ndarray
) -> None:
    scores = fitted_scores(case, "boosting", learned, holdout)
    truth = modelling.labels(case, holdout)
    before, after = score(ROC_AUC, truth, champion), score(ROC_AUC, truth, scores)
    started = time.process_time()
    near = find_near_rows(case, holdout, learned)
    seconds = time.process_time() - started
    print(
        f"  {name}: {(after - before) / (1 - before):.3f} of what the champion lacks; "
        f"{near.rows:,} near rows, {'doubted' if near.doubts else 'no doubt'} ({seconds:.1f} CPU s)"
    )
    for metric in METRICS:
        gate = Gate(metric=metric, threshold=case.gate.threshold)
        plain = case.model_copy(update={"gate": gate, "promotion": Promotion()})
        contest = judge_rows(plain, holdout, champion, scores, SEED)
        print(f"    {metric.name}: gain {contest.main.gain:+.4f}, {contest.verdict} by the scores")


def windows(case: UseCase, rows: pl.DataFrame) -> None:
    """Print how many honest windows are doubted, each against the three months before it."""
    chance, doubted, most = np.random.default_rng(SEED), 0, 0.0
    for _ in range(WINDOWS):
        start = datetime(2013, 4, 1) + timedelta(days=int(chance.integers(0, 260)))
        end = start + timedelta(days=int(chance.integers(3, 15)))
        time_ = pl.col(case.event_time)
        holdout = rows.filter(time_.is_between(start, end, closed="left"))
        learned = rows.filter(time_.is_between(start - timedelta(days=90), start, closed="left"))
        near = find_near_rows(case, holdout, learned)
        doubted, most = doubted + bool(near.doubts), max(most, near.share)
    print(f"{WINDOWS} windows: {doubted} doubted, at most {most:.2%} near rows")


if __name__ == "__main__":
    main(sys.argv[1:])
