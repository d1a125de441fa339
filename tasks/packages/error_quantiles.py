"""How far the answers to a row may be off: two small boostings beside a model of a number, of any
library.

They learn the quantiles of the errors that the recipe makes on rows it has not learned, from the
inputs and the answer, so that a row that is hard has a wide interval. They are conformalised, as
in conformalised quantile regression (Romano, Patterson & Candès 2019): see
``tasks/packages/calibration.py``. They learn errors and not labels, so that they need not be as
good as the model. Why not the recipe itself at two quantiles: docs/decisions/0031-intervals.md."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.models.executors import one_core
from tasks.packages.exporters.boosting import read_boosting
from tasks.packages.exporters.exporter import OPSETS, OUTPUT
from tasks.packages.exporters.tree_writer import ensemble
from tasks.packages.exporters.trees import LEAF, Forest, Tree, thresholds_of

_LEAST_ROWS, _MOST_ROWS, _MOST_PLACES = 300, 50_000, 16
_ROUNDS, _RATE, _LEAVES, _ROWS_OF_A_LEAF = 20, 0.3, 8, 30
_POINT = "point_"


@dataclass(frozen=True)
class ErrorQuantiles:
    """The fitted boostings of the ``low`` and the ``high`` error, on the ``places`` of the matrix
    and the answer."""

    low: Any
    high: Any
    places: np.ndarray

    def beside(self, matrix: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The answers ``(n_rows,)`` to ``matrix`` ``(n_rows, width)``, and both ends ``(n_rows,
        3)``."""
        inputs = np.column_stack([matrix[:, self.places], answers])
        ends = [answers + model.predict(inputs) for model in (self.low, self.high)]
        return np.column_stack([answers, *ends])

    @property
    def splits(self) -> bool:
        """Whether they tell rows apart."""
        return any(len(tree.feature) > 1 for tree in self._forest(self._inputs).trees)

    @property
    def thresholds(self) -> dict[int, np.ndarray]:
        """Where they split, by the place of the matrix."""
        by_input = thresholds_of(self._forest(self._inputs))
        by_input.pop(len(self.places), None)  # the answer
        return {int(self.places[at]): values for at, values in by_input.items()}

    @property
    def _inputs(self) -> np.ndarray:
        return np.arange(len(self.places) + 1)

    def _forest(self, columns: np.ndarray) -> Forest:
        """Both as one list of trees with two outputs, on ``columns`` of a matrix."""
        forests = [read_boosting(model) for model in (self.low, self.high)]
        trees = [
            Tree(
                np.where(tree.is_leaf, LEAF, columns[tree.feature]),
                tree.threshold,
                tree.null_left,
                tree.left,
                tree.right,
                tree.values,
                output,
            )
            for output, forest in enumerate(forests)
            for tree in forest.trees
        ]
        return Forest(trees, np.concatenate([forest.base for forest in forests]), "identity")

    def into(self, model: bytes) -> bytes:
        """The ONNX ``model`` of the answer ``(n_rows,)``, with both ends beside it ``(n_rows,
        3)``. They see the answer as it is served, in single precision."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        point = onnx.compose.add_prefix(
            onnx.load_from_string(model), _POINT, rename_inputs=False, rename_outputs=False
        )
        (matrix,) = point.graph.input
        (output,) = point.graph.output
        _rename(point.graph, output.name, f"{_POINT}answer")
        width = matrix.type.tensor_type.shape.dim[1].dim_value
        versions = {opset.domain: opset.version for opset in point.opset_import}
        versions["ai.onnx.ml"] = max(versions.get("ai.onnx.ml", 1), OPSETS["ai.onnx.ml"])
        forest = self._forest(np.append(self.places, width))
        is_double = matrix.type.tensor_type.elem_type == TensorProto.DOUBLE
        doubles = matrix.name if is_double else "doubles"
        as_double = helper.make_node("Cast", [matrix.name], [doubles], to=TensorProto.DOUBLE)
        nodes = [
            helper.make_node("Reshape", [f"{_POINT}answer", "column"], ["answer"]),
            *([] if is_double else [as_double]),
            helper.make_node("Cast", ["answer"], ["double"], to=TensorProto.DOUBLE),
            helper.make_node("Concat", [doubles, "double"], ["inputs"], axis=1),
            *ensemble(forest, "inputs", "errors", versions["ai.onnx.ml"]),
            helper.make_node("Add", ["errors", "answer"], ["ends"]),
            helper.make_node("Concat", ["answer", "ends"], [OUTPUT], axis=1),
        ]
        graph = helper.make_graph(
            [*point.graph.node, *nodes],
            "interval",
            [matrix],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 3])],
            [
                *point.graph.initializer,
                numpy_helper.from_array(np.array([-1, 1], np.int64), "column"),
            ],
        )
        whole = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*opset) for opset in versions.items()],
            ir_version=point.ir_version,
        )
        onnx.checker.check_model(whole)
        return whole.SerializeToString()


def _rename(graph: Any, before: str, after: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == before:
                    names[place] = after


def fit_error_quantiles(
    matrix: np.ndarray,
    owners: np.ndarray,
    answers: np.ndarray,
    truth: np.ndarray,
    coverage: float,
    seed: int,
) -> ErrorQuantiles | None:
    """Learn from ``answers`` ``(n_rows,)`` to the encoded ``matrix`` ``(n_rows, width)`` by models
    that had not learned the rows; of 50,000 at most. ``owners`` ``(width,)`` is the column of each
    place: one with many places, such as a text, is no input. ``None``: there are fewer than 300
    rows, or all are equally hard."""
    if len(truth) < _LEAST_ROWS:
        return None
    if len(truth) > _MOST_ROWS:
        drawn = np.random.default_rng(seed).choice(len(truth), _MOST_ROWS, replace=False)
        matrix, answers, truth = matrix[drawn], answers[drawn], truth[drawn]
    places = np.flatnonzero((np.bincount(owners) <= _MOST_PLACES)[owners])
    # As the service gives them.
    answers = answers.astype(np.float32).astype(np.float64)
    inputs, errors = np.column_stack([matrix[:, places], answers]), truth - answers
    with one_core():
        low, high = (
            _boosting(level, seed).fit(inputs, errors)
            for level in ((1 - coverage) / 2, (1 + coverage) / 2)
        )
    quantiles = ErrorQuantiles(low, high, places)
    return quantiles if quantiles.splits else None


def _boosting(level: float, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss="quantile",
        quantile=level,
        max_iter=_ROUNDS,
        learning_rate=_RATE,
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=_ROWS_OF_A_LEAF,
        categorical_features=None,
        early_stopping=False,
        random_state=seed,
    )
