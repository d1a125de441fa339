"""A use case with each library, from rehearsal and search to a package that the service scores
with: LightGBM tells yes from no, XGBoost predicts a number, CatBoost tells three classes apart."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from usecases.toy import toy_rows
from usecases.toy_classes import weather_rows
from usecases.toy_number import price_rows

from blocks.registry import ModelRegistry
from blocks.saved_models import requirements_of, saved_types
from serving.package.manifest import MODEL
from serving.package.model import load
from tasks.models.executors import core_threads
from tasks.models.modelling import fit, inputs, predict
from tasks.models.tuning import tune
from tasks.outside.user_code import UseCaseFailed
from tasks.packages.packaging import Origin, make_package, score_rows
from tasks.packages.proof import ParityBroken, with_nulls
from tasks.packages.rehearsal import rehearse
from tests.fixtures.openmp import skip_without_openmp
from usecases import definition
from usecases.definition import Candidate, Layout, Range, Search, UseCase

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.slow("searches, fits and packages models of three libraries"),
    pytest.mark.filterwarnings("ignore:categorical_feature keyword"),
]


def light(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    skip_without_openmp()
    from lightgbm import LGBMClassifier

    codes = {"categorical_feature": list(layout.categories), "min_data_per_group": 10}
    return LGBMClassifier(**codes, **params)


def extreme(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(objective="reg:gamma", booster="dart", rate_drop=0.1, **params)


def cat(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(loss_function="MultiClass", depth=4, nan_mode="Max", **params)


RATE = {"learning_rate": Range(low=0.1, high=0.5, log=True)}
LIBRARIES = {
    "lightgbm": ("toy", toy_rows, light, ("n_estimators", (10, 40))),
    "xgboost": ("toy_number", price_rows, extreme, ("n_estimators", (20, 60))),
    "catboost": ("toy_classes", weather_rows, cat, ("iterations", (10, 40))),
}


@pytest.fixture(scope="module", params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def case(library: str) -> UseCase:
    name, _, make, resource = LIBRARIES[library]
    own = Candidate(name="own", build=make, search=Search(space=RATE, resource=resource, trials=4))
    whole = definition.load(name)
    nullable = tuple(column.model_copy(update={"nullable": True}) for column in whole.columns)
    return whole.model_copy(update={"candidates": (own,), "columns": nullable})


@pytest.fixture(scope="module")
def months(library: str) -> list[pl.DataFrame]:
    rows = LIBRARIES[library][1]
    return [rows(f"2024-0{month}") for month in (1, 2, 3)]


@pytest.fixture(scope="module")
def params(case: UseCase, months: list[pl.DataFrame]) -> Any:
    own = case.candidate("own")
    assert rehearse(case, own, own.params, months[0], seed=7)
    with core_threads(2) as threads:
        return tune(case, own, months[0], months[1], 7, threads).params


@pytest.fixture(scope="module")
def fitted(case: UseCase, months: list[pl.DataFrame], params: Any) -> Any:
    return fit(case, case.candidate("own"), params, pl.concat(months[:2]), 7)


def test_the_package_is_proven_watched_and_scores_as_the_pipeline_does(
    library: str,
    case: UseCase,
    months: list[pl.DataFrame],
    params: Any,
    fitted: Any,
    tmp_path: Path,
) -> None:
    """With native categories (LightGBM) and without."""
    training, later = pl.concat(months[:2]), months[2]
    origin = Origin("own", dict(params), "2024-02-a", {"2024-01": "a", "2024-02": "b"}, {})
    saved = make_package(tmp_path, case, fitted, origin, training, later, 7)
    assert saved.manifest.parity.changed_decisions == 0
    assert saved.manifest.parity.rows >= len(later) + 2000
    assert saved.manifest.parity.largest_difference < 1e-5
    assert saved.manifest.drift_importance
    versions = onnx.load(tmp_path / MODEL).opset_import
    assert {"ai.onnx.ml": 5 if library == "lightgbm" else 3} == {
        opset.domain: opset.version for opset in versions if opset.domain
    }
    package = load(tmp_path, saved.sha256)
    assert (package.kernel is not None) == (library == "catboost")
    rows = pl.concat([later.select(case.column_names), with_nulls(case, later, seed=3)])
    expected = predict(fitted, case, rows)
    np.testing.assert_allclose(score_rows(package, rows), expected, rtol=1e-5, atol=1e-5)
    assert np.unique(expected.round(6), axis=0).shape[0] > 100


def test_the_saved_pipeline_answers_as_before_with_no_type_that_is_a_stranger(
    library: str, case: UseCase, months: list[pl.DataFrame], fitted: Any
) -> None:
    import skops.io

    types, strangers = saved_types(fitted)
    assert strangers == []
    assert any(re.match(library, name) for name in requirements_of(types))
    loaded = skops.io.loads(skops.io.dumps(fitted), trusted=types)
    np.testing.assert_array_equal(
        predict(loaded, case, months[2]), predict(fitted, case, months[2])
    )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    import mlflow

    folder, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    own = ModelRegistry(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    for name, *_ in LIBRARIES.values():
        mlflow.MlflowClient(own.tracking_uri).create_experiment(name, f"file://{folder}/{name}")
    yield own
    mlflow.set_tracking_uri(before)


def test_mlflow_keeps_the_pipeline_and_names_what_loads_it(
    library: str, case: UseCase, months: list[pl.DataFrame], fitted: Any, registry: ModelRegistry
) -> None:
    import mlflow

    example = inputs(case, months[2].head(5))
    run = registry.log_run(
        case.name, "own", params={}, metrics={}, tags={}, model=fitted, example=example
    )
    assert registry.load_model(run) is fitted, "it is not fetched again"
    loaded = ModelRegistry(tracking_uri=registry.tracking_uri).load_model(run)
    assert loaded is not fitted
    np.testing.assert_array_equal(
        predict(loaded, case, months[2]), predict(fitted, case, months[2])
    )
    needed = mlflow.pyfunc.get_model_dependencies(f"runs:/{run}/model")
    assert re.search(rf"^{library}", Path(needed).read_text(), re.MULTILINE)


def test_other_types_of_the_libraries_are_strangers(
    library: str, case: UseCase, months: list[pl.DataFrame], fitted: Any
) -> None:
    """A class of the use case's own cannot be loaded elsewhere, whatever it inherits from."""
    model = fitted.named_steps["model"]
    own = type("Own", (type(model),), {"__module__": __name__})
    globals()["Own"] = own
    step = Candidate(name="own", build=lambda params, layout, seed: own(**params))
    with pytest.raises(UseCaseFailed, match="returned a Own that comes from 'tests'"):
        rehearse(case, step, {}, months[0], seed=7)


def test_a_wrong_reading_is_caught_by_the_proof(
    case: UseCase,
    months: list[pl.DataFrame],
    params: Any,
    fitted: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Splits one step of single precision off, as a reader would have them that took < for <=."""
    from tasks.packages.exporters import tree_writer

    exact = tree_writer.to_onnx

    def shift(forest: Any, *rest: Any) -> bytes:
        for tree in forest.trees:
            tree.threshold[:] = np.nextafter(tree.threshold.astype(np.float32), np.float32(-np.inf))
        return exact(forest, *rest)

    monkeypatch.setattr(tree_writer, "to_onnx", shift)
    origin = Origin("own", dict(params), "2024-02-a", {"2024-01": "a", "2024-02": "b"}, {})
    with pytest.raises(ParityBroken, match="ONNX and the pipeline disagree"):
        make_package(tmp_path, case, fitted, origin, pl.concat(months[:2]), months[2], 7, False)
    assert list(tmp_path.iterdir()) == []
