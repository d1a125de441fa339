"""The measures of predicted numbers ``(n_rows,)`` against numbers."""

import math

import numpy as np

from tasks.measures.measure import Measure, Reweighted, mean_of, measure_rows
from usecases.definition import MAE, MAPE, MEDIAN_ABSOLUTE_ERROR, POISSON_DEVIANCE, R2, RMSE

_LEAST = 1e-12


def _squared_error(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return (predicted - truth) ** 2


def _absolute_error(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.abs(predicted - truth)


def _poisson_deviance(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Twice the log likelihood that is lost (McCullagh & Nelder 1989); for counts."""
    mean = np.maximum(predicted, _LEAST)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(truth > 0, truth * np.log(truth / mean), 0.0)
    return 2 * (ratio - truth + mean)


def _root_mean_square(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    mean_square = mean_of((predicted - truth) ** 2, block, blocks)
    return lambda counts: np.sqrt(mean_square(counts))


def _root_mean_square_influence(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> tuple[float, np.ndarray, int]:
    """That of the mean square, by the derivative of the root."""
    squares = (predicted - truth) ** 2
    mean = float(squares.mean())
    by_block = np.bincount(block, weights=squares - mean, minlength=blocks) / len(squares)
    root = float(np.sqrt(mean))
    return root, by_block / (2 * root) if root else by_block, len(np.unique(block))


def _r2(truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int) -> Reweighted:
    """The share of the variance that is explained: against the mean of the rows that count."""
    centred = truth - (truth.mean() if len(truth) else 0.0)
    missed, first, second = (
        mean_of(values, block, blocks) for values in ((predicted - truth) ** 2, centred, centred**2)
    )

    def at(counts: np.ndarray) -> np.ndarray:
        variance = second(counts) - first(counts) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(variance > 0, 1 - missed(counts) / variance, np.nan)

    return at


def _percentage_error(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    """On the rows whose truth is not 0, as a share: .1 is 10 %."""
    there = truth != 0
    share = np.abs((predicted[there] - truth[there]) / truth[there])
    return mean_of(share, block[there], blocks)


def _median_error(
    truth: np.ndarray, predicted: np.ndarray, block: np.ndarray, blocks: int
) -> Reweighted:
    errors = np.abs(predicted - truth)
    order = np.argsort(errors, kind="stable")
    ranked, home = errors[order], block[order]

    def once(times: np.ndarray) -> float:
        upto = np.cumsum(times[home])
        if not len(upto) or not upto[-1] > 0:
            return float("nan")
        low = np.searchsorted(upto, upto[-1] / 2, side="left")
        high = np.searchsorted(upto, upto[-1] / 2, side="right")
        return float((ranked[low] + ranked[min(high, len(ranked) - 1)]) / 2)

    return lambda counts: np.array([once(times) for times in counts])


NUMBERS = (
    Measure(
        RMSE,
        _root_mean_square,
        always=True,
        influence=_root_mean_square_influence,
        row_loss=_squared_error,
        of_mean=math.sqrt,
    ),
    measure_rows(MAE, _absolute_error, always=True),
    Measure(R2, _r2, always=True),
    Measure(MEDIAN_ABSOLUTE_ERROR, _median_error),
    Measure(MAPE, _percentage_error),
    measure_rows(POISSON_DEVIANCE, _poisson_deviance),
)
