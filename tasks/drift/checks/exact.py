"""Checks that need no calibration, since no world does what they find: values that are out of a
column's own bounds, and known categories that are spelled otherwise.

What they find starts no retrain: a refit would learn the mistake."""

import polars as pl

from serving.records.drift import Finding
from serving.records.reasons import Reason, because
from tasks.drift.checks.distances import values
from usecases.definition import Column, UseCase

SHARE = 0.005


def find_exact(case: UseCase, reference: pl.DataFrame, rows: pl.DataFrame) -> list[Finding]:
    """What no world does, in the columns that ``rows`` have; *broken* from half a percent of the
    rows, and *said* below.
    """
    findings = []
    for column in case.columns:
        if column.name not in rows.columns or rows.is_empty():
            continue
        known = set(column.categories or ())
        if column.name in reference.columns:
            known |= _texts(reference[column.name])
        findings += _impossible(column, rows) + _aliases(column, known, rows)
    return findings


def drop_impossible(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with null in place of numbers out of their column's bounds and of infinite ones: a
    distance counts none of them, and one infinite value does not spoil a month.
    """
    return rows.with_columns(
        pl.when(~_outside(column)).then(column.name).alias(column.name)
        for column in _numbers(case.columns, rows)
    )


def broken_from(limit: float, share: float, check: str, column: str, reason: str) -> Finding:
    """A finding in a ``share`` of the rows (0-1): *broken* from ``limit``, *said* below."""
    word = "broken" if share >= limit else "said"
    return Finding(check=check, word=word, column=column, value=share, limit=limit, reason=reason)


def _numbers(columns: tuple[Column, ...], rows: pl.DataFrame) -> list[Column]:
    return [
        column
        for column in columns
        if column.name in rows.columns and rows.schema[column.name].is_float()
    ]


def _outside(column: Column) -> pl.Expr:
    """Whether a number is impossible; null of a null."""
    value = pl.col(column.name).fill_nan(None)
    low = -float("inf") if column.low is None else column.low
    high = float("inf") if column.high is None else column.high
    return value.is_infinite() | (value < low) | (value > high)


def _texts(side: pl.Series) -> set[str]:
    return set(values(side).unique().to_list()) if side.dtype == pl.String else set()


def _impossible(column: Column, rows: pl.DataFrame) -> list[Finding]:
    if _numbers((column,), rows):
        outside = rows.select(_outside(column).fill_null(False).sum()).item()
        example = rows.filter(_outside(column)).head(1)[column.name]
    elif column.categories is not None and rows.schema[column.name] == pl.String:
        stranger = ~rows[column.name].is_in(list(column.categories))
        outside = int(stranger.fill_null(False).sum())
        example = rows[column.name].filter(stranger.fill_null(False)).head(1)
    else:
        return []
    if not outside:
        return []
    share = outside / len(rows)
    reason = _fault(column, _percent(share), repr(example[0]))
    return [broken_from(SHARE, share, "bounds", column.name, reason)]


def _fault(column: Column, share: str, example: str) -> Reason:
    """What is wrong with values that are impossible in the column."""
    name, low, high = column.name, column.low, column.high
    if column.categories is not None:
        known = [*column.categories]
        return because(
            "column_no_category", column=name, categories=known, share=share, example=example
        )
    if low is None and high is None:
        return because("column_infinite", column=name, share=share, example=example)
    if high is None:
        return because("column_below", column=name, low=low, share=share, example=example)
    if low is None:
        return because("column_above", column=name, high=high, share=share, example=example)
    return because("column_outside", column=name, low=low, high=high, share=share, example=example)


def _aliases(column: Column, known: set[str], rows: pl.DataFrame) -> list[Finding]:
    """Unknown categories that are known ones spelled otherwise."""
    if not known or rows.schema[column.name] != pl.String:
        return []
    by_form = {_plain(value): value for value in sorted(known)}
    counts = dict(rows[column.name].drop_nulls().value_counts().iter_rows())
    aliases = {
        value: count
        for value, count in counts.items()
        if value not in known and _plain(value) in by_form
    }
    share = sum(aliases.values()) / len(rows)
    if not aliases:
        return []
    most = max(aliases, key=lambda value: aliases[value])
    reason = because(
        "column_spelled",
        column=column.name,
        share=_percent(share),
        example=most,
        known=by_form[_plain(most)],
    )
    return [broken_from(SHARE, share, "alias", column.name, reason)]


def _plain(value: str) -> str:
    """The category without what a careless join or cast changes: case, blanks, zeros in front and
    a decimal ``.0``.
    """
    return value.strip().casefold().removesuffix(".0").lstrip("0") or "0"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.2g}"
