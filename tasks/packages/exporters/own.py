"""ONNX that a use case brings itself (``Candidate.export``): its graph is checked, and given the
output that every exported model has. Whether it answers as the model does is for the proof."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from serving.errors import PackageError
from serving.package.model import open_session
from tasks.outside.user_code import calling, describe_value
from tasks.packages.exporters.exporter import OUTPUT, Exporter, NotConvertible, finish

LARGEST_BYTES = 200 * 2**20  # each process of the service holds two of them while it swaps
OLDEST_OPSET = 7  # the oldest that ONNX Runtime promises to read
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_RANDOM = {
    *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
    *("RandomUniform", "RandomUniformLike"),
}
_INPUT = "matrix"
_RETURNS = (
    f"export(model, n_features) must return the bytes of an ONNX model with one input {_INPUT!r} "
    "(n_rows, n_features)."
)


def _takes(model: Any) -> bool:
    from tasks.models.own_models import KeptModel, OwnModel

    return isinstance(model, OwnModel | KeptModel)


def _export(model: Any, n_features: int) -> tuple[bytes, str]:
    from tasks.models.own_models import KeptModel

    if isinstance(model, KeptModel):
        return model.onnx, model.dtype
    with calling(model.use_case, model.call("export"), _RETURNS):
        data = model.candidate.export(model.model_, n_features)
    try:
        return normalize(data, n_features, model.classes)
    except _Problem as problem:
        raise NotConvertible(f"{model.call('export')} returned {problem}.") from problem


class _Problem(ValueError):
    """What is wrong with an ONNX model, and what to do: completes "export returned ..."."""


def normalize(data: Any, n_features: int, classes: int) -> tuple[bytes, str]:
    """Return the ONNX bytes ``data`` with the one output of every exported model, and the dtype of
    its matrix. ``classes`` is their number; 0 for a number.

    Raises ``ValueError`` for a graph that the service should not run, or that gives other shapes:
    the message completes "export returned"."""
    import onnx

    proto = _inlined(_parse(data))
    _check_tensors(proto)
    _check_operators(proto)
    dtype = _input_dtype(proto.graph, n_features)
    _check_output(proto.graph)
    shape = _try(proto.SerializeToString(), n_features, dtype, classes)
    # Names of its own must not meet those that follow.
    proto = onnx.compose.add_prefix(proto, "own_", rename_inputs=False)
    _answer(proto.graph, shape, classes)
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import}
    used = {domain: version for domain, version in opsets.items() if domain in _DOMAINS}
    try:
        return finish(proto.graph, classes, used, proto.ir_version), dtype
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _Problem(f"a model that is not valid ONNX: {_first_line(error)}") from error


def _parse(data: Any) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if isinstance(data, onnx.ModelProto):
        raise _Problem("an onnx.ModelProto: write return model.SerializeToString()")
    if not isinstance(data, bytes):
        raise _Problem(f"{describe_value(data)}, expected the bytes of an ONNX model")
    if len(data) > LARGEST_BYTES:
        raise _Problem(
            f"{len(data) / 2**20:.0f} MiB of ONNX, and at most {LARGEST_BYTES / 2**20:.0f} are "
            "served: make the model smaller"
        )
    try:
        proto = onnx.load_from_string(data)
    except DecodeError as error:
        raise _Problem("bytes that are not an ONNX model") from error
    if not proto.graph.node:
        raise _Problem("an ONNX model without a single operator")
    return proto


def _inlined(proto: Any) -> Any:
    """Return the model with the bodies of its own functions, which exporters of networks use, in
    place of their calls."""
    import onnx.inliner

    return onnx.inliner.inline_local_functions(proto) if proto.functions else proto


def _graphs(graph: Any) -> Iterator[Any]:
    """``graph`` and the branches and loops inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _check_tensors(proto: Any) -> None:
    from onnx import TensorProto

    for graph in _graphs(proto.graph):
        sparse = [part for tensor in graph.sparse_initializer for part in _parts(tensor)]
        attributes = [
            tensor
            for node in graph.node
            for attribute in node.attribute
            for tensor in (attribute.t, *attribute.tensors, *_parts(attribute.sparse_tensor))
        ]
        for tensor in (*graph.initializer, *sparse, *attributes):
            if tensor.data_location == TensorProto.EXTERNAL:
                raise _Problem(
                    f"a model whose weights {tensor.name!r} lie in another file. Put them into "
                    "the model: torch.onnx.export(..., external_data=False)"
                )


def _parts(tensor: Any) -> tuple[Any, Any]:
    return tensor.values, tensor.indices


def _check_operators(proto: Any) -> None:
    version = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if version is None or version < OLDEST_OPSET:
        raise _Problem(
            f"a model of opset {version}: ONNX Runtime reads them from {OLDEST_OPSET} on. Export "
            "it with a newer opset_version"
        )
    for graph in _graphs(proto.graph):
        constants = _constants(graph)
        for node in graph.node:
            if node.domain not in _DOMAINS:
                raise _Problem(
                    f"a model with the operator {node.op_type} of {node.domain!r}: only operators "
                    "of ONNX itself are served. Export without custom operators"
                )
            if node.op_type in _RANDOM or (
                node.op_type == "Dropout" and _drops(node, constants, version)
            ):
                raise _Problem(
                    f"a model that draws at random ({node.op_type}): the same row would get "
                    "another answer each time. Call model.eval() before the export"
                )


def _constants(graph: Any) -> dict[str, Any]:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Constant"]
    return tensors | {node.output[0]: a.t for node in nodes for a in node.attribute}


def _drops(node: Any, constants: dict[str, Any], version: int) -> bool:
    """Return whether a Dropout is not surely left out: its third input, from opset 12 on, says
    whether it trains."""
    from onnx import numpy_helper

    if version < 12 or len(node.input) < 3 or not node.input[2]:
        return False
    training = constants.get(node.input[2])
    return training is None or bool(numpy_helper.to_array(training).any())


def _input_dtype(graph: Any, n_features: int) -> str:
    initialized = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initialized]
    names = [value.name for value in inputs]
    if names != [_INPUT]:
        raise _Problem(
            f"a model with the inputs {names}, expected one named {_INPUT!r}: "
            f"torch.onnx.export(..., input_names=[{_INPUT!r}])"
        )
    dtypes = {1: "float32", 11: "float64"}  # of onnx.TensorProto
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in dtypes:
        raise _Problem(
            f"a model whose input is {_type_name(tensor.elem_type)}, expected float32 or float64"
        )
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    if len(sizes) != 2 or sizes[1] not in (None, n_features):
        raise _Problem(
            f"a model whose input has the shape {sizes}, expected (any number of rows, "
            f"{n_features})"
        )
    if sizes[0] is not None:
        raise _Problem(
            f"a model for exactly {sizes[0]} rows, and the service sends any number. Make that "
            f"axis dynamic: torch.onnx.export(..., dynamic_axes={{{_INPUT!r}: {{0: 'rows'}}}})"
        )
    return dtypes[tensor.elem_type]


def _check_output(graph: Any) -> None:
    if len(graph.output) != 1:
        raise _Problem(
            f"a model with the outputs {[value.name for value in graph.output]}, expected one: "
            "the probabilities, or the number"
        )
    kind = graph.output[0].type.tensor_type.elem_type
    if kind not in (1, 11):
        raise _Problem(
            f"a model whose output is {_type_name(kind)}, expected float32 or float64: "
            "probabilities or a number, computed in float32"
        )


def _type_name(kind: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(kind)).lower() if kind else "no tensor"


def _try(data: bytes, n_features: int, dtype: str, classes: int) -> tuple[int, ...]:
    """Return the shape of the answer to a row ``()``, ``(1,)`` or ``(n_classes,)``, seen on three
    rows of zeros and on one."""
    try:
        session = open_session(data)
    except PackageError as error:
        raise _Problem(f"a model that ONNX Runtime does not load: {error}") from error
    allowed = {(classes,)} if classes > 2 else {(), (1,)} | ({(2,)} if classes else set())
    for rows in (3, 1):
        try:
            answer = session.run(None, {_INPUT: np.zeros((rows, n_features), dtype)})[0]
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise _Problem(
                f"a model that fails on {rows} rows of zeros: {_first_line(error)}"
            ) from error
        if answer.ndim == 0 or len(answer) != rows or answer.shape[1:] not in allowed:
            expected = " or ".join(str((rows, *shape)) for shape in sorted(allowed))
            raise _Problem(
                f"a model that gives the shape {answer.shape} for {rows} rows, expected {expected}"
            )
    return tuple(answer.shape[1:])


def _answer(graph: Any, shape: tuple[int, ...], classes: int) -> None:
    """Add the nodes from the output of ``graph`` to ``OUTPUT``: float32, and of two classes only
    the second."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name

    source = graph.output[0].name
    if shape == (2,):
        inputs = [source, constant("positive", 1)]
        graph.node.append(helper.make_node("Gather", inputs, ["positive_column"], axis=1))
        source = "positive_column"
    if classes <= 2:
        inputs = [source, constant("flat", [-1])]
        graph.node.append(helper.make_node("Reshape", inputs, ["flat_answer"]))
        source = "flat_answer"
    graph.node.append(helper.make_node("Cast", [source], [OUTPUT], to=TensorProto.FLOAT))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


OWN = Exporter("a candidate with export=", _takes, _export)
