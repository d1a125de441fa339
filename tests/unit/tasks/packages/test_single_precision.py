"""A comparison in single precision is one in double precision, for every double."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.packages.exporters.single_precision import at_most, less_than

LIMITS = st.floats(width=32, allow_nan=False)
DOUBLES = st.floats(allow_nan=False)
LARGEST = float(np.finfo(np.float32).max)


def rounded(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def near(threshold: float, others: list[float]) -> np.ndarray:
    beside = [np.nextafter(threshold, side) for side in (-np.inf, np.inf)]
    return np.array([threshold, *beside, *others])


@given(LIMITS.filter(np.isfinite), st.lists(DOUBLES, max_size=5))
def test_less_than_a_float32(limit: float, others: list[float]) -> None:
    threshold = less_than(np.array([limit]))[0]
    values = near(threshold, [limit, *others])
    assert np.array_equal(values <= threshold, rounded(values) < np.float32(limit))


@given(st.one_of(LIMITS, DOUBLES), st.lists(DOUBLES, max_size=5))
def test_at_most_a_double(limit: float, others: list[float]) -> None:
    threshold = at_most(np.array([limit]))[0]
    values = near(threshold, [limit, *others])
    assert np.array_equal(values <= threshold, rounded(values).astype(float) <= limit)


def test_the_ends_of_single_precision() -> None:
    values = np.array([np.nextafter(2.0**128 - 2.0**103, 0), 2.0**128 - 2.0**103, 1e300, np.inf])
    assert (values <= at_most(np.array([LARGEST]))[0]).tolist() == [True, False, False, False]
    assert (values <= at_most(np.array([np.inf]))[0]).all()
