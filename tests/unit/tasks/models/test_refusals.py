"""What cannot be served is refused when it is built, with the step's name and the way out, and
nothing is fitted for it: not by a training, and not by a search."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from usecases.toy import toy_rows

from tasks.models import modelling
from tasks.models.executors import core_threads
from tasks.models.modelling import scores_of
from tasks.models.refusals import why_not_served
from tasks.models.tuning import tune
from tasks.outside.user_code import UseCaseFailed
from tasks.packages.exporters import scikit_learn
from tasks.packages.rehearsal import rehearse
from usecases.definition import Candidate, Range, Search, UseCase, load

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[[], Any]


class HomeMade(ClassifierMixin, BaseEstimator):
    """A classifier of the use case's own, without a converter."""

    def fit(self, matrix: np.ndarray, labels: np.ndarray) -> "HomeMade":
        raise AssertionError("Nothing is fitted.")

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        raise AssertionError("Nothing is scored.")


class OwnLoss:
    """What HistGradientBoosting takes for a loss that is no name."""


def behind(step: Any) -> Any:
    return make_pipeline(SimpleImputer(), step, LogisticRegression())


def on_codes(step: Any) -> Any:
    return make_pipeline(ColumnTransformer([("codes", step, [0])]), LogisticRegression())


def voting(**changes: Any) -> VotingClassifier:
    return VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], **changes)


CLASSIFIERS: dict[str, tuple[Make, str]] = {
    "own class": (HomeMade, "a HomeMade that comes from 'tests'.*Candidate.export="),
    "own step": (
        lambda: make_pipeline(SimpleImputer(), HomeMade()),
        "HomeMade inside, which comes from 'tests'",
    ),
    "own loss": (
        lambda: HistGradientBoostingClassifier(loss=OwnLoss()),
        "HistGradientBoostingClassifier with loss=.*scikit-learn's own losses",
    ),
    "boosting in a pipeline": (
        lambda: make_pipeline(StandardScaler(), HistGradientBoostingClassifier()),
        "HistGradientBoostingClassifier inside, which is served alone only. Let build return it",
    ),
    "boosting in a stack": (
        lambda: StackingClassifier([("one", HistGradientBoostingClassifier())]),
        "HistGradientBoostingClassifier inside, which is served alone only",
    ),
    "voting": (
        lambda: voting(voting="soft"),
        "VotingClassifier with flatten_transform=True.*voting='soft', flatten_transform=False",
    ),
    "hard voting": (voting, "VotingClassifier with voting='hard'"),
    "distance": (
        lambda: behind(KNeighborsClassifier(weights="distance")).steps[-2][1],
        "KNeighborsClassifier with weights='distance', which cannot be served. Use weights='unif",
    ),
    "own metric": (
        lambda: KNeighborsClassifier(metric=lambda one, other: abs(one - other).sum()),
        "KNeighborsClassifier with metric=a function.*Use minkowski",
    ),
    "radius": (RadiusNeighborsClassifier, "RadiusNeighborsClassifier that fails in ONNX"),
    "discriminant": (
        LinearDiscriminantAnalysis,
        "LinearDiscriminantAnalysis that has other probabilities in ONNX. Use LogisticRegression",
    ),
    "isotonic": (
        lambda: CalibratedClassifierCV(RandomForestClassifier(), method="isotonic"),
        "CalibratedClassifierCV with method='isotonic'.*Use method='sigmoid'",
    ),
    "temperature": (
        lambda: CalibratedClassifierCV(LogisticRegression(), method="temperature"),
        "CalibratedClassifierCV with method='temperature'",
    ),
    "function": (
        lambda: behind(FunctionTransformer(np.log1p)),
        "FunctionTransformer inside, with func=a function.*in the use case's source",
    ),
    "indicator": (
        lambda: make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression()),
        "SimpleImputer inside, with add_indicator=True",
    ),
    "neighbours' means": (
        lambda: make_pipeline(KNNImputer(), LogisticRegression()),
        "KNNImputer inside, which has no conversion.*Use SimpleImputer",
    ),
    "splines": (
        lambda: behind(SplineTransformer()),
        "SplineTransformer inside, which cannot become ONNX. Replace it",
    ),
    "normal quantiles": (
        lambda: behind(QuantileTransformer(output_distribution="normal")),
        "QuantileTransformer inside, with output_distribution='normal'",
    ),
    "sparse bins": (
        lambda: behind(KBinsDiscretizer()),
        "KBinsDiscretizer inside, with encode='onehot'.*onehot-dense",
    ),
    "rare codes": (
        lambda: on_codes(OneHotEncoder(min_frequency=5)),
        "OneHotEncoder inside, with min_frequency=5",
    ),
    "few codes": (
        lambda: on_codes(OneHotEncoder(max_categories=3)),
        "OneHotEncoder inside, with max_categories=3",
    ),
    "processes": (GaussianProcessClassifier, "GaussianProcessClassifier that needs an operator"),
    "dummy": (DummyClassifier, "DummyClassifier that cannot become ONNX"),
}
REGRESSORS: dict[str, tuple[Make, str]] = {
    "transformed target": (
        lambda: TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
        "TransformedTargetRegressor that cannot become ONNX",
    ),
    "distance": (
        lambda: KNeighborsRegressor(weights="distance"),
        "KNeighborsRegressor with weights='distance'",
    ),
    "own loss": (
        lambda: HistGradientBoostingRegressor(loss=OwnLoss()),
        "HistGradientBoostingRegressor with loss=",
    ),
}
TRAPS = [("toy", *CLASSIFIERS[name]) for name in CLASSIFIERS]
TRAPS += [("toy_number", *REGRESSORS[name]) for name in REGRESSORS]


@pytest.fixture
def nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("Nothing is fitted.")

    monkeypatch.setattr(Pipeline, "fit", fit)
    monkeypatch.setattr(modelling, "fit", fit)


@pytest.mark.usefixtures("nothing_fits")
@pytest.mark.parametrize(
    ("use_case", "make", "message"), TRAPS, ids=[*CLASSIFIERS, *[f"{n} (n)" for n in REGRESSORS]]
)
def test_trap_is_refused_before_anything_is_fitted(
    use_case: str, make: Make, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, rows = load(use_case), load(use_case).source.read("2024-01")
    own = Candidate(name="own", build=lambda params, layout, seed: make())
    with pytest.raises(UseCaseFailed, match=rf"^{use_case}: build of candidate 'own'.*{message}"):
        rehearse(case, own, {}, rows, seed=7)
    with pytest.raises(UseCaseFailed, match=r"Or bring its ONNX yourself: Candidate\(export="):
        modelling.build(case, own, {}, 7)


@pytest.mark.usefixtures("nothing_fits")
def test_search_refuses_what_one_of_its_parameters_makes_unservable(case: UseCase) -> None:
    """Before its first fit, though the defaults of the candidate can be served."""

    def build(params: dict[str, Any], layout: Any, seed: int) -> Any:
        imputer = SimpleImputer(add_indicator=params.get("flags", 0) > 0)
        return make_pipeline(imputer, RandomForestClassifier())

    own = Candidate(
        name="own",
        build=build,
        search=Search(space={"flags": Range(low=1, high=2)}, resource=("trees", (5, 10))),
    )
    modelling.build(case, own, {}, 7)
    with core_threads(1) as threads, pytest.raises(UseCaseFailed, match="add_indicator=True"):
        tune(case, own, toy_rows("2024-01"), toy_rows("2024-02"), 7, threads)
    with pytest.raises(UseCaseFailed, match="SimpleImputer inside, with add_indicator=True"):
        rehearse(case, own, {}, toy_rows("2024-01"), seed=7)


@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(weights="distance"),
        CalibratedClassifierCV(LogisticRegression(), method="isotonic"),
        LinearDiscriminantAnalysis(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_refused_conversion_is_still_wrong(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it no longer is, the refusal can go."""
    import onnxruntime

    chance = np.random.default_rng(0)
    matrix = chance.normal(size=(600, 4))
    labels = (matrix[:, 0] * matrix[:, 1] + chance.normal(size=600) / 2 > 0).astype(int)
    model.fit(matrix, labels)
    data = scikit_learn._by_skl2onnx(model, 4)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    later = chance.normal(size=(2000, 4))
    wrong = session.run(None, {"matrix": later.astype(np.float32)})[0] - scores_of(model, later)
    assert np.abs(wrong).max() > 1e-3


@pytest.mark.parametrize(
    "model",
    [
        voting(voting="soft", flatten_transform=False),
        KNeighborsClassifier(metric="cosine"),
        CalibratedClassifierCV(RandomForestClassifier()),
        HistGradientBoostingClassifier(),
        behind(FunctionTransformer()),
        behind(KBinsDiscretizer(encode="onehot-dense")),
        on_codes(OneHotEncoder(handle_unknown="ignore")),
        ColumnTransformer([("rest", "passthrough", [0]), ("gone", "drop", [1])]),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_converts_is_not_refused(model: Any) -> None:
    assert why_not_served(model) == ""
