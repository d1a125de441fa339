"""``python -m deployments.aws.sagemaker_package``: from the registry to what the service reads of a
model folder.
"""

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blocks.clients.registry import CHAMPION
from blocks.registry import ModelRegistry, ModelVersion, RegistryError
from blocks.settings import REPOSITORY
from deployments.aws.sagemaker_package import main, write_archive
from serving.outside.model_folder import ModelFolder, use_case_in
from serving.package.model import load
from tests.fixtures.mlflow_server import mlflow_server
from tests.fixtures.packages import write_package


@dataclass
class Registered:
    registry: ModelRegistry
    versions: list[ModelVersion]


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """Two versions of ``toy`` in MLflow, the first of which is champion."""
    import mlflow

    folder, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    try:
        with mlflow_server(folder) as url:
            registry, versions = ModelRegistry(tracking_uri=url), []
            for bias in (1.0, 2.0):
                package = folder / f"package-{bias:g}"
                sha256 = write_package(package, bias=bias)
                run = registry.log_run(
                    "toy", f"run {bias:g}", params={}, metrics={}, tags={}, package=package
                )
                versions.append(registry.register("toy", run, sha256, {}, "a test's"))
            registry.set_alias(versions[0], CHAMPION)
            yield Registered(registry, versions)
    finally:
        mlflow.set_tracking_uri(before)


def unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize(("number", "bias"), [(None, "1"), ("2", "2")])
def test_what_was_packed_is_served_as_the_registry_s_version(
    registered: Registered, tmp_path: Path, number: str | None, bias: str
) -> None:
    version = write_archive(registered.registry, "toy", number, tmp_path / "new" / "model.tar.gz")
    model = unpack(tmp_path / "new" / "model.tar.gz", tmp_path / "model")
    crowned = ModelFolder(model).champion("toy")
    assert crowned is not None and crowned.version == version.number == (number or "1")
    assert load(model, crowned.sha256).manifest.recipe == f"logistic({bias})"
    assert use_case_in(model) == "toy"
    assert {path.name for path in model.iterdir()} == {
        "package.json",
        "model.onnx",
        "smoke.json",
        "champion.json",
    }


def test_the_same_version_gives_the_same_bytes(registered: Registered, tmp_path: Path) -> None:
    archives = [tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"]
    for archive in archives:
        write_archive(registered.registry, "toy", None, archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_a_package_that_was_changed_in_the_store_is_not_packed(
    registered: Registered, tmp_path: Path
) -> None:
    registry, version = registered.registry, registered.versions[1]
    registry.tag(version, {"laurel.package_sha256": "0" * 64})
    with pytest.raises(RegistryError, match="its digest differs"):
        write_archive(registry, "toy", version.number, tmp_path / "model.tar.gz")
    assert not (tmp_path / "model.tar.gz").exists()
    registry.tag(version, {"laurel.package_sha256": version.tags["laurel.package_sha256"]})


def test_the_command_says_what_it_made(registered: Registered, tmp_path: Path) -> None:
    environment = os.environ | {
        "LAUREL_MLFLOW_URL": registered.registry.tracking_uri,
        "LAUREL_STATE": str(tmp_path),
    }
    command = [
        sys.executable,
        "-m",
        "deployments.aws.sagemaker_package",
        "toy",
        "--output",
        str(tmp_path / "model.tar.gz"),
    ]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'model.tar.gz'}: toy version 1, 0.0 MB\n"


def test_without_a_champion_it_says_how_to_get_one(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RegistryError, match="retrain/nobody"):
        write_archive(registered.registry, "nobody", None, tmp_path / "model.tar.gz")
    monkeypatch.setenv("LAUREL_MLFLOW_URL", registered.registry.tracking_uri)
    assert main(["nobody"]) == 1


def test_beneath_the_archive_it_says_how_its_rollout_is_written_for_sagemaker(
    registered: Registered,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry, package = registered.registry, tmp_path / "package"
    sha256 = write_package(package)
    run = registry.log_run("toy_rollout", "run", params={}, metrics={}, tags={}, package=package)
    version = registry.register("toy_rollout", run, sha256, {}, "a test's")
    monkeypatch.setenv("LAUREL_MLFLOW_URL", registry.tracking_uri)
    output = tmp_path / "model.tar.gz"
    capsys.readouterr()  # what MLflow printed
    assert main(["toy_rollout", "--version", version.number, "--output", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{output}: toy_rollout version 1")
    assert 'rollout = { kind = "canary", percent = 50,' in lines[2]
