"""The time of a fit on all rows, from two on a sample."""

import pytest

from tasks.checks.bench import Fit
from tasks.checks.cost import fit_seconds, in_time


def fit(few_seconds: float, seconds: float, few_rows: int = 1000, rows: int = 10_000) -> Fit:
    return Fit("c", None, rows, seconds, few_rows, few_seconds)


@pytest.mark.parametrize(
    ("measured", "rows", "seconds"),
    [
        (fit(1.0, 1.0), 1_000_000, 1.0),  # no row costs anything
        (fit(0.1, 1.0), 100_000, 10.0),  # a row costs .1 ms
        (fit(0.55, 1.0), 100_000, 5.5),  # half a second, and a row .05 ms
        (fit(0.02, 2.0), 100_000, 200.0),  # with the square
        (fit(0.001, 2.0), 100_000, 200.0),  # never with more
        (fit(0.1, 1.0), 4_000, 1.0),  # never less than what was measured
        (fit(2.0, 2.0, few_rows=500, rows=500), 5_000, 20.0),  # one fit only
        (fit(0.0, 0.0), 100_000, 0.0),
    ],
)
def test_a_fit_grows_as_its_two_measurements_did(measured: Fit, rows: int, seconds: float) -> None:
    assert fit_seconds(measured, rows) == pytest.approx(seconds, rel=0.01)


def test_times_are_said_in_a_unit_that_people_read() -> None:
    assert [in_time(value) for value in (7.4, 99, 240, 5400)] == ["7 s", "99 s", "4 min", "1.5 h"]
