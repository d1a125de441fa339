"""The symmetric trees of a ``Forest``, which the service scores without ONNX Runtime if they are
many rows (``serving/package/symmetric_trees.py``)."""

import numpy as np

from serving.errors import PackageError
from serving.package.model import open_session
from serving.package.symmetric_trees import (
    DEEPEST,
    Split,
    SymmetricKernel,
    SymmetricTree,
    SymmetricTrees,
)
from tasks.packages.exporters.trees import Forest, Tree


def symmetric_trees(forest: Forest, n_features: int, link: bytes) -> SymmetricTrees | None:
    """Return the trees of ``forest`` on ``n_features`` with its ``link`` as ONNX; ``None`` unless
    all are symmetric, and all else is as the kernel has it."""
    if forest.zero_is_null or any(tree.codes for tree in forest.trees):
        return None
    null_sides = _null_sides(forest)
    trees = [_symmetric(tree, len(forest.base)) for tree in forest.trees]
    symmetric = [tree for tree in trees if tree is not None]
    if null_sides is None or len(symmetric) < len(trees):
        return None
    left = [feature for feature, is_left in sorted(null_sides.items()) if is_left]
    found = SymmetricTrees(
        base=forest.base.tolist(),
        link=link,
        null_left=left,
        trees=symmetric,
    )
    try:
        SymmetricKernel(found, n_features, open_session)
    except PackageError:
        return None
    return found


def _null_sides(forest: Forest) -> dict[int, bool] | None:
    """Return whether null goes left, by feature; ``None`` if that differs from split to split."""
    sides: dict[int, bool] = {}
    for tree in forest.trees:
        inner = ~tree.is_leaf
        for feature, left in set(
            zip(tree.feature[inner].tolist(), tree.null_left[inner].tolist(), strict=True)
        ):
            if sides.setdefault(feature, bool(left)) != bool(left):
                return None
    return sides


def _symmetric(tree: Tree, outputs: int) -> SymmetricTree | None:
    """Return ``tree``, level by level; ``None`` if a level has several splits, or its leaves lack
    an output."""
    if tree.output or tree.values.shape[1] != outputs:
        return None
    splits: list[Split] = []
    nodes = np.array([0])
    while not tree.is_leaf[nodes].any():
        feature, threshold = tree.feature[nodes], tree.threshold[nodes]
        alike = (feature == feature[0]).all() and (threshold == threshold[0]).all()
        if not alike or len(splits) == DEEPEST:
            return None
        splits.append((int(feature[0]), float(threshold[0])))
        nodes = np.concatenate([tree.left[nodes], tree.right[nodes]])
    if not tree.is_leaf[nodes].all():
        return None
    return SymmetricTree(splits, tree.values[nodes].ravel().tolist())
