"""How many labels the intervals of a number hold, month after month: tables of docs/performance.md.

    python -m benchmarks.contest.number_intervals              flights' delay in minutes
    python -m benchmarks.contest.number_intervals diabetes     40 splits of 442 patients

Each month has a champion as the loop makes it: judged on the month before, calibrated there and on
the month before that, and refitted with it. *The recipe at two quantiles* is conformalised quantile
regression with three ensembles of the same size, calibrated on the month before."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from benchmarks.contest.delays import flights_with
from serving.package.outputs import Output, has_quantiles, values_of
from tasks.measures.conformal import conformal_offsets
from tasks.models import modelling
from tasks.models.cross_fitting import cross_fit
from tasks.packages.calibration import answered, calibrate_answers, learn_quantiles
from usecases.definition import RMSE, Candidate, Gate, Number, UseCase, load
from usecases.diabetes import patients

SEED, COVERAGE = 0, 0.9
SPLIT, QUANTILES, RECIPE = "split", "quantiles of the errors", "the recipe at two quantiles"
OLDEST = 4  # the first month that is predicted, from 0
SPLITS = 40
ROWS = 4000  # of each month


def boosting(params, layout, seed):  # noqa: ANN001, ANN201 - as a use case's build
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=100, early_stopping=False, random_state=seed, **params
    )


@dataclass
class Held:
    """The share of the labels that a method held in each window, and the mean width."""

    shares: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def add(self, truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        self.shares.append(float(np.mean((low <= truth) & (truth <= high))))
        self.widths.append(float(np.mean(high - low)))

    def cells(self) -> list[str]:
        shares = np.array(self.shares)
        return [
            f"{shares.min():.3f} to {shares.max():.3f}",
            f"{shares.mean():.3f}",
            f"{np.abs(shares - COVERAGE).mean():.3f}",
            f"{np.mean(self.widths):.0f}",
        ]


def delays() -> tuple[UseCase, dict[str, pl.DataFrame]]:
    """The use case, and a sample of the labelled rows of each month."""
    case, months = flights_with(
        pl.col("arr_delay").cast(pl.Float64).alias("delay"),
        target=Number(label="delay", unit="minutes", coverage=COVERAGE),
        candidates=(Candidate(name="boosting", build=boosting),),
        gate=Gate(metric=RMSE, threshold=60),
    )
    return case, {
        name: rows.sample(min(ROWS, len(rows)), seed=SEED) for name, rows in months.items()
    }


def ours(
    case: UseCase, learned: pl.DataFrame, holdout: pl.DataFrame, later: pl.DataFrame
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The ends of the intervals of ``later`` by a champion that was judged on ``holdout``, by the
    way in which they are made."""
    candidate = case.candidates[0]
    params = dict(candidate.params)
    judge = modelling.fit(case, candidate, params, learned, SEED)
    earlier = answered(case, judge, learned, cross_fit(case, judge, learned, SEED).scores)
    unseen = answered(case, judge, holdout, modelling.predict(judge, case, holdout), "hold-out")
    everything = pl.concat([learned, holdout])
    champion = modelling.fit(case, candidate, params, everything, SEED)
    answers = modelling.predict(champion, case, later)
    made = {}
    for method, intervals in ((SPLIT, "split"), (QUANTILES, "quantiles")):
        target = case.target.model_copy(update={"intervals": intervals})
        of_method = case.model_copy(update={"target": target})
        calibrated = calibrate_answers(of_method, unseen, earlier, SEED)
        numbers = answers
        if has_quantiles(calibrated.outputs):
            scores = cross_fit(case, champion, everything, SEED).scores
            quantiles = learn_quantiles(case, champion, everything, scores, SEED)
            numbers = quantiles.beside(modelling.encode(champion, case, later), answers)
        made[method] = ends(calibrated.outputs, numbers)
    return made


def ends(outputs: list[Output], numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, low, high = values_of(outputs, None)(numbers)
    return np.array(low), np.array(high)


def at_two_quantiles(
    case: UseCase, learned: pl.DataFrame, holdout: pl.DataFrame, later: pl.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """The same recipe, fitted for each end."""
    levels = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)

    def both(training: pl.DataFrame, rows: pl.DataFrame) -> list[np.ndarray]:
        fits = [
            modelling.fit(
                case, case.candidates[0], {"loss": "quantile", "quantile": level}, training, SEED
            )
            for level in levels
        ]
        return [modelling.predict(fitted, case, rows) for fitted in fits]

    low, high = both(learned, holdout)
    below, above = conformal_offsets(modelling.labels(case, holdout), low, high, COVERAGE)
    low, high = both(pl.concat([learned, holdout]), later)
    return low + below, high + above


def flights() -> Iterator[list[str]]:
    case, months = delays()
    names = list(months)
    held = {method: Held() for method in (SPLIT, QUANTILES, RECIPE)}
    for place in range(OLDEST, len(names)):
        learned = pl.concat([months[name] for name in names[: place - 1]])
        parts = learned, months[names[place - 1]], months[names[place]]
        truth = modelling.labels(case, parts[-1])
        made = {**ours(case, *parts), RECIPE: at_two_quantiles(case, *parts)}
        for method, (low, high) in made.items():
            held[method].add(truth, low, high)
        shares = ", ".join(f"{method} {each.shares[-1]:.3f}" for method, each in held.items())
        print(f"{names[place]}: {shares}", file=sys.stderr, flush=True)
    for method, each in held.items():
        yield [method, *each.cells()]


def diabetes() -> Iterator[list[str]]:
    """The latest patients are predicted, and those before them are the hold-out."""
    case = load("diabetes")
    rows = patients()
    held = {SPLIT: Held(), QUANTILES: Held()}
    for seed in range(SPLITS):
        dealt = rows.sample(fraction=1.0, shuffle=True, seed=seed).with_row_index("row")
        day = pl.datetime(2024, 1, 1) + pl.duration(days=pl.col("row") * 70 // len(dealt))
        dealt = dealt.with_columns(day.alias(case.event_time))
        parts = [dealt[:265], dealt[265:353], dealt[353:]]
        for method, (low, high) in ours(case, *parts).items():
            held[method].add(modelling.labels(case, parts[-1]), low, high)
    for method, each in held.items():
        yield [method, *each.cells()]


def main(world: str = "flights") -> None:
    rows = list(diabetes() if world == "diabetes" else flights())
    header = "interval | held | mean | mean distance from .9 | mean width"
    lines = [f"| {header} |", "|---" * 5 + "|", *(f"| {' | '.join(cells)} |" for cells in rows)]
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
