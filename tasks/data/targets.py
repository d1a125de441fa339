"""What the flows do with the labels of each kind of target, from a batch to the array that a model
is fitted on.

What a use case says of its target is in ``usecases/definition/targets.py``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tasks.data.label_kinds import (
    as_text,
    binary_problem,
    classes_problem,
    number_problem,
    positives,
)
from usecases.definition import Binary, Classes, Number, UseCase


@dataclass(frozen=True)
class TargetKind:
    """How labels of one kind of target are handled.

    A batch has a ``problem`` (``None``: it has none), becomes the ``dtype`` by ``normalize``, and a
    row with one of ``row_faults`` goes to quarantine. ``truth`` is the array ``(n_rows,)`` that
    models learn: 0 and 1, the place of the class, or the number. ``lacks`` says in words what the
    known labels lack, so that nothing can be learned or judged on them; empty if nothing. Labels
    that come late lie in the lake as ``late_dtype``."""

    dtype: pl.DataType | type[pl.DataType]
    problem: Callable[[Any, pl.Series], str | None]
    normalize: Callable[[Any, pl.Series], pl.Series]
    row_faults: Callable[[Any, pl.Series], Mapping[str, pl.Series]]
    truth: Callable[[Any, pl.Series], np.ndarray]
    lacks: Callable[[Any, pl.Series], str]
    late_dtype: pl.DataType


def _zero_or_one(target: Binary, values: pl.Series) -> pl.Series:
    labels = values if target.positive is None else positives(target, values)
    return labels.cast(pl.Float64).fill_nan(None)


def _strange_classes(target: Classes, values: pl.Series) -> Mapping[str, pl.Series]:
    return {"unknown class": values.is_not_null() & ~values.is_in(list(target.classes))}


def _impossible_numbers(target: Number, values: pl.Series) -> Mapping[str, pl.Series]:
    low = -np.inf if target.low is None else target.low
    high = np.inf if target.high is None else target.high
    inside = values.is_finite() & values.is_between(low, high)
    return {"label out of range": values.is_not_null() & ~inside.fill_null(True)}


def _lacks_class(target: Classes, values: pl.Series) -> str:
    there = set(values.unique())
    missing = [name for name in target.classes if name not in there]
    return f"no row of the class {' or '.join(map(repr, missing))}" if missing else ""


def _lacks_second(target: Any, values: pl.Series) -> str:
    distinct = values.drop_nulls().unique()
    if len(distinct) > 1:
        return ""
    value = f"{distinct[0]:g}" if len(distinct) else "not known"
    return f"{target.label!r} is {value} in all of them"


def _places(target: Classes, values: pl.Series) -> np.ndarray:
    place = dict(zip(target.classes, range(len(target.classes)), strict=True))
    return values.replace_strict(place, return_dtype=pl.Int64).to_numpy()


TARGETS: Mapping[str, TargetKind] = {
    "binary": TargetKind(
        dtype=pl.Int8,
        problem=binary_problem,
        normalize=_zero_or_one,
        row_faults=lambda target, values: {},
        truth=lambda target, values: values.cast(pl.Int64).to_numpy(),
        lacks=_lacks_second,
        late_dtype=pl.Boolean(),
    ),
    "classes": TargetKind(
        dtype=pl.String,
        problem=classes_problem,
        normalize=lambda target, values: as_text(values),
        row_faults=_strange_classes,
        truth=_places,
        lacks=_lacks_class,
        late_dtype=pl.String(),
    ),
    "number": TargetKind(
        dtype=pl.Float64,
        problem=number_problem,
        normalize=lambda target, values: values.cast(pl.Float64).fill_nan(None),
        row_faults=_impossible_numbers,
        truth=lambda target, values: values.cast(pl.Float64).to_numpy(),
        lacks=_lacks_second,
        late_dtype=pl.Float64(),
    ),
}


def label_problem(case: UseCase, values: pl.Series) -> str | None:
    """Why ``values`` ``(n_rows,)`` are no labels of the use case, and what to write; ``None`` if
    they are."""
    return TARGETS[case.target.kind].problem(case.target, values)


def normalized_label(case: UseCase, values: pl.Series) -> pl.Series:
    """Labels of a batch as the lake keeps them, null where they are not known."""
    return TARGETS[case.target.kind].normalize(case.target, values)


def label_dtype(case: UseCase) -> Any:
    return TARGETS[case.target.kind].dtype


def label_faults(case: UseCase, values: pl.Series) -> Mapping[str, pl.Series]:
    """The rows ``(n_rows,)`` whose normalized label is impossible, by what is wrong with it."""
    return TARGETS[case.target.kind].row_faults(case.target, values)


def possible_labels(case: UseCase, values: pl.Series) -> pl.Series:
    """Whether each of the normalized labels is possible ``(n_rows,)``."""
    possible = pl.Series(np.ones(len(values), dtype=bool))
    for is_bad in label_faults(case, values).values():
        possible &= ~is_bad
    return possible


def truth_of(case: UseCase, values: pl.Series) -> np.ndarray:
    """Known labels as an array ``(n_rows,)``: 0 and 1, the place of the class, or the number."""
    return TARGETS[case.target.kind].truth(case.target, values)


def lacks(case: UseCase, values: pl.Series) -> str:
    """What labels lack, so that nothing can be learned or judged on them, in words; empty if
    nothing."""
    return TARGETS[case.target.kind].lacks(case.target, values)


def late_dtype(case: UseCase) -> pl.DataType:
    """The type of labels that come late: true or false, the class, or the number."""
    return TARGETS[case.target.kind].late_dtype
