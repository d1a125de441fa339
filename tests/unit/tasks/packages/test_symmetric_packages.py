"""A package with symmetric trees: proven, served, and what happens where they are missing, changed,
of another form or wrong."""

import logging
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from usecases.toy_classes import weather_rows

from blocks.clients.registry import CHAMPION
from serving.champions.package_cache import PackageCache
from serving.errors import PackageError
from serving.outside.model_folder import ModelFolder
from serving.package.manifest import (
    MANIFEST,
    MODEL,
    SMOKE,
    SYMMETRIC_TREES,
    Smoke,
    read_manifest,
    served_files,
    write,
)
from serving.package.model import Package, load
from serving.package.symmetric_trees import read_trees
from tasks.models.modelling import fit
from tasks.packages.packaging import Origin, SavedPackage, make_package
from tasks.packages.proof import TreesDiffer, prove
from usecases import definition
from usecases.definition import Candidate, Layout

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.slow("fits and packages a model of CatBoost"),
]
CASE = definition.load("toy_classes")


def cat(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(loss_function="MultiClass", iterations=60, depth=4)


@pytest.fixture(scope="module")
def fitted() -> Any:
    own = Candidate(name="own", build=cat)
    return fit(CASE.model_copy(update={"candidates": (own,)}), own, {}, weather_rows("2024-01"), 7)


@pytest.fixture(scope="module")
def later() -> pl.DataFrame:
    return weather_rows("2024-02")


@pytest.fixture
def saved(fitted: Any, later: pl.DataFrame, tmp_path: Path) -> SavedPackage:
    origin = Origin("own", {}, "2024-01-a", {"2024-01": "a"}, {})
    training = weather_rows("2024-01")
    return make_package(tmp_path, CASE, fitted, origin, training, later, 7, watched=False)


def matrix_of(package: Package, rows: pl.DataFrame) -> np.ndarray:
    return package.encode({name: rows[name].to_list() for name in package.names})


def written_again(saved: SavedPackage, trees: bytes) -> str:
    """The package with other trees, rightly signed."""
    files = {name: (saved.folder / name).read_bytes() for name in saved.manifest.files}
    return write(saved.folder, {**files, SYMMETRIC_TREES: trees}, saved.manifest)


def test_a_row_is_answered_alike_alone_and_among_many(
    saved: SavedPackage, later: pl.DataFrame
) -> None:
    package = load(saved.folder, saved.sha256)
    assert package.kernel is not None
    assert 2 <= package.kernel.fewest_rows < len(later)
    matrix = matrix_of(package, later)
    alone = np.concatenate([package.score(row[None]) for row in matrix[:200]])
    np.testing.assert_array_equal(package.score(matrix)[:200], alone)
    np.testing.assert_array_equal(package.score(matrix), package.score_by_onnx(matrix))


def test_the_answers_are_the_same_without_the_trees(
    saved: SavedPackage, later: pl.DataFrame
) -> None:
    """A service from before them has fetched the other files alone."""
    assert served_files(saved.manifest) == (MODEL, SMOKE, SYMMETRIC_TREES)
    with_trees = load(saved.folder, saved.sha256)
    (saved.folder / SYMMETRIC_TREES).unlink()
    without = load(saved.folder, saved.sha256)
    assert without.kernel is None
    matrix = matrix_of(without, later)
    np.testing.assert_array_equal(without.score(matrix), with_trees.score(matrix))


def test_the_trees_come_with_the_package_from_where_it_is_kept(
    saved: SavedPackage, tmp_path: Path
) -> None:
    kept = ModelFolder(saved.folder)
    crowned = kept.at(CASE.name, CHAMPION)
    assert crowned is not None
    package = PackageCache(tmp_path / "cache").get(crowned, kept)
    assert package.kernel is not None
    assert (tmp_path / "cache" / crowned.version / SYMMETRIC_TREES).exists()


def test_one_flipped_byte_of_the_trees_is_refused(saved: SavedPackage) -> None:
    data = bytearray((saved.folder / SYMMETRIC_TREES).read_bytes())
    data[len(data) // 2] ^= 1
    (saved.folder / SYMMETRIC_TREES).write_bytes(data)
    with pytest.raises(PackageError, match=f"{SYMMETRIC_TREES} was changed"):
        load(saved.folder, saved.sha256)


def other_leaf(data: bytes) -> bytes:
    """The trees with one changed leaf, the likeliest of the first tree's."""
    trees = msgspec.json.decode(data)
    leaves = trees["trees"][0]["leaves"]
    trees["trees"][0]["leaves"] = [value + 1e-3 for value in leaves]
    return msgspec.json.encode(trees)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_leaf, "answer smoke rows otherwise than the model"),
        (lambda data: data.replace(b'"base"', b'"bases"'), "cannot be read"),
        (lambda data: b"\x93NUMPY", "cannot be read"),
        (lambda data: data.replace(b'"splits":[[', b'"splits":[[99999,0.5],[', 1), "outside"),
    ],
)
def test_trees_that_a_service_cannot_use_are_left_out_with_a_warning(
    saved: SavedPackage,
    later: pl.DataFrame,
    caplog: pytest.LogCaptureFixture,
    change: Any,
    why: str,
) -> None:
    """They are of a later form, or this machine adds otherwise than the one that proved them."""
    sha256 = written_again(saved, change((saved.folder / SYMMETRIC_TREES).read_bytes()))
    with caplog.at_level(logging.WARNING):
        package = load(saved.folder, sha256)
    assert package.kernel is None
    assert why in caplog.text and SYMMETRIC_TREES in caplog.text and CASE.name in caplog.text
    assert len(package.score(matrix_of(package, later))) == len(later)


def test_the_proof_finds_a_changed_leaf_threshold_and_null_side(
    saved: SavedPackage, fitted: Any, later: pl.DataFrame
) -> None:
    data = (saved.folder / SYMMETRIC_TREES).read_bytes()
    honest = read_trees(data)
    manifest = read_manifest((saved.folder / MANIFEST).read_bytes())
    model = (saved.folder / MODEL).read_bytes()
    moved = msgspec.json.decode(data)
    feature, threshold = moved["trees"][0]["splits"][0]
    moved["trees"][0]["splits"][0] = [feature, float(np.nextafter(threshold, np.inf))]
    used = {feature for tree in honest.trees for feature, _ in tree.splits}
    assert prove(CASE, fitted, Package(manifest, model, Smoke([], []), trees=data), later, 7)
    nulls = msgspec.structs.replace(honest, null_left=sorted(used - {*honest.null_left}))
    for trees in (other_leaf(data), msgspec.json.encode(moved), msgspec.json.encode(nulls)):
        package = Package(manifest, model, Smoke([], []), trees=trees)
        assert package.kernel is not None
        with pytest.raises(TreesDiffer, match="otherwise than ONNX Runtime"):
            prove(CASE, fitted, package, later, 7)


def test_trees_that_fail_the_proof_are_not_packaged(
    fitted: Any,
    later: pl.DataFrame,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tasks.packages import packaging

    def changed(model: Any, width: int) -> Any:
        return read_trees(other_leaf(msgspec.json.encode(own(model, width))))

    own = packaging.symmetric_trees
    monkeypatch.setattr(packaging, "symmetric_trees", changed)
    origin = Origin("own", {}, "2024-01-a", {"2024-01": "a"}, {})
    saved = make_package(
        tmp_path, CASE, fitted, origin, weather_rows("2024-01"), later, 7, watched=False
    )
    assert SYMMETRIC_TREES not in saved.manifest.files
    assert "packaged without them" in caplog.text
    assert load(tmp_path, saved.sha256).kernel is None
