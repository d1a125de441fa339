"""What kind of label a batch has: 0 and 1, or something that a use case has to turn into them
itself.

Judged on the whole batch: rows set aside one by one would leave a yes-or-no model of what was a
number, a rating or a text, and nobody would have said where "yes" begins."""

import polars as pl

_SHOWN = 5
_YES = ("yes", "true", "y", "t", "1", "1.0", "ja", "oui", "si", "positive", "pos")


def label_problem(label: str, values: pl.Series) -> str | None:
    """Why ``values`` ``(n_rows,)`` are no labels, and what to write; ``None`` for 0, 1, true, false
    and null.
    """
    if values.dtype in (pl.Boolean, pl.Null):
        return None
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
    examples = ", ".join(f"{value:g}" for value in distinct[:_SHOWN]) + (
        ", ..." if len(distinct) > _SHOWN else ""
    )
    return (
        f"column {label!r} holds {examples}: {wrong:,} of {len(numbers):,} labels are neither 0 "
        "nor 1. "
        f"Say in read which ones are 1, {_remedy_for_numbers(label, distinct)}"
    )


def _remedy_for_numbers(label: str, distinct: list[float]) -> str:
    if len(distinct) <= 2:
        return f"as rows.with_columns(pl.col({label!r}) == {distinct[-1]:g}); null stays null"
    middle = distinct[len(distinct) // 2]
    return (
        f"as rows.with_columns(pl.col({label!r}) >= {middle:g}) if that is where yes begins; "
        "null stays null"
    )


def _remedy_for_text(label: str, values: pl.Series) -> str:
    if not isinstance(values.dtype, pl.String | pl.Categorical | pl.Enum):
        return ""
    distinct = values.cast(pl.String).drop_nulls().unique().sort().to_list()
    examples = ", ".join(repr(value) for value in distinct[:_SHOWN]) + (
        ", ..." if len(distinct) > _SHOWN else ""
    )
    if not distinct:
        return (
            ". Every label is null: write "
            f"rows.with_columns(pl.col({label!r}).cast(pl.Int8)) in "
            "read"
        )
    yes = next((value for value in distinct if value.strip().lower() in _YES), distinct[-1])
    return (
        f". Its values are {examples}: say in read which ones are 1, as "
        f"rows.with_columns(pl.col({label!r}) == {yes!r}); null stays null"
    )
