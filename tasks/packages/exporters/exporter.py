"""What an exporter is, and what every exported model has in common.

Input ``matrix`` ``(n_rows, n_features)``, one output: the probability of the positive class or the
number ``(n_rows,)``, or the probability of each of several classes ``(n_rows, n_classes)``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.package.symmetric_trees import SymmetricTrees

OUTPUT = "laurel_answer"  # a name that no converter uses for a node of its own
OPSETS = {"": 17, "ai.onnx.ml": 3}


class NotConvertible(ValueError):
    """A step cannot be served as ONNX; the message names it and the way out."""


@dataclass(frozen=True)
class Exporter:
    """One way from a fitted model to ONNX: exactly, or not at all.

    ``supports`` describes in words the models that ``takes`` accepts. ``export`` returns the ONNX
    bytes of a model on ``n_features`` and the dtype of its matrix (``float64`` or ``float32``), and
    raises ``NotConvertible``. ``export_in_doubles`` does the same in ``float64``, for what single
    precision is too coarse for; not every exporter has it. ``thresholds`` are the values, by
    feature position, beside which its conversion would go wrong first. ``symmetric_trees`` are the
    model in the form that scores many rows faster, for models that have one."""

    supports: str
    takes: Callable[[Any], bool]
    export: Callable[[Any, int], tuple[bytes, str]]
    thresholds: Callable[[Any], dict[int, np.ndarray]] = lambda model: {}
    export_in_doubles: Callable[[Any, int], tuple[bytes, str]] | None = None
    symmetric_trees: Callable[[Any, int], SymmetricTrees | None] = lambda model, n_features: None


def package_of(model: Any) -> str:
    """Return the package that the model's class comes from: ``sklearn``."""
    return type(model).__module__.partition(".")[0]


def count_classes(model: Any) -> int:
    """Return the number of classes of a fitted classifier; 0 for a regressor."""
    return len(getattr(model, "classes_", ()))


def finish(
    graph: Any, classes: int = 0, opsets: Mapping[str, int] = OPSETS, ir_version: int = 9
) -> bytes:
    """Return the model of ``graph`` as bytes; its one output is the float32 node ``OUTPUT``, with a
    column for each of more than two ``classes``."""
    import onnx
    from onnx import TensorProto, helper

    shape = [None, classes] if classes > 2 else [None]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*opset) for opset in opsets.items()],
        ir_version=ir_version,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()
