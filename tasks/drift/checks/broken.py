"""Whether the data of a window are broken: the data are wrong, not the world, and a model fitted on
them would be worse than an old one.
"""

from collections.abc import Sequence
from datetime import timedelta

import polars as pl
from polars import selectors

from serving.records.reasons import because
from tasks.data.kinds import KINDS
from tasks.data.validation import batch_problems
from tasks.drift.checks.distances import values
from usecases.definition import SCORE, Column, DriftPolicy, UseCase
from usecases.definition.drift import WEEK_DAYS

_SCORE_NULLS = 0.05
_SHORT, _ENOUGH = timedelta(days=WEEK_DAYS), 100  # values of a window that tell something


def find_broken(
    case: UseCase, reference: pl.DataFrame, current: pl.DataFrame, days: int | None = None
) -> list[str]:
    """Why a window cannot be trusted at all; empty for a sound one. Each reason names its column in
    quotes.

    Evidently leaves nulls out, so a column that is 80 % empty reads as stable; a changed unit reads
    as drift. Of fewer ``days`` than the policy wants, or a week has, neither constants nor medians
    are looked at: a dry week has no rain, and nothing is broken (``None``: not known)."""
    whole = days is None or days >= (case.drift.minimum_days or WEEK_DAYS)
    if current.is_empty():
        return [because("no_predictions")]
    if problems := _wrong_schema(case, current):
        return problems
    current = current.with_columns(selectors.float().fill_nan(None))
    problems = batch_problems(case, current, medians=whole)
    for column in case.columns:
        before, now = values(reference[column.name]), values(current[column.name])
        odd = _odd_values(case.drift, column, before, now, len(current), whole)
        problems += [] if odd and len(now) and _was_odd(case, reference, column, whole) else odd
    return problems + _odd_scores(reference, current)


def named_columns(case: UseCase, reasons: Sequence[str]) -> list[str]:
    """The columns that ``reasons`` name, in the order of the use case."""
    return [
        name
        for name in (*case.column_names, SCORE)
        if any(repr(name) in reason for reason in reasons)
    ]


def _wrong_schema(case: UseCase, current: pl.DataFrame) -> list[str]:
    problems: list[str] = []
    for column in case.columns:
        if column.name not in current.columns:
            problems.append(because("column_missing", column=column.name))
            continue
        dtype = current.schema[column.name]
        if dtype != pl.Null and not KINDS[column.kind].holds(dtype):
            problems.append(
                because("column_of_type", column=column.name, dtype=str(dtype), kind=column.kind)
            )
    return problems


def _odd_values(
    policy: DriftPolicy, column: Column, before: pl.Series, now: pl.Series, rows: int, whole: bool
) -> list[str]:
    problems = []
    if now.is_empty() and not before.is_empty():
        problems.append(because("column_empty", column=column.name))
    if whole and now.n_unique() == 1 and before.n_unique() > 1:
        problems.append(because("column_constant", column=column.name, value=repr(now[0])))
    return problems + KINDS[column.kind].find_oddities(policy, column, before, now, rows)


def _was_odd(case: UseCase, reference: pl.DataFrame, column: Column, whole: bool) -> bool:
    """Whether one of the reference's own windows was odd too. Asked of windows of a week or less:
    some week has no rain, and some day is ten times as cold as most.
    """
    windows = case.drift_window
    if windows.longest > _SHORT or case.event_time not in reference.columns:
        return False
    before = values(reference[column.name])
    groups = reference.group_by(windows.names(pl.col(case.event_time)))
    return any(
        bool(_odd_values(case.drift, column, before, some, len(rows), whole))
        for _, rows in groups
        if len(some := values(rows[column.name])) >= _ENOUGH
    )


def _odd_scores(reference: pl.DataFrame, current: pl.DataFrame) -> list[str]:
    if SCORE not in current.columns or SCORE not in reference.columns:
        return []
    now, before = values(current[SCORE]), values(reference[SCORE])
    nulls = 1 - len(now) / len(current)
    problems: list[str] = (
        [because("column_missing_in_predictions", column=SCORE, nulls=nulls)]
        if nulls > _SCORE_NULLS
        else []
    )
    if now.n_unique() == 1 and before.n_unique() > 1:
        problems.append(because("column_constant", column=SCORE, value=repr(now[0])))
    return problems
