from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import skl2onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from skl2onnx.operator_converters.linear_classifier import convert_sklearn_linear_classifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from tasks.packages.exporters import registry
from tasks.packages.exporters.exporter import OUTPUT, Exporter, NotConvertible, finish
from tasks.packages.exporters.registry import EXPORTERS, export, forms_of, thresholds

# skl2onnx writes booleans into a field of integers, which protobuf below 7 allows.
pytestmark = pytest.mark.filterwarnings("ignore:Field onnx.AttributeProto:DeprecationWarning")

TOLERANCE = 1e-5
CODE, NUMBER, GAPPY, EPOCH = range(4)


def world(n: int, seed: int, nulls: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """An encoded matrix: a code (-1: unknown), a number, one with meaningful nulls, and a time in
    epoch seconds."""
    chance = np.random.default_rng(seed)
    matrix = np.column_stack(
        [
            chance.integers(-1, 6, n),
            chance.normal(0, 1, n),
            np.where(chance.random(n) < nulls, np.nan, chance.normal(5, 3, n)),
            1.37e9 + chance.uniform(0, 1e5, n),
        ]
    )
    margin = (
        matrix[:, NUMBER]
        + (matrix[:, CODE] % 2)
        + np.where(np.isnan(matrix[:, GAPPY]), 1.5, 0.2 * matrix[:, GAPPY])
    )
    margin = margin + np.sin(matrix[:, EPOCH] / 7e3) - 1.8
    return matrix, (chance.random(n) < 1 / (1 + np.exp(-1.5 * margin))).astype(int)


TRAIN, LABELS = world(4000, 0)
LATER, _ = world(6000, 1)
WHOLE = np.nan_to_num(TRAIN, nan=5.0)


def beside_thresholds(model: HistGradientBoostingClassifier, rows: np.ndarray) -> np.ndarray:
    """Return ``rows`` with all values on a split, or one double-ulp above or below it."""
    chance = np.random.default_rng(2)
    shifted = rows.copy()
    for feature, splits in thresholds(model).items():
        at = chance.choice(splits, len(rows))
        shifted[:, feature] = np.nextafter(at, chance.choice([-np.inf, np.inf], len(rows)))
    return shifted


def beside_floats(model: Any, rows: np.ndarray) -> np.ndarray:
    """Return ``rows`` with all values one float32-ulp above or below a split, or just there."""
    chance = np.random.default_rng(3)
    shifted = rows.copy()
    for feature, splits in thresholds(model).items():
        at = chance.choice(splits, len(rows)).astype(np.float32)
        to = np.nextafter(at, chance.choice([-np.inf, np.inf], len(rows)).astype(np.float32))
        shifted[:, feature] = np.where(chance.random(len(rows)) < 0.3, at, to)
    return shifted


def answers(data: bytes, matrix: np.ndarray) -> np.ndarray:
    """Scores of ONNX Runtime."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"matrix": matrix})[0]


def exported(model: Any, matrix: np.ndarray) -> np.ndarray:
    data, dtype = export(model, matrix.shape[1])
    return answers(data, matrix.astype(dtype))


def float32_answers(model: Any, matrix: np.ndarray) -> np.ndarray:
    """Return the scores of skl2onnx's own export of the model."""
    model_proto = skl2onnx.to_onnx(
        model,
        initial_types=[("matrix", FloatTensorType([None, matrix.shape[1]]))],
        options={"zipmap": False},
    )
    session = onnxruntime.InferenceSession(
        model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"matrix": matrix.astype(np.float32)})[1][:, 1]


def changed_decisions(got: np.ndarray, expected: np.ndarray) -> int:
    """Count decisions at one half that differ clearly."""
    return int((((got >= 0.5) != (expected >= 0.5)) & (np.abs(got - expected) > TOLERANCE)).sum())


def same(got: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    assert changed_decisions(got, expected) == 0


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small fits: on a busy machine, threads that wait for each other cost more than they gain."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def boosted() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(TRAIN, LABELS)


def test_boosting_is_exact_on_later_rows_with_nulls_and_epoch_seconds(
    boosted: HistGradientBoostingClassifier,
) -> None:
    assert np.isnan(LATER).any()
    assert EPOCH in thresholds(boosted)
    same(exported(boosted, LATER), boosted.predict_proba(LATER)[:, 1])


def test_boosting_is_exact_one_double_ulp_beside_its_thresholds(
    boosted: HistGradientBoostingClassifier,
) -> None:
    beside = beside_thresholds(boosted, LATER)
    same(exported(boosted, beside), boosted.predict_proba(beside)[:, 1])


def test_single_precision_would_change_decisions_there(
    boosted: HistGradientBoostingClassifier,
) -> None:
    """The reason for our own export: the usual one is silently wrong on exactly these rows."""
    beside = beside_thresholds(boosted, LATER)
    assert (
        changed_decisions(float32_answers(boosted, beside), boosted.predict_proba(beside)[:, 1])
        > 50
    )
    assert (
        changed_decisions(float32_answers(boosted, LATER), boosted.predict_proba(LATER)[:, 1]) > 0
    )


def test_boosting_is_exact_on_rows_that_are_all_null_or_unknown(
    boosted: HistGradientBoostingClassifier,
) -> None:
    rows = LATER[:50].copy()
    rows[:20, NUMBER:] = np.nan
    rows[10:30, CODE] = -1
    rows[30:, CODE] = 17
    rows[40:] = np.nan
    same(exported(boosted, rows), boosted.predict_proba(rows)[:, 1])


def test_boosting_that_splits_on_nulls_alone_is_exact() -> None:
    """Such a split has an infinite threshold: every number goes left, and null right."""
    labels = np.isnan(TRAIN[:, GAPPY]).astype(int)
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(TRAIN, labels)
    assert any(np.isinf(tree.nodes["num_threshold"]).any() for (tree,) in model._predictors)
    same(exported(model, LATER), model.predict_proba(LATER)[:, 1])
    assert all(np.isfinite(splits).all() for splits in thresholds(model).values())


def test_boosting_without_a_single_split_is_exact() -> None:
    model = HistGradientBoostingClassifier(max_iter=3).fit(
        np.ones((300, 4)), np.arange(300) % 3 == 0
    )
    assert thresholds(model) == {}
    same(exported(model, LATER), model.predict_proba(LATER)[:, 1])


def test_thresholds_are_those_of_all_trees() -> None:
    model = HistGradientBoostingClassifier(max_iter=2, max_leaf_nodes=3, random_state=0).fit(
        TRAIN, LABELS
    )
    inner = np.concatenate(
        [tree.nodes[tree.nodes["is_leaf"] == 0] for (tree,) in model._predictors]
    )
    splits_by_feature = thresholds(model)
    assert {(f, t) for f, splits in splits_by_feature.items() for t in splits} == set(
        zip(inner["feature_idx"], inner["num_threshold"], strict=True)
    )
    assert thresholds(LogisticRegression().fit(WHOLE, LABELS)) == {}


def codes_and_numbers(last: Any) -> Any:
    """The usual pipeline: codes become columns, gaps the mean."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encode = ColumnTransformer(
        [
            ("codes", OneHotEncoder(handle_unknown="ignore"), [CODE]),
            ("numbers", numbers, [NUMBER, GAPPY]),
        ]
    )
    return make_pipeline(encode, last)


@pytest.mark.parametrize(
    "last",
    [
        LogisticRegression(),
        RandomForestClassifier(20, max_depth=8, random_state=0),
        ExtraTreesClassifier(20, max_depth=8, random_state=0),
        DecisionTreeClassifier(max_depth=6, random_state=0),
        GradientBoostingClassifier(n_estimators=10, random_state=0),
    ],
    ids=lambda last: type(last).__name__,
)
def test_a_pipeline_with_an_imputer_is_exact_with_nulls_and_unknown_codes(last: Any) -> None:
    model = codes_and_numbers(last).fit(TRAIN, LABELS)
    rows = LATER.copy()
    rows[:20, GAPPY] = np.nan
    rows[10:30, CODE] = -1
    rows[30:40, CODE] = 17
    same(exported(model, rows), model.predict_proba(rows.astype(np.float32))[:, 1])


def test_forests_keep_their_answers_for_epoch_seconds() -> None:
    model = make_pipeline(
        SimpleImputer(), RandomForestClassifier(20, max_depth=8, random_state=0)
    ).fit(TRAIN, LABELS)
    same(exported(model, LATER), model.predict_proba(LATER)[:, 1])


def test_the_score_is_one_flat_tensor_for_any_number_of_rows(
    boosted: HistGradientBoostingClassifier,
) -> None:
    linear = codes_and_numbers(LogisticRegression()).fit(TRAIN, LABELS)
    for model in (boosted, linear):
        assert exported(model, LATER[:1]).shape == (1,)
        assert exported(model, LATER[:7]).shape == (7,)
    assert [export(model, 4)[1] for model in (boosted, linear)] == ["float64", "float32"]


FAR = 2017 + TRAIN / 100  # what single precision rounds to a hundredth of its spread


@pytest.mark.parametrize(
    ("model", "answers_of"),
    [
        (LogisticRegression(max_iter=500), lambda model: model.predict_proba(FAR)[:, 1]),
        (
            MLPClassifier(8, max_iter=20, random_state=0),
            lambda model: model.predict_proba(FAR)[:, 1],
        ),
        (Ridge(), lambda model: model.predict(FAR)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_second_form_of_a_pipeline_has_the_precision_of_doubles(
    model: Any, answers_of: Any
) -> None:
    fitted = make_pipeline(SimpleImputer(), StandardScaler(), model).fit(FAR, LABELS)
    forms = list(forms_of(fitted, FAR.shape[1]))
    assert [dtype for _, dtype in forms] == ["float32", "float64"]
    single, double = (
        np.abs(answers(data, FAR.astype(dtype)) - answers_of(fitted)).max() for data, dtype in forms
    )
    assert single > 1e-5 and double < 1e-6


def test_what_has_no_operator_in_doubles_has_one_form() -> None:
    steps = SimpleImputer(), PolynomialFeatures(), LogisticRegression(max_iter=500)
    fitted = make_pipeline(*steps).fit(TRAIN, LABELS)
    assert [dtype for _, dtype in forms_of(fitted, TRAIN.shape[1])] == ["float32"]


def test_what_is_in_doubles_already_has_one_form(boosted: HistGradientBoostingClassifier) -> None:
    assert [dtype for _, dtype in forms_of(boosted, 4)] == ["float64"]


FORESTS = [
    RandomForestClassifier(10, max_depth=8, random_state=0),
    ExtraTreesClassifier(10, max_depth=8, random_state=0),
]


@pytest.mark.parametrize(
    "model",
    [*FORESTS, BaggingClassifier(DecisionTreeClassifier(max_depth=8), 5, random_state=0)],
    ids=lambda model: type(model).__name__,
)
def test_trees_trained_on_nulls_are_refused_by_name_inside_another_step(model: Any) -> None:
    with pytest.raises(
        NotConvertible, match=f"{type(model).__name__} trained on missing values.*SimpleImputer"
    ):
        export(
            make_pipeline(ColumnTransformer([("all", "passthrough", [0, 1, 2, 3])]), model).fit(
                TRAIN, LABELS
            ),
            4,
        )


@pytest.mark.parametrize("model", FORESTS, ids=lambda model: type(model).__name__)
def test_forests_trained_on_nulls_are_exact_alone_and_wrong_by_skl2onnx(model: Any) -> None:
    fitted = model.fit(TRAIN, LABELS)
    same(exported(fitted, LATER), fitted.predict_proba(LATER)[:, 1])
    assert changed_decisions(float32_answers(fitted, LATER), fitted.predict_proba(LATER)[:, 1]) > 50


@pytest.mark.parametrize("model", FORESTS, ids=lambda model: type(model).__name__)
def test_forests_trained_without_nulls_are_exact_on_nulls(model: Any) -> None:
    """Without nulls scikit-learn sends them to the larger child."""
    fitted = model.fit(WHOLE, LABELS)
    assert any(tree.tree_.missing_go_to_left.any() for tree in fitted.estimators_)
    same(exported(fitted, LATER), fitted.predict_proba(LATER)[:, 1])


@pytest.mark.parametrize("classes", [0, 2, 4])
@pytest.mark.parametrize(
    "kinds",
    [
        (RandomForestRegressor, RandomForestClassifier),
        (ExtraTreesRegressor, ExtraTreesClassifier),
        (DecisionTreeRegressor, DecisionTreeClassifier),
    ],
    ids=["random forest", "extra trees", "tree"],
)
def test_forests_alone_are_exact_beside_their_thresholds_in_either_precision(
    kinds: Any, classes: int
) -> None:
    worth = np.nan_to_num(TRAIN[:, GAPPY], nan=-3.0) + 3 * TRAIN[:, NUMBER]
    labels = np.digitize(worth, np.quantile(worth, np.arange(1, classes) / classes))
    size = {} if kinds[0] is DecisionTreeRegressor else {"n_estimators": 10}
    model = kinds[classes > 0](max_depth=8, random_state=0, **size)
    model.fit(TRAIN, labels if classes else worth)
    for rows in (LATER, beside_thresholds(model, LATER), beside_floats(model, LATER)):
        expected = model.predict_proba(rows) if classes else model.predict(rows)
        np.testing.assert_allclose(
            exported(model, rows),
            expected[:, 1] if classes == 2 else expected,
            rtol=1e-6,
            atol=1e-6,
        )


def with_codes(n: int, seed: int, categories: int) -> np.ndarray:
    """Return a matrix with codes of two columns, the second of which is -1 where it is null."""
    matrix, _ = world(n, seed)
    codes = np.random.default_rng(seed).integers(0, categories, n)
    return np.column_stack([matrix[:, NUMBER], codes, matrix[:, GAPPY], matrix[:, CODE]])


@pytest.mark.parametrize("categories", [5, 200])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_native_categories_of_boosting_are_exact_also_unknown_and_null(
    categories: int, classes: int
) -> None:
    train, later = with_codes(4000, 3, categories), with_codes(6000, 4, 2 * categories)
    later[:500, 1], later[500:600, 1] = np.nan, -1
    later[600:800, 3], later[800:900, 3] = np.nan, 17
    worth = train[:, 0] + np.sin(7 * train[:, 1]) + train[:, 3] % 2
    labels = np.digitize(worth, [1.2] if classes == 2 else [0.5, 2]) if classes else worth
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(max_iter=30, categorical_features=[1, 3], random_state=0).fit(train, labels)
    got = exported(model, later)
    expected = model.predict_proba(later) if classes else model.predict(later)
    np.testing.assert_allclose(got, expected[:, 1] if classes == 2 else expected, atol=1e-6)
    assert onnx.load_from_string(export(model, 4)[0]).opset_import[1].version == 5


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: make_pipeline(SimpleImputer(), inner),
        lambda inner: codes_and_numbers(inner),
        lambda inner: CalibratedClassifierCV(inner, cv=2),
    ],
    ids=["pipeline", "codes and numbers", "calibrated"],
)
def test_boosting_inside_another_step_is_refused(wrap: Any) -> None:
    """There skl2onnx would write it, in single precision."""
    model = wrap(HistGradientBoostingClassifier(max_iter=2)).fit(TRAIN, LABELS)
    with pytest.raises(NotConvertible, match="GradientBoostingClassifier inside, which is served"):
        export(model, 4)


def test_linear_discriminant_analysis_is_refused_also_inside_a_pipeline() -> None:
    for model in (
        LinearDiscriminantAnalysis(),
        make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()),
    ):
        with pytest.raises(
            NotConvertible, match="LinearDiscriminantAnalysis.* has other probabilities in ONNX"
        ):
            export(model.fit(WHOLE, LABELS), 4)


class HomeMade(ClassifierMixin, BaseEstimator):
    """A classifier without a converter."""

    def fit(self, matrix: np.ndarray, labels: np.ndarray) -> "HomeMade":
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        return np.full((len(matrix), 2), 0.5)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (make_pipeline(SplineTransformer(), LogisticRegression()), "SplineTransformer"),
        (
            make_pipeline(FeatureUnion([("bent", SplineTransformer())]), LogisticRegression()),
            "SplineTransformer",
        ),
        (HomeMade(), "HomeMade"),
    ],
    ids=["step", "inside a union", "home-made"],
)
def test_a_step_that_does_not_convert_is_refused_by_name_with_the_way_out(
    model: Any, name: str
) -> None:
    with pytest.raises(NotConvertible, match=f"{name}.*cannot become ONNX.*Replace (it|that step)"):
        export(model.fit(WHOLE, LABELS), 4)


@pytest.mark.parametrize(
    "labels",
    [LABELS + 1, 2 * LABELS - 1, LABELS.astype(str), 2 * (np.arange(4000) % 3)],
    ids=["12", "-11", "text", "024"],
)
def test_classes_that_are_not_numbered_from_zero_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(NotConvertible, match="expected 0, 1, ..."):
        export(HistGradientBoostingClassifier(max_iter=2).fit(TRAIN, labels), 4)
    with pytest.raises(NotConvertible, match="expected 0, 1, ..."):
        export(LogisticRegression().fit(WHOLE, labels), 4)


def test_true_and_false_are_one_and_zero() -> None:
    model = HistGradientBoostingClassifier(max_iter=3).fit(TRAIN, LABELS.astype(bool))
    same(exported(model, LATER), model.predict_proba(LATER)[:, 1])


class Line:
    """A classifier of a library that Laurel does not know: the mean of one column decides."""

    def fit(self, matrix: np.ndarray, labels: np.ndarray) -> "Line":
        self.classes_ = np.unique(labels)
        self.middle = float(np.nanmean(matrix[:, NUMBER]))
        return self

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        positive = 1 / (1 + np.exp(self.middle - matrix[:, NUMBER]))
        return np.column_stack([1 - positive, positive])


def write_line(model: Any, n_features: int) -> tuple[bytes, str]:
    constants = [
        numpy_helper.from_array(np.array(NUMBER, np.int64), "column"),
        numpy_helper.from_array(np.array(model.middle), "middle"),
    ]
    nodes = [
        helper.make_node("Gather", ["matrix", "column"], ["value"], axis=1),
        helper.make_node("Sub", ["value", "middle"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["probability"]),
        helper.make_node("Cast", ["probability"], [OUTPUT], to=TensorProto.FLOAT),
    ]
    matrix = helper.make_tensor_value_info("matrix", TensorProto.DOUBLE, [None, n_features])
    return finish(helper.make_graph(nodes, "line", [matrix], [], constants)), "float64"


LINE = Exporter(
    "Line",
    lambda model: isinstance(model, Line),
    write_line,
    lambda model: {NUMBER: np.array([model.middle])},
)


def test_a_model_of_another_library_is_exported_once_it_has_an_exporter(
    monkeypatch: pytest.MonkeyPatch, boosted: HistGradientBoostingClassifier
) -> None:
    monkeypatch.setattr(registry, "EXPORTERS", [*EXPORTERS, LINE])
    model = Line().fit(TRAIN, LABELS)
    same(exported(model, LATER), model.predict_proba(LATER)[:, 1])
    assert thresholds(model) == {NUMBER: [model.middle]}
    same(exported(boosted, LATER), boosted.predict_proba(LATER)[:, 1])


def test_the_first_exporter_that_takes_a_model_exports_it(
    monkeypatch: pytest.MonkeyPatch, boosted: HistGradientBoostingClassifier
) -> None:
    eager = Exporter("all", lambda model: True, lambda model, n_features: (b"mine", "float32"))
    monkeypatch.setattr(registry, "EXPORTERS", [eager, *EXPORTERS])
    assert export(boosted, 4) == (b"mine", "float32")
    monkeypatch.setattr(registry, "EXPORTERS", [*EXPORTERS, eager])
    assert export(boosted, 4)[1] == "float64"


def test_a_model_that_no_exporter_takes_is_refused_with_what_is_supported() -> None:
    model = Line().fit(TRAIN, LABELS)
    message = (
        r"Line of the library 'tests' cannot become ONNX: no exporter takes it\. "
        r"Supported: a candidate with export=, HistGradientBoosting, forests and trees of "
        r"scikit-learn, LightGBM, XGBoost, CatBoost, what skl2onnx converts of scikit-learn\. "
        r"Replace that step, bring its ONNX \(Candidate\.export\), or add an exporter to "
        r"tasks/packages/exporters/registry\.py"
    )
    with pytest.raises(NotConvertible, match=message):
        export(model, 4)


def test_a_class_that_a_converter_was_registered_for_goes_through_skl2onnx() -> None:
    class Own(LogisticRegression):
        """A classifier with a converter of skl2onnx for exactly this class."""

    model = Own().fit(WHOLE, LABELS)
    with pytest.raises(NotConvertible, match="Own of the library .* no exporter takes it"):
        export(model, 4)
    skl2onnx.update_registered_converter(
        Own,
        "OwnLogisticRegression",
        calculate_linear_classifier_output_shapes,
        convert_sklearn_linear_classifier,
        options={name: [True, False] for name in ("zipmap", "nocl", "raw_scores")},
    )
    same(exported(model, WHOLE), model.predict_proba(WHOLE.astype(np.float32))[:, 1])
