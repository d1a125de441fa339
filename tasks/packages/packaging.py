"""Make a model package of a fitted pipeline, and prove it: the ONNX model must answer as the
pipeline does.
"""

import io
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from serving.package.manifest import (
    MANIFEST,
    MODEL,
    REFERENCE,
    SMOKE,
    Feature,
    Manifest,
    Output,
    Parity,
    Smoke,
    read_manifest,
    write,
)
from serving.package.model import Package
from serving.package.model import load as load_package
from tasks.data.kinds import KINDS
from tasks.drift.verdict import calibrate, draw_reference, monitored
from tasks.models.cross_fitting import cross_fit
from tasks.models.modelling import inputs
from tasks.packages.exporters.registry import export, thresholds
from usecases.definition import SCORE, UseCase

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SMOKE_ROWS = 100  # they are what explanations compare with as well (serving/routes/explain.py)


class ParityBroken(ValueError):
    """The ONNX model does not answer as the pipeline it was made of: it must not be served."""


@dataclass(frozen=True)
class Made:
    """Where the package lies, the digest of its manifest, and the manifest."""

    folder: Path
    sha256: str
    manifest: Manifest


@dataclass(frozen=True)
class Holdout:
    """What a model was judged on: the period, the two-sided interval of each metric there, and the
    calibration of its scores there.
    """

    period: str = ""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    calibration: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Origin:
    """What a pipeline comes from. ``trained_on`` maps a period to the SHA-256 of its rows.

    A refit has the ``metrics`` and the ``holdout`` of the model that won: its own rows hold the
    hold-out. ``provisional`` says why its crown is; empty where it is not."""

    recipe: str
    params: dict[str, Any]
    dataset_version: str
    trained_on: dict[str, str]
    metrics: dict[str, float]
    holdout: Holdout = Holdout()
    provisional: str = ""

    @property
    def trained_through(self) -> str:
        return max(self.trained_on)


def make_package(
    folder: Path,
    case: UseCase,
    fitted: "Pipeline",
    origin: Origin,
    training: pl.DataFrame,
    proof: pl.DataFrame,
    seed: int,
    watched: bool = True,
) -> Made:
    """Write the package of ``fitted`` into ``folder``, proven on all rows of ``proof`` and on rows
    beside thresholds.

    ``training`` are the rows it was fitted on: a sample of them, scored out of sample, is the drift
    reference and gives the thresholds. One that is not ``watched``, such as a challenger's, which
    is fitted again before it serves, has no thresholds: they cost several fits. Raises
    ``NotConvertible``, ``ParityBroken``, or ``PackageError`` where ONNX Runtime does not take the
    model."""
    model, dtype = export(fitted.named_steps["model"], len(case.columns))
    features = _features(case, fitted)
    smoke_rows = _with_stand_ins(case, proof.sample(min(SMOKE_ROWS, len(proof)), seed=seed))
    smoke = Smoke(
        smoke_rows.select(case.column_names).to_dicts(),
        fitted.predict_proba(inputs(case, smoke_rows))[:, 1].tolist(),
    )
    manifest = Manifest(
        use_case=case.name,
        title=case.title,
        question=case.question,
        recipe=origin.recipe,
        params=origin.params,
        features=features,
        outputs=_outputs(case),
        label=case.label,
        event_time=case.event_time,
        dtype=dtype,
        decision_threshold=case.decision_threshold,
        metrics=origin.metrics,
        dataset_version=origin.dataset_version,
        trained_on=origin.trained_on,
        trained_through=origin.trained_through,
        parity=Parity(0, 0.0, 0),
        drift_thresholds={},
        drift_calibrated=False,
        holdout=origin.holdout.period,
        holdout_intervals=origin.holdout.intervals,
        calibration=origin.holdout.calibration,
        provisional=origin.provisional,
        log_sample_rate=case.prediction_log.sample_rate,
        log_leave_out=list(case.prediction_log.leave_out),
        event_past_days=case.event_times.past_days,
        event_future_days=case.event_times.future_days,
        files={},
    )
    loaded = Package(manifest, model, smoke)
    manifest = msgspec.structs.replace(manifest, parity=prove(case, fitted, loaded, proof, seed))
    if watched:
        manifest, reference = _with_reference(case, fitted, manifest, training, seed)
    else:
        reference = draw_reference(case, training, seed)
    data = io.BytesIO()
    reference.drop(case.prediction_log.leave_out).write_parquet(
        data, compression="zstd"
    )  # the log has no more columns than it
    files = {MODEL: model, SMOKE: msgspec.json.encode(smoke), REFERENCE: data.getvalue()}
    sha256 = write(folder, files, manifest)
    load_package(folder, sha256)
    return Made(folder, sha256, read_manifest((folder / MANIFEST).read_bytes()))


def _with_reference(
    case: UseCase, fitted: "Pipeline", manifest: Manifest, training: pl.DataFrame, seed: int
) -> tuple[Manifest, pl.DataFrame]:
    """The manifest with what drift is judged by, and the reference: training rows with scores of
    models that have not seen them.
    """
    unseen = cross_fit(case, fitted, training, seed)
    reference, limits, calibrated = calibrate(
        case, training.with_columns(unseen.scores.alias(SCORE)), seed
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
    """Scores ``(n_rows,)`` of a package: what the service would answer to these rows."""
    return package.predict({name: rows[name].to_list() for name in package.names})


def _with_stand_ins(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """``rows``, which the service shows as examples, without the values that the use case keeps out
    of the log.
    """
    for column in case.columns:
        if column.name in case.prediction_log.leave_out:
            stand_in = KINDS[column.kind].stand_in
            value = None if column.nullable else stand_in(rows[column.name])
            rows = rows.with_columns(
                pl.lit(value, dtype=rows.schema[column.name]).alias(column.name)
            )
    return rows


def _features(case: UseCase, fitted: "Pipeline") -> list[Feature]:
    encoders = fitted.named_steps["encode"].named_transformers_
    return [
        Feature(
            column.name,
            kind,
            column.nullable,
            column.low,
            column.high,
            KINDS[kind].known_values(encoders[kind], position),
            column.description,
            closed=column.categories is not None,
        )
        for kind, columns in groupby(case.matrix_columns, attrgetter("kind"))
        for position, column in enumerate(columns)
    ]


def _outputs(case: UseCase) -> list[Output]:
    chance = Output("score", "number", 0.0, 1.0, f"probability that {case.label} is true")
    return [
        chance,
        Output(
            "decision",
            "decision",
            description=f"whether the score reaches {case.decision_threshold:g}",
        ),
    ]


def prove(
    case: UseCase, fitted: "Pipeline", package: Package, rows: pl.DataFrame, seed: int
) -> Parity:
    """Compare package and pipeline on ``rows``, on rows moved beside the model's thresholds, and on
    rows with nulls.

    A decision counts as changed when both scores are further than the tolerance from the decision
    threshold. Raises ``ParityBroken`` with the worst row."""
    chance = np.random.default_rng(seed)
    rows = pl.concat([rows.select(case.column_names), _with_nulls(case, rows, chance)])
    frame = inputs(case, rows)
    matrix = np.asarray(fitted.named_steps["encode"].transform(frame), dtype=np.float64)
    encoded = package.encode({name: rows[name].to_list() for name in package.names})
    same = (encoded == matrix.astype(encoded.dtype)) | (np.isnan(encoded) & np.isnan(matrix))
    if not same.all():
        column = package.names[int(np.flatnonzero(~same.all(axis=0))[0])]
        raise ParityBroken(
            f"The service would encode column {column!r} otherwise than the pipeline does."
        )
    beside = _beside_thresholds(matrix, thresholds(fitted.named_steps["model"]), chance)
    everything = np.vstack([matrix, beside])
    try:
        expected = fitted.named_steps["model"].predict_proba(everything)[:, 1]
    except ValueError as error:
        raise ParityBroken(
            "The pipeline refuses rows that the service lets through, with nulls in "
            f"nullable columns and unknown categories: {error}"
        ) from error
    got = package.score(everything.astype(encoded.dtype))
    difference = np.abs(got - expected)
    limit, tolerance = case.decision_threshold, case.parity_tolerance
    unsure = np.minimum(np.abs(got - limit), np.abs(expected - limit)) <= tolerance
    changed = int((((got >= limit) != (expected >= limit)) & ~unsure).sum())
    parity = Parity(len(everything), float(difference.max()), changed)
    if changed or not parity.largest_difference <= tolerance:
        worst = int(difference.argmax())
        raise ParityBroken(
            f"ONNX and scikit-learn disagree by up to {parity.largest_difference:.2g} "
            f"(tolerated {tolerance:g}), {changed} decisions "
            f"change; worst is row {worst} of the proof: "
            f"{dict(zip(package.names, everything[worst].tolist(), strict=True))}."
        )
    return parity


def with_nulls(case: UseCase, rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """A hundred of ``rows`` with nulls and unknown categories wherever the service lets them
    through.
    """
    return _with_nulls(case, rows, np.random.default_rng(seed), wanted=100)


def _beside_thresholds(
    matrix: np.ndarray, splits: dict[int, np.ndarray], chance: np.random.Generator, rows: int = 2000
) -> np.ndarray:
    """Real rows with one value moved onto, just under or just over a split ``(rows, n_features)``;
    none without splits.
    """
    if not splits:
        return matrix[:0]
    moved = matrix[chance.integers(0, len(matrix), rows)].copy()
    features = chance.choice(list(splits), rows)
    for row, feature in enumerate(features):
        at = chance.choice(splits[int(feature)])
        moved[row, feature] = chance.choice(
            [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)]
        )
    return moved


def _with_nulls(
    case: UseCase, rows: pl.DataFrame, chance: np.random.Generator, wanted: int = 500
) -> pl.DataFrame:
    """Real rows with nulls and unknown categories wherever the service lets them through: in all
    such places in the first.
    """
    some = rows.select(case.column_names)[chance.integers(0, len(rows), wanted)]
    for column in case.columns:
        for value in [
            *KINDS[column.kind].unknown_values,
            *[None] * column.nullable,
        ]:
            changed = chance.random(wanted) < 0.3
            changed[0] = True
            some = some.with_columns(
                pl.when(pl.Series(changed))
                .then(pl.lit(value))
                .otherwise(column.name)
                .alias(column.name)
            )
    return some
