"""HistGradientBoostingClassifier and -Regressor, written here and not by skl2onnx.

skl2onnx's float32 thresholds change decisions for values next to a threshold, and its double
variant changes others. ONNX-ML's tree ensemble with ``*_as_tensor`` doubles keeps scikit-learn's
own thresholds (measurements: docs/decisions/0006-onnx.md)."""

from typing import Any

import numpy as np

from tasks.packages.exporters.exporter import OUTPUT, Exporter, count_classes, finish
from tasks.packages.exporters.traps import refuse_traps

_LINKS = {"IdentityLink": "Identity", "LogLink": "Exp"}  # from the trees' sum to a number


def _takes(model: Any) -> bool:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor)


def _export(model: Any, n_features: int) -> tuple[bytes, str]:
    refuse_traps(model)
    return _boosting(model, n_features), "float64"


def _boosting(model: Any, n_features: int) -> bytes:
    """The trees, node by node, with double thresholds and leaf values: a tree a round, or one for
    each of several classes."""
    from onnx import TensorProto, helper, numpy_helper

    trees = [tree.nodes for of_round in model._predictors for tree in of_round]
    targets = len(model._predictors[0])
    nodes = np.concatenate(trees)
    leaf = nodes["is_leaf"].astype(bool)
    tree_of = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
    place = np.concatenate([np.arange(len(tree)) for tree in trees])

    def inner(values: np.ndarray) -> list[int]:
        return np.where(leaf, 0, values).astype(int).tolist()

    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        ["matrix"],
        ["raw"],
        domain="ai.onnx.ml",
        n_targets=targets,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=tree_of.tolist(),
        nodes_nodeids=place.tolist(),
        nodes_featureids=inner(nodes["feature_idx"]),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=inner(nodes["left"]),
        nodes_falsenodeids=inner(nodes["right"]),
        nodes_missing_value_tracks_true=inner(nodes["missing_go_to_left"]),
        nodes_values_as_tensor=numpy_helper.from_array(
            np.where(leaf, 0.0, nodes["num_threshold"]), "thresholds"
        ),
        target_treeids=tree_of[leaf].tolist(),
        target_nodeids=place[leaf].tolist(),
        target_ids=(tree_of[leaf] % targets).tolist(),
        target_weights_as_tensor=numpy_helper.from_array(
            np.ascontiguousarray(nodes["value"][leaf]), "leaves"
        ),
        base_values_as_tensor=numpy_helper.from_array(
            np.asarray(model._baseline_prediction, dtype=np.float64).ravel(), "baseline"
        ),
    )
    graph = helper.make_graph(
        [
            ensemble,
            *_answer(model),
        ],
        "boosting",
        [helper.make_tensor_value_info("matrix", TensorProto.DOUBLE, [None, n_features])],
        [],
        [numpy_helper.from_array(np.array([-1], np.int64), "flat")],
    )
    return finish(graph, count_classes(model))


def _answer(model: Any) -> list[Any]:
    """The nodes from the trees' sums to the answer."""
    from onnx import helper

    if count_classes(model) > 2:
        return [helper.make_node("Softmax", ["raw"], [OUTPUT], axis=1)]
    link = "Sigmoid" if count_classes(model) else _LINKS[type(model._loss.link).__name__]
    return [
        helper.make_node(link, ["raw"], ["linked"]),
        helper.make_node("Reshape", ["linked", "flat"], [OUTPUT]),
    ]


def _thresholds(model: Any) -> dict[int, np.ndarray]:
    """Where the trees of ``model`` split, by feature position."""
    by_feature: dict[int, list[np.ndarray]] = {}
    for tree in (tree for of_round in model._predictors for tree in of_round):
        # A split on null alone has an infinite threshold: no value lies beside it.
        inner = tree.nodes[
            ~tree.nodes["is_leaf"].astype(bool) & np.isfinite(tree.nodes["num_threshold"])
        ]
        for feature in np.unique(inner["feature_idx"]):
            by_feature.setdefault(int(feature), []).append(
                inner["num_threshold"][inner["feature_idx"] == feature]
            )
    return {feature: np.unique(np.concatenate(values)) for feature, values in by_feature.items()}


BOOSTING = Exporter("HistGradientBoosting", _takes, _export, _thresholds)
