"""Packages of registered versions, as the flows read them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blocks.clients.registry import DIGEST_TAG
from blocks.registry import ModelRegistry, ModelVersion
from serving.errors import PackageError
from serving.package.manifest import Manifest
from serving.package.model import Package
from serving.package.model import load as load_package

_WAY = (
    "Bring its files back into MLflow's store, or crown another version with the flow rollback "
    "or adopt."
)


@contextmanager
def open_package(registry: ModelRegistry, version: ModelVersion) -> Iterator[tuple[Package, Path]]:
    """Open the version's package, verified as the service verifies it, and its folder, which is
    removed afterwards.

    Raises ``RegistryError`` for a version without a package, ``serving.errors.PackageError`` for a
    damaged or missing one: both name it."""
    with tempfile.TemporaryDirectory(prefix="laurel-package-") as temporary:
        folder = registry.download_package(version, Path(temporary))
        try:
            package = load_package(folder, version.tags[DIGEST_TAG])
        except PackageError as error:
            raise PackageError(
                f"The package of version {version.number} of {version.use_case!r} cannot be "
                f"used: {error} {_WAY}"
            ) from error
        yield package, folder


def read_manifest(registry: ModelRegistry, version: ModelVersion) -> Manifest:
    """Return the manifest of the version's package."""
    with open_package(registry, version) as (package, _):
        return package.manifest
