"""Booleans as sources write them: as booleans, as the 1 and 0 of databases without them, and in
files as words."""

import polars as pl

from serving.package.kinds import BOOLEANS

_WORDS = {word: value for word, value in BOOLEANS.items() if isinstance(word, str)}


def misfit_of_booleans(values: pl.Series) -> str | None:
    """Why ``values``, booleans or numbers, are no booleans; ``None`` if they are. Numbers are if
    each of them is 1, 0 or null: MariaDB and SQLite have no other booleans.
    """
    if not values.dtype.is_numeric():
        return None
    numbers = values.cast(pl.Float64).fill_nan(None)
    others = numbers.filter(~numbers.is_in([0.0, 1.0]))
    if others.is_empty():
        return None
    return (
        f"has numbers other than 1 and 0, such as {others[0]:g}, and is a boolean: compare them in "
        f"the source, as in pl.col({values.name!r}) > 0, or make it a number"
    )


def as_boolean(name: str) -> pl.Expr:
    """The booleans of a column that fits. pandas says NaN for null."""
    return pl.col(name).cast(pl.Float64).fill_nan(None).cast(pl.Boolean)


def booleans(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The booleans that texts of a file are, ``(n_rows,)``, and whether each text is none though
    it is not null.
    """
    words = texts.str.to_lowercase()
    values = words.replace_strict(_WORDS, default=None, return_dtype=pl.Boolean)
    return values, texts.is_not_null() & values.is_null()
