"""How a search climbs: at each rung an estimator grows, or is fitted anew where growing would give
another model than one long fit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.models.libraries import counts_trees, refit
from tasks.models.weights import fit_arguments
from tasks.outside.user_code import UseCaseFailed
from usecases.definition import Candidate, UseCase

Grow = Callable[[Any, str, int, np.ndarray, np.ndarray, np.ndarray | None], Any]
"""Takes an estimator, the name of its resource, the rung to reach, a matrix ``(n_rows,
n_features)``, labels ``(n_rows,)`` and perhaps weights ``(n_rows,)``; gives the estimator fitted
that far.
"""


@dataclass(frozen=True)
class Grower:
    """One way to go on with a fit. ``takes`` says whether an estimator has the resource and can
    grow by it; ``grow`` is a function of a module, so that it can travel to another process.
    """

    takes: Callable[[Any, str], bool]
    grow: Grow


def _has_warm_start(estimator: Any, resource: str) -> bool:
    return not _missing(estimator, resource)


def _missing(estimator: Any, resource: str) -> list[str]:
    parameters = estimator.get_params()
    return [name for name in (resource, "warm_start") if name not in parameters]


def _fit_on(
    estimator: Any,
    resource: str,
    rung: int,
    matrix: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
) -> Any:
    grown = estimator.set_params(**{resource: rung, "warm_start": True})
    return grown.fit(matrix, labels, **fit_arguments(grown, weights))


WARM_START = Grower(_has_warm_start, _fit_on)

REFIT = Grower(counts_trees, refit)


def _is_own(estimator: Any, resource: str) -> bool:
    from tasks.models.own_models import OwnModel

    return isinstance(estimator, OwnModel)


def _build_and_fit(
    estimator: Any,
    resource: str,
    rung: int,
    matrix: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
) -> Any:
    return estimator.with_param(resource, rung).fit(matrix, labels, weights)


REBUILD = Grower(_is_own, _build_and_fit)

GROWERS: list[Grower] = [REBUILD, WARM_START, REFIT]
"""In the order in which they are asked: the first that takes an estimator grows it."""


def grow_of(case: UseCase, candidate: Candidate, resource: str, estimator: Any) -> Grow:
    """How ``estimator`` grows. Raises ``UseCaseFailed`` if no grower takes it."""
    for grower in GROWERS:
        if grower.takes(estimator, resource):
            return grower.grow
    raise UseCaseFailed(
        f"{case.name}: search of candidate {candidate.name!r} grows {resource!r} with "
        f"warm_start, but the {type(estimator).__name__} that build returns has no parameter "
        f"{' and no '.join(map(repr, _missing(estimator, resource)))}. Name one that grows, such "
        "as ('max_iter', (20, 50, 100)) of HistGradientBoostingClassifier or ('n_estimators', "
        "(20, 50, 100)) of LGBMClassifier, add a grower to tasks/models/growing.py, or drop search."
    )
