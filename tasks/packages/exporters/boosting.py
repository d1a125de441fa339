"""HistGradientBoostingClassifier and -Regressor, read here and not by skl2onnx.

skl2onnx's float32 thresholds change decisions for values next to a threshold, and its double
variant changes others (measurements: docs/decisions/0006-onnx.md)."""

from typing import Any

import numpy as np

from tasks.packages.exporters.exporter import count_classes
from tasks.packages.exporters.tree_writer import exporter_of_trees
from tasks.packages.exporters.trees import LEAF, Forest, Link, Tree

_LINKS: dict[str, Link] = {"IdentityLink": "identity", "LogLink": "exp"}


def _takes(model: Any) -> bool:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor)


def read_boosting(model: Any) -> Forest:
    """A tree a round, or one for each of several classes."""
    columns = _Columns(model)
    trees = [
        _tree(predictor, output, columns)
        for of_round in model._predictors
        for output, predictor in enumerate(of_round)
    ]
    return Forest(trees, np.asarray(model._baseline_prediction).ravel(), _link(model))


def _link(model: Any) -> Link:
    classes = count_classes(model)
    if classes > 2:
        return "softmax"
    return "sigmoid" if classes else _LINKS[type(model._loss.link).__name__]


def _tree(predictor: Any, output: int, columns: "_Columns") -> Tree:
    nodes, codes = predictor.nodes.copy(), {}
    leaf = nodes["is_leaf"].astype(bool)
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        codes[node], others = columns.codes(int(nodes["feature_idx"][node]), bits)
        # Unknown codes go where null goes, and what is not in a set goes right: if null goes left,
        # the sides change places.
        if nodes["missing_go_to_left"][node]:
            codes[node], nodes["missing_go_to_left"][node] = others, False
            left, right = nodes["left"][node], nodes["right"][node]
            nodes["left"][node], nodes["right"][node] = right, left
    return Tree(
        np.where(leaf, LEAF, columns.places[nodes["feature_idx"]]),
        nodes["num_threshold"],
        nodes["missing_go_to_left"],
        nodes["left"],
        nodes["right"],
        nodes["value"][:, None],
        output,
        codes,
    )


class _Columns:
    """Where the columns of the trees lie in the matrix: scikit-learn puts the categories first, and
    numbers their values anew."""

    def __init__(self, model: Any) -> None:
        self.places = np.arange(model.n_features_in_)
        categorical = getattr(model, "is_categorical_", None)
        if categorical is None or not np.any(categorical):
            return
        self.places = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
        self._values = model._preprocessor.named_transformers_["encoder"].categories_
        self._known, self._rows = model._bin_mapper.make_known_categories_bitsets()

    def codes(self, feature: int, bits: np.ndarray) -> tuple[list[int], list[int]]:
        """Return the values of the matrix that ``bits`` has of a column of the trees, and the
        others that the trees know of it."""
        members = self._values_in(feature, bits)
        known = self._values_in(feature, self._known[self._rows[feature]])
        return members, [value for value in known if value not in members]

    def _values_in(self, feature: int, bits: np.ndarray) -> list[int]:
        values = self._values[feature]
        return [
            values[place]
            for place in range(len(values))
            if int(bits[place // 32]) >> (place % 32) & 1 and not np.isnan(values[place])
        ]


BOOSTING = exporter_of_trees("HistGradientBoosting", _takes, read_boosting)
