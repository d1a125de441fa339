"""What is watched of an image or a text: a few numbers that describe it, in place of the value.

Two windows of images cannot be compared value by value; their brightness can. A column of a kind
with ``traits`` is ``picture.brightness``, ``picture.contrast`` and so on wherever drift is looked
at, and in the reference of a package."""

from collections.abc import Mapping

import polars as pl

from tasks.data.kinds import KINDS
from usecases.definition import Column, UseCase, trait_columns


def case_by_traits(case: UseCase) -> UseCase:
    """``case`` with number columns in place of those that have traits. Columns that the prediction
    log leaves out stay: nothing watches them.
    """
    return case.model_copy(
        update={"columns": tuple(own for column in case.columns for own in _watched(case, column))}
    )


def by_traits(case: UseCase, rows: pl.DataFrame) -> tuple[UseCase, pl.DataFrame]:
    """``case_by_traits``, and ``rows`` with its columns. Rows that have them already, such as a
    reference, stay as they are, and so do those of a case without traits.
    """
    wide = [
        column
        for column in case.columns
        if column.name in rows.columns and _watched(case, column) != (column,)
    ]
    for column in wide:
        numbers = zip(trait_columns(column), KINDS[column.kind].traits.values(), strict=True)
        rows = rows.with_columns(
            trait(rows[column.name]).alias(number.name) for number, trait in numbers
        )
    return case_by_traits(case), rows.drop(column.name for column in wide)


def texts_by_traits(case: UseCase, rows: pl.DataFrame) -> tuple[UseCase, pl.DataFrame]:
    """``by_traits`` for long texts alone, such as images: a date is compared as it is."""
    texts = tuple(
        column
        for column in case.columns
        if (kind := KINDS[column.kind]).traits and kind.dtype == pl.String
    )
    described, rows = by_traits(case.model_copy(update={"columns": texts}), rows)
    others = tuple(column for column in case.columns if column not in texts)
    return case.model_copy(update={"columns": (*others, *described.columns)}), rows


def share_out(case: UseCase, importance: Mapping[str, float]) -> dict[str, float]:
    """``importance`` of the columns as that of their traits, each of them the same."""
    shared: dict[str, float] = {}
    for column in case.columns:
        if column.name in importance:
            numbers = _watched(case, column)
            shared |= {own.name: importance[column.name] / len(numbers) for own in numbers}
    return shared


def _watched(case: UseCase, column: Column) -> tuple[Column, ...]:
    left_out = column.name in case.prediction_log.leave_out
    return (column,) if left_out else trait_columns(column) or (column,)
