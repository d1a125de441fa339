"""Packages of registered versions leave nothing behind on the machine that reads them."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from blocks.registry import ModelVersion
from serving.errors import PackageError
from serving.package.manifest import MANIFEST, MODEL, digest
from tasks.packages.registered import open_package
from tests.fixtures.packages import write_package


class FolderRegistry:
    """A registry that gives out copies of one package, as MLflow does."""

    def __init__(self, package: Path) -> None:
        self._package = package

    def download_package(self, version: ModelVersion, folder: Path) -> Path:
        return Path(shutil.copytree(self._package, folder / "package"))


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ModelVersion, Path]:
    write_package(tmp_path / "made")
    sha256 = digest((tmp_path / "made" / MANIFEST).read_bytes())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    version = ModelVersion(
        "toy", "1", "run", {"laurel.package": "somewhere", "laurel.package_sha256": sha256}
    )
    return FolderRegistry(tmp_path / "made"), version, temporary


def test_nothing_of_a_package_stays_after_it_was_read(
    packaged: tuple[Any, ModelVersion, Path],
) -> None:
    registry, version, temporary = packaged
    with open_package(registry, version) as (package, folder):
        assert package.manifest.use_case == "toy"
        assert (folder / MODEL).is_file()
    assert list(temporary.iterdir()) == []


def test_nothing_stays_of_a_package_that_is_not_the_registered_one(
    packaged: tuple[Any, ModelVersion, Path],
) -> None:
    registry, version, temporary = packaged
    other = ModelVersion("toy", "1", "run", {**version.tags, "laurel.package_sha256": "0" * 64})
    with pytest.raises(PackageError, match="SHA-256"), open_package(registry, other):
        pass
    assert list(temporary.iterdir()) == []
