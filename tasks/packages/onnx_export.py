"""From a fitted scikit-learn model on the encoded matrix to ONNX: exactly, or not at all.

Input ``matrix`` ``(n_rows, n_features)``, one output ``(n_rows,)``: the probability of the positive
class.

Gradient boosting is written here and not by skl2onnx: its float32 thresholds change decisions for
values next to a threshold, and its double variant changes others. ONNX-ML's tree ensemble with
``*_as_tensor`` doubles keeps scikit-learn's own thresholds (measurements:
docs/decisions/0006-onnx.md). What is known to convert wrongly is refused by name of the step."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

OUTPUT = "positive_class_score"  # a name that no converter uses for a node of its own
OPSETS = {"": 17, "ai.onnx.ml": 3}
# Where scikit-learn keeps the estimators inside another one.
_HOLDERS = (
    *("steps", "transformers_", "transformer_list"),
    *("estimator", "estimators_", "best_estimator_", "final_estimator_", "calibrated_classifiers_"),
)


class NotConvertible(ValueError):
    """A step cannot be served as ONNX; the message names it and the way out."""


def export(model: "ClassifierMixin", n_features: int) -> tuple[bytes, str]:
    """The ONNX bytes of ``model`` and the dtype of its matrix (``float64`` or ``float32``). Raises
    ``NotConvertible``.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    for step in _steps(model):
        _refuse_known_traps(step, alone=step is model)
    if list(model.classes_) != [0, 1]:
        raise NotConvertible(
            f"{type(model).__name__} was fitted on the classes {list(model.classes_)}, "
            "expected 0 and 1."
        )
    if isinstance(model, HistGradientBoostingClassifier):
        return _boosting(model, n_features), "float64"
    return _by_skl2onnx(model, n_features), "float32"


def thresholds(model: "ClassifierMixin") -> dict[int, np.ndarray]:
    """Where the trees of ``model`` split, by feature position: the values beside which a conversion
    goes wrong first.
    """
    found: dict[int, list[np.ndarray]] = {}
    for (tree,) in getattr(model, "_predictors", []):
        # A split on null alone has an infinite threshold: no value lies beside it.
        inner = tree.nodes[
            ~tree.nodes["is_leaf"].astype(bool) & np.isfinite(tree.nodes["num_threshold"])
        ]
        for feature in np.unique(inner["feature_idx"]):
            found.setdefault(int(feature), []).append(
                inner["num_threshold"][inner["feature_idx"] == feature]
            )
    return {feature: np.unique(np.concatenate(values)) for feature, values in found.items()}


def _steps(model: Any) -> Iterator[Any]:
    """``model`` and every estimator inside it: steps, columns' transformers, members of an
    ensemble.
    """
    yield model
    for holder in _HOLDERS:
        yield from _held(getattr(model, holder, None))


def _held(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple, np.ndarray)):
        for one in value:
            yield from _held(one)
    elif hasattr(value, "__dict__"):
        yield from _steps(value)


def _learned_nulls(tree: Any) -> bool:
    """Whether a tree shows that it was trained on missing values: where it saw none, they are sent
    to the larger child.

    A single tree may have learned just that; the proof on rows with nulls
    (tasks/packages/packaging.py) catches it."""
    inner = tree.children_left >= 0
    left, right = tree.children_left[inner], tree.children_right[inner]
    larger = tree.n_node_samples[left] > tree.n_node_samples[right]
    return bool(np.any(tree.missing_go_to_left[inner].astype(bool) != larger))


def _refuse_known_traps(step: Any, alone: bool) -> None:
    name = type(step).__name__
    categorical = getattr(step, "is_categorical_", None)
    if name.startswith("HistGradientBoosting") and categorical is not None and np.any(categorical):
        raise NotConvertible(
            f"{name} with categorical_features scores wrongly in ONNX. Leave the codes as "
            "numbers: drop categorical_features."
        )
    if name.startswith("HistGradientBoosting") and not alone:
        raise NotConvertible(
            f"{name} inside another step loses its double thresholds in ONNX. Let the "
            "candidate build it alone: it takes "
            "codes and missing values as they are."
        )
    members = getattr(step, "estimators_", ())
    whole = (step, *(members.ravel() if isinstance(members, np.ndarray) else members))
    if any(_learned_nulls(one.tree_) for one in whole if hasattr(one, "tree_")):
        raise NotConvertible(
            f"{name} trained on missing values scores wrongly in ONNX. Put a SimpleImputer "
            "before it."
        )
    if name == "LinearDiscriminantAnalysis":
        raise NotConvertible(f"{name} has other probabilities in ONNX. Use LogisticRegression.")


def _by_skl2onnx(model: Any, n_features: int) -> bytes:
    import onnx
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    try:
        made = skl2onnx.to_onnx(
            model,
            initial_types=[("matrix", FloatTensorType([None, n_features]))],
            options={"zipmap": False},
            target_opset=OPSETS,
        )
        return _finished(_one_score(made.graph))
    except (
        MissingShapeCalculator,
        MissingConverter,
        NotImplementedError,
        RuntimeError,
        AssertionError,  # KNNImputer's converter says no by one
        onnx.checker.ValidationError,
    ) as error:
        steps = dict.fromkeys(type(step).__name__ for step in _steps(model))
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        raise NotConvertible(
            f"The model ({' > '.join(steps)}) cannot become ONNX: {reason} Replace that "
            "step; docs/use-cases.md lists what converts."
        ) from error


def _one_score(graph: Any) -> Any:
    """The graph with the positive class's column of its probabilities as ``score``."""
    from onnx import helper, numpy_helper

    probabilities = next(output.name for output in graph.output if "prob" in output.name)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(1, np.int64), "positive"),
            numpy_helper.from_array(np.array([-1], np.int64), "flat"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Gather", [probabilities, "positive"], ["positive_column"], axis=1),
            helper.make_node("Reshape", ["positive_column", "flat"], [OUTPUT]),
        ]
    )
    return graph


def _finished(graph: Any) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None]))
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*one) for one in OPSETS.items()], ir_version=9
    )
    onnx.checker.check_model(made)
    return made.SerializeToString()


def _boosting(model: Any, n_features: int) -> bytes:
    """HistGradientBoostingClassifier's trees, node by node, with double thresholds and leaf
    values.
    """
    from onnx import TensorProto, helper, numpy_helper

    trees = [tree.nodes for (tree,) in model._predictors]
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
        n_targets=1,
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
        target_ids=[0] * int(leaf.sum()),
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
            helper.make_node("Sigmoid", ["raw"], ["probability"]),
            helper.make_node("Reshape", ["probability", "flat"], [OUTPUT]),
        ],
        "boosting",
        [helper.make_tensor_value_info("matrix", TensorProto.DOUBLE, [None, n_features])],
        [],
        [numpy_helper.from_array(np.array([-1], np.int64), "flat")],
    )
    return _finished(graph)
