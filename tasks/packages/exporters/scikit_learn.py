"""What skl2onnx converts: scikit-learn's own models, and classes with a registered converter.

In single precision, since that is what ONNX Runtime has all operators for. A degree of longitude or
a year is too large for it beside its spread: 2,017.66 scaled by half a year moves a probability by
1e-4. For those there is the same model in doubles, which fewer steps have operators for."""

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


def _export_in_doubles(model: Any, n_features: int) -> tuple[bytes, str]:
    """Raises ``NotConvertible``, also where ONNX Runtime has no operator for a step in doubles."""
    import onnxruntime

    refuse_traps(model)
    data = _by_skl2onnx(model, n_features, doubles=True)
    try:
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no class in common
        raise NotConvertible(f"The model has no form in double precision: {error}") from error
    return data, "float64"


def _by_skl2onnx(model: Any, n_features: int, doubles: bool = False) -> bytes:
    import onnx
    import skl2onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
    from sklearn.impute import SimpleImputer

    kind = DoubleTensorType if doubles else FloatTensorType
    try:
        proto = skl2onnx.convert_sklearn(
            model,
            f"ONNX({type(model).__name__})",
            initial_types=[("matrix", kind([None, n_features]))],
            options={"zipmap": False} if count_classes(model) else None,
            target_opset=OPSETS,
            custom_conversion_functions={SimpleImputer: _impute_doubles} if doubles else None,
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


def _impute_doubles(scope: Any, operator: Any, container: Any) -> None:
    """Write a fitted ``SimpleImputer`` with operators that take doubles: ONNX Runtime's ``Imputer``
    takes single precision only."""
    from onnx import TensorProto

    imputer, (source,) = operator.raw_operator, operator.inputs
    if not (isinstance(imputer.missing_values, float) and np.isnan(imputer.missing_values)):
        raise NotImplementedError("only NaN is imputed in double precision")
    values, is_null = (
        scope.get_unique_variable_name("values"),
        scope.get_unique_variable_name("nan"),
    )
    shape = [1, len(imputer.statistics_)]
    container.add_initializer(values, TensorProto.DOUBLE, shape, imputer.statistics_.tolist())
    container.add_node("IsNaN", [source.full_name], [is_null], op_version=13)
    output = operator.outputs[0].full_name
    container.add_node("Where", [is_null, values, source.full_name], [output], op_version=16)


def _one_output(graph: Any, classes: int) -> Any:
    """Return the graph with one output, ``OUTPUT``: the probabilities of ``classes``, only that of
    the second of two, or the number where there are none."""
    from onnx import TensorProto, helper, numpy_helper

    names = [output.name for output in graph.output]
    source = next((name for name in names if "prob" in name), names[0])
    kinds = {output.name: output.type.tensor_type.elem_type for output in graph.output}
    if kinds[source] != TensorProto.FLOAT:
        graph.node.append(helper.make_node("Cast", [source], ["single"], to=TensorProto.FLOAT))
        source = "single"
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


SCIKIT_LEARN = Exporter(
    "what skl2onnx converts of scikit-learn", _takes, _export, export_in_doubles=_export_in_doubles
)
