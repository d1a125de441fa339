"""A recipe becomes a pipeline: one encoder for all of them, and the candidate's own estimator
behind it.
"""

import sys
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.data.kinds import KINDS
from tasks.data.targets import lacks, truth_of
from tasks.models.batches import fit_batches, why_not_in_batches
from tasks.models.libraries import configure
from tasks.models.refusals import why_not_served
from tasks.models.vectorizers import (
    check_size,
    params_of_model,
    takes_sparse,
    vectorizers_of,
)
from tasks.models.weights import counts_differ, fit_arguments, last_step, row_weights, takes_weights
from tasks.outside.user_code import UseCaseFailed, WrongAnswers, calling, describe_value
from usecases.definition import SCORE, Candidate, Classes, Column, Number, UseCase

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

_PIECE_CELLS = 5_000_000  # 40 MB of a matrix with wide columns
# 160 MB. A larger matrix is made in pieces: scikit-learn's encoders take pandas frames, which need
# ten times as much for texts.
_WHOLE_CELLS = 20_000_000

_NO_PROBABILITIES = (
    "without predict_proba: wrap it in CalibratedClassifierCV, or use another "
    "(SVC has it with probability=True, SGDClassifier with loss='log_loss')"
)


def inputs(case: UseCase, rows: pl.DataFrame) -> "pd.DataFrame":
    """The input columns of ``rows`` as scikit-learn wants them: categories as objects, numbers as
    float64, null as NaN in both, and as an empty text in texts.

    A null category must not stay None: to ``OrdinalEncoder`` that is one more category, with a code
    of its own."""
    filled = [pl.col(name).fill_null("") for name in case.texts]
    frame = rows.select(case.column_names).with_columns(filled).to_pandas()
    frame = frame.astype({column.name: KINDS[column.kind].pandas_dtype for column in case.columns})
    return frame.where(frame.notna(), np.nan)


def labels(case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    """Labels ``(n_rows,)``: 0 and 1, the place of the class, or the number. Raises ``ValueError``
    if one is unknown.
    """
    if unknown := rows[case.label].null_count():
        raise ValueError(
            f"{unknown} of {len(rows)} rows of {case.name!r} have no label {case.label!r}: "
            "read only the labelled ones."
        )
    return truth_of(case, rows[case.label])


def encoder(
    case: UseCase, vectorizers: Mapping[str, Any] | None = None, sparse: bool = False
) -> "ColumnTransformer":
    """The encoder of each kind of column, and of each column of a wide kind, side by side: together
    the matrix of ``UseCase.layout``, ``sparse`` if that is asked for and there are ``vectorizers``.

    Apart from these the same for each candidate, so that the service encodes rows with its own maps
    and one tensor (serving/package/model.py)."""
    from sklearn.compose import ColumnTransformer

    return ColumnTransformer(
        [
            (
                (name, (vectorizers or {})[name], name)
                if KINDS[columns[0].kind].vectorized
                else (
                    name,
                    KINDS[columns[0].kind].encoder(columns),
                    [column.name for column in columns],
                )
            )
            for name, columns in encoded_together(case)
        ],
        sparse_threshold=float(sparse),
        verbose_feature_names_out=False,
    )


def encoded_together(case: UseCase) -> list[tuple[str, list[Column]]]:
    """The names of the encoders in the order of the matrix, and the columns of each: all columns of
    a kind, or one of a wide kind.
    """
    groups = groupby(
        case.matrix_columns,
        lambda column: (column.kind, column.name if KINDS[column.kind].wide else ""),
    )
    return [(name or kind, list(columns)) for (kind, name), columns in groups]


def encoders_of(fitted: "Pipeline") -> Mapping[str, Any]:
    """The fitted encoders by their names."""
    encoders: Mapping[str, Any] = fitted.named_steps["encode"].named_transformers_
    return encoders


def owners(case: UseCase, fitted: "Pipeline") -> np.ndarray:
    """The position in ``matrix_columns`` of the column that each place of the matrix belongs to
    ``(width,)``.
    """
    places = fitted.named_steps["encode"].output_indices_
    widths: list[int] = []
    for name, columns in encoded_together(case):
        span = places[name].stop - places[name].start
        widths += [span // len(columns)] * len(columns)
    return np.repeat(np.arange(len(widths)), widths)


def encode(fitted: "Pipeline", case: UseCase, rows: pl.DataFrame) -> "np.ndarray | csr_matrix":
    """The matrix ``(n_rows, width)`` that the model in the pipeline sees of ``rows``: sparse if the
    model was fitted on terms of texts, and takes it so."""
    from scipy.sparse import issparse

    if _is_large(case, rows):
        return _encode_large(fitted, case, rows)
    matrix = fitted.named_steps["encode"].transform(inputs(case, rows))
    if issparse(matrix):
        return matrix.tocsr().astype(np.float64)
    return np.asarray(matrix, dtype=np.float64)


def _is_large(case: UseCase, rows: pl.DataFrame) -> bool:
    """Whether the matrix of ``rows`` is made in pieces. Terms of texts are learned from all rows at
    once.
    """
    layout = case.layout
    width = len(layout.categories) + len(layout.numbers) + len(layout.pixels)
    return not case.texts and len(rows) * width > _WHOLE_CELLS


def _encode_large(fitted: "Pipeline", case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    """``encode`` without a pandas frame of all rows: what the encoders would say, column by
    column, and of wide columns piece by piece.
    """
    encode, encoders = fitted.named_steps["encode"], encoders_of(fitted)
    places = encode.output_indices_
    matrix = np.empty((len(rows), max(place.stop for place in places.values())))
    for name, columns in encoded_together(case):
        first, width = places[name].start, places[name].stop - places[name].start
        if KINDS[columns[0].kind].wide:
            alone = case.model_copy(update={"columns": tuple(columns)})
            if columns[0].kind == "image":
                encoders[name].check_room(len(rows))
            size, at = max(1, _PIECE_CELLS // width), 0
            for piece in rows.iter_slices(size):
                block = encoders[name].transform(inputs(alone, piece))
                matrix[at : at + len(piece), first : first + width] = block
                at += len(piece)
            continue
        for position, column in enumerate(columns):
            known = KINDS[column.kind].known_values(encoders[name], position)
            matrix[:, first + position] = _codes(rows[column.name], known)
    return matrix


def _codes(values: pl.Series, known: list[str] | None) -> np.ndarray:
    """The place of each value among the ``known`` ones, -1 of others and of null; without them the
    values, null as NaN ``(n_rows,)``.
    """
    if known is None:
        return values.cast(pl.Float64).to_numpy()
    codes = values.replace_strict(known, range(len(known)), default=-1, return_dtype=pl.Int32)
    return codes.to_numpy()


def dense(matrix: "np.ndarray | csr_matrix") -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())


def build(case: UseCase, candidate: Candidate, params: Mapping[str, Any], seed: int) -> Any:
    """What the candidate builds, configured: an unfitted classifier with scikit-learn's methods, or
    for a number a regressor. Raises ``UseCaseFailed`` for anything else, and for what is known to
    be impossible to serve: every fit goes through here first.
    """
    call = f"build of candidate {candidate.name!r} with {dict(params)}"
    expectation = _expectation(case, candidate)
    vectorizers_of(case, candidate, params)  # refused before any fit
    params = params_of_model(case, params)
    with calling(case.name, call, expectation):
        model = candidate.build(params, case.layout, seed)
    if isinstance(model, type):
        problem = f"returned the class {model.__name__}: write {model.__name__}(**params)"
    elif candidate.export is None:
        problem = _why_not(case, model)
    else:
        problem = _lacks_methods(case, model)
    if not problem and candidate.batch_rows is not None:
        problem = why_not_in_batches(model)
    setting = counts_differ(case)
    if not problem and setting and not takes_weights(model):
        way = "leave half_life_days" if setting == "half_life_days" else "leave by of sample"
        problem = (
            f"returned a {type(model).__name__} whose fit takes no sample_weight, by which "
            f"{setting} weighs rows: {way} out, or use another model"
        )
    if problem:
        raise UseCaseFailed(f"{case.name}: {call} {problem}. {expectation}")
    if candidate.export is None:
        return configure(model, seed)
    from tasks.models.own_models import OwnModel

    return OwnModel(case.name, candidate, dict(params), case.layout, seed, _count_classes(case))


def _expectation(case: UseCase, candidate: Candidate) -> str:
    number, kind = isinstance(case.target, Number), type(case.target).__name__
    if candidate.export is not None:
        return (
            "build(params, layout, seed) must return an unfitted model with fit and "
            f"{'predict' if number else 'predict_proba'} for a {kind} target."
        )
    estimator = "regressor" if number else "classifier with predict_proba"
    return (
        f"build(params, layout, seed) must return an unfitted scikit-learn {estimator} for a "
        f"{kind} target."
    )


def _why_not(case: UseCase, model: Any) -> str:
    """Return what is wrong with the estimator that was built; empty if nothing is known yet."""
    from sklearn.base import is_regressor

    number, name = isinstance(case.target, Number), type(model).__name__
    if not (hasattr(model, "fit") and hasattr(model, "get_params")):
        way = "A model of your own brings its ONNX: Candidate(export=...)"
        return f"returned {describe_value(model)}. {way}"
    if reason := why_not_served(model):
        return f"returned a {name} {reason.rstrip('.')}"
    if is_regressor(model) != number:
        return f"returned a {name}, which is no {'regressor' if number else 'classifier'}"
    # Some models, such as stacking, know whether they have it only when they are fitted.
    if not number and not hasattr(type(last_step(model)), "predict_proba"):
        return f"returned a {name} {_NO_PROBABILITIES}"
    return ""


def _lacks_methods(case: UseCase, model: Any) -> str:
    needed = ("fit", "predict" if isinstance(case.target, Number) else "predict_proba")
    missing = [name for name in needed if not callable(getattr(model, name, None))]
    return f"returned {describe_value(model)} without {' and '.join(missing)}" if missing else ""


def _count_classes(case: UseCase) -> int:
    """Return the number of classes of the target; 0 for a number."""
    if isinstance(case.target, Classes):
        return len(case.target.classes)
    return 0 if isinstance(case.target, Number) else 2


def pipeline(
    case: UseCase, candidate: Candidate, params: Mapping[str, Any], seed: int
) -> "Pipeline":
    """The unfitted pipeline: the encoder, then what the candidate builds."""
    from sklearn.pipeline import Pipeline

    model = build(case, candidate, params, seed)
    encode = encoder(case, vectorizers_of(case, candidate, params), takes_sparse(model))
    return Pipeline([("encode", encode), ("model", model)])


def fit(
    case: UseCase, candidate: Candidate, params: Mapping[str, Any], rows: pl.DataFrame, seed: int
) -> "Pipeline":
    """Fit on ``rows``, all labelled.

    Raises ``ValueError`` for too few rows, a missing class or a column without any value,
    ``UseCaseFailed`` for a model that cannot be fitted."""
    check_rows(case, rows)
    whole = pipeline(case, candidate, params, seed)
    check_size(case, candidate, params, whole.named_steps["model"], rows)
    call = f"fit of candidate {candidate.name!r} on {len(rows)} rows"
    with calling(case.name, call, "Models are fitted on the encoded matrix of docs/use-cases.md."):
        if candidate.batch_rows is not None:
            _fit_in_batches(case, candidate, candidate.batch_rows, whole, rows, seed)
        elif _is_large(case, rows):
            _fit_large(case, whole, rows)
        else:
            whole.fit(inputs(case, rows), labels(case, rows), **weighing(case, whole, rows))
    if not isinstance(case.target, Number) and not hasattr(whole, "predict_proba"):
        raise WrongAnswers(
            f"{case.name}: candidate {candidate.name!r} is fitted to a "
            f"{type(whole[-1]).__name__} {_NO_PROBABILITIES}."
        )
    return whole


def _fit_large(case: UseCase, whole: "Pipeline", rows: pl.DataFrame) -> None:
    """As ``whole.fit``, with a matrix that is made once."""
    model = whole.named_steps["model"]
    fit_encoder(case, whole, rows)
    model.fit(encode(whole, case, rows), labels(case, rows), **_arguments(case, model, rows))


def _fit_in_batches(
    case: UseCase,
    candidate: Candidate,
    size: int,
    whole: "Pipeline",
    rows: pl.DataFrame,
    seed: int,
) -> None:
    fit_encoder(case, whole, rows)
    fit_batches(
        whole.named_steps["model"],
        lambda some: encode(whole, case, some),
        rows,
        labels(case, rows),
        row_weights(case, rows),
        size,
        candidate.passes,
        seed,
    )


def fit_encoder(case: UseCase, whole: "Pipeline", rows: pl.DataFrame) -> None:
    """Fit the encoder of an unfitted pipeline. Of many rows it gets the values of categories alone,
    since it learns nothing else of them."""
    some = _each_value(case, rows) if _is_large(case, rows) else rows
    whole.named_steps["encode"].fit(inputs(case, some))


def _each_value(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in which each category has all the values that it has in ``rows``, null among them."""
    values = {
        column.name: rows[column.name].unique()
        for column in case.columns
        if KINDS[column.kind].counted
    }
    size = max(map(len, values.values()), default=1)
    others = rows.head(size)
    return pl.DataFrame(
        {
            name: values[name].gather(np.arange(size) % len(values[name]))
            if name in values
            else others[name].gather(np.arange(size) % len(others))
            for name in case.column_names
        }
    )


def weighing(case: UseCase, whole: "Pipeline", rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """What ``fit`` of the pipeline is called with beside ``rows``."""
    return _arguments(case, whole, rows)


def _arguments(case: UseCase, model: Any, rows: pl.DataFrame) -> dict[str, np.ndarray]:
    return fit_arguments(model, row_weights(case, rows))


def check_rows(case: UseCase, rows: pl.DataFrame) -> None:
    """Raises ``ValueError`` for labelled rows that nothing can be trained on."""
    labels(case, rows)  # all are known
    missing = lacks(case, rows[case.label])
    if len(rows) < case.minimum_training_rows or missing:
        has = f", and {missing}" if missing else ""
        raise ValueError(
            f"{case.name!r} has {len(rows)} labelled rows to train on{has}; at least "
            f"{case.minimum_training_rows} with {_enough(case)} are needed."
        )
    if empty := [name for name in case.column_names if rows[name].null_count() == len(rows)]:
        raise ValueError(
            f"{case.name!r} has columns that are null in all {len(rows)} rows to train on: "
            f"{empty}. "
            "Nothing can be learned from them: repair the source, or remove them from columns "
            "until they have values."
        )


def _enough(case: UseCase) -> str:
    kinds = {"binary": "both classes", "classes": "every class", "number": "different values"}
    return kinds[case.target.kind]


def predict(fitted: "Pipeline", case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    """The answers of a fitted pipeline, as those of ``scores_of``."""
    if _is_large(case, rows):
        model = fitted.named_steps["model"]
        pieces = rows.iter_slices(max(1, _PIECE_CELLS // len(owners(case, fitted))))
        return np.concatenate(
            [scores_of(model, _encode_large(fitted, case, piece)) for piece in pieces]
        )
    size = rows_at_once(case, fitted)
    if len(rows) <= size:
        return scores_of(fitted, inputs(case, rows))
    return np.concatenate(
        [scores_of(fitted, inputs(case, piece)) for piece in rows.iter_slices(size)]
    )


def rows_at_once(case: UseCase, fitted: "Pipeline") -> int:
    """How many rows are encoded at a time: a few where their dense matrix would be large, and all
    without wide columns.
    """
    if not any(KINDS[column.kind].wide for column in case.columns):
        return sys.maxsize
    return max(1, _PIECE_CELLS // len(owners(case, fitted)))


def scores_of(fitted: Any, matrix: "np.ndarray | pd.DataFrame") -> np.ndarray:
    """The answers of a pipeline or of the model in it: the probability of a yes or the number
    ``(n_rows,)``, or the probability of each of several classes ``(n_rows, n_classes)``."""
    if not hasattr(fitted, "predict_proba"):
        return np.asarray(fitted.predict(matrix), dtype=np.float64).reshape(-1)
    chances: np.ndarray = fitted.predict_proba(matrix)
    return chances[:, 1] if chances.shape[1] == 2 else chances


def watched(case: UseCase, predicted: np.ndarray) -> pl.Series:
    """What drift is watched on of answers ``(n_rows,)`` or ``(n_rows, n_classes)``: the probability
    of a yes, the number, or the likeliest class; null for a NaN."""
    if isinstance(case.target, Classes):
        names = pl.Series(case.target.classes)[predicted.argmax(axis=1)]
        known = pl.Series(np.isfinite(predicted).all(axis=1))
        return names.set(~known, None).rename(SCORE)
    return pl.Series(SCORE, predicted, dtype=pl.Float64).fill_nan(None)
