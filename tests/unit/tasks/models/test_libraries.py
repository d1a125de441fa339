"""The estimators of other libraries: what Laurel sets for them, refuses, and fits anew."""

import builtins
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from usecases.toy import toy_rows

from blocks.settings import REPOSITORY
from tasks.models.dask_workers import INSTALL
from tasks.models.executors import core_threads
from tasks.models.growing import grow_of
from tasks.models.libraries import LIBRARIES, configure
from tasks.models.modelling import build, encoder, inputs, labels, scores_of
from tasks.models.tuning import check_search, tune
from tasks.outside import user_code
from tasks.outside.user_code import UseCaseFailed
from tests.fixtures.openmp import skip_without_openmp
from usecases.definition import Candidate, Range, Search, UseCase

pytestmark = pytest.mark.usefixtures("one_thread")


def light(**params: Any) -> Any:
    skip_without_openmp()
    from lightgbm import LGBMClassifier

    return LGBMClassifier(**params)


def extreme(**params: Any) -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(**params)


def cat(**params: Any) -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(**params)


def candidate(make: Any, **changes: Any) -> Candidate:
    return Candidate(name="own", build=lambda params, layout, seed: make(**params), **changes)


def given(model: Any) -> dict[str, Any]:
    return {name: value for name, value in model.get_params().items() if value is not None}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            light,
            {
                "random_state": 7,
                "n_jobs": 1,
                "deterministic": True,
                "force_row_wise": True,
                "verbosity": -1,
            },
        ),
        (extreme, {"random_state": 7, "n_jobs": 1, "verbosity": 1}),
        (
            cat,
            {
                "random_seed": 7,
                "thread_count": 1,
                "allow_writing_files": False,
                "logging_level": "Silent",
            },
        ),
    ],
)
def test_what_build_leaves_open_does_not_depend_on_the_machine(
    case: UseCase, make: Any, expected: dict[str, Any]
) -> None:
    assert given(build(case, candidate(make), {}, 7)).items() >= expected.items()


@pytest.mark.parametrize(
    ("make", "params"),
    [
        (light, {"num_threads": 3, "seed": 1, "verbose": 0, "force_col_wise": True}),
        (light, {"deterministic": False, "random_state": 2}),
        (extreme, {"nthread": 3, "seed": 1, "verbosity": 2}),
        (cat, {"random_state": 1, "thread_count": 2, "verbose": 50}),
        (cat, {"silent": True, "allow_writing_files": True}),
    ],
)
def test_what_build_has_set_stays_under_the_name_that_it_used(
    case: UseCase, make: Any, params: dict[str, Any]
) -> None:
    plain, built = given(make(**params)), given(build(case, candidate(make), params, 7))
    assert built.items() >= plain.items()
    names = [{*names} for names in LIBRARIES[type(make()).__module__.split(".")[0]].settings]
    assert all(len(names & {*built}) == 1 for names in names)


def loss(truth: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return margin - truth, np.ones_like(truth)


class Loss:
    """What CatBoost takes for an objective of its own."""

    def calc_ders_range(self, margins: Any, targets: Any, weights: Any) -> Any:
        raise AssertionError("Nothing is fitted.")


@pytest.mark.parametrize(
    ("make", "params", "message"),
    [
        (light, {"objective": loss}, "LGBMClassifier with objective=a function, which cannot be"),
        (light, {"boosting_type": "rf"}, "with boosting_type='rf'.*Use gbdt or dart"),
        (light, {"linear_tree": True}, "with linear_tree=True.*Leave it out"),
        (extreme, {"objective": loss}, "XGBClassifier with objective=a function"),
        (extreme, {"booster": "gblinear"}, "with booster='gblinear'.*Use gbtree or dart"),
        (extreme, {"multi_strategy": "multi_output_tree"}, "Use one_output_per_tree"),
        (extreme, {"missing": -1}, "with missing=-1.*null numbers are NaN already"),
        (extreme, {"enable_categorical": True}, "with enable_categorical=True.*as numbers"),
        (extreme, {"feature_types": ["c", "q"]}, "with feature_types=.*as numbers"),
        (cat, {"cat_features": [0]}, "CatBoostClassifier with cat_features=.0..*as numbers"),
        (cat, {"loss_function": Loss()}, "CatBoostClassifier with loss_function="),
    ],
)
def test_what_cannot_be_served_is_refused_when_it_is_built(
    case: UseCase, make: Any, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(UseCaseFailed, match=message):
        build(case, candidate(make), params, 7)


def test_a_library_inside_another_estimator_is_refused_when_it_is_built(case: UseCase) -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import StackingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for make, outer in (
        (lambda: make_pipeline(StandardScaler(), light()), "Pipeline with a LGBMClassifier inside"),
        (lambda: CalibratedClassifierCV(cat()), "CV with a CatBoostClassifier inside"),
        (lambda: StackingClassifier([("one", extreme())]), "with a XGBClassifier inside"),
    ):
        with pytest.raises(UseCaseFailed, match=f"{outer}.*Let build return it alone"):
            build(case, candidate(make), {}, 7)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_a_missing_library_is_named_with_the_line_that_installs_it(
    case: UseCase, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Any:
        exec(f"import {name}")

    monkeypatch.setattr(builtins, "__import__", _without(name, builtins.__import__))
    with pytest.raises(UseCaseFailed, match=f"No module named '{name}'.*pip install {name}"):
        build(case, candidate(make), {}, 7)


def test_missing_openmp_is_named_with_the_line_that_installs_it(case: UseCase) -> None:
    def make() -> Any:
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    with pytest.raises(UseCaseFailed, match="libgomp.so.1.*apt-get install libgomp1"):
        build(case, candidate(make), {}, 7)


def _without(name: str, real: Any) -> Any:
    """An import that does not have the library, as on a machine without it."""

    def find(asked: str, *rest: Any) -> Any:
        if asked == name:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(asked, *rest)

    return find


def test_the_lines_that_install_are_the_extras_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    hints = " ".join(user_code._HINTS.values())
    locked = (REPOSITORY / "requirements.lock").read_text()
    serving = (REPOSITORY / "requirements-serving.lock").read_text()
    for name in LIBRARIES:
        for pinned in extras[name]:
            requirement = pinned.partition(";")[0]
            assert re.fullmatch(r"[a-z-]+==[\d.]+", requirement)
            assert requirement in hints
            assert f"\n{requirement}" in locked
            assert requirement.partition("==")[0] not in serving


def test_nothing_of_laurel_imports_a_library_before_it_is_used() -> None:
    code = (
        "import sys, tasks.packages.packaging, tasks.models.tuning, blocks.registry\n"
        f"print([name for name in {list(LIBRARIES)} if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def searched(make: Any, resource: str, **params: Any) -> Candidate:
    rungs = (4, 8, 16)
    return candidate(
        make,
        params=params,
        search=Search(
            space={"learning_rate": Range(low=0.05, high=0.5, log=True)},
            resource=(resource, rungs),
            trials=5,
        ),
    )


SEARCHED = [
    searched(light, "n_estimators", subsample=0.5, subsample_freq=1, n_jobs=2),
    searched(extreme, "n_estimators", subsample=0.5, max_depth=3),
    searched(cat, "iterations", depth=3, bootstrap_type="Bernoulli", subsample=0.5),
    searched(cat, "n_estimators", depth=3),
]


@pytest.mark.parametrize("own", SEARCHED, ids=["LightGBM", "XGBoost", "CatBoost", "n_estimators"])
def test_each_rung_of_a_search_is_what_one_long_fit_gives(case: UseCase, own: Candidate) -> None:
    """Also where rows are sampled, where going on with a fit gives another model."""
    check_search(case, own, seed=7)
    rows = toy_rows("2024-01")
    codes = encoder(case).fit(inputs(case, rows))
    matrix, truth = codes.transform(inputs(case, rows)), labels(case, rows)
    assert own.search is not None
    resource, rungs = own.search.resource
    model = build(case, own, own.params, 7)
    grow = grow_of(case, own, resource, model)
    for rung in rungs:
        model = grow(model, resource, rung, matrix, truth, None)
        whole = build(case, own, {**own.params, resource: rung}, 7).fit(matrix, truth)
        np.testing.assert_allclose(scores_of(model, matrix), scores_of(whole, matrix), atol=1e-12)


def test_a_search_of_a_library_gives_the_same_for_any_number_of_workers(case: UseCase) -> None:
    own, sides = SEARCHED[0], (toy_rows("2024-01"), toy_rows("2024-02"))
    found = []
    for workers in (1, 2):
        with core_threads(workers) as threads:
            found.append(tune(case, own, *sides, 7, threads))
    assert found[0] == found[1]
    assert found[0].params["n_estimators"] == 16


def test_a_fit_leaves_no_file_behind(case: UseCase, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    matrix = np.random.default_rng(0).normal(size=(300, 3))
    for make in (light, extreme, cat):
        configure(make(n_estimators=3), 7).fit(matrix, matrix[:, 0] > 0)
    assert list(tmp_path.iterdir()) == []


def test_what_to_install_for_dask_is_what_is_pinned() -> None:
    pinned = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert INSTALL.split()[-1:] == pinned["optional-dependencies"]["dask"]
