"""A fitted pipeline becomes a model package: model, manifest, smoke rows and drift reference."""

import io
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
from msgspec import UNSET

from serving.package.manifest import (
    LOSSES,
    MANIFEST,
    MODEL,
    PROFILE,
    REFERENCE,
    SMOKE,
    SYMMETRIC_TREES,
    VOCABULARIES,
    Feature,
    Manifest,
    Parity,
    Smoke,
    read_manifest,
    write,
)
from serving.package.model import Package
from serving.package.model import load as load_package
from serving.package.outputs import has_quantiles
from tasks.data.kinds import KINDS
from tasks.data.sampling import even_rows
from tasks.data.traits import by_traits
from tasks.drift.learning import learn_profile
from tasks.drift.profile.profile import encode_profile
from tasks.drift.thresholds import calibrate, draw_reference, monitored
from tasks.models.cross_fitting import CrossFit, Judged, cross_fit
from tasks.models.modelling import dense, encode, encoded_together, encoders_of, owners
from tasks.models.vectorizers import vocabularies_of
from tasks.packages.calibration import Calibrated, declared_outputs, learn_quantiles
from tasks.packages.error_quantiles import ErrorQuantiles
from tasks.packages.exporters.registry import forms_of, symmetric_trees
from tasks.packages.proof import ParityBroken, TreesDiffer, expected_numbers, prove
from usecases.definition import SCORE, UseCase, period_named

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_logger = logging.getLogger(__name__)
_ROWS_AT_ONCE = 100_000  # as Python's objects they take five times the memory of a frame's
SMOKE_ROWS = 100  # explanations compare with them too (serving/routes/explain.py)


@dataclass(frozen=True)
class SavedPackage:
    """Where the package lies, the digest of its manifest, and the manifest."""

    folder: Path
    sha256: str
    manifest: Manifest


@dataclass(frozen=True)
class Holdout:
    """What a model was judged on: the name of the hold-out, the two-sided interval of each metric
    there, the calibration of its scores there (of each class, where there are several), what tells
    the errors of a number (``tasks/packages/expected_losses.py``), and its interval or set
    (``tasks/packages/calibration.py``).
    """

    name: str = ""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    calibration: list[tuple[float, float]] = field(default_factory=list)
    calibrations: list[list[tuple[float, float]]] = field(default_factory=list)
    losses: bytes = b""
    calibrated: Calibrated | None = None


@dataclass(frozen=True)
class Origin:
    """Where a pipeline comes from. ``trained_on`` maps a period to the SHA-256 of its rows.

    A refit has the ``metrics`` and the ``holdout`` of the model that won: its own rows include the
    hold-out. ``provisional`` says why its crown is provisional; empty if it is not. ``sample`` says
    which of the rows it learned; empty: all."""

    recipe: str
    params: dict[str, Any]
    dataset_version: str
    trained_on: dict[str, str]
    metrics: dict[str, float]
    holdout: Holdout = Holdout()
    provisional: str = ""
    sample: str = ""

    @property
    def trained_through(self) -> str:
        return max(self.trained_on, key=period_named)


def make_package(
    folder: Path,
    case: UseCase,
    fitted: "Pipeline",
    origin: Origin,
    training: pl.DataFrame,
    proof: pl.DataFrame,
    seed: int,
    watched: bool = True,
    unseen: CrossFit | None = None,
    judged: Judged | None = None,
) -> SavedPackage:
    """Write the package of ``fitted`` into ``folder``, proven on all rows of ``proof`` and on rows
    beside thresholds.

    ``training`` are the rows it was fitted on: a sample of them, scored out of sample, is the drift
    reference and yields the thresholds, and their profile is learned. ``unseen`` are those scores,
    if they are there already; ``judged`` is the model that won on some of these rows. A package
    that is not ``watched``, such as a challenger's, which is refitted before it serves, has neither
    reference nor profile: they cost several fits. Raises ``NotConvertible``, ``ParityBroken``, or
    ``PackageError`` if ONNX Runtime rejects the model."""
    # Whatever is learned of the rows themselves is that of all of them, not of a sample's strata.
    training, stands_for = even_rows(training, seed)
    manifest, quantiles = _manifest(case, fitted, origin), None
    if has_quantiles(manifest.outputs):
        unseen = unseen or cross_fit(case, fitted, training, seed, judged)
        quantiles = learn_quantiles(case, fitted, training, unseen.scores, seed)
    package, model, trees = _proven(case, fitted, manifest, proof, seed, quantiles)
    manifest, vocabularies = package.manifest, vocabularies_of(case, fitted)
    smoke = _smoke(case, fitted, package, proof, seed, quantiles)
    if watched:
        unseen = unseen or cross_fit(case, fitted, training, seed, judged)
        watch, described = by_traits(case, training)  # once: an image is decoded for its traits
        manifest, reference = _with_reference(watch, unseen, manifest, described, seed)
        profile = _profile(watch, described, seed, stands_for)
    else:
        reference, profile = draw_reference(case, training, seed), {}
    files = {
        MODEL: model,
        SMOKE: msgspec.json.encode(smoke),
        **({VOCABULARIES: msgspec.json.encode(vocabularies)} if vocabularies else {}),
        **({SYMMETRIC_TREES: trees} if trees else {}),
        REFERENCE: _as_parquet(case, reference),
        **profile,
        **({LOSSES: origin.holdout.losses} if origin.holdout.losses else {}),
    }
    sha256 = write(folder, files, manifest)
    load_package(folder, sha256)
    return SavedPackage(folder, sha256, read_manifest((folder / MANIFEST).read_bytes()))


def _proven(
    case: UseCase,
    fitted: "Pipeline",
    manifest: Manifest,
    proof: pl.DataFrame,
    seed: int,
    quantiles: ErrorQuantiles | None,
) -> tuple[Package, bytes, bytes | None]:
    """Return ``fitted`` in the fastest form that answers as it does, its ONNX, and the file of its
    symmetric trees, if it has some that answer as the ONNX does. Raises ``ParityBroken`` of the
    first form where there is none."""
    vocabularies, broken = vocabularies_of(case, fitted), None
    step, width = fitted.named_steps["model"], len(owners(case, fitted))
    for model, dtype in forms_of(step, width):
        model = quantiles.into(model) if quantiles else model
        manifest = msgspec.structs.replace(manifest, dtype=dtype)
        # The ends of an interval are the ONNX model's alone.
        found = None if quantiles else symmetric_trees(step, width)
        trees = msgspec.json.encode(found) if found else None
        for some in (trees, None) if trees else (None,):
            package = Package(manifest, model, Smoke([], []), vocabularies, some)
            try:
                parity = prove(case, fitted, package, proof, seed, quantiles)
            except TreesDiffer as error:
                _logger.warning("%s: packaged without them. %s", case.name, error)
            except ParityBroken as error:
                broken = broken or error
                break
            else:
                package.manifest = msgspec.structs.replace(manifest, parity=parity)
                return package, model, some
    assert broken is not None
    raise broken


def _smoke(
    case: UseCase,
    fitted: "Pipeline",
    package: Package,
    proof: pl.DataFrame,
    seed: int,
    quantiles: ErrorQuantiles | None,
) -> Smoke:
    """Some rows of ``proof`` with the scores of the pipeline."""
    rows = _with_stand_ins(case, proof.sample(min(SMOKE_ROWS, len(proof)), seed=seed))
    rows = _as_examples(case, rows)
    expected = expected_numbers(fitted, package, dense(encode(fitted, case, rows)), quantiles)
    return Smoke(rows.select(case.column_names).to_dicts(), expected.tolist())


def _manifest(case: UseCase, fitted: "Pipeline", origin: Origin) -> Manifest:
    """Return all but the form of the model, and what is measured on rows: parity, and what drift is
    judged by."""
    calibrated = origin.holdout.calibrated or Calibrated(declared_outputs(case))
    return Manifest(
        **_declared(case),
        **_derived(origin),
        outputs=calibrated.outputs,
        coverage=calibrated.coverage or UNSET,
        features=_features(case, fitted),
        dtype="",
        parity=Parity(0, 0.0, 0),
        drift_thresholds={},
        drift_calibrated=False,
        files={},
    )


def _declared(case: UseCase) -> dict[str, Any]:
    """Return the fields of the manifest that the use case declares."""
    return {
        "use_case": case.name,
        "title": case.title,
        "question": case.question,
        "label": case.label,
        "event_time": case.event_time,
        "decision_threshold": case.decision_threshold,
        "log_sample_rate": case.prediction_log.sample_rate,
        "log_leave_out": list(case.prediction_log.leave_out),
        "event_past_days": case.event_times.past_days,
        "event_future_days": case.event_times.future_days,
    }


def _derived(origin: Origin) -> dict[str, Any]:
    """Return the fields of the manifest that describe the pipeline's origin."""
    return {
        "recipe": origin.recipe,
        "params": origin.params,
        "metrics": origin.metrics,
        "dataset_version": origin.dataset_version,
        "trained_on": origin.trained_on,
        "trained_through": origin.trained_through,
        "holdout": origin.holdout.name,
        "holdout_intervals": origin.holdout.intervals,
        "calibration": origin.holdout.calibration,
        "calibrations": origin.holdout.calibrations,
        "provisional": origin.provisional,
        "sample": origin.sample or UNSET,
    }


def _as_parquet(case: UseCase, reference: pl.DataFrame) -> bytes:
    """Return the reference without the columns that the prediction log leaves out."""
    data = io.BytesIO()
    reference.drop(case.prediction_log.leave_out).write_parquet(data, compression="zstd")
    return data.getvalue()


def _profile(
    case: UseCase, training: pl.DataFrame, seed: int, stands_for: float
) -> dict[str, bytes]:
    """Return the file of the profile. It has the columns that the prediction log has, since it
    names categories."""
    return {PROFILE: encode_profile(learn_profile(case, training, seed, stands_for))}


def _with_reference(
    case: UseCase, unseen: CrossFit, manifest: Manifest, training: pl.DataFrame, seed: int
) -> tuple[Manifest, pl.DataFrame]:
    """Return the manifest with what drift is judged by, and the reference: training rows with
    scores of models that have not seen them."""
    reference, limits, calibrated = calibrate(
        case, training.with_columns(unseen.answers.alias(SCORE)), seed
    )
    judged_by = {
        "drift_thresholds": limits,
        "drift_calibrated": calibrated,
        "drift_importance": unseen.importance,
        "drift_methods": {
            column.name: case.drift.method(column) for column in monitored(case, limits)
        },
    }
    return msgspec.structs.replace(manifest, **judged_by), reference


def score_rows(package: Package, rows: pl.DataFrame) -> np.ndarray:
    """Return the numbers of a package, ``(n_rows,)`` or ``(n_rows, n_classes)``: what the service
    would answer to these rows."""
    pieces = rows.iter_slices(_ROWS_AT_ONCE) if len(rows) > _ROWS_AT_ONCE else [rows]
    return np.concatenate(
        [
            package.predict({name: piece[name].to_list() for name in package.names})
            for piece in pieces
        ]
    )


def _with_stand_ins(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows``, which the service shows as examples, without the values that the use case
    keeps out of the log."""
    for column in case.columns:
        if column.name in case.prediction_log.leave_out:
            stand_in = KINDS[column.kind].stand_in
            value = None if column.nullable else stand_in(rows[column.name])
            rows = rows.with_columns(
                pl.lit(value, dtype=rows.schema[column.name]).alias(column.name)
            )
    return rows


def _as_examples(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with values that are no larger than the model needs."""
    return rows.with_columns(
        KINDS[column.kind].example(column, rows[column.name]) for column in case.columns
    )


def _features(case: UseCase, fitted: "Pipeline") -> list[Feature]:
    encoders = encoders_of(fitted)
    return [
        Feature(
            column.name,
            column.kind,
            column.nullable,
            column.low,
            column.high,
            KINDS[column.kind].known_values(encoders[name], position),
            column.description,
            closed=column.categories is not None,
            parts=list(column.parts) if column.parts else None,
            earliest=column.earliest.isoformat() if column.earliest else None,
            latest=column.latest.isoformat() if column.latest else None,
            longest=column.longest_value,
            size=column.size or UNSET,
            channels=column.channels or UNSET,
        )
        for name, columns in encoded_together(case)
        for position, column in enumerate(columns)
    ]
