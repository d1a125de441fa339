"""The interval of a number holds the promised share of labels that it has not seen."""

import numpy as np
import pytest

from tasks.measures.conformal import conformal_offsets


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("rows", [40, 500])
def test_interval_holds_the_promised_share_of_skewed_errors(coverage: float, rows: int) -> None:
    """On average over many hold-outs, as conformal prediction promises; by at most 2 / (n + 1)
    more."""
    chance = np.random.default_rng(0)
    held = []
    for _ in range(800):
        seen, later = chance.gamma(1.5, 2, rows), chance.gamma(1.5, 2, 400)
        low, high = conformal_offsets(seen, np.full(rows, 3.0), coverage)
        held.append(np.mean((later >= 3 + low) & (later <= 3 + high)))
    error = np.std(held) / np.sqrt(len(held))
    assert coverage - 3 * error < np.mean(held) < coverage + 2 / (rows + 1) + 3 * error


def test_interval_is_skewed_as_the_errors_are() -> None:
    low, high = conformal_offsets(
        np.random.default_rng(0).exponential(1, 5000), np.zeros(5000), 0.9
    )
    assert low == 0 and high == pytest.approx(-np.log(0.05), abs=0.2)


def test_too_few_rows_reach_as_far_as_the_farthest_error() -> None:
    assert conformal_offsets(np.array([1.0, -2.0, 5.0]), np.zeros(3), 0.9) == (-2.0, 5.0)


def test_interval_reaches_the_number_itself() -> None:
    """A model that is always too low has its errors above."""
    low, high = conformal_offsets(np.full(100, 9.0), np.full(100, 4.0), 0.9)
    assert (low, high) == (0.0, 5.0)
