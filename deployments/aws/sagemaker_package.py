"""``model.tar.gz`` for SageMaker: a version's model package, as ``python -m serving serve`` reads
it from ``/opt/ml/model``.

    python -m deployments.aws.sagemaker_package flights
    python -m deployments.aws.sagemaker_package flights --version 7 --output build/flights-7.tar.gz

The first command packs the champion as model.tar.gz in this folder. The same version gives the
same bytes. The endpoint serves this version until another archive replaces it: an endpoint with
model data does not watch the registry. If the use case is rolled out, what to write into the
Terraform module for that is printed beneath.
"""

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from blocks.clients.registry import CHAMPION, DIGEST_TAG
from blocks.registry import ModelRegistry, ModelVersion, RegistryAway, RegistryError
from blocks.settings import Settings
from deployments.aws.sagemaker_rollout import in_terraform
from usecases.definition import UseCaseError, load

# The files that the service reads (serving/outside/model_folder.py), without the drift check's
# reference; the vocabularies are in packages that read texts, the trees in some of CatBoost.
_FILES = ("package.json", "model.onnx", "smoke.json")
_PERHAPS = ("vocabularies.json", "symmetric_trees.json")
_RECORD = "champion.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        "python -m deployments.aws.sagemaker_package",
        description="model.tar.gz for a SageMaker endpoint.",
    )
    parser.add_argument("use_case")
    parser.add_argument("--version", help="a version's number; default: the champion")
    parser.add_argument(
        "--output", type=Path, default=Path("model.tar.gz"), help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    try:
        version = write_archive(
            ModelRegistry.of(Settings.read()), options.use_case, options.version, options.output
        )
    except (RegistryAway, RegistryError, OSError, ValidationError) as error:
        print(f"No archive was made: {error}", file=sys.stderr)
        return 1
    print(
        f"{options.output}: {options.use_case} version {version.number}, "
        f"{options.output.stat().st_size / 1e6:.1f} MB"
    )
    with suppress(UseCaseError):  # an archive needs no file of its use case
        if shifts := in_terraform(options.use_case, load(options.use_case).stages):
            print(shifts)
    return 0


def write_archive(
    registry: ModelRegistry, use_case: str, number: str | None, output: Path
) -> ModelVersion:
    """Pack the package of version ``number``, by default the champion's, into ``output``; returns
    the version.

    Raises ``RegistryAway``, ``RegistryError``, ``OSError``.
    """
    version = registry.version(use_case, number) if number else registry.at(use_case, CHAMPION)
    if version is None:
        raise RegistryError(
            f"No champion for {use_case!r}. Train one: prefect deployment run 'retrain/{use_case}'."
        )
    with tempfile.TemporaryDirectory() as folder:
        package = registry.download_package(version, Path(folder))
        names = [*_FILES, *(name for name in _PERHAPS if (package / name).exists())]
        contents = {name: (package / name).read_bytes() for name in names}
    digest = version.tags.get(DIGEST_TAG)
    if hashlib.sha256(contents["package.json"]).hexdigest() != digest:
        raise RegistryError(
            f"The package of {use_case!r} version {version.number} is not the registered one: "
            "its digest differs."
        )
    contents[_RECORD] = json.dumps({"version": version.number, "sha256": digest}).encode()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(_archive(contents))
    return version


def _archive(contents: dict[str, bytes]) -> bytes:
    """A tar.gz of these files without times and owners: it depends only on their content."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, data in sorted(contents.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
