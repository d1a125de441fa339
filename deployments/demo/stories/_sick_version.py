"""A version with a fault that no proof on past rows can see: it computes with the temperature, and
has no answer where there is none. All of June's hours have one."""

import hashlib
import json
import logging
import tempfile
from datetime import date
from pathlib import Path

from blocks.registry import ModelRegistry, ModelVersion

COLUMN = "temperature_f"
SILENT_DAY = date(2013, 12, 31)  # for which the data have no weather
_MANIFEST, _MODEL = "package.json", "model.onnx"


def plant(registry: ModelRegistry, version: ModelVersion) -> ModelVersion:
    """Register a copy of ``version`` that answers as it does, and not a number where the
    temperature is missing. Raises ``RegistryAway``."""
    from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT as QUIETLY

    QUIETLY.set(True)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    name = f"version {version.number} without gaps"
    with tempfile.TemporaryDirectory() as folder:
        package = registry.download_package(version, Path(folder))
        sha256 = plant_fault(package, COLUMN)
        run = registry.log_run(
            version.use_case, name, params={}, metrics={}, tags={}, package=package
        )
    about = f"Planted by the demo: {name}. It has no answer where {COLUMN} is missing."
    return registry.register(version.use_case, run, sha256, {}, about)


def plant_fault(package: Path, column: str) -> str:
    """Let the model of a package lose its answers where a column is missing. Returns the digest of
    its manifest."""
    manifest = json.loads((package / _MANIFEST).read_bytes())
    place = [feature["name"] for feature in manifest["features"]].index(column)
    model = _without_gaps((package / _MODEL).read_bytes(), place)
    (package / _MODEL).write_bytes(model)
    manifest["files"][_MODEL] = hashlib.sha256(model).hexdigest()
    data = json.dumps(manifest).encode()
    (package / _MANIFEST).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _without_gaps(model: bytes, place: int) -> bytes:
    """The model plus the column minus itself, which is zero, or not a number where it is missing.

    ``place`` is the column's in the matrix."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    changed = onnx.load_from_string(model)
    graph = changed.graph
    (output,) = graph.output
    kind = output.type.tensor_type.elem_type
    for node in graph.node:
        for position, name in enumerate(node.output):
            if name == output.name:
                node.output[position] = "answer_before"

    graph.initializer.append(numpy_helper.from_array(np.array(place, dtype=np.int64), "place"))
    graph.node.extend(
        [
            helper.make_node("Gather", [graph.input[0].name, "place"], ["column"], axis=1),
            helper.make_node("Sub", ["column", "column"], ["gap"]),
            helper.make_node("Cast", ["gap"], ["gap_as_answer"], to=kind),
            helper.make_node("Add", ["answer_before", "gap_as_answer"], [output.name]),
        ]
    )
    onnx.checker.check_model(changed)
    whole: bytes = changed.SerializeToString()
    return whole
