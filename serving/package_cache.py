"""Packages on the service's own disk: fetched whole and verified, or not there at all.

<folder>/<version>/       package.json, model.onnx, smoke.json
<folder>/champion.json    the last version that was served, so that a restart with the registry away serves it
"""

import secrets
import shutil
import time
from pathlib import Path

import msgspec

from serving.errors import PackageError
from serving.package import MANIFEST, MODEL, SMOKE, Package, load
from serving.registry import Crowned, Registry

FILES = (MANIFEST, MODEL, SMOKE)
_STALE_SECONDS = 3600.0


class LastGood(msgspec.Struct, frozen=True):
    """What was served last; ``previous`` is kept on disk as well, for a rollback without a download."""

    version: str
    sha256: str
    previous: str | None = None


class PackageCache:
    """The packages of one use case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._record = folder / "champion.json"

    def get(self, crowned: Crowned, registry: Registry) -> Package:
        """The verified package of a version, from disk or from the registry.

        Raises ``PackageError`` for one that must not be served, ``RegistryAway``, or ``OSError`` where the disk refuses.
        """
        if not crowned.package or not crowned.sha256:
            raise PackageError(
                f"Version {crowned.version} has no tags laurel.package and laurel.package_sha256, so it was not registered by Laurel. "
                "Register it with `evaluate`, or give the alias to a version that has them."
            )
        target = self.folder / crowned.version
        if target.is_dir():
            try:
                return load(target, crowned.sha256)
            except PackageError:
                shutil.rmtree(target)  # damaged on this disk, or registered anew under the same number: fetch it again
        partial = self.folder / f"{crowned.version}.{secrets.token_hex(4)}.partial"
        partial.mkdir(parents=True)
        try:
            registry.download(crowned.package, FILES, partial)
            package = load(partial, crowned.sha256)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return package

    def last_good(self) -> tuple[LastGood, Package] | None:
        """What was served last, verified again; ``None`` where nothing was. Raises ``PackageError`` where it is damaged."""
        try:
            last = msgspec.json.decode(self._record.read_bytes(), type=LastGood)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise PackageError(f"{self._record.name} cannot be read: {error}.") from error
        return last, load(self.folder / last.version, last.sha256)

    def keep(self, version: str, sha256: str) -> None:
        """Record what is served now, and delete all but it and the one before."""
        try:
            before = msgspec.json.decode(self._record.read_bytes(), type=LastGood)
        except (OSError, msgspec.DecodeError):
            before = None
        previous = None
        if before is not None:
            previous = before.version if before.version != version else before.previous
        partial = self._record.with_suffix(f".{secrets.token_hex(4)}.partial")
        partial.write_bytes(msgspec.json.encode(LastGood(version, sha256, previous)))
        partial.replace(self._record)
        for folder in self.folder.iterdir():
            # Another worker may be downloading: its folder is left alone until it is old.
            fresh = folder.name.endswith(".partial") and time.time() - folder.stat().st_mtime < _STALE_SECONDS
            if folder.is_dir() and folder.name not in (version, previous) and not fresh:
                shutil.rmtree(folder, ignore_errors=True)
