"""What is served of LightGBM, XGBoost and CatBoost answers as the library itself does: on later
rows, beside every threshold in either precision, on nulls, zeros and extremes."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.package.model import open_session
from serving.package.symmetric_trees import SymmetricKernel
from tasks.models.libraries import configure
from tasks.models.modelling import scores_of
from tasks.packages.exporters.exporter import NotConvertible
from tasks.packages.exporters.registry import export, symmetric_trees, thresholds
from tests.fixtures.openmp import skip_without_openmp

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.slow("fits and converts sixty models"),
]

ROWS = 3000
CODE, NUMBER, GAPPY, EPOCH, CENTS = range(5)
EXTREMES = [1e300, -1e300, 3.4e38, -3.5e38, 5e-324, -5e-324, 1e-45, 1e-35, -1.1e-35, 0.0, -0.0]


def world(n: int, seed: int) -> np.ndarray:
    """An encoded matrix: a code, a number around 0, one with nulls and zeros that mean something,
    epoch seconds, and cents, which no float32 has."""
    chance = np.random.default_rng(seed)
    gappy = np.where(chance.random(n) < 0.3, 0.0, chance.normal(0, 3, n))
    return np.column_stack(
        [
            chance.integers(-1, 12, n),
            chance.normal(0, 1, n),
            np.where(chance.random(n) < 0.2, np.nan, gappy),
            1.37e9 + chance.uniform(0, 1e5, n),
            chance.integers(0, 5000, n) / 100,
        ]
    )


def worth(matrix: np.ndarray) -> np.ndarray:
    """What the models learn of a row: above 0."""
    gappy = matrix[:, GAPPY]
    margin = matrix[:, NUMBER] + np.sin(3 * matrix[:, CODE]) + np.sin(matrix[:, EPOCH] / 7e3)
    margin += np.where(np.isnan(gappy), 1.5, np.where(gappy == 0, -1.0, 0.2 * gappy))
    return np.exp(0.4 * (margin + matrix[:, CENTS] / 25))


TRAIN, LATER = world(4000, 0), world(ROWS, 1)
WORTH = worth(TRAIN)


def labels(classes: int) -> np.ndarray:
    if not classes:
        return WORTH
    return np.digitize(WORTH, np.quantile(WORTH, np.arange(1, classes) / classes))


def rows_of(model: Any, takes_infinite: bool = True) -> np.ndarray:
    """Return rows on which a conversion goes wrong first."""
    chance = np.random.default_rng(2)
    sets = [LATER]
    for precision in (np.float64, np.float32):
        beside = LATER.copy()
        for feature, splits in thresholds(model).items():
            at = chance.choice(splits, ROWS).astype(precision)
            to = chance.choice([-np.inf, np.inf], ROWS).astype(precision)
            with np.errstate(over="ignore"):
                near = np.nextafter(at, to)
            beside[:, feature] = np.where(chance.random(ROWS) < 0.3, at, near)
        sets.append(beside)
    extremes = [*EXTREMES, *([np.inf, -np.inf] if takes_infinite else [1e38])]
    for values in (np.array([np.nan, 0.0, -0.0]), np.array(extremes)):
        changed = LATER.copy()
        where = chance.random(changed.shape) < 0.3
        where[:, CODE] &= CODE in thresholds(model)  # a code stays a whole number
        changed[where] = chance.choice(values, where.sum())
        sets.append(changed)
    unknown = LATER.copy()
    unknown[:, CODE] = chance.choice([-1.0, 12.0, 40.0, 300.0, np.nan], ROWS)
    return np.concatenate([*sets, unknown])


def answers(model: Any, matrix: np.ndarray) -> np.ndarray:
    data, dtype = export(model, matrix.shape[1])
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"matrix": matrix.astype(dtype)})[0]


def is_exact(model: Any, tolerance: float = 1e-6, takes_infinite: bool = True) -> None:
    rows = rows_of(model, takes_infinite)
    got, expected = answers(model, rows), scores_of(model, rows)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    if expected.ndim == 2:
        second, first = np.sort(expected, axis=1)[:, -2:].T
        sure = first - second > 10 * tolerance
        assert np.array_equal(got.argmax(axis=1)[sure], expected.argmax(axis=1)[sure])
    if trees := symmetric_trees(model, rows.shape[1]):
        kernel = SymmetricKernel(trees, rows.shape[1], open_session)
        np.testing.assert_array_equal(kernel.score(rows), got)


def lightgbm(classes: int, **params: Any) -> Any:
    skip_without_openmp()
    from lightgbm import LGBMClassifier, LGBMRegressor

    model = (LGBMClassifier if classes else LGBMRegressor)(n_estimators=40, **params)
    return configure(model, 7).fit(TRAIN, labels(classes))


@pytest.mark.parametrize(
    ("classes", "params"),
    [
        (2, {}),
        (2, {"sigmoid": 2.0}),
        (2, {"zero_as_missing": True}),
        (2, {"use_missing": False}),
        (2, {"boosting_type": "dart", "drop_rate": 0.5}),
        (2, {"is_unbalance": True, "max_bin": 15}),
        (4, {}),
        (4, {"boosting_type": "dart", "zero_as_missing": True}),
        (0, {}),
        *((0, {"objective": name}) for name in ("l1", "huber", "fair", "quantile", "mape")),
        *((0, {"objective": name}) for name in ("poisson", "gamma", "tweedie")),
        (0, {"zero_as_missing": True, "subsample": 0.5, "subsample_freq": 1}),
        (0, {"use_missing": False, "extra_trees": True}),
    ],
    ids=str,
)
def test_lightgbm_is_exact(classes: int, params: dict[str, Any]) -> None:
    is_exact(lightgbm(classes, **params))


def xgboost(classes: int, **params: Any) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    model = (XGBClassifier if classes else XGBRegressor)(n_estimators=40, **params)
    return configure(model, 7).fit(TRAIN, labels(classes))


@pytest.mark.parametrize(
    ("classes", "params"),
    [
        (2, {}),
        (2, {"base_score": 0.2, "subsample": 0.5}),
        (2, {"booster": "dart", "rate_drop": 0.5}),
        (2, {"tree_method": "exact", "max_depth": 4}),
        (2, {"num_parallel_tree": 3, "subsample": 0.5}),
        (2, {"grow_policy": "lossguide", "max_leaves": 9}),
        (4, {}),
        (4, {"booster": "dart", "rate_drop": 0.5, "num_parallel_tree": 2}),
        (0, {}),
        (0, {"base_score": 3.5}),
        (0, {"objective": "reg:absoluteerror"}),
        (0, {"objective": "reg:pseudohubererror"}),
        (0, {"objective": "reg:quantileerror", "quantile_alpha": 0.8}),
        *((0, {"objective": name}) for name in ("count:poisson", "reg:gamma", "reg:tweedie")),
        (0, {"booster": "dart", "rate_drop": 0.5, "objective": "count:poisson"}),
    ],
    ids=str,
)
def test_xgboost_is_exact_up_to_its_own_single_precision(
    classes: int, params: dict[str, Any]
) -> None:
    is_exact(xgboost(classes, **params), tolerance=4e-6, takes_infinite=False)


def catboost(classes: int, **params: Any) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    model = (CatBoostClassifier if classes else CatBoostRegressor)(
        iterations=40, **{"depth": 5, **params}
    )
    return configure(model, 7).fit(TRAIN, labels(classes))


@pytest.mark.parametrize(
    ("classes", "params"),
    [
        (2, {}),
        (2, {"nan_mode": "Max"}),
        (2, {"nan_mode": "Max", "border_count": 8}),
        (2, {"auto_class_weights": "Balanced", "bootstrap_type": "Bernoulli"}),
        (4, {}),
        (4, {"nan_mode": "Max", "depth": 2}),
        *((2, {"grow_policy": policy}) for policy in ("Depthwise", "Lossguide")),
        (4, {"grow_policy": "Lossguide", "nan_mode": "Max"}),
        (0, {"depth": 1}),
        *(
            (0, {"loss_function": name})
            for name in ("RMSE", "MAE", "MAPE", "Quantile:alpha=0.8", "Huber:delta=1")
        ),
        *(
            (0, {"loss_function": name})
            for name in ("Expectile:alpha=0.3", "Poisson", "Tweedie:variance_power=1.5")
        ),
        (0, {"loss_function": "Poisson", "nan_mode": "Max", "grow_policy": "Depthwise"}),
    ],
    ids=str,
)
def test_catboost_is_exact(classes: int, params: dict[str, Any]) -> None:
    model = catboost(classes, **params)
    is_exact(model)
    is_symmetric = "grow_policy" not in params
    assert (symmetric_trees(model, TRAIN.shape[1]) is not None) == is_symmetric


@pytest.mark.filterwarnings("ignore:categorical_feature keyword")
@pytest.mark.parametrize("zero_as_missing", [False, True])
@pytest.mark.parametrize("classes", [0, 2, 4])
def test_native_categories_of_lightgbm_are_exact_also_unknown_and_null(
    classes: int, zero_as_missing: bool
) -> None:
    categories = {"categorical_feature": [CODE], "min_data_per_group": 5, "cat_smooth": 1}
    model = lightgbm(classes, zero_as_missing=zero_as_missing, **categories)
    assert "cat_threshold" in model.booster_.model_to_string()
    assert CODE not in thresholds(model)
    is_exact(model)


def test_a_softmax_over_two_classes_is_exact() -> None:
    model = catboost(2, loss_function="MultiClass")
    assert symmetric_trees(model, TRAIN.shape[1])
    is_exact(model)
    is_exact(lightgbm(2, objective="multiclass", num_class=2))


def test_models_without_a_single_split_are_exact() -> None:
    is_exact(lightgbm(2, min_child_samples=5000))
    is_exact(xgboost(4, min_child_weight=1e9), takes_infinite=False)
    assert thresholds(xgboost(0, min_child_weight=1e9)) == {}


def test_only_the_trees_up_to_the_best_iteration_answer() -> None:
    """Each stops early: its last trees are left out of its answers."""
    skip_without_openmp()
    from catboost import CatBoostClassifier
    from lightgbm import LGBMClassifier, early_stopping
    from xgboost import XGBClassifier

    noise = np.random.default_rng(5).permutation(labels(2))
    later = LATER, (worth(LATER) > np.median(WORTH)).astype(int)
    light = configure(LGBMClassifier(n_estimators=60), 7)
    light.fit(
        TRAIN, noise, eval_X=later[0], eval_y=later[1], callbacks=[early_stopping(5, verbose=False)]
    )
    extreme = configure(XGBClassifier(n_estimators=60, early_stopping_rounds=5), 7)
    extreme.fit(TRAIN, noise, eval_set=[later], verbose=False)
    cat = configure(CatBoostClassifier(iterations=60, early_stopping_rounds=5), 7)
    cat.fit(TRAIN, noise, eval_set=later)
    assert extreme.best_iteration + 1 < extreme.get_booster().num_boosted_rounds()
    is_exact(light)
    is_exact(extreme, takes_infinite=False)
    is_exact(cat)


def own_objective(truth: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return margin - truth, np.ones_like(truth)


@pytest.mark.filterwarnings("ignore:categorical_feature keyword")
@pytest.mark.parametrize(
    ("fitted", "message"),
    [
        (lambda: lightgbm(0, objective=own_objective), "LGBMRegressor with the objective 'none'"),
        (lambda: lightgbm(2, objective="cross_entropy"), "the objective 'cross_entropy'"),
        (lambda: lightgbm(4, objective="multiclassova"), "the objective 'multiclassova"),
        (lambda: lightgbm(0, reg_sqrt=True), "the objective 'regression sqrt'"),
        (
            lambda: lightgbm(2, boosting_type="rf", subsample=0.5, subsample_freq=1),
            "boosting_type='rf'",
        ),
        (lambda: lightgbm(0, linear_tree=True), "linear trees"),
        (lambda: xgboost(0, objective=own_objective), "XGBRegressor with a function as objective"),
        (lambda: xgboost(2, objective="binary:hinge"), "the objective 'binary:hinge'"),
        (lambda: xgboost(0, booster="gblinear"), "booster='gblinear'"),
        (lambda: xgboost(0, missing=0.0), "missing=0.0"),
        (
            lambda: xgboost(0, objective="reg:quantileerror", quantile_alpha=[0.1, 0.9]),
            "several outputs a row",
        ),
        (
            lambda: xgboost(4, multi_strategy="multi_output_tree"),
            "several outputs a row",
        ),
        (lambda: catboost(2, loss_function="CrossEntropy"), "the objective 'CrossEntropy'"),
        (lambda: catboost(0, loss_function="RMSEWithUncertainty"), "'RMSEWithUncertainty'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(fitted: Any, message: str) -> None:
    with pytest.raises(NotConvertible, match=f"({message}).* cannot become ONNX. Supported are"):
        export(fitted(), 5)


def test_categories_of_catboost_and_xgboost_are_refused() -> None:
    import pandas as pd
    from catboost import CatBoostClassifier
    from xgboost import XGBClassifier

    codes = pd.DataFrame(np.nan_to_num(TRAIN)).astype({CODE: int})
    cat = configure(CatBoostClassifier(iterations=5, cat_features=[CODE]), 7)
    with pytest.raises(NotConvertible, match="columns of categories"):
        export(cat.fit(codes, labels(2)), 5)
    kinds = ["c", "q", "q", "q", "q"]
    extreme = configure(XGBClassifier(n_estimators=5, feature_types=kinds), 7)
    with pytest.raises(NotConvertible, match="native categories"):
        export(extreme.fit(TRAIN + 1, labels(2)), 5)


def test_a_library_behind_another_step_is_refused() -> None:
    skip_without_openmp()
    from lightgbm import LGBMClassifier

    inside = make_pipeline(StandardScaler(), configure(LGBMClassifier(n_estimators=3), 7))
    with pytest.raises(NotConvertible, match="LGBMClassifier inside, which is served alone only"):
        export(inside.fit(TRAIN, labels(2)), 5)
