"""What is known of one column of a table."""

from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

Kind = Literal["number", "category", "boolean", "datetime", "text", "none"]


@dataclass(frozen=True)
class Facts:
    """One column. ``values`` are those of the sample by its kind; of ``none`` there are none, and
    ``why`` says why it is left out. ``distinct`` is the share of distinct values among the known,
    ``order`` how its dates are read, ``ambiguous`` whether the month may as well stand first,
    ``date_format`` the form that is assumed then, ``zoned`` whether they need a zone, ``parts`` the
    columns of year, month and day that it is made of, and ``marks`` the texts that stand for null
    in it."""

    name: str
    kind: Kind
    values: pl.Series
    why: str = ""
    is_id: bool = False
    is_integer: bool = False
    distinct: float = 0.0
    order: str | None = None
    ambiguous: bool = False
    date_format: str | None = None
    zoned: bool = False
    parts: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def nulls(self) -> float:
        return self.values.null_count() / max(1, len(self.values))

    def without(self, why: str) -> "Facts":
        """The column left out."""
        return replace(self, kind="none", why=why)

    def unless_constant(self) -> "Facts":
        """Left out if its value never changes, and so tells nothing."""
        return self if self.values.n_unique() > 1 else self.without("always the same")
