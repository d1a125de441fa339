"""scikit-learn's forests and single trees, if they are the candidate itself: nulls go where the
fit sent them, which skl2onnx loses."""

from typing import Any

import numpy as np

from tasks.packages.exporters.exporter import count_classes
from tasks.packages.exporters.single_precision import at_most
from tasks.packages.exporters.tree_writer import exporter_of_trees
from tasks.packages.exporters.trees import LEAF, Forest, Tree


def _takes(model: Any) -> bool:
    from sklearn.ensemble._forest import ForestClassifier, ForestRegressor
    from sklearn.tree import BaseDecisionTree

    return isinstance(model, ForestClassifier | ForestRegressor | BaseDecisionTree)


def _read(model: Any) -> Forest:
    """The mean of the trees' answers; of two classes only that of the second."""
    members = getattr(model, "estimators_", [model])
    classes = count_classes(model)
    trees = [_tree(member.tree_, classes, len(members)) for member in members]
    return Forest(trees, np.zeros(classes if classes > 2 else 1), "identity")


def _tree(tree: Any, classes: int, members: int) -> Tree:
    leaf = tree.children_left < 0
    values = tree.value[:, 0, :] / members
    return Tree(
        np.where(leaf, LEAF, tree.feature),
        at_most(tree.threshold),
        tree.missing_go_to_left,
        tree.children_left,
        tree.children_right,
        values[:, 1:] if classes == 2 else values,
    )


FORESTS = exporter_of_trees("forests and trees of scikit-learn", _takes, _read)
