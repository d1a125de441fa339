"""One list of trees for every library.

A reader (``boosting.py``, ``forests.py``, ``light_gbm.py``, ...) turns a fitted model into a
``Forest``, and ``tree_writer.py`` writes it. Its splits are all ``x <= threshold`` in double
precision, to which those of each library can be brought exactly
(docs/decisions/0022-libraries.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Link = Literal["identity", "exp", "sigmoid", "softmax"]
LEAF = -1


@dataclass(frozen=True)
class Tree:
    """One tree, node by node ``(n_nodes,)``; its root is the first.

    ``feature`` is the column of a split, or ``LEAF``. A row goes ``left`` if its value is at most
    ``threshold``, or if it is null and ``null_left``. Where ``codes`` has the node, its whole
    numbers go left instead, and all else goes right, null too. A leaf adds its ``values``,
    ``(n_nodes, n_values)``, to the outputs from ``output`` on."""

    feature: np.ndarray
    threshold: np.ndarray
    null_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    output: int = 0
    codes: Mapping[int, Sequence[int]] = field(default_factory=dict)

    @property
    def is_leaf(self) -> np.ndarray:
        return self.feature == LEAF


@dataclass(frozen=True)
class Forest:
    """The answer is ``link(base + the sum of all leaves reached)``; ``base`` is ``(n_outputs,)``.

    ``zero_is_null``: by feature, a magnitude up to which a value counts as null."""

    trees: Sequence[Tree]
    base: np.ndarray
    link: Link
    zero_is_null: Mapping[int, float] = field(default_factory=dict)


def thresholds_of(forest: Forest) -> dict[int, np.ndarray]:
    """Return where ``forest`` splits, by feature position."""
    by_feature: dict[int, list[np.ndarray]] = {}
    for tree in forest.trees:
        # A split on null alone has an infinite threshold: no value lies beside it.
        inner = ~tree.is_leaf & np.isfinite(tree.threshold)
        inner[list(tree.codes)] = False
        for feature in np.unique(tree.feature[inner]):
            at = tree.threshold[inner & (tree.feature == feature)]
            by_feature.setdefault(int(feature), []).append(at)
    for feature, limit in forest.zero_is_null.items():
        by_feature.setdefault(feature, []).append(np.array([limit, -limit]))
    return {feature: np.unique(np.concatenate(values)) for feature, values in by_feature.items()}
