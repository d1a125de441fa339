"""Packages of registered versions, as the flows read them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blocks.registry import ModelRegistry, ModelVersion
from serving import package as packages


@contextmanager
def opened(registry: ModelRegistry, version: ModelVersion) -> Iterator[tuple[packages.Package, Path]]:
    """The version's package, verified as the service verifies it, and its folder, which is removed afterwards.

    Raises ``RegistryError`` for a version without a package, ``serving.errors.PackageError`` for a damaged one.
    """
    with tempfile.TemporaryDirectory(prefix="laurel-package-") as temporary:
        folder = registry.download_package(version, Path(temporary))
        yield packages.load(folder, version.tags["laurel.package_sha256"]), folder


def read_manifest(registry: ModelRegistry, version: ModelVersion) -> packages.Manifest:
    """The manifest of the version's package."""
    with opened(registry, version) as (package, _):
        return package.manifest
