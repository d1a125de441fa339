"""What may be fitted: candidates, and how they are tuned."""

from collections.abc import Callable, Mapping
from typing import Any

from usecases.definition.columns import Frozen, Layout


class Range(Frozen):
    """One dimension of a search space, both ends included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False


class Search(Frozen):
    """How to tune an estimator: Optuna's TPE over ``space``, halved at each rung of ``resource``.

    ``resource`` is the parameter that grows (``max_iter``) and its rungs; the last one is what is kept.
    """

    space: Mapping[str, Range]
    resource: tuple[str, tuple[int, ...]]
    trials: int = 20


class Candidate(Frozen):
    """A recipe: ``build(params, layout, seed)`` returns an unfitted scikit-learn classifier on the encoded matrix.

    ``baseline`` candidates are fitted by every ``train``; the others are reached by HPO or as the champion's recipe.
    """

    name: str
    build: Callable[[Mapping[str, Any], Layout, int], Any]
    params: Mapping[str, Any] = {}
    baseline: bool = True
    search: Search | None = None
