"""XGBoost, read from the JSON that it saves: gbtree and dart, up to the best iteration.

A split is ``float32(x) < t``, and null goes the default way
(https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html)."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.models.libraries import is_of
from tasks.packages.exporters.exporter import NotConvertible
from tasks.packages.exporters.single_precision import less_than
from tasks.packages.exporters.tree_writer import exporter_of_trees
from tasks.packages.exporters.trees import LEAF, Forest, Link, Tree

_LINKS: Mapping[str, Link] = {
    "binary:logistic": "sigmoid",
    "multi:softprob": "softmax",
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exp"),
    **dict.fromkeys(
        ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
        "identity",
    ),
}


def _read(model: Any) -> Forest:
    learner = json.loads(model.get_booster().save_raw("json"))["learner"]
    _check(model, learner)
    parts = _parts(learner)
    weights = learner["gradient_booster"].get("weight_drop")  # of dart
    count = _count_trees(learner, parts)
    trees = [
        _tree(tree, output, 1.0 if weights is None else weights[place])
        for place, (tree, output) in enumerate(
            zip(parts["trees"][:count], parts["tree_info"][:count], strict=True)
        )
    ]
    link = _LINKS[learner["objective"]["name"]]
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    return Forest(trees, np.broadcast_to(_base(learner, link), outputs), link)


def _check(model: Any, learner: Mapping[str, Any]) -> None:
    """Raises ``NotConvertible`` for what has no list of trees that answers as XGBoost does."""
    booster, objective = learner["gradient_booster"]["name"], learner["objective"]["name"]
    problem = ""
    if booster not in ("gbtree", "dart"):
        problem = f"booster={booster!r}"
    elif callable(model.objective):
        problem = "a function as objective"
    elif objective not in _LINKS:
        problem = f"the objective {objective!r}"
    elif model.missing == model.missing:
        problem = f"missing={model.missing!r}"
    elif "c" in learner["feature_types"]:
        problem = "native categories"
    elif int(learner["learner_model_param"]["num_target"]) > 1 or _has_vectors(learner):
        problem = "several outputs a row"
    if problem:
        raise NotConvertible(
            f"{type(model).__name__} with {problem} cannot become ONNX. Supported are gbtree and "
            f"dart on numbers, with nulls as NaN, and the objectives {', '.join(_LINKS)}."
        )


def _has_vectors(learner: Mapping[str, Any]) -> bool:
    trees = _parts(learner)["trees"]
    return any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in trees)


def _parts(learner: Mapping[str, Any]) -> Any:
    """Return the trees, which lie one deeper for dart."""
    boosted = learner["gradient_booster"]
    return boosted["gbtree"]["model"] if "gbtree" in boosted else boosted["model"]


def _count_trees(learner: Mapping[str, Any], parts: Mapping[str, Any]) -> int:
    """Return the number of trees that answer: after early stopping those of the best iteration."""
    best = learner["attributes"].get("best_iteration")
    ends = parts["iteration_indptr"]
    return int(ends[-1] if best is None else ends[min(int(best) + 1, len(ends) - 1)])


def _base(learner: Mapping[str, Any], link: Link) -> np.ndarray:
    """Return the margin before the first tree. It is saved as an answer, and for several classes as
    a margin."""
    base = np.array(json.loads(learner["learner_model_param"]["base_score"]), np.float32)
    base = base.astype(np.float64)
    if link == "sigmoid":
        return np.log(base / (1 - base))
    return np.log(base) if link == "exp" else base


def _tree(tree: Mapping[str, Any], output: int, weight: float) -> Tree:
    left = np.array(tree["left_children"])
    leaf = left < 0
    conditions = np.array(tree["split_conditions"], np.float32)
    return Tree(
        np.where(leaf, LEAF, tree["split_indices"]),
        less_than(conditions),
        np.array(tree["default_left"], dtype=bool),
        left,
        np.array(tree["right_children"]),
        np.where(leaf, conditions.astype(np.float64) * weight, 0.0)[:, None],
        output,
    )


XGBOOST = exporter_of_trees("XGBoost", lambda model: is_of(model, "xgboost"), _read)
