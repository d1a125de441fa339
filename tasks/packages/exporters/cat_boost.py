"""CatBoost, read from the JSON that it saves: symmetric trees and others, of numbers.

A split is ``float32(x) > border`` and goes right; null is on the side that ``nan_mode`` names
(https://catboost.ai/docs/en/concepts/python-reference_catboost_save_model)."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tasks.models.libraries import is_of
from tasks.packages.exporters.exporter import NotConvertible
from tasks.packages.exporters.single_precision import at_most
from tasks.packages.exporters.tree_writer import exporter_of_trees
from tasks.packages.exporters.trees import LEAF, Forest, Link, Tree

_LINKS: Mapping[str, Link] = {
    "Logloss": "sigmoid",
    "MultiClass": "softmax",
    **dict.fromkeys(("Poisson", "Tweedie"), "exp"),
    **dict.fromkeys(("RMSE", "MAE", "Quantile", "MAPE", "Huber", "Expectile"), "identity"),
}


def _read(model: Any) -> Forest:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        saved = json.loads(path.read_text())
    objective = saved["model_info"]["params"]["loss_function"]["type"]
    features = saved["features_info"]
    if objective not in _LINKS:
        raise _refusal(model, f"the objective {objective!r}")
    if set(features) != {"float_features"}:
        raise _refusal(model, "columns of categories, texts or embeddings")
    null_right = [
        column["flat_feature_index"]
        for column in features["float_features"]
        if column["nan_value_treatment"] == "AsTrue"
    ]
    scale, base = saved["scale_and_bias"]
    parts = [
        *(_level_by_level(tree, len(base)) for tree in saved.get("oblivious_trees", ())),
        *(_branch_by_branch(tree) for tree in saved.get("trees", ())),
    ]
    trees = [_tree(splits, values * scale, null_right) for splits, values in parts]
    return Forest(trees, np.array(base, np.float64), _LINKS[objective])


_Split = tuple[int, float, int, int]  # feature or LEAF, border, left, right


def _tree(splits: list[_Split], values: np.ndarray, null_right: list[int]) -> Tree:
    feature, border, left, right = (np.array(column) for column in zip(*splits, strict=True))
    return Tree(feature, at_most(border), ~np.isin(feature, null_right), left, right, values)


def _level_by_level(tree: Any, outputs: int) -> tuple[list[_Split], np.ndarray]:
    """A symmetric tree: all nodes of a level have one split. The first split is the lowest bit of
    the leaf's number."""
    splits: list[_Split] = []
    for level, split in enumerate(tree["splits"]):
        below, width = 2 ** (level + 1) - 1, 2**level
        splits += [
            (*_condition(split), below + place, below + place + width) for place in range(width)
        ]
    leaves = np.array(tree["leaf_values"], np.float64).reshape(-1, outputs)
    inner = np.zeros((len(splits), outputs))
    return splits + [(LEAF, 0.0, 0, 0)] * len(leaves), np.concatenate([inner, leaves])


def _branch_by_branch(tree: Any) -> tuple[list[_Split], np.ndarray]:
    """Any other tree, which is saved as nodes inside nodes; here breadth first."""
    nodes, splits, values = [tree], [], []
    for node in nodes:
        if "split" in node:
            splits.append((*_condition(node["split"]), len(nodes), len(nodes) + 1))
            nodes += [node["left"], node["right"]]
        else:
            splits.append((LEAF, 0.0, 0, 0))
        values.append(np.ravel(node.get("value", 0.0)))
    width = max(len(value) for value in values)
    return splits, np.array([np.broadcast_to(value, width) for value in values])


def _condition(split: Any) -> tuple[int, float]:
    return split["float_feature_index"], split["border"]


def _refusal(model: Any, what: str) -> NotConvertible:
    return NotConvertible(
        f"{type(model).__name__} with {what} cannot become ONNX. Supported are trees on numbers "
        f"with the objectives {', '.join(_LINKS)}."
    )


CATBOOST = exporter_of_trees("CatBoost", lambda model: is_of(model, "catboost"), _read)
