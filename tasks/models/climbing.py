"""One step of a trial on its way up the rungs: what travels to a worker, and what comes back."""

from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.measures.metrics import score
from tasks.models.executors import one_core
from tasks.models.growing import Grow
from tasks.models.modelling import scores_of
from tasks.outside.user_code import calling
from usecases.definition import Metric

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_LOST = (BrokenExecutor, CancelledError)


class WorkersLost(RuntimeError):
    """The executor lost a worker, and the next one too."""


@dataclass(frozen=True)
class Split:
    """What trials are fitted on, and what they are scored on: matrices ``(n_rows, n_features)`` and
    labels ``(n_rows,)``, with weights of the rows ``(n_rows,)`` if they do not count alike.
    """

    fit_matrix: "np.ndarray | csr_matrix"
    fit_labels: np.ndarray
    check_matrix: "np.ndarray | csr_matrix"
    check_labels: np.ndarray
    fit_weights: np.ndarray | None = None


@dataclass(frozen=True)
class Climb:
    """Grow ``estimator`` to ``rung`` and score it by ``metric``. ``call`` names the trial, for an
    error of the use case's code.
    """

    use_case: str
    call: str
    estimator: Any
    grow: Grow
    resource: str
    rung: int
    split: Split
    metric: Metric


def climb(step: Climb) -> tuple[Any, float]:
    """The grown estimator and its score. It needs nothing of the process that it runs in, and takes
    one core there.
    """
    split, expectation = step.split, "docs/use-cases.md says what Search requires of an estimator."
    with one_core():
        with calling(step.use_case, step.call, expectation):
            grown = step.grow(
                step.estimator,
                step.resource,
                step.rung,
                split.fit_matrix,
                split.fit_labels,
                split.fit_weights,
            )
        predicted = scores_of(grown, split.check_matrix)
    return grown, score(step.metric, split.check_labels, predicted)


def climb_all(executor: Executor, steps: Sequence[Climb]) -> list[tuple[Any, float]]:
    """``climb`` of all ``steps``, in their order. What a lost worker had is asked for once more.

    Raises ``WorkersLost``, and what ``climb`` raises."""
    futures: list[Future[tuple[Any, float]]] = []
    try:
        futures.extend(executor.submit(climb, step) for step in steps)
        return [_result(executor, *pair) for pair in zip(futures, steps, strict=True)]
    except _LOST as error:
        raise WorkersLost(
            f"{steps[0].use_case}: HPO lost its workers at {steps[0].resource}={steps[0].rung} "
            f"({type(error).__name__}: {error}). Was there enough memory? Start the run again, "
            "with fewer workers if they are lost again."
        ) from error
    finally:
        for future in futures:
            future.cancel()


def _result(
    executor: Executor, future: "Future[tuple[Any, float]]", step: Climb
) -> tuple[Any, float]:
    try:
        return future.result()
    except _LOST:
        return executor.submit(climb, step).result()
