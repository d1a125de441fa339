"""What skl2onnx converts: scikit-learn's own models, and classes with a registered converter."""

from typing import Any

import numpy as np

from tasks.packages.exporters.exporter import (
    OPSETS,
    OUTPUT,
    Exporter,
    NotConvertible,
    finish,
    library_of,
)
from tasks.packages.exporters.traps import refuse_traps, steps_of


def _takes(model: Any) -> bool:
    import skl2onnx

    if library_of(model) == "sklearn":
        return True
    try:
        skl2onnx.get_model_alias(type(model))
    except RuntimeError:
        return False
    return True


def _export(model: Any, n_features: int) -> tuple[bytes, str]:
    refuse_traps(model)
    return _by_skl2onnx(model, n_features), "float32"


def _by_skl2onnx(model: Any, n_features: int) -> bytes:
    import onnx
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    try:
        proto = skl2onnx.to_onnx(
            model,
            initial_types=[("matrix", FloatTensorType([None, n_features]))],
            options={"zipmap": False},
            target_opset=OPSETS,
        )
        return finish(_one_score(proto.graph))
    except (
        MissingShapeCalculator,
        MissingConverter,
        NotImplementedError,
        RuntimeError,
        AssertionError,  # KNNImputer's converter refuses with one
        onnx.checker.ValidationError,
    ) as error:
        steps = dict.fromkeys(type(step).__name__ for step in steps_of(model))
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        raise NotConvertible(
            f"The model ({' > '.join(steps)}) cannot become ONNX: {reason} Replace that "
            "step; docs/use-cases.md lists what converts."
        ) from error


def _one_score(graph: Any) -> Any:
    """Return the graph with the positive class's column of its probabilities as ``score``."""
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


SCIKIT_LEARN = Exporter("what skl2onnx converts of scikit-learn", _takes, _export)
