import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import polars as pl
import pytest
from msgspec import UNSET
from onnx import numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeClassifier
from usecases.toy import toy_rows

from blocks.settings import REPOSITORY
from serving.errors import PackageError
from serving.package.manifest import MANIFEST, MODEL, PROFILE, REFERENCE, SMOKE, write
from serving.package.model import Package, load
from tasks.drift.profile.profile import decode_profile
from tasks.models.cross_fitting import cross_fit
from tasks.models.modelling import fit, inputs, predict
from tasks.packages import packaging
from tasks.packages.exporters.exporter import NotConvertible
from tasks.packages.packaging import (
    SMOKE_ROWS,
    Origin,
    SavedPackage,
    make_package,
    score_rows,
)
from tasks.packages.proof import ParityBroken, prove
from usecases.definition import SCORE, Candidate, Promotion, UseCase
from usecases.definition.sampling import WEIGHT

ORIGIN = Origin(
    "boosting",
    {"max_iter": 40},
    "2024-03-abc",
    {"2024-01": "a1", "2024-03": "c3", "2024-02": "b2"},
    {"roc_auc": 0.87},
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return pl.concat([toy_rows(f"2024-0{month}", rows_a_day=30) for month in (1, 2, 3)])


@pytest.fixture(scope="module")
def proof() -> pl.DataFrame:
    """A later month, with unknown and null categories and with rows without any number."""
    rows = toy_rows("2024-05", rows_a_day=30)
    place = pl.int_range(pl.len())
    return rows.with_columns(
        pl.when(place < 20)
        .then(pl.lit("z"))
        .when(place < 40)
        .then(None)
        .otherwise("group")
        .alias("group"),
        pl.when(place >= 30).then("second").alias("second"),
        *[
            pl.when((place < 10) | (place >= 30)).then(name).alias(name)
            for name in ("first", "steady")
        ],
    )


@pytest.fixture(scope="module")
def nullable(case: UseCase) -> UseCase:
    """The use case with every column nullable."""
    return case.model_copy(
        update={
            "columns": tuple(
                column.model_copy(update={"nullable": True}) for column in case.columns
            )
        }
    )


def fitted_with(case: UseCase, estimator: Any, rows: pl.DataFrame) -> Pipeline:
    return fit(case, Candidate(name="x", build=lambda params, layout, seed: estimator), {}, rows, 7)


@pytest.fixture(scope="module")
def boosted(case: UseCase, training: pl.DataFrame) -> Pipeline:
    return fit(case, case.candidate("boosting"), {"max_iter": 40}, training, 7)


@pytest.fixture(scope="module")
def saved(
    case: UseCase,
    boosted: Pipeline,
    training: pl.DataFrame,
    proof: pl.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> SavedPackage:
    return make_package(
        tmp_path_factory.mktemp("package"), case, boosted, ORIGIN, training, proof, 7
    )


@pytest.fixture
def copy(saved: SavedPackage, tmp_path: Path) -> Path:
    """A copy of the package, to be damaged."""
    for path in saved.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_the_package_answers_as_the_pipeline_does(
    saved: SavedPackage, boosted: Pipeline, case: UseCase, proof: pl.DataFrame
) -> None:
    package = load(saved.folder, saved.sha256)
    np.testing.assert_allclose(
        score_rows(package, proof), predict(boosted, case, proof), rtol=0, atol=1e-6
    )


def test_many_rows_are_scored_and_proven_in_pieces_with_the_same_answers(
    boosted: Pipeline,
    saved: SavedPackage,
    case: UseCase,
    proof: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = load(saved.folder, saved.sha256)
    whole = score_rows(package, proof)
    monkeypatch.setattr(packaging, "_ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(score_rows(package, proof), whole)
    assert len(score_rows(package, proof.clear())) == 0
    monkeypatch.setattr("tasks.packages.proof._ROWS_AT_ONCE", 400)
    parity = prove(case, boosted, package, proof, seed=3)
    # Rows beside thresholds are added to each piece.
    assert parity.rows > saved.manifest.parity.rows and parity.changed_decisions == 0


def test_a_sample_stands_in_the_package_and_what_is_watched_is_of_all_rows(
    boosted: Pipeline,
    case: UseCase,
    training: pl.DataFrame,
    proof: pl.DataFrame,
    tmp_path: Path,
    saved: SavedPackage,
) -> None:
    """Rows that won are there three times as often as they came, and stand for a third each."""
    some = training.filter((pl.col("won") == 1) | (pl.int_range(pl.len()) % 3 == 0))
    weights = pl.when(pl.col("won") == 1).then(1.0).otherwise(3.0)
    sampled = some.with_columns(weights.alias(WEIGHT))
    origin = replace(ORIGIN, sample="half of the rows")
    made = make_package(tmp_path, case, boosted, origin, sampled, proof, 3)
    assert made.manifest.sample == "half of the rows" and saved.manifest.sample is UNSET
    won = [pl.read_parquet(one.folder / REFERENCE)["won"].mean() for one in (made, saved)]
    assert won[0] == pytest.approx(won[1], abs=0.06) and some["won"].mean() > won[1] + 0.15
    volumes = [
        np.mean(decode_profile((one.folder / PROFILE).read_bytes()).weekdays)
        for one in (made, saved)
    ]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.1)


def test_the_logistic_baseline_is_packaged_too(
    case: UseCase, training: pl.DataFrame, proof: pl.DataFrame, tmp_path: Path
) -> None:
    fitted = fit(case, case.candidate("logistic"), {}, training, 7)
    saved = make_package(tmp_path, case, fitted, ORIGIN, training, proof, 7)
    assert (saved.manifest.dtype, saved.manifest.parity.changed_decisions) == ("float32", 0)
    np.testing.assert_allclose(
        score_rows(load(tmp_path, saved.sha256), proof),
        predict(fitted, case, proof),
        rtol=0,
        atol=1e-6,
    )


def test_numbers_too_large_beside_their_spread_for_single_precision_are_served_in_doubles(
    case: UseCase, training: pl.DataFrame, proof: pl.DataFrame, tmp_path: Path
) -> None:
    """As a longitude or a year is: no linear model of such a table could be packaged."""
    where = pl.col("first") / 100_000 - 93.2
    training, proof = (rows.with_columns(first=where) for rows in (training, proof))
    fitted = fit(case, case.candidate("logistic"), {}, training, 7)
    saved = make_package(tmp_path, case, fitted, ORIGIN, training, proof, 7)
    assert saved.manifest.dtype == "float64"
    assert saved.manifest.parity.largest_difference < 1e-6
    np.testing.assert_allclose(
        score_rows(load(tmp_path, saved.sha256), proof),
        predict(fitted, case, proof),
        rtol=0,
        atol=1e-6,
    )


def test_the_package_encodes_as_the_pipeline_does(
    saved: SavedPackage, boosted: Pipeline, case: UseCase, proof: pl.DataFrame
) -> None:
    package = load(saved.folder, saved.sha256)
    encoded = package.encode({name: proof[name].to_list() for name in package.names})
    np.testing.assert_array_equal(
        encoded, boosted.named_steps["encode"].transform(inputs(case, proof))
    )
    assert {-1, 0, 1, 2} == set(encoded[:, 0])
    assert np.isnan(encoded).any(axis=0).tolist() == [False, True, True, True]


def test_categories_that_were_null_in_training_have_no_code(
    nullable: UseCase, training: pl.DataFrame, tmp_path: Path
) -> None:
    """The proof has no null category: callers would be the first to see the difference."""
    some = training.with_columns(
        pl.when(pl.int_range(pl.len()) % 9 > 0).then("group").alias("group")
    )
    proof = toy_rows("2024-04", rows_a_day=10)
    fitted = fit(nullable, nullable.candidate("boosting"), {"max_iter": 40}, some, 7)
    package = load(
        tmp_path, make_package(tmp_path, nullable, fitted, ORIGIN, some, proof, 7).sha256
    )
    assert package.manifest.features[0].categories == ["a", "b", "c"]
    without = proof.with_columns(pl.lit(None, dtype=pl.String).alias("group"))
    np.testing.assert_allclose(
        score_rows(package, without), predict(fitted, nullable, without), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_use_case_with_columns_of_one_kind_is_packaged(
    case: UseCase, training: pl.DataFrame, proof: pl.DataFrame, tmp_path: Path, kind: str
) -> None:
    columns = tuple(column for column in case.columns if column.kind == kind)
    narrow = case.model_copy(update={"columns": columns, "promotion": Promotion()})
    fitted = fit(narrow, narrow.candidate("boosting"), {"max_iter": 5}, training, 7)
    narrow_package = make_package(tmp_path, narrow, fitted, ORIGIN, training, proof, 7)
    assert [feature.name for feature in narrow_package.manifest.features] == [
        column.name for column in columns
    ]


def test_the_manifest_says_what_the_model_is_and_comes_from(
    saved: SavedPackage, case: UseCase, proof: pl.DataFrame
) -> None:
    manifest = saved.manifest
    assert (manifest.use_case, manifest.recipe, manifest.dataset_version) == (
        "toy",
        "boosting",
        "2024-03-abc",
    )
    assert (manifest.trained_on, manifest.trained_through) == (ORIGIN.trained_on, "2024-03")
    assert [(f.name, f.kind, f.nullable) for f in manifest.features] == [
        (c.name, c.kind, c.nullable) for c in case.matrix_columns
    ]
    assert manifest.features[0].categories == ["a", "b", "c"]
    assert (manifest.features[1].low, manifest.features[1].high) == (-10, 20)
    assert (manifest.label, manifest.event_time, manifest.dtype) == ("won", "at", "float64")
    assert manifest.parity.rows > len(proof) + 2000
    assert manifest.parity.changed_decisions == 0
    assert 0 < manifest.parity.largest_difference < 1e-6


def test_a_package_is_five_files_of_which_none_is_a_pickle(saved: SavedPackage) -> None:
    assert sorted(path.name for path in saved.folder.iterdir()) == [
        PROFILE,
        MODEL,
        MANIFEST,
        REFERENCE,
        SMOKE,
    ]
    assert set(saved.manifest.files) == {MODEL, PROFILE, REFERENCE, SMOKE}


def test_the_smoke_rows_are_real_rows_with_the_scores_of_the_pipeline(
    saved: SavedPackage, boosted: Pipeline, case: UseCase, proof: pl.DataFrame
) -> None:
    smoke = load(saved.folder).smoke
    rows = pl.DataFrame(smoke.rows, schema={name: proof.schema[name] for name in case.column_names})
    assert len(rows) == SMOKE_ROWS
    assert rows.join(proof, on=case.column_names, how="semi", nulls_equal=True).equals(rows)
    np.testing.assert_allclose(smoke.scores, predict(boosted, case, rows), rtol=0, atol=1e-12)


def test_the_reference_holds_training_rows_with_scores_of_models_that_have_not_seen_them(
    saved: SavedPackage, case: UseCase, boosted: Pipeline, training: pl.DataFrame
) -> None:
    reference = pl.read_parquet(saved.folder / REFERENCE)
    assert len(reference) == len(training)
    assert reference[SCORE].equals(cross_fit(case, boosted, training, 7).answers)
    assert saved.manifest.drift_calibrated
    assert set(saved.manifest.drift_thresholds) == {"first", "second", "steady", "group", "score"}
    assert saved.manifest.drift_methods == dict.fromkeys(
        ("first", "second", "steady", "score"), "wasserstein"
    ) | {"group": "jensenshannon"}


def test_the_package_says_what_the_model_uses(saved: SavedPackage, case: UseCase) -> None:
    used = saved.manifest.drift_importance
    assert set(used) == set(case.column_names) and sum(used.values()) == pytest.approx(1)
    assert min(used["first"], used["second"]) > max(used["steady"], used["group"])


AGAIN = """
import sys
from pathlib import Path
import polars as pl
from usecases.toy import toy_rows
from tasks.models.modelling import fit
from tasks.packages.packaging import Origin, make_package
from usecases.definition import load

case = load("toy")
training = pl.concat([toy_rows(f"2024-0{month}", rows_a_day=15) for month in (1, 2, 3)])
scores = {"roc_auc": 0.8, "log_loss": 0.4}
digests = {"2024-01": "a1", "2024-02": "b2"}
origin = Origin("x", {"a": 1, "b": 2}, "2024-03-abc", digests, scores)
holdout = toy_rows("2024-04", rows_a_day=15)
for candidate in case.candidates:
    fitted = fit(case, candidate, candidate.params, training, 7)
    folder = Path(sys.argv[1]) / candidate.name
    print(make_package(folder, case, fitted, origin, training, holdout, 7).sha256)
"""


@pytest.mark.slow("a process that imports everything")
def test_the_same_data_code_and_seed_give_the_same_bytes_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another order of hashes, another number of threads, another second."""
    here, there = tmp_path / "here", tmp_path / "there"
    monkeypatch.setattr(sys, "argv", ["", str(here)])
    capsys.readouterr()
    exec(AGAIN, {})
    digests = capsys.readouterr().out.split()
    time.sleep(1.1)
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests" / "fixtures")])
    threads = str(3 if (os.cpu_count() or 1) == 1 else 1)
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    environment = os.environ | single | {"PYTHONHASHSEED": "1", "PYTHONPATH": paths}
    process = subprocess.run(
        [sys.executable, "-c", AGAIN, str(there)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    assert len(digests) == 2 and digests == process.stdout.split()
    files = [
        sorted(path.relative_to(folder) for path in folder.rglob("*.*")) for folder in (here, there)
    ]
    assert len(files[0]) == 10 and files[0] == files[1]
    assert [
        name for name in files[0] if (here / name).read_bytes() != (there / name).read_bytes()
    ] == []


def test_a_package_says_nothing_of_time(saved: SavedPackage) -> None:
    assert saved.manifest.created == ""


def tampered(data: bytes, name: str, change: Any) -> bytes:
    """The ONNX model with ``change`` applied to one tensor attribute of its trees."""
    model = onnx.load_from_string(data)
    (attribute,) = [
        attribute_proto
        for node in model.graph.node
        for attribute_proto in node.attribute
        if attribute_proto.name == name
    ]
    attribute.t.CopyFrom(
        numpy_helper.from_array(change(numpy_helper.to_array(attribute.t)), attribute.t.name)
    )
    return model.SerializeToString()


def one_leaf_moved(leaves: np.ndarray) -> np.ndarray:
    changed = leaves.copy()
    changed[np.abs(leaves).argmax()] += 0.01
    return changed


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("base_values_as_tensor", lambda base: base + 1e-3),
        ("base_values_as_tensor", lambda base: base * np.nan),
        ("target_weights_as_tensor", one_leaf_moved),
        ("nodes_values_as_tensor", lambda splits: splits.astype(np.float32).astype(np.float64)),
        ("nodes_values_as_tensor", lambda splits: np.nextafter(splits, np.inf)),
        ("nodes_values_as_tensor", lambda splits: np.nextafter(splits, -np.inf)),
    ],
    ids=[
        "all scores by a hair",
        "no numbers",
        "one leaf",
        "float32 thresholds",
        "one ulp above",
        "one ulp below",
    ],
)
def test_a_model_that_answers_otherwise_is_not_proven(
    saved: SavedPackage,
    case: UseCase,
    boosted: Pipeline,
    proof: pl.DataFrame,
    name: str,
    change: Any,
) -> None:
    honest = load(saved.folder)
    wrong = Package(
        honest.manifest, tampered((saved.folder / MODEL).read_bytes(), name, change), honest.smoke
    )
    prove(case, boosted, honest, proof, 7)
    with pytest.raises(ParityBroken, match="ONNX and the pipeline disagree"):
        prove(case, boosted, wrong, proof, 7)


def test_missing_values_that_take_the_other_way_are_not_proven(
    saved: SavedPackage, case: UseCase, boosted: Pipeline, proof: pl.DataFrame
) -> None:
    """The proof need not have nulls itself: if the service accepts them, they are tried."""
    model = onnx.load_from_string((saved.folder / MODEL).read_bytes())
    (ways,) = [
        attribute_proto
        for node in model.graph.node
        for attribute_proto in node.attribute
        if attribute_proto.name == "nodes_missing_value_tracks_true"
    ]
    ways.ints[:] = [1 - way for way in ways.ints]
    honest = load(saved.folder)
    with pytest.raises(ParityBroken, match="ONNX and the pipeline disagree"):
        prove(
            case,
            boosted,
            Package(honest.manifest, model.SerializeToString(), honest.smoke),
            proof.drop_nulls(),
            7,
        )


def test_a_difference_within_the_tolerance_only_is_proven(
    saved: SavedPackage, case: UseCase, boosted: Pipeline, proof: pl.DataFrame
) -> None:
    package = load(saved.folder)
    largest = prove(case, boosted, package, proof, 7).largest_difference
    prove(case.model_copy(update={"parity_tolerance": largest * 1.01}), boosted, package, proof, 7)
    with pytest.raises(ParityBroken, match=f"tolerated {largest * 0.99:g}"):
        prove(
            case.model_copy(update={"parity_tolerance": largest * 0.99}), boosted, package, proof, 7
        )


def test_another_pipeline_than_the_packaged_one_is_not_proven(
    saved: SavedPackage, case: UseCase, training: pl.DataFrame, proof: pl.DataFrame
) -> None:
    other = fit(case, case.candidate("boosting"), {"max_iter": 41}, training, 7)
    with pytest.raises(ParityBroken):
        prove(case, other, load(saved.folder), proof, 7)


@pytest.mark.parametrize(
    ("categories", "names", "column"),
    [
        (["a", "c", "b"], None, "group"),
        (["a", "b"], None, "group"),
        (None, ["group", "first", "steady", "second"], "steady"),
    ],
    ids=["other order", "one less", "columns changed places"],
)
def test_another_encoding_than_the_pipelines_is_told_by_column(
    saved: SavedPackage,
    case: UseCase,
    boosted: Pipeline,
    proof: pl.DataFrame,
    categories: list[str] | None,
    names: list[str] | None,
    column: str,
) -> None:
    package = load(saved.folder)
    features = {feature.name: feature for feature in package.manifest.features}
    if categories is not None:
        features["group"] = msgspec.structs.replace(features["group"], categories=categories)
    manifest = msgspec.structs.replace(
        package.manifest, features=[features[name] for name in names or features]
    )
    wrong = Package(manifest, (saved.folder / MODEL).read_bytes(), package.smoke)
    with pytest.raises(ParityBroken, match=f"encode column '{column}' differently"):
        prove(case, boosted, wrong, proof, 7)


def test_a_pipeline_that_takes_no_nulls_is_refused_where_a_column_may_be_null(
    case: UseCase, training: pl.DataFrame, proof: pl.DataFrame, tmp_path: Path
) -> None:
    """ONNX would answer NaN where scikit-learn refuses, and the service accepts nulls of this
    column."""
    fitted = fitted_with(case, LogisticRegression(), training.drop_nulls())
    with pytest.raises(ParityBroken, match="refuses rows that the service lets through.*NaN"):
        make_package(tmp_path, case, fitted, ORIGIN, training, toy_rows("2024-04").drop_nulls(), 7)
    assert list(tmp_path.iterdir()) == []
    strict = case.model_copy(
        update={
            "columns": tuple(
                column.model_copy(update={"nullable": False}) for column in case.columns
            )
        }
    )
    make_package(
        tmp_path, strict, fitted, ORIGIN, training.drop_nulls(), toy_rows("2024-04").drop_nulls(), 7
    )


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(10, max_depth=6, random_state=0),
        DecisionTreeClassifier(max_depth=6, random_state=0),
    ],
)
def test_trees_that_never_saw_a_null_answer_to_one_alone_and_are_refused_in_a_pipeline(
    case: UseCase, training: pl.DataFrame, tmp_path: Path, estimator: Any
) -> None:
    later = toy_rows("2024-04").drop_nulls()
    inside = fitted_with(case, behind_a_step(estimator), training.drop_nulls())
    with pytest.raises(ParityBroken, match="ONNX and the pipeline disagree"):
        make_package(tmp_path, case, inside, ORIGIN, training, later, 7)
    assert list(tmp_path.iterdir()) == []
    alone = fitted_with(case, estimator, training.drop_nulls())
    saved = make_package(tmp_path, case, alone, ORIGIN, training, later, 7)
    assert saved.manifest.parity.changed_decisions == 0


def behind_a_step(estimator: Any) -> Pipeline:
    return make_pipeline(ColumnTransformer([("all", "passthrough", [0, 1, 2, 3])]), estimator)


def test_trees_that_learned_nulls_inside_a_pipeline_are_refused_one_way_or_the_other(
    case: UseCase, training: pl.DataFrame, tmp_path: Path
) -> None:
    """By name if the trees show it, else by the proof."""
    wrong = 0
    for depth in range(2, 8):
        inside = behind_a_step(DecisionTreeClassifier(max_depth=depth, random_state=0))
        fitted = fitted_with(case, inside, training)
        tree = inside[-1].tree_
        if np.any(tree.missing_go_to_left & (tree.feature == 2)):
            wrong += 1
            with pytest.raises((NotConvertible, ParityBroken)):
                make_package(tmp_path, case, fitted, ORIGIN, training, toy_rows("2024-04"), 7)
    assert wrong >= 3


def test_a_model_that_does_not_convert_leaves_no_package(
    case: UseCase, training: pl.DataFrame, proof: pl.DataFrame, tmp_path: Path
) -> None:
    forest = behind_a_step(RandomForestClassifier(10, random_state=0))
    fitted = fitted_with(case, forest, training)
    with pytest.raises(NotConvertible, match="RandomForestClassifier trained on missing values"):
        make_package(tmp_path, case, fitted, ORIGIN, training, proof, 7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [MODEL, MANIFEST, REFERENCE, SMOKE])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0], ids=["first", "middle", "last"])
def test_one_flipped_byte_in_any_file_is_refused(
    copy: Path, saved: SavedPackage, name: str, place: float
) -> None:
    load(copy, saved.sha256)
    data = bytearray((copy / name).read_bytes())
    data[round(place * (len(data) - 1))] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(PackageError, match=name):
        load(copy, saved.sha256)


def test_a_manifest_of_another_package_is_refused_by_its_digest(
    copy: Path, saved: SavedPackage
) -> None:
    """Whole and consistent in itself, but not the registered one."""
    manifest = msgspec.structs.replace(saved.manifest, decision_threshold=0.1)
    other = write(
        copy, {name: (copy / name).read_bytes() for name in (MODEL, SMOKE, REFERENCE)}, manifest
    )
    load(copy, other)
    with pytest.raises(PackageError, match="not the one that was registered"):
        load(copy, saved.sha256)


def test_wrong_smoke_answers_are_refused_even_with_right_digests(
    copy: Path, saved: SavedPackage
) -> None:
    smoke = msgspec.json.decode((copy / SMOKE).read_bytes())
    smoke["scores"][3] += 0.001
    files = {name: (copy / name).read_bytes() for name in (MODEL, REFERENCE)}
    with pytest.raises(PackageError, match="Smoke rows do not score"):
        load(copy, write(copy, {**files, SMOKE: msgspec.json.encode(smoke)}, saved.manifest))
    none = msgspec.json.encode({"rows": [], "scores": []})
    with pytest.raises(PackageError, match="over 0 rows"):
        load(copy, write(copy, {**files, SMOKE: none}, saved.manifest))


def test_the_service_needs_no_reference(copy: Path, saved: SavedPackage) -> None:
    (copy / REFERENCE).unlink()
    load(copy, saved.sha256)
