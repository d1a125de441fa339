"""The 90 % interval of a score covers what it says, whether days hang together or not."""

import numpy as np
import pytest

from tasks.measures.intervals import intervals
from usecases.definition import BRIER

DAYS, A_DAY = 30, 20


def shocks(chance: np.random.Generator, rho: float, worlds: int) -> np.ndarray:
    """How hard each day is ``(worlds, DAYS)``, normal."""
    values = chance.normal(size=(worlds, DAYS))
    for day in range(1, DAYS):
        values[:, day] = rho * values[:, day - 1] + np.sqrt(1 - rho**2) * values[:, day]
    return values


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_an_interval_covers_nine_times_in_ten(rho: float) -> None:
    """It covered 94 to 96 % of independent days."""
    chance, day = np.random.default_rng([17, int(10 * rho)]), np.repeat(np.arange(DAYS), A_DAY)
    worlds = []
    for hard in shocks(chance, rho, 1_000):
        predicted = np.clip(0.25 + 0.06 * hard, 0.02, 0.5)[day]
        truth = (chance.random(len(day)) < predicted).astype(int)
        worlds.append(intervals((BRIER,), truth, predicted, day, 0)["brier"])
    values = [interval.value for interval in worlds]
    middle = np.mean(values)  # type: ignore[arg-type]
    covered = np.mean(
        [bounds[0] <= middle <= bounds[1] for one in worlds if (bounds := one.bounds) is not None]
    )
    assert 0.865 < covered < 0.935, covered
