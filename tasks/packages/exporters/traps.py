"""Models of scikit-learn that are known to convert wrongly and silently: they are refused by the
name of the step (docs/decisions/0006-onnx.md). What shows before the fit was refused when the model
was built (``tasks/models/refusals.py``)."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tasks.models.refusals import why_not_served
from tasks.packages.exporters.exporter import NotConvertible

# Where scikit-learn keeps the estimators inside another one.
_HOLDERS = (
    *("steps", "transformers_", "transformer_list"),
    *("estimator", "estimators_", "best_estimator_", "final_estimator_", "calibrated_classifiers_"),
)


def refuse_traps(model: Any) -> None:
    """Raises ``NotConvertible`` for the first step of the fitted ``model`` that would score
    differently."""
    if reason := why_not_served(model):
        raise NotConvertible(f"{type(model).__name__} {reason}")
    for step in steps_of(model):
        _refuse_learned_nulls(step)


def steps_of(model: Any) -> Iterator[Any]:
    """``model`` and every estimator inside it: steps, columns' transformers, members of an
    ensemble.
    """
    yield model
    for holder in _HOLDERS:
        yield from _held(getattr(model, holder, None))


def _held(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple, np.ndarray)):
        for part in value:
            yield from _held(part)
    elif hasattr(value, "__dict__"):
        yield from steps_of(value)


def _learned_nulls(tree: Any) -> bool:
    """Return whether a tree shows that it was trained on missing values: if it saw none, they are
    sent to the larger child.

    A single tree may have learned just that; the proof on rows with nulls (tasks/packages/proof.py)
    catches it."""
    inner = tree.children_left >= 0
    left, right = tree.children_left[inner], tree.children_right[inner]
    larger = tree.n_node_samples[left] > tree.n_node_samples[right]
    return bool(np.any(tree.missing_go_to_left[inner].astype(bool) != larger))


def _refuse_learned_nulls(step: Any) -> None:
    members = getattr(step, "estimators_", ())
    whole = (step, *(members.ravel() if isinstance(members, np.ndarray) else members))
    if any(_learned_nulls(tree.tree_) for tree in whole if hasattr(tree, "tree_")):
        raise NotConvertible(
            f"{type(step).__name__} trained on missing values scores wrongly in ONNX here. Put a "
            "SimpleImputer before it, or let the candidate build a forest alone."
        )
