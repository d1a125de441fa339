"""Measures by the function of a use case."""

from typing import Any

import numpy as np

from tasks.measures.measure import Measure, measure_again, measure_rows
from tasks.outside.user_code import UseCaseFailed, calling, describe_value
from usecases.definition import Metric


def own_measure(metric: Metric) -> Measure:
    """The measure of a metric that has a function. It raises ``UseCaseFailed`` where the function
    does, or returns another form than it is said to.
    """
    if metric.by_row:
        return measure_rows(metric, lambda truth, predicted: _by_row(metric, truth, predicted))
    return measure_again(metric, lambda truth, predicted: _of_all(metric, truth, predicted))


def _by_row(metric: Metric, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    expectation = "It must return one number for each row, or say by_row=False."
    answer = _called(metric, truth, predicted, expectation)
    scores = np.asarray(answer, dtype=float) if np.ndim(answer) == 1 else None
    if scores is None or scores.shape != (len(truth),):
        raise UseCaseFailed(
            f"The metric {metric.name!r} returned {describe_value(answer)} for {len(truth)} rows. "
            f"{expectation}"
        )
    return scores


def _of_all(metric: Metric, truth: np.ndarray, predicted: np.ndarray) -> float:
    expectation = "It must return one number, or say by_row=True."
    answer = _called(metric, truth, predicted, expectation)
    if np.ndim(answer) != 0 or isinstance(answer, str | bytes) or answer is None:
        raise UseCaseFailed(
            f"The metric {metric.name!r} returned {describe_value(answer)}. {expectation}"
        )
    return float(answer)


def _called(metric: Metric, truth: np.ndarray, predicted: np.ndarray, expectation: str) -> Any:
    assert metric.function is not None
    places = truth.astype(np.int64) if predicted.ndim == 2 else truth
    with calling(f"The metric {metric.name!r}", "its function", expectation):
        return metric.function(places, predicted)
