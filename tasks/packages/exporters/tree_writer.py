"""A ``Forest`` becomes ONNX, whatever library it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from serving.package.symmetric_trees import SymmetricTrees
from tasks.packages.exporters.exporter import OPSETS, OUTPUT, Exporter, count_classes, finish
from tasks.packages.exporters.symmetry import symmetric_trees
from tasks.packages.exporters.trees import Forest, thresholds_of

_LINKS = {"identity": "Identity", "exp": "Exp", "sigmoid": "Sigmoid", "softmax": "Softmax"}
_TREE_ENSEMBLE = 5  # the version of ONNX-ML that has it
_LEQ, _MEMBER = 0, 6  # modes of its nodes


def exporter_of_trees(
    supports: str, takes: Callable[[Any], bool], read: Callable[[Any], Forest]
) -> Exporter:
    """Return the exporter of the models that ``read`` turns into a ``Forest``."""

    def export(model: Any, n_features: int) -> tuple[bytes, str]:
        return to_onnx(read(model), n_features, count_classes(model)), "float64"

    def symmetric(model: Any, n_features: int) -> SymmetricTrees | None:
        forest = read(model)
        link = link_to_onnx(forest, count_classes(model))
        return symmetric_trees(forest, n_features, link)

    return Exporter(
        supports,
        takes,
        export,
        lambda model: thresholds_of(read(model)),
        symmetric_trees=symmetric,
    )


def to_onnx(forest: Forest, n_features: int, classes: int) -> bytes:
    """Return ``forest`` as an ONNX model of a double matrix ``(n_rows, n_features)``.

    Sets of codes need ONNX-ML 5's ``TreeEnsemble``, a leaf of which adds to one output. Without
    them it is ONNX-ML 3's ``TreeEnsembleRegressor``, which each ONNX Runtime knows."""
    from onnx import TensorProto, helper

    with_codes = any(tree.codes for tree in forest.trees)
    nodes, constants = _null_nodes(forest, n_features)
    source = nodes[-1].output[0] if nodes else "matrix"
    opsets = {**OPSETS, "ai.onnx.ml": _TREE_ENSEMBLE} if with_codes else OPSETS
    nodes += ensemble(forest, source, "raw", opsets["ai.onnx.ml"])
    answer, shape = _answer(_LINKS[forest.link], len(forest.base), classes)
    graph = helper.make_graph(
        [*nodes, *answer],
        "trees",
        [helper.make_tensor_value_info("matrix", TensorProto.DOUBLE, [None, n_features])],
        [],
        [*constants, *shape],
    )
    return finish(graph, classes, opsets)


def link_to_onnx(forest: Forest, classes: int) -> bytes:
    """Return only the end of ``to_onnx``: from the sums ``raw`` ``(n_rows, n_outputs)`` on."""
    from onnx import TensorProto, helper

    answer, shape = _answer(_LINKS[forest.link], len(forest.base), classes)
    raw = helper.make_tensor_value_info("raw", TensorProto.FLOAT, [None, len(forest.base)])
    return finish(helper.make_graph(answer, "link", [raw], [], shape), classes)


def ensemble(forest: Forest, source: str, result: str, version: int) -> list[Any]:
    """Return the nodes from the double matrix ``source`` to the float sums ``result`` ``(n_rows,
    n_outputs)`` of the trees, in an ONNX-ML of ``version``."""
    if version >= _TREE_ENSEMBLE:
        return _ensemble_of_five(forest, source, result)
    return [_ensemble_of_three(forest, source, result)]


@dataclass(frozen=True)
class _Nodes:
    """The nodes of all trees one after another ``(n_nodes,)``, and the values of all leaves
    ``(n_values,)`` with the ``leaf_node`` and the ``output`` of each."""

    tree: np.ndarray
    place: np.ndarray
    first: np.ndarray
    leaf: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    null_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf_node: np.ndarray
    output: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, forest: Forest) -> Self:
        trees = forest.trees
        sizes = np.array([len(tree.feature) for tree in trees])
        leaf = np.concatenate([tree.is_leaf for tree in trees])
        widths = np.repeat([tree.values.shape[1] for tree in trees], sizes)[leaf]
        outputs = [
            np.tile(np.arange(tree.values.shape[1]) + tree.output, tree.is_leaf.sum())
            for tree in trees
        ]
        values = [tree.values[tree.is_leaf].ravel() for tree in trees]

        def inner(name: str) -> np.ndarray:
            return np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in trees]))

        return cls(
            tree=np.repeat(np.arange(len(trees)), sizes),
            place=np.concatenate([np.arange(size) for size in sizes]),
            first=np.repeat(np.cumsum(sizes) - sizes, sizes),
            leaf=leaf,
            feature=inner("feature"),
            threshold=inner("threshold").astype(np.float64),
            null_left=inner("null_left").astype(np.int64),
            left=inner("left"),
            right=inner("right"),
            leaf_node=np.repeat(np.flatnonzero(leaf), widths),
            output=np.concatenate(outputs),
            value=np.concatenate(values).astype(np.float64),
        )


def _null_nodes(forest: Forest, n_features: int) -> tuple[list[Any], list[Any]]:
    """Return the nodes and constants that turn values near zero into nulls; none without them."""
    from onnx import helper, numpy_helper

    if not forest.zero_is_null:
        return [], []
    limits = np.full(n_features, -1.0)
    limits[list(forest.zero_is_null)] = list(forest.zero_is_null.values())
    constants = {"limits": limits, "null": np.array(np.nan)}
    nodes = [
        helper.make_node("Abs", ["matrix"], ["magnitude"]),
        helper.make_node("LessOrEqual", ["magnitude", "limits"], ["near_zero"]),
        helper.make_node("Where", ["near_zero", "null", "matrix"], ["with_nulls"]),
    ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()]


def _ensemble_of_three(forest: Forest, source: str, result: str) -> Any:
    """Return the node of ONNX-ML 3, with double thresholds and leaf values."""
    from onnx import helper, numpy_helper

    nodes = _Nodes.of(forest)
    return helper.make_node(
        "TreeEnsembleRegressor",
        [source],
        [result],
        domain="ai.onnx.ml",
        n_targets=len(forest.base),
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=nodes.tree.tolist(),
        nodes_nodeids=nodes.place.tolist(),
        nodes_featureids=nodes.feature.tolist(),
        nodes_modes=np.where(nodes.leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=nodes.left.tolist(),
        nodes_falsenodeids=nodes.right.tolist(),
        nodes_missing_value_tracks_true=nodes.null_left.tolist(),
        nodes_values_as_tensor=numpy_helper.from_array(nodes.threshold, "thresholds"),
        target_treeids=nodes.tree[nodes.leaf_node].tolist(),
        target_nodeids=nodes.place[nodes.leaf_node].tolist(),
        target_ids=nodes.output.tolist(),
        target_weights_as_tensor=numpy_helper.from_array(nodes.value, "leaves"),
        base_values_as_tensor=numpy_helper.from_array(forest.base.astype(np.float64), "baseline"),
    )


def _ensemble_of_five(forest: Forest, source: str, result: str) -> list[Any]:
    """Return the nodes of ONNX-ML 5: its trees begin with a split and have no base."""
    from onnx import TensorProto, helper, numpy_helper

    grown = [tree for tree in forest.trees if len(tree.feature) > 1]
    base = forest.base.astype(np.float64)
    for tree in forest.trees:
        if len(tree.feature) == 1:
            base[tree.output] += tree.values[0, 0]
    nodes = _Nodes.of(Forest(grown, base, forest.link))
    inner = ~nodes.leaf
    # A child is named by its place among all splits, or among all leaves.
    number = np.where(nodes.leaf, np.cumsum(nodes.leaf), np.cumsum(inner)) - 1
    left, right = (nodes.first + nodes.left)[inner], (nodes.first + nodes.right)[inner]
    sets = {
        int(first) + node: codes
        for first, tree in zip(np.unique(nodes.first), grown, strict=True)
        for node, codes in tree.codes.items()
    }
    filled = sorted(node for node, codes in sets.items() if codes)
    threshold = nodes.threshold.copy()
    threshold[list(sets)] = -np.inf  # an empty set: all go right
    modes = np.full(len(nodes.leaf), _LEQ, dtype=np.uint8)
    modes[filled] = _MEMBER
    members = [member for node in filled for member in (*sets[node], np.nan)]
    # Without sets the attribute is left out: it may not be empty.
    sets_of = {"membership_values": numpy_helper.from_array(np.array(members), "members")}
    trees = helper.make_node(
        "TreeEnsemble",
        [source],
        [f"{result}_sum"],
        domain="ai.onnx.ml",
        n_targets=len(base),
        aggregate_function=1,  # SUM
        post_transform=0,  # NONE
        tree_roots=number[np.unique(nodes.first)].tolist(),
        nodes_featureids=nodes.feature[inner].tolist(),
        nodes_modes=numpy_helper.from_array(modes[inner], "modes"),
        nodes_splits=numpy_helper.from_array(threshold[inner], "thresholds"),
        nodes_trueleafs=nodes.leaf[left].astype(int).tolist(),
        nodes_truenodeids=number[left].tolist(),
        nodes_falseleafs=nodes.leaf[right].astype(int).tolist(),
        nodes_falsenodeids=number[right].tolist(),
        nodes_missing_value_tracks_true=nodes.null_left[inner].tolist(),
        leaf_targetids=nodes.output.tolist(),
        leaf_weights=numpy_helper.from_array(nodes.value, "leaves"),
        **(sets_of if members else {}),
    )
    constant = numpy_helper.from_array(base, "base_values")
    return [
        trees,
        helper.make_node("Constant", [], [f"{result}_base"], value=constant),
        helper.make_node("Add", [f"{result}_sum", f"{result}_base"], [f"{result}_double"]),
        helper.make_node("Cast", [f"{result}_double"], [result], to=TensorProto.FLOAT),
    ]


def _answer(link: str, outputs: int, classes: int) -> tuple[list[Any], list[Any]]:
    """Return the nodes and constants from the trees' sums to the answer; of two classes, that of
    the second."""
    from onnx import helper, numpy_helper

    spread: dict[str, Any] = {"axis": 1} if link == "Softmax" else {}
    if classes > 2:
        return [helper.make_node(link, ["raw"], [OUTPUT], **spread)], []
    nodes = [helper.make_node(link, ["raw"], ["linked"], **spread)]
    if outputs == 2:
        second = numpy_helper.from_array(np.array(1, np.int64), "second")
        nodes += [
            helper.make_node("Constant", [], ["second"], value=second),
            helper.make_node("Gather", ["linked", "second"], ["linked_second"], axis=1),
        ]
    nodes.append(helper.make_node("Reshape", [*nodes[-1].output, "flat"], [OUTPUT]))
    return nodes, [numpy_helper.from_array(np.array([-1], np.int64), "flat")]
