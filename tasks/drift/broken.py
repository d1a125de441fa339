"""Whether the data of a window are broken: the data are wrong, not the world, and a model fitted on
them would be worse than an old one.
"""

from collections.abc import Sequence

import polars as pl
from polars import selectors

from tasks.data.validation import batch_problems
from tasks.drift.distances import values
from usecases.definition import SCORE, Column, DriftPolicy, UseCase

_SCORE_NULLS = 0.05
# A unit jump multiplies small and large values alike: the ratios of these quantiles agree within
# this.
_QUANTILES = (0.25, 0.5, 0.75)
_AGREE = 1.5
_ENOUGH_VALUES = 100


def find_broken(
    case: UseCase, reference: pl.DataFrame, current: pl.DataFrame, days: int | None = None
) -> list[str]:
    """Why a window cannot be trusted at all; empty for a sound one. Each reason names its column in
    quotes.

    Evidently leaves nulls out, so a column that is 80 % empty reads as stable; a changed unit reads
    as drift. Of fewer ``days`` than the policy wants neither constants nor medians are looked at: a
    dry week has no rain, and nothing is broken (``None``: not known)."""
    whole = days is None or days >= case.drift.minimum_days
    if current.is_empty():
        return ["there are no predictions"]
    if problems := _wrong_schema(case, current):
        return problems
    current = current.with_columns(selectors.float().fill_nan(None))
    problems = batch_problems(case, current, medians=whole)
    for column in case.columns:
        problems += _odd_values(
            case.drift,
            column,
            values(reference[column.name]),
            values(current[column.name]),
            len(current),
            whole,
        )
    return problems + _odd_scores(reference, current)


def named_columns(case: UseCase, reasons: Sequence[str]) -> list[str]:
    """The columns that ``reasons`` name, in the order of the use case."""
    return [
        name
        for name in (*case.column_names, SCORE)
        if any(repr(name) in reason for reason in reasons)
    ]


def _wrong_schema(case: UseCase, current: pl.DataFrame) -> list[str]:
    found = []
    for column in case.columns:
        if column.name not in current.columns:
            found.append(f"column {column.name!r} is missing")
            continue
        dtype = current.schema[column.name]
        fits = (
            dtype.is_numeric() or dtype == pl.Boolean
            if column.kind == "number"
            else dtype in (pl.String, pl.Categorical, pl.Enum)
        )
        if not fits and dtype != pl.Null:
            found.append(f"column {column.name!r} arrives as {dtype}, and it is a {column.kind}")
    return found


def _odd_values(
    policy: DriftPolicy, column: Column, before: pl.Series, now: pl.Series, rows: int, whole: bool
) -> list[str]:
    found = []
    if now.is_empty() and not before.is_empty():
        found.append(f"column {column.name!r} has no value at all")
    if whole and now.n_unique() == 1 and before.n_unique() > 1:
        found.append(f"column {column.name!r} is constant ({now[0]!r})")
    if column.kind == "category" and not now.is_empty():
        strangers = (~now.is_in(before.unique().to_list())).sum() / rows
        if strangers > policy.new_category_tolerance:
            found.append(
                f"column {column.name!r} has {strangers:.1%} categories that the reference has not"
            )
    if column.kind == "number" and (times := _unit_jump(before, now, policy.unit_factor)):
        found.append(
            f"column {column.name!r} is {times:.3g} times what it was, small and large "
            "values alike: did its unit change?"
        )
    return found


def _unit_jump(before: pl.Series, now: pl.Series, factor: float) -> float | None:
    """By what all values were multiplied; None where that is less than ``factor`` either way, or
    nothing that multiplies them all.

    Told from the sizes of the values that are not zero: it works for rain, whose median is zero.
    Celsius for Fahrenheit is no multiple, and miles for kilometres too near to what weather and
    traffic do: the column's ``typical`` range tells those."""
    sizes = [side.cast(pl.Float64).abs() for side in (before, now)]
    sizes = [side.filter(side > 0) for side in sizes]
    if min(map(len, sizes)) < _ENOUGH_VALUES:
        return None
    ratios = [
        float(sizes[1].quantile(q) or 0) / float(sizes[0].quantile(q) or 1) for q in _QUANTILES
    ]
    alike = min(ratios) > 0 and max(ratios) / min(ratios) <= _AGREE
    return ratios[1] if alike and (min(ratios) >= factor or max(ratios) <= 1 / factor) else None


def _odd_scores(reference: pl.DataFrame, current: pl.DataFrame) -> list[str]:
    if SCORE not in current.columns or SCORE not in reference.columns:
        return []
    now, before = values(current[SCORE]), values(reference[SCORE])
    nulls = 1 - len(now) / len(current)
    found = (
        [f"column {SCORE!r} is missing in {nulls:.1%} of the predictions"]
        if nulls > _SCORE_NULLS
        else []
    )
    if now.n_unique() == 1 and before.n_unique() > 1:
        found.append(f"column {SCORE!r} is constant ({now[0]!r})")
    return found
