"""The proof of a model package: the ONNX model must answer as the pipeline does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from serving.package.manifest import Parity
from serving.package.model import Package
from tasks.data.kinds import KINDS
from tasks.models.modelling import dense, encode, scores_of
from tasks.packages.error_quantiles import ErrorQuantiles
from tasks.packages.exporters.registry import thresholds
from usecases.definition import Number, UseCase

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_ROWS_ALONE = 20
_ROWS_AT_ONCE = 500_000  # each has its values as Python's objects, and several matrices
_MOST_CELLS = 200_000_000
_ROWS_BESIDE, _ROWS_WITH_NULLS = 2000, 500


class ParityBroken(ValueError):
    """The ONNX model does not answer as its pipeline does: it must not be served."""


class TreesDiffer(ParityBroken):
    """The symmetric trees do not answer as the ONNX model does: they must not be served."""


def prove(
    case: UseCase,
    fitted: "Pipeline",
    package: Package,
    rows: pl.DataFrame,
    seed: int,
    quantiles: ErrorQuantiles | None = None,
) -> Parity:
    """Compare package and pipeline on ``rows``, on rows moved beside the model's thresholds, and on
    rows with nulls. Of wide rows, such as images, as many are taken as make a matrix of 160 MB.

    A decision counts as changed when both scores are further than the tolerance from the decision
    threshold, and a class when it is likelier than any other by more than the tolerance. Above 1,
    differences are relative. With wide inputs, such as texts, the rows are compared in pieces, and
    at most so many of them as have 200 million numbers. ``quantiles`` are those of a number's
    errors. A kept model (``tasks/models/own_models.py``) was compared where it was fitted: it has
    that parity. Raises ``ParityBroken`` with the worst row, and ``TreesDiffer`` if the package has
    symmetric trees and any answer of theirs is not that of ONNX Runtime to the last bit."""
    chance = np.random.default_rng(seed)
    some = _with_nulls(case, rows, chance, _ROWS_WITH_NULLS)
    rows = pl.concat([_some(case, package, rows, seed), some])
    pieces = [
        _compare(case, fitted, package, piece, chance, quantiles)
        for piece in rows.iter_slices(min(len(rows), package.rows_at_once, _ROWS_AT_ONCE))
    ]
    model = fitted.named_steps["model"]
    scores = np.concatenate([piece.scores for piece in pieces])
    parity = _parity(case, scores, np.concatenate([piece.expected for piece in pieces]))
    if parity.changed_decisions or not parity.largest_difference <= case.parity_tolerance:
        worst = max(pieces, key=lambda piece: piece.largest)
        raise ParityBroken(
            f"ONNX and the pipeline disagree by up to {parity.largest_difference:.2g} "
            f"(tolerated {case.parity_tolerance:g}), {parity.changed_decisions} decisions "
            f"or classes change; worst is this row of the proof: {_shown(package, worst.row)}."
            f"{_hint(model)}"
        )
    kept: tuple[int, float, int] | None = getattr(model, "parity", None)
    return Parity(*kept) if kept else parity


def _some(case: UseCase, package: Package, rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return the inputs of ``rows``, or of as many of them as may be compared."""
    rows, most = rows.select(case.column_names), max(1, _MOST_CELLS // package.width)
    return rows.sample(most, seed=seed) if package.blocks and len(rows) > most else rows


@dataclass(frozen=True)
class _Compared:
    """The answers of both sides, and the ``row`` of the matrix ``(width,)`` where they differ
    most."""

    scores: np.ndarray
    expected: np.ndarray
    row: np.ndarray
    largest: float


def _compare(
    case: UseCase,
    fitted: "Pipeline",
    package: Package,
    rows: pl.DataFrame,
    chance: np.random.Generator,
    quantiles: ErrorQuantiles | None,
) -> _Compared:
    """Compare both sides on ``rows`` and on rows beside thresholds."""
    matrix, model = _encoded_alike(case, fitted, package, rows), fitted.named_steps["model"]
    most = min(_ROWS_BESIDE, package.rows_at_once)
    splits = [thresholds(model)]
    if quantiles is not None:
        # Codes stay codes: a pipeline of other steps does not split as the quantiles do.
        numbers = quantiles.thresholds.keys() & {*case.layout.numbers}
        splits.append({at: quantiles.thresholds[at] for at in sorted(numbers)})
    beside = [_beside_thresholds(matrix, each, chance, most) for each in splits]
    everything = np.vstack([matrix, *beside])
    try:
        expected = expected_numbers(fitted, package, everything, quantiles)
    except ValueError as error:
        raise ParityBroken(
            "The pipeline refuses rows that the service lets through, with nulls in nullable "
            f"columns and unknown categories: {error}"
        ) from error
    everything_encoded = everything.astype(package.manifest.dtype)
    scores = package.score_by_onnx(everything_encoded)
    if package.kernel is not None:
        _check_trees(package, everything_encoded)
        for rows_beside in _on_all_sides(matrix, splits[0]):
            _check_trees(package, rows_beside)
    _check_rows_alone(case, package, everything_encoded, scores)
    differences = _differences(scores, expected)
    worst = int(differences.argmax())
    return _Compared(scores, expected, everything[worst].copy(), float(differences[worst]))


def _check_trees(package: Package, matrix: np.ndarray) -> None:
    """Raises ``TreesDiffer`` unless the symmetric trees answer as ONNX Runtime does, to the last
    bit."""
    assert package.kernel is not None
    scores = package.score_by_onnx(matrix)
    same = np.isclose(package.kernel.score(matrix), scores, rtol=0, atol=0, equal_nan=True)
    if not same.all():
        row = matrix[same.reshape(len(matrix), -1).all(axis=1).argmin()]
        raise TreesDiffer(
            "The symmetric trees answer otherwise than ONNX Runtime, first on this row of the "
            f"proof: {_shown(package, row)}."
        )


def _on_all_sides(matrix: np.ndarray, splits: dict[int, np.ndarray]) -> Iterator[np.ndarray]:
    """Yield for each feature rows of ``matrix`` ``(n_rows, n_features)`` with its value moved onto,
    just under and just over each of its ``splits``, to null and to both ends."""
    for feature, at in splits.items():
        near = [at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf), [np.nan, -np.inf, np.inf]]
        values = np.concatenate(near)
        rows = matrix[np.resize(np.arange(len(matrix)), len(values))]
        rows[:, feature] = values
        yield rows


def _hint(model: Any) -> str:
    if not hasattr(model, "candidate"):
        return ""
    return (
        " The ONNX that export returns must compute what the model does: softmax or sigmoid, the "
        "classes in the order 0, 1, ..., nulls and unknown codes, and no dropout on either side "
        "(model.eval())."
    )


def _check_rows_alone(
    case: UseCase, package: Package, matrix: np.ndarray, scores: np.ndarray
) -> None:
    """Raises ``ParityBroken`` if some rows score differently alone, as the service has them, than
    among the others."""
    some = np.linspace(0, len(matrix) - 1, _ROWS_ALONE).astype(int)
    alone = np.concatenate([package.score(matrix[row : row + 1]) for row in some])
    apart = _differences(alone, scores[some])
    known = np.isfinite(np.reshape(scores[some], (len(some), -1))).all(axis=1)
    if known.any() and not apart[known].max() <= case.parity_tolerance:
        raise ParityBroken(
            "The ONNX model answers a row alone otherwise than among others, by up to "
            f"{apart[known].max():.2g} (tolerated {case.parity_tolerance:g}): an answer must "
            "depend on its own row only. A network that normalises over the batch needs "
            "model.eval()."
        )


def expected_numbers(
    fitted: "Pipeline", package: Package, matrix: np.ndarray, quantiles: ErrorQuantiles | None
) -> np.ndarray:
    """What the model of ``package`` has to say of a ``matrix`` ``(n_rows, width)``: the answers of
    the pipeline, and beside the number those of the ``quantiles``, which see the matrix and the
    answer as they are served."""
    expected = scores_of(fitted.named_steps["model"], matrix)
    if quantiles is None:
        return expected
    served = matrix.astype(package.manifest.dtype)
    answers = package.score(served)[:, 0].astype(np.float64)
    ends = quantiles.beside(served.astype(np.float64), answers)[:, 1:]
    return np.column_stack([expected, ends])


def _shown(package: Package, row: np.ndarray) -> dict[str, float | str]:
    """The values of a row of the matrix ``(width,)``, without those of wide inputs."""
    return {
        name: places.item() if len(places) == 1 else f"{len(places)} numbers"
        for position, name in enumerate(package.names)
        if len(places := row[package.owners == position]) > 0
    }


def _encoded_alike(
    case: UseCase, fitted: "Pipeline", package: Package, rows: pl.DataFrame
) -> np.ndarray:
    """Return the matrix ``(n_rows, n_features)`` that both the pipeline and the service encode.

    Raises ``ParityBroken`` with the first column that differs."""
    matrix = dense(encode(fitted, case, rows))
    encoded = package.encode({name: rows[name].to_list() for name in package.names})
    rounded = matrix.astype(encoded.dtype)
    same = (encoded == rounded) | (np.isnan(encoded) & np.isnan(rounded))
    if package.blocks and not same.all():
        # On some processors a sum of squares is rounded once less.
        wide = slice(package.narrow, None)
        last_bits = {"rtol": 8 * np.finfo(encoded.dtype).eps, "atol": 0.0}
        same[:, wide] |= np.isclose(encoded[:, wide], rounded[:, wide], **last_bits)
    if not same.all():
        column = package.names[package.owners[np.flatnonzero(~same.all(axis=0))[0]]]
        raise ParityBroken(
            f"The service would encode column {column!r} differently from the pipeline."
        )
    return matrix


def _parity(case: UseCase, scores: np.ndarray, expected: np.ndarray) -> Parity:
    largest = float(_differences(scores, expected).max())
    return Parity(len(scores), largest, int(_changed(case, scores, expected).sum()))


def _differences(scores: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How far each row's answer is off ``(n_rows,)``, at most; relative above 1. Infinite for an
    answer that is no finite number."""
    scores, expected = (np.reshape(side, (len(side), -1)) for side in (scores, expected))
    with np.errstate(invalid="ignore"):
        off = np.abs(scores - expected) / np.maximum(1.0, np.abs(expected))
    return np.where(np.isfinite(off), off, np.inf).max(axis=1)


def _changed(case: UseCase, scores: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The rows whose decision or class is another one, and surely ``(n_rows,)``."""
    tolerance, limit = case.parity_tolerance, case.decision_threshold
    if isinstance(case.target, Number):
        return np.zeros(len(scores), dtype=bool)
    if limit is not None:
        unsure = np.minimum(np.abs(scores - limit), np.abs(expected - limit)) <= tolerance
        return ((scores >= limit) != (expected >= limit)) & ~unsure
    second, first = np.sort(expected, axis=1)[:, -2:].T
    sure = first - second > 2 * tolerance
    return (scores.argmax(axis=1) != expected.argmax(axis=1)) & sure


def with_nulls(case: UseCase, rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return a hundred of ``rows`` with nulls and unknown categories wherever the service accepts
    them."""
    return _with_nulls(case, rows, np.random.default_rng(seed), count=100)


def _beside_thresholds(
    matrix: np.ndarray, splits: dict[int, np.ndarray], chance: np.random.Generator, rows: int
) -> np.ndarray:
    """Return real rows with one value moved onto, just under or just over a split, by a step of
    double or of single precision ``(rows, n_features)``; none without splits."""
    if not splits:
        return matrix[:0]
    nudged = matrix[chance.integers(0, len(matrix), rows)].copy()
    features = chance.choice(list(splits), rows)
    for row, feature in enumerate(features):
        nudged[row, feature] = chance.choice(_neighbours(chance.choice(splits[int(feature)])))
    return nudged


def _neighbours(at: float) -> list[float]:
    """Return ``at`` and the nearest values in double precision and in single precision, in which
    some libraries compare."""
    with np.errstate(over="ignore"):
        rounded = np.float32(at)
        floats = [np.nextafter(rounded, np.float32(side)) for side in (-np.inf, np.inf)]
    near = [np.nextafter(at, side) for side in (-np.inf, np.inf)]
    return [at, *near, *(float(value) for value in (rounded, *floats) if np.isfinite(value))]


def _with_nulls(
    case: UseCase, rows: pl.DataFrame, chance: np.random.Generator, count: int
) -> pl.DataFrame:
    """Return real rows with nulls and unknown categories wherever the service accepts them: in all
    such places in the first."""
    some = rows.select(case.column_names)[chance.integers(0, len(rows), count)]
    for column in case.columns:
        for value in [
            *KINDS[column.kind].unknown_values,
            *[None] * column.nullable,
        ]:
            changed = chance.random(count) < 0.3
            changed[0] = True
            some = some.with_columns(
                pl.when(pl.Series(changed))
                .then(pl.lit(value))
                .otherwise(column.name)
                .alias(column.name)
            )
    return some
