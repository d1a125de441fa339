"""What MLflow keeps of a fitted pipeline: all of it, but of a model of the use case's own the ONNX
of its package, proven where it was fitted (docs/decisions/0027-own-onnx.md)."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from serving.package.manifest import MODEL
from tasks.packages.packaging import Origin, SavedPackage, make_package
from usecases.definition import UseCase

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def as_kept(fitted: "Pipeline", saved: SavedPackage) -> "Pipeline":
    """Return what is kept of ``fitted``, whose package is ``saved``."""
    from sklearn.pipeline import Pipeline

    from tasks.models.own_models import KeptModel, OwnModel

    model = fitted.named_steps["model"]
    if not isinstance(model, OwnModel):
        return fitted
    manifest = saved.manifest
    parity = msgspec.structs.astuple(manifest.parity)
    onnx = (saved.folder / MODEL).read_bytes()
    kept = KeptModel(onnx, manifest.dtype, model.classes, parity)
    return Pipeline([("encode", fitted.named_steps["encode"]), ("model", kept)])


def keep(
    case: UseCase,
    fitted: "Pipeline",
    origin: Origin,
    training: pl.DataFrame,
    proof: Callable[[], pl.DataFrame],
    seed: int,
) -> "Pipeline":
    """Return what is kept of ``fitted``. A model of the use case's own is packaged for it, and
    proven on the rows that ``proof`` returns.

    Raises as ``make_package`` does."""
    if case.candidate(origin.recipe).export is None:
        return fitted
    with tempfile.TemporaryDirectory(prefix="laurel-kept-") as folder:
        rows = proof()
        saved = make_package(
            Path(folder), case, fitted, origin, training, rows, seed, watched=False
        )
        return as_kept(fitted, saved)
