"""What kind of label a batch has, and what to write where the use case's target does not fit it.

Judged on the whole batch: rows set aside one by one would leave a yes-or-no model of what was a
number, a rating or a text, and nobody would have said where "yes" begins."""

import polars as pl

from usecases.definition import Binary, Classes, Number

_SHOWN = 5
_MOST_CLASSES_SHOWN = 12
_YES = ("yes", "true", "y", "t", "1", "1.0", "ja", "oui", "si", "positive", "pos")


def binary_problem(target: Binary, values: pl.Series) -> str | None:
    """Why ``values`` ``(n_rows,)`` are no labels, and what to write; ``None`` for 0, 1, true, false
    and null, and for any values where the target names the positive one.
    """
    if values.dtype == pl.Null or (values.dtype == pl.Boolean and target.positive is None):
        return None
    label = target.label
    if target.positive is not None:
        return _never_positive(target, values)
    if not values.dtype.is_numeric():
        return (
            f"column {label!r} holds {values.dtype}, expected 0, 1 or "
            f"null{_remedy_for_text(label, values)}"
        )
    numbers = values.cast(pl.Float64).fill_nan(None).drop_nulls()
    wrong = int((~numbers.is_in([0.0, 1.0])).sum())
    if not wrong:
        return None
    distinct = numbers.unique().sort().to_list()
    return (
        f"column {label!r} holds {_shown([f'{value:g}' for value in distinct])}: {wrong:,} of "
        f"{len(numbers):,} labels are neither 0 nor 1. {_remedy_for_numbers(label, distinct)}"
    )


def _never_positive(target: Binary, values: pl.Series) -> str | None:
    """Two values of which none is the positive one are likelier a spelling than all a no."""
    if values.dtype.is_nested() or values.dtype.is_temporal():
        return f"column {target.label!r} holds {values.dtype}, expected text, numbers or booleans"
    if is_number(target.positive) and not values.dtype.is_numeric():
        return (
            f"column {target.label!r} holds {values.dtype}, and positive={target.positive!r} is a "
            f"number: write positive={str(target.positive)!r}"
        )
    if positives(target, values).any():
        return None
    names = as_text(values).drop_nulls().unique().sort().to_list()
    if len(names) < 2:
        return None
    return (
        f"column {target.label!r} holds {_shown([repr(name) for name in names])}, and "
        f"positive={target.positive!r} is none of them: check its spelling"
    )


def positives(target: Binary, values: pl.Series) -> pl.Series:
    """Whether each label is the positive value ``(n_rows,)``; null where it is not known."""
    if is_number(target.positive):
        return values.cast(pl.Float64).fill_nan(None) == target.positive
    positive = target.positive
    return as_text(values) == (str(positive).lower() if isinstance(positive, bool) else positive)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_text(values: pl.Series) -> pl.Series:
    """Labels as texts, null where they are not known. pandas makes floats of integers with gaps, so
    that 3.0 is written as 3."""
    known = values.fill_nan(None) if values.dtype.is_float() else values
    return known.cast(pl.String).str.replace(r"^(-?\d+)\.0$", "$1")


def classes_problem(target: Classes, values: pl.Series) -> str | None:
    """Why ``values`` ``(n_rows,)`` are no classes, and what to write; ``None`` if they are."""
    dtype = values.dtype
    if dtype.is_float():
        numbers = values.fill_nan(None).drop_nulls()
        known = bool((numbers == numbers.round()).all())
    else:
        known = dtype in (pl.Null, pl.String, pl.Categorical, pl.Enum) or dtype.is_integer()
    if not known:
        return (
            f"column {target.label!r} holds {dtype}, expected the names of classes or integers. "
            f"For a number write Number(label={target.label!r}), for a yes or no "
            f"Binary(label={target.label!r})"
        )
    strangers = sorted(set(as_text(values).drop_nulls().unique()) - set(target.classes))
    if len(strangers) <= max(1, len(target.classes) // 4):
        return None  # single rows of an unknown class go to quarantine
    return (
        f"column {target.label!r} holds {_shown([repr(name) for name in strangers])}, which are "
        f"not among the classes {list(target.classes)}: name all of them in classes"
    )


def number_problem(target: Number, values: pl.Series) -> str | None:
    """Why ``values`` ``(n_rows,)`` are no numbers, and what to write; ``None`` if they are."""
    if values.dtype == pl.Null or (values.dtype.is_numeric() and values.dtype != pl.Boolean):
        return None
    if values.dtype == pl.Boolean:
        return f"column {target.label!r} holds true and false: write Binary(label={target.label!r})"
    hint = ""
    if values.dtype == pl.String:
        hint = (
            f". In read: rows.with_columns(pl.col({target.label!r}).str.replace(',', '.')"
            ".cast(pl.Float64))"
        )
    return f"column {target.label!r} holds {values.dtype}, expected numbers{hint}"


def _shown(values: list[str]) -> str:
    return ", ".join(values[:_SHOWN]) + (", ..." if len(values) > _SHOWN else "")


def _remedy_for_numbers(label: str, distinct: list[float]) -> str:
    if len(distinct) <= 2:
        return f"Say which one means yes, as Binary(label={label!r}, positive={distinct[-1]:g})"
    middle = distinct[len(distinct) // 2]
    whole = all(value == int(value) for value in distinct if abs(value) < 2**53)
    classes = (
        f", for classes Classes(label={label!r}, "
        f"classes=({', '.join(repr(f'{value:g}') for value in distinct)}))"
        if whole and len(distinct) <= _MOST_CLASSES_SHOWN
        else ""
    )
    return (
        f"To predict a number write Number(label={label!r}){classes}; for a yes or no say in read "
        f"where yes begins, as rows.with_columns(pl.col({label!r}) >= {middle:g})"
    )


def _remedy_for_text(label: str, values: pl.Series) -> str:
    if not isinstance(values.dtype, pl.String | pl.Categorical | pl.Enum):
        return ""
    distinct = values.cast(pl.String).drop_nulls().unique().sort().to_list()
    if not distinct:
        return (
            ". Every label is null: write "
            f"rows.with_columns(pl.col({label!r}).cast(pl.Int8)) in read"
        )
    examples = _shown([repr(value) for value in distinct])
    if len(distinct) > 2:
        return f". Its values are {examples}: write Classes(label={label!r}, classes=({examples}))"
    yes = next((value for value in distinct if value.strip().lower() in _YES), distinct[-1])
    return (
        f". Its values are {examples}: say which one means yes, as "
        f"Binary(label={label!r}, positive={yes!r})"
    )
