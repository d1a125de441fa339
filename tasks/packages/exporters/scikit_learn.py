"""What skl2onnx converts: scikit-learn's own models, and classes with a registered converter."""

from typing import Any

import numpy as np

from tasks.packages.exporters.exporter import (
    OPSETS,
    OUTPUT,
    Exporter,
    NotConvertible,
    count_classes,
    finish,
    package_of,
)
from tasks.packages.exporters.traps import refuse_traps, steps_of


def _takes(model: Any) -> bool:
    import skl2onnx

    if package_of(model) == "sklearn":
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
            options={"zipmap": False} if count_classes(model) else None,
            target_opset=OPSETS,
        )
        return finish(_one_output(proto.graph, count_classes(model)), count_classes(model))
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


def _one_output(graph: Any, classes: int) -> Any:
    """Return the graph with one output, ``OUTPUT``: the probabilities of ``classes``, only that of
    the second of two, or the number where there are none."""
    from onnx import helper, numpy_helper

    names = [output.name for output in graph.output]
    source = next((name for name in names if "prob" in name), names[0])
    if classes > 2:
        graph.node.append(helper.make_node("Identity", [source], [OUTPUT]))
        return graph
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "flat"))
    if classes:
        graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "positive"))
        graph.node.append(
            helper.make_node("Gather", [source, "positive"], ["positive_column"], axis=1)
        )
        source = "positive_column"
    graph.node.append(helper.make_node("Reshape", [source, "flat"], [OUTPUT]))
    return graph


SCIKIT_LEARN = Exporter("what skl2onnx converts of scikit-learn", _takes, _export)
