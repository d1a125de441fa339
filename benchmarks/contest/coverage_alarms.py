"""How often people are told that intervals are off: a table of docs/performance.md.

    python -m benchmarks.contest.coverage_alarms [worlds]

In each world a number's interval is calibrated on two months and watched for twelve. The errors of
a day have a scale of their own (its logarithm has a standard deviation of .25, and days may hang
together by ``rho``). From the first watched month on, errors are as large as they were, or larger.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from serving.package.manifest import Coverage
from serving.records.performance import Interval
from tasks.drift.coverage import OFF, promised
from tasks.measures.conformal import conformal_offsets, least_rows, share_held

DAYS, WATCHED, COVERAGE, DAY_SCALE = 30, 12, 0.9, 0.25
WORLDS = (  # rows of a day, rho, growth of the errors
    (100, 0.0, 1.0),
    (1000, 0.0, 1.0),
    (10, 0.0, 1.0),
    (100, 0.5, 1.0),
    (100, 0.0, 1.25),
    (100, 0.0, 1.5),
)


def errors(chance: np.random.Generator, rows: int, rho: float) -> np.ndarray:
    """Those of a month, day by day ``(DAYS, rows)``, with a longer tail above."""
    shocks = chance.normal(size=DAYS)
    for day in range(1, DAYS):
        shocks[day] = rho * shocks[day - 1] + np.sqrt(1 - rho**2) * shocks[day]
    return np.exp(DAY_SCALE * shocks)[:, None] * (chance.gamma(2, 1, (DAYS, rows)) - 2)


def calibrate(months: Sequence[np.ndarray]) -> tuple[tuple[float, float], Coverage]:
    """The offsets of two months, and what each holds of the other."""

    def offsets(seen: np.ndarray) -> tuple[float, float]:
        return conformal_offsets(seen, np.zeros(len(seen)), np.zeros(len(seen)), COVERAGE)

    inside = np.concatenate(
        [
            hold(other, offsets(month.ravel()))
            for month, other in ((months[1], months[0]), (months[0], months[1]))
        ]
    )
    held = share_held(inside, np.repeat(np.arange(2 * DAYS), months[0].shape[1]), 0)
    seen = np.concatenate([month.ravel() for month in months])
    return offsets(seen), Coverage(
        promise=COVERAGE,
        method="split",
        rows=len(seen),
        needed=least_rows(COVERAGE, 2),
        windows=["1", "2"],
        held=held.value,
        low=held.low,
        high=held.high,
    )


def hold(month: np.ndarray, offsets: tuple[float, float]) -> np.ndarray:
    low, high = offsets
    flat = month.ravel()
    return np.asarray((low <= flat) & (flat <= high))


def side(share: Interval, coverage: Coverage | None) -> str:
    """The rule of a window (``tasks/drift/coverage.py``)."""
    assert share.bounds is not None
    least, most = promised(COVERAGE, coverage)
    return "fewer" if share.bounds[1] < least else "more" if share.bounds[0] > most else ""


def watch(rows: int, rho: float, growth: float, seed: int) -> dict[str, bool]:
    """Whether a year has an alarm, by rule."""
    chance = np.random.default_rng([seed, rows, int(100 * rho), int(100 * growth)])
    offsets, coverage = calibrate([errors(chance, rows, rho) for _ in range(2)])
    days = np.repeat(np.arange(DAYS), rows)
    months = [growth * errors(chance, rows, rho) for _ in range(WATCHED)]
    shares = [share_held(hold(month, offsets), days, 0) for month in months]
    against_promise = [side(share, None) for share in shares]
    off = [side(share, coverage) for share in shares]
    return {
        "one window beyond the promise": any(against_promise),
        "one window off": any(off),
        "two in a row": any(first in OFF and first == then for first, then in pairwise(off)),
    }


def main(worlds: int = 300) -> None:
    rules = "one window beyond the promise | one window off | two in a row off (the rule)"
    print(f"| rows a day | days hang together by | errors | {rules} |\n{'|---' * 6}|")
    for rows, rho, growth in WORLDS:
        years = [watch(rows, rho, growth, seed) for seed in range(worlds)]
        rates = [f"{np.mean([year[rule] for year in years]):.1%}" for rule in years[0]]
        grown = "as before" if growth == 1 else f"{growth:.2f} times as large"
        print(f"| {rows} | {rho:g} | {grown} | {' | '.join(rates)} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
