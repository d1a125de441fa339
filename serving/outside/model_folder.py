"""A model package in a folder, in place of the registry: for containers that get their model as
files.

    <folder>/package.json, model.onnx, smoke.json     the package (serving/package/model.py), with
                                                      vocabularies.json if it reads texts
    <folder>/champion.json                            {"version": "7", "sha256": "..."}: ``python -m
                                                      deployments.aws.sagemaker_package``

With ``champion.json`` the package is verified against its digest, and answers and log name the
registry's version. Without it the version is the beginning of the manifest's own digest. The folder
may be read-only: the served copy is in the state folder, as always. A new package in the folder is
served as soon as it is complete."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from blocks.clients.registry import CHAMPION
from serving.errors import PackageError, RegistryAway
from serving.outside.registry import Crowned, Registry
from serving.package.manifest import MANIFEST, digest, read_manifest

RECORD = "champion.json"
_VERSION_LENGTH = 12


class _Record(msgspec.Struct, frozen=True):
    """The version names a folder of the cache."""

    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    sha256: str


_RECORD = msgspec.json.Decoder(_Record)


class ModelFolder(Registry):
    """The one package in ``folder`` is champion, whatever the use case is called: a package names
    its own.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder

    def at(self, model: str, alias: str) -> Crowned | None:
        """``None`` without a package, and for another alias than the champion's. Raises
        ``RegistryAway`` if the folder cannot be read.
        """
        try:
            if alias != CHAMPION or not (self._folder / MANIFEST).exists():
                return None
            sha256 = digest((self._folder / MANIFEST).read_bytes())
            path = self._folder / RECORD
            record = (
                _RECORD.decode(path.read_bytes())
                if path.exists()
                else _Record(sha256[:_VERSION_LENGTH], sha256)
            )
        except (OSError, msgspec.DecodeError) as error:
            raise RegistryAway(
                f"The model package in {self._folder} cannot be read: {error}."
            ) from error
        return Crowned(record.version, str(self._folder), record.sha256)

    def models(self) -> list[str]:
        """None: the one package is served under its own name."""
        return []

    def download(self, package: str, names: tuple[str, ...], folder: Path) -> None:
        """Copy the files ``names``. Raises ``PackageError`` for a file that is missing or cannot be
        read.
        """
        for name in names:
            try:
                (folder / name).write_bytes((self._folder / name).read_bytes())
            except OSError as error:
                raise PackageError(
                    f"The package in {self._folder} is incomplete: {name}: {error.strerror}."
                ) from error


def use_case_in(folder: Path) -> str:
    """The use case of the package in ``folder``. Raises ``PackageError``."""
    try:
        return read_manifest((folder / MANIFEST).read_bytes()).use_case
    except OSError as error:
        raise PackageError(
            f"There is no model package in {folder}: {MANIFEST}: {error.strerror}."
        ) from error
