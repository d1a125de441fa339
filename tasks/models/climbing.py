"""One step of a trial on its way up the rungs: what travels to a worker, and what comes back."""

from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.measures.metrics import score
from tasks.models.executors import one_core
from tasks.models.growing import Grow
from tasks.models.modelling import scores_of
from tasks.outside.user_code import UseCaseFailed, calling
from usecases.definition import Metric

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_LOST = (BrokenExecutor, CancelledError)


class WorkersLost(RuntimeError):
    """The executor lost a worker, and the next one too."""


class TrialFailed(RuntimeError):
    """This trial cannot be finished, such as for want of memory. The others can."""


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
    metric: Metric


Reached = tuple[Any, float]
"""The grown estimator and its score."""


def climb(step: Climb, split: Split) -> Reached:
    """Take a step on ``split``. It needs nothing of the process that it runs in, and takes one core
    there. Raises ``TrialFailed`` if memory is short, and ``UseCaseFailed``.
    """
    expectation = "docs/use-cases.md says what Search requires of an estimator."
    try:
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
    except (UseCaseFailed, MemoryError) as error:
        if isinstance(error.__cause__ or error, MemoryError):
            raise TrialFailed(f"{step.call} ran out of memory at {_place(step)}") from None
        raise
    return grown, score(step.metric, split.check_labels, predicted)


def send(executor: Executor, step: Climb, split: Split) -> "Future[Reached]":
    """Ask ``executor`` for a step. Raises ``WorkersLost``."""
    try:
        return executor.submit(climb, step, split)
    except _LOST as error:
        raise _lost(step, error) from error


def receive(executor: Executor, future: "Future[Reached]", step: Climb, split: Split) -> Reached:
    """Wait for a step. What a lost worker had is asked for once more.

    Raises ``WorkersLost``, and what ``climb`` raises."""
    try:
        return future.result()
    except _LOST:
        future = send(executor, step, split)
    try:
        return future.result()
    except _LOST as error:
        raise _lost(step, error) from error


def _lost(step: Climb, error: BaseException) -> WorkersLost:
    return WorkersLost(
        f"{step.use_case}: HPO lost its workers at {_place(step)} ({type(error).__name__}: "
        f"{error}). Was there enough memory? Start the run again: it goes on with the trials that "
        "it has."
    )


def _place(step: Climb) -> str:
    return f"{step.resource}={step.rung}"
