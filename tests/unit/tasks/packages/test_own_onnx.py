"""A use case that brings its own ONNX: from the rehearsal to a package that the service scores
with; and the exports of other people, which are refused with the reason and the way out."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.pipeline import Pipeline
from usecases._own_network import Network, export
from usecases.toy import toy_rows
from usecases.toy_classes import weather_rows
from usecases.toy_number import price_rows

from blocks.registry import ModelRegistry
from blocks.saved_models import requirements_of, saved_types
from blocks.settings import REPOSITORY
from serving.package.model import load as load_package
from tasks.contest.behaviour import try_behaviours
from tasks.data.traits import case_by_traits
from tasks.models.executors import core_threads
from tasks.models.modelling import fit, inputs, predict
from tasks.models.tuning import tune
from tasks.outside.user_code import UseCaseFailed
from tasks.packages.exporters import own as own_exporter
from tasks.packages.exporters.exporter import OUTPUT, NotConvertible
from tasks.packages.exporters.own import normalize
from tasks.packages.exporters.registry import export as export_model
from tasks.packages.keeping import as_kept, keep
from tasks.packages.packaging import Origin, make_package, score_rows
from tasks.packages.proof import ParityBroken, with_nulls
from tasks.packages.rehearsal import rehearse
from usecases.definition import Candidate, Layout, Range, Search, UseCase, load

pytestmark = pytest.mark.usefixtures("one_thread")

TARGETS = {
    "binary": ("toy", toy_rows, 2),
    "classes": ("toy_classes", weather_rows, 3),
    "number": ("toy_number", price_rows, 0),
}
ORIGIN = Origin("own", {}, "2024-02-a", {"2024-01": "a", "2024-02": "b"}, {})


def network(classes: int, **fixed: Any) -> Callable[[Any, Layout, int], Network]:
    return lambda params, layout, seed: Network(layout, seed, classes, **fixed, **params)


def own_case(target: str, **changes: Any) -> UseCase:
    name, _, classes = TARGETS[target]
    fields = {"name": "own", "build": network(classes), "export": export, **changes}
    return load(name).model_copy(update={"candidates": (Candidate(**fields),)})


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def case(target: str) -> UseCase:
    rates = {"rate": Range(low=0.01, high=0.05, log=True)}
    return own_case(target, search=Search(space=rates, resource=("epochs", (60, 240)), trials=3))


@pytest.fixture(scope="module")
def months(target: str) -> list[pl.DataFrame]:
    return [TARGETS[target][1](f"2024-0{month}") for month in (1, 2, 3)]


@pytest.fixture(scope="module")
def fitted(case: UseCase, months: list[pl.DataFrame]) -> Pipeline:
    own = case.candidate("own")
    assert rehearse(case, own, own.params, months[0], seed=7)
    with core_threads(2) as threads:
        tuned = tune(case, own, months[0], months[1], 7, threads)
    return fit(case, own, tuned.params, pl.concat(months[:2]), 7)


@pytest.fixture(scope="module")
def kept(case: UseCase, months: list[pl.DataFrame], fitted: Pipeline) -> Pipeline:
    return keep(case, fitted, ORIGIN, pl.concat(months[:2]), lambda: months[2], 7)


def test_the_package_is_proven_watched_and_scores_as_the_network_does(
    case: UseCase, months: list[pl.DataFrame], fitted: Pipeline, tmp_path: Path
) -> None:
    training, later = pl.concat(months[:2]), months[2]
    saved = make_package(tmp_path, case, fitted, ORIGIN, training, later, 7)
    manifest = saved.manifest
    assert manifest.parity.changed_decisions == 0 and manifest.parity.rows >= len(later) + 500
    assert 0 < manifest.parity.largest_difference < 5e-6
    assert manifest.dtype == "float32" and manifest.drift_importance
    assert {"score", *case_by_traits(case).column_names} == set(manifest.drift_thresholds)
    package = load_package(tmp_path, saved.sha256)
    rows = pl.concat([later.select(case.column_names), with_nulls(case, later, seed=3)])
    expected = predict(fitted, case, rows)
    np.testing.assert_allclose(score_rows(package, rows), expected, rtol=5e-6, atol=5e-6)
    assert np.unique(expected.round(6), axis=0).shape[0] > 100
    assert all(behaviour.passed for behaviour in try_behaviours(case, package, later, 7))


def test_what_mlflow_keeps_is_the_onnx_with_the_parity_of_the_network(
    case: UseCase,
    months: list[pl.DataFrame],
    fitted: Pipeline,
    kept: Pipeline,
    tmp_path: Path,
) -> None:
    import skops.io

    types, strangers = saved_types(kept)
    assert strangers == [] and "onnxruntime" in requirements_of(types)
    loaded = skops.io.loads(skops.io.dumps(kept), trusted=types)
    training, later = pl.concat(months[:2]), months[2]
    np.testing.assert_array_equal(predict(loaded, case, later), predict(kept, case, later))
    expected = predict(fitted, case, later)
    np.testing.assert_allclose(predict(loaded, case, later), expected, rtol=5e-6, atol=5e-6)
    saved = make_package(tmp_path / "own", case, fitted, ORIGIN, training, later, 7, False)
    again = make_package(tmp_path / "kept", case, loaded, ORIGIN, training, later, 7, False)
    # Compared with itself the ONNX would be 0 apart: the measured figure has come along.
    assert again.manifest.parity == saved.manifest.parity
    assert saved.manifest.parity.largest_difference > 0
    assert as_kept(loaded, again) is loaded


def test_network_itself_is_a_stranger(fitted: Pipeline) -> None:
    """Loading it would need the code of the use case as it was then."""
    assert "usecases._own_network.Network" in saved_types(fitted)[1]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    import mlflow

    folder, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    store = ModelRegistry(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    for name, *_ in TARGETS.values():
        mlflow.MlflowClient(store.tracking_uri).create_experiment(name, f"file://{folder}/{name}")
    yield store
    mlflow.set_tracking_uri(before)


AGAIN = """
import sys
import mlflow, mlflow.sklearn
import numpy as np, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.sklearn.load_model(f"runs:/{sys.argv[2]}/model")
answers = model.predict_proba if hasattr(model, "predict_proba") else model.predict
np.save(sys.argv[4], answers(pd.read_parquet(sys.argv[3])))
assert not any(name.startswith("usecases.toy") for name in sys.modules), "no code of the use case"
"""


@pytest.mark.slow("a process that imports MLflow")
@pytest.mark.parametrize("target", ["binary"], indirect=True)
@pytest.mark.nightly("imports MLflow in a new process")
def test_mlflow_reads_it_back_without_the_code_of_the_use_case(
    case: UseCase,
    months: list[pl.DataFrame],
    kept: Pipeline,
    registry: ModelRegistry,
    tmp_path: Path,
) -> None:
    example = inputs(case, months[2].head(50))
    run = registry.log_run(
        case.name, "own", params={}, metrics={}, tags={}, model=kept, example=example
    )
    example.to_parquet(tmp_path / "rows.parquet")
    answers = tmp_path / "answers.npy"
    line = [registry.tracking_uri, run, str(tmp_path / "rows.parquet"), str(answers)]
    process = subprocess.run(
        [sys.executable, "-c", AGAIN, *line], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    got = np.load(answers)
    got = got[:, 1] if got.ndim == 2 and got.shape[1] == 2 else got
    np.testing.assert_array_equal(got, predict(kept, case, months[2].head(50)))


# Other people's exports: changes to the network's own ONNX.


def changed(change: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    def write(model: Network, n_features: int) -> Any:
        proto = onnx.load_from_string(export(model, n_features))
        answer = change(proto)
        return proto.SerializeToString() if answer is None else answer

    return write


def last(proto: Any) -> Any:
    return proto.graph.node[-1]


def ends_with(proto: Any, *nodes: Any, shape: Any = (None, 2), kind: int = 1) -> None:
    """Put ``nodes`` behind the answer; the last one's output becomes the model's."""
    proto.graph.node.extend(nodes)
    del proto.graph.output[:]
    value = helper.make_tensor_value_info(nodes[-1].output[0], kind, shape)
    proto.graph.output.append(value)


def add_constant(proto: Any, name: str, value: Any) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def without_softmax(proto: Any) -> None:
    last(proto).op_type = "Identity"
    del last(proto).attribute[:]


def other_order(proto: Any) -> None:
    add_constant(proto, "turned", np.array([1, 0]))
    answer = proto.graph.output[0].name
    ends_with(proto, helper.make_node("Gather", [answer, "turned"], ["end"], axis=1))


def as_type(kind: int) -> Callable[[Any], None]:
    def cast(proto: Any) -> None:
        answer = proto.graph.output[0].name
        ends_with(proto, helper.make_node("Cast", [answer], ["end"], to=kind), kind=kind)

    return cast


def through_half_precision(proto: Any) -> None:
    answer = proto.graph.output[0].name
    ends_with(
        proto,
        helper.make_node("Cast", [answer], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["end"], to=TensorProto.FLOAT),
    )


def fixed_batch(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def hidden_fixed_batch(proto: Any) -> None:
    """A dynamic axis that the graph does not keep to, as a traced reshape leaves it."""
    add_constant(proto, "one_row", np.array([1, 2]))
    answer = proto.graph.output[0].name
    ends_with(proto, helper.make_node("Reshape", [answer, "one_row"], ["end"]))


def flattened(proto: Any) -> None:
    answer = proto.graph.output[0].name
    add_constant(proto, "all", np.array([-1]))
    ends_with(proto, helper.make_node("Reshape", [answer, "all"], ["end"]), shape=(None,))


def external_data(proto: Any) -> None:
    tensor = proto.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def external_data_in_a_branch(proto: Any) -> None:
    """Where a check of the main graph alone would not look."""
    tensor = numpy_helper.from_array(np.zeros((1, 2), np.float32), "hidden")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["hidden_out"], value=tensor)],
        "branch",
        [],
        [helper.make_tensor_value_info("hidden_out", 1, [1, 2])],
    )
    external = branch.node[0].attribute[0].t
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    entry = external.external_data.add()
    entry.key, entry.value = "location", "weights.data"
    add_constant(proto, "yes", np.array(True))
    node = helper.make_node("If", ["yes"], ["end"], then_branch=branch, else_branch=branch)
    ends_with(proto, node)


def dropout(training: bool) -> Callable[[Any], None]:
    def drop(proto: Any) -> None:
        add_constant(proto, "share", np.array(0.3, np.float32))
        add_constant(proto, "training", np.array(training))
        answer = proto.graph.output[0].name
        ends_with(proto, helper.make_node("Dropout", [answer, "share", "training"], ["end"]))

    return drop


def noise(proto: Any) -> None:
    answer = proto.graph.output[0].name
    ends_with(
        proto,
        helper.make_node("RandomNormalLike", [answer], ["noise"], scale=0.1),
        helper.make_node("Add", [answer, "noise"], ["end"]),
    )


def custom_operator(proto: Any) -> None:
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    answer = proto.graph.output[0].name
    ends_with(proto, helper.make_node("Gelu", [answer], ["end"], domain="com.microsoft"))


def nulls_let_through(proto: Any) -> None:
    where = next(node for node in proto.graph.node if node.op_type == "Where")
    where.op_type, where.input[:] = "Identity", [where.input[2]]


def two_outputs(proto: Any) -> None:
    label = helper.make_node("ArgMax", [proto.graph.output[0].name], ["label"], axis=1)
    proto.graph.node.append(label)
    proto.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, [None]))


def other_input(proto: Any) -> None:
    for node in proto.graph.node:
        node.input[:] = ["x" if name == "matrix" else name for name in node.input]
    proto.graph.input[0].name = "x"


def half_input(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def three_features(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3


def old_opset(proto: Any) -> None:
    proto.opset_import[0].version = 6


def future_opset(proto: Any) -> None:
    proto.opset_import[0].version = 99


def three_columns(proto: Any) -> None:
    answer = proto.graph.output[0].name
    add_constant(proto, "thrice", np.array([0, 1, 1]))
    node = helper.make_node("Gather", [answer, "thrice"], ["end"], axis=1)
    ends_with(proto, node, shape=(None, 3))


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "float16": (as_type(TensorProto.FLOAT16), "output is float16, expected float32 or float64"),
    "label": (as_type(TensorProto.INT64), "output is int64, expected float32"),
    "fixed batch": (fixed_batch, r"for exactly 1 rows.*dynamic_axes=\{'matrix': \{0: 'rows'\}\}"),
    "hidden batch": (hidden_fixed_batch, "fails on 3 rows of zeros"),
    "flattened": (flattened, r"gives the shape \(6,\) for 3 rows, expected \(3,\) or \(3, 1\)"),
    "three columns": (three_columns, r"gives the shape \(3, 3\) for 3 rows"),
    "external data": (external_data, "lie in another file.*external_data=False"),
    "external in a branch": (external_data_in_a_branch, "'hidden' lie in another file"),
    "dropout": (dropout(True), r"draws at random \(Dropout\).*model.eval\(\)"),
    "noise": (noise, r"draws at random \(RandomNormalLike\)"),
    "custom operator": (custom_operator, "the operator Gelu of 'com.microsoft'"),
    "two outputs": (two_outputs, r"outputs \['n\d+', 'label'\], expected one"),
    "other input": (other_input, r"inputs \['x'\], expected one named 'matrix'.*input_names"),
    "half input": (half_input, "input is float16, expected float32 or float64"),
    "three features": (three_features, r"shape \[None, 3\], expected \(any number of rows, 4\)"),
    "old opset": (old_opset, "opset 6: ONNX Runtime reads them from 7 on"),
    "future opset": (future_opset, "ONNX Runtime does not load"),
    "no model": (lambda proto: b"no model", "bytes that are not an ONNX model"),
    "nothing": (lambda proto: b"", "without a single operator"),
    "text": (lambda proto: "model.onnx", "'model.onnx'.*expected the bytes"),
    "proto": (lambda proto: proto, r"an onnx.ModelProto: write return model.SerializeToString\(\)"),
}
UNPROVEN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "softmax": (without_softmax, r"disagree by up to .*softmax or sigmoid.*the order 0, 1, \.\.\."),
    "class order": (other_order, "disagree by up to .*decisions or classes change"),
    "half precision inside": (through_half_precision, "disagree by up to 0.0002"),
    "nulls": (nulls_let_through, "disagree by up to inf"),
}
ROWS = toy_rows("2024-01", rows_a_day=20)


@pytest.mark.parametrize("world", REFUSED)
def test_export_that_the_service_should_not_run_is_refused_at_the_rehearsal(world: str) -> None:
    change, message = REFUSED[world]
    case = own_case("binary", export=changed(change), params={"epochs": 30})
    with pytest.raises(
        NotConvertible,
        match=rf"toy: candidate 'own' cannot be served: export of candidate 'own' .*{message}",
    ):
        rehearse(case, case.candidate("own"), {"epochs": 30}, ROWS, seed=7)


@pytest.mark.parametrize("world", UNPROVEN)
def test_export_that_answers_otherwise_is_not_proven_at_the_rehearsal_nor_later(
    world: str, tmp_path: Path
) -> None:
    change, message = UNPROVEN[world]
    case = own_case("binary", export=changed(change))
    own, params = case.candidate("own"), {"epochs": 60}
    with pytest.raises(ParityBroken, match=f"candidate 'own' cannot be served: .*{message}"):
        rehearse(case, own, params, ROWS, seed=7)
    fitted = fit(case, own, params, ROWS, 7)
    with pytest.raises(ParityBroken):
        keep(case, fitted, ORIGIN, ROWS, lambda: toy_rows("2024-02"), 7)
    with pytest.raises(ParityBroken):
        make_package(tmp_path, case, fitted, ORIGIN, ROWS, toy_rows("2024-02"), 7)
    assert list(tmp_path.iterdir()) == []


def test_classes_in_another_order_are_not_proven() -> None:
    def turned(proto: Any) -> None:
        add_constant(proto, "turned", np.array([2, 0, 1]))
        answer = proto.graph.output[0].name
        node = helper.make_node("Gather", [answer, "turned"], ["end"], axis=1)
        ends_with(proto, node, shape=(None, 3))

    case = own_case("classes", export=changed(turned))
    with pytest.raises(ParityBroken, match="the classes in the order 0, 1"):
        rehearse(case, case.candidate("own"), {"epochs": 30}, weather_rows("2024-01"), seed=7)


class Drops(Network):
    """A network whose dropout was left on: it answers otherwise each time."""

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        chances = super().predict_proba(matrix)
        kept = np.random.default_rng().random(len(matrix)) < 0.7
        return np.where(kept[:, None], chances, 0.5)


class OfTheBatch(Network):
    """A network that normalises by the rows it is asked about, as BatchNorm does in training."""

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        chances = super().predict_proba(matrix)
        return chances - chances.mean(axis=0) + 0.5


def of_the_batch(proto: Any) -> None:
    answer = proto.graph.output[0].name
    add_constant(proto, "half", np.array(0.5, np.float32))
    ends_with(
        proto,
        helper.make_node("ReduceMean", [answer], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", [answer, "mean"], ["centred"]),
        helper.make_node("Add", ["centred", "half"], ["end"]),
    )


def test_dropout_left_on_in_the_model_is_not_proven() -> None:
    make = lambda params, layout, seed: Drops(layout, seed, 2, **params)  # noqa: E731
    case = own_case("binary", build=make)
    with pytest.raises(ParityBroken, match=r"no dropout on either side \(model.eval\(\)\)"):
        rehearse(case, case.candidate("own"), {"epochs": 60}, ROWS, seed=7)


def test_answer_that_depends_on_the_other_rows_is_not_proven_though_both_sides_agree() -> None:
    make = lambda params, layout, seed: OfTheBatch(layout, seed, 2, **params)  # noqa: E731
    for change in (of_the_batch, lambda proto: None):
        case = own_case("binary", build=make, export=changed(change))
        message = "a row alone otherwise than among others" if change is of_the_batch else "disag"
        with pytest.raises(ParityBroken, match=message):
            rehearse(case, case.candidate("own"), {"epochs": 5}, ROWS, seed=7)


def test_error_in_export_is_told_with_candidate_and_line() -> None:
    def nothing(model: Network, n_features: int) -> bytes:
        return export(None, n_features)  # type: ignore[arg-type]

    case = own_case("binary", export=nothing)
    place = r"_own_network\.py line \d+: AttributeError"
    with pytest.raises(UseCaseFailed, match=f"toy: export of candidate 'own' failed at .*{place}"):
        rehearse(case, case.candidate("own"), {"epochs": 5}, ROWS, seed=7)


def test_model_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_exporter, "LARGEST_BYTES", 1000)
    case = own_case("binary")
    with pytest.raises(NotConvertible, match="MiB of ONNX, and at most"):
        rehearse(case, case.candidate("own"), {"epochs": 5}, ROWS, seed=7)


# What is taken as it is: every form that answers the question.


def linear(
    columns: int, dtype: int = TensorProto.FLOAT, name: str = "end", flat: bool = False
) -> bytes:
    """The sigmoid of the first column, as ``columns`` columns or flat."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    weights = np.zeros((4, columns), kind)
    weights[0] = np.linspace(-1, 1, columns) if columns > 1 else 1
    nodes = [
        helper.make_node("MatMul", ["matrix", "weights"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["chance"]),
        helper.make_node("Reshape", ["chance", "flat"], [name]),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([-1] if flat else [-1, columns]), "flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("matrix", dtype, ["rows", 4])],
        [helper.make_tensor_value_info(name, dtype, None)],
        constants,
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.example.unused", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize("name", ["end", OUTPUT, "positive", "flat_answer"])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.DOUBLE])
@pytest.mark.parametrize(
    ("columns", "flat", "classes"), [(1, False, 2), (1, True, 2), (2, False, 2), (1, True, 0)]
)
def test_each_form_of_an_answer_becomes_the_one_output_of_a_package(
    columns: int, flat: bool, classes: int, dtype: int, name: str
) -> None:
    import onnxruntime

    data, kind = normalize(linear(columns, dtype, name, flat), 4, classes)
    assert kind == {1: "float32", 11: "float64"}[dtype]
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [(output.name, output.type) for output in session.get_outputs()] == [
        (OUTPUT, "tensor(float)")
    ]
    matrix = np.random.default_rng(0).normal(size=(7, 4))
    for rows in (7, 1):
        answer = session.run(None, {"matrix": matrix[:rows].astype(kind)})[0]
        assert answer.shape == (rows,) and answer.dtype == np.float32
        np.testing.assert_allclose(answer, sigmoid(matrix[:rows, 0]), atol=1e-6)


def test_functions_of_the_model_itself_are_written_out() -> None:
    """Exporters of networks write layers as functions of a domain of their own."""
    import onnxruntime

    proto = onnx.load_from_string(linear(1, flat=True))
    layer = helper.make_function(
        "layers.local",
        "Layer",
        ["value"],
        ["out"],
        [helper.make_node("Sigmoid", ["value"], ["out"])],
        [helper.make_opsetid("", 13)],
    )
    proto.functions.append(layer)
    proto.opset_import.append(helper.make_opsetid("layers.local", 1))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Layer", "layers.local"
    data, _ = normalize(proto.SerializeToString(), 4, 2)
    assert {opset.domain for opset in onnx.load_from_string(data).opset_import} == {""}
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    matrix = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    answer = session.run(None, {"matrix": matrix})[0]
    np.testing.assert_allclose(answer, sigmoid(matrix[:, 0]), atol=1e-6)


def test_dropout_that_is_off_is_served() -> None:
    case = own_case("binary", export=changed(dropout(False)))
    assert rehearse(case, case.candidate("own"), {"epochs": 60}, ROWS, seed=7)


def test_estimator_of_scikit_learn_may_bring_its_own_onnx_too() -> None:
    """One that Laurel refuses to convert itself."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    def build(params: Any, layout: Layout, seed: int) -> Any:
        inner = make_pipeline(SimpleImputer(), Ridge())
        return TransformedTargetRegressor(inner, func=np.log1p, inverse_func=np.expm1)

    def write(model: Any, n_features: int) -> bytes:
        data, _ = export_model(model.regressor_, n_features)
        proto = onnx.load_from_string(data)
        answer = proto.graph.output[0].name
        add_constant(proto, "one", np.array(1, np.float32))
        exp = helper.make_node("Exp", [answer], ["power"])
        ends_with(proto, exp, helper.make_node("Sub", ["power", "one"], ["end"]), shape=(None,))
        return proto.SerializeToString()

    case = own_case("number", build=build, export=write)
    assert rehearse(case, case.candidate("own"), {}, price_rows("2024-01"), seed=7)
