"""Write an answer's remarks beside the scores: ignored columns, and categories that were scored as
unknown.

A caller who misspelled a name or a value still gets an answer, as the protocol or the use case
requires, with a remark."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

IGNORED_HEADER = "X-Laurel-Ignored-Columns"
UNKNOWN_HEADER = "X-Laurel-Unknown-Categories"
MOST_SHOWN = 10
_MOST_KEPT = 1000
_LONGEST = 60


class UnknownCategory(msgspec.Struct, frozen=True):
    """A value that is not one of the field's categories. ``rows`` have it, ``row`` is the first;
    ``nearest`` is the category that it resembles.
    """

    field: str
    value: str
    row: int
    rows: int
    nearest: str | None = None

    @property
    def message(self) -> str:
        value = self.value if len(self.value) <= _LONGEST else f"{self.value[: _LONGEST - 3]}..."
        hint = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        return (
            f"Row {self.row}, field {self.field!r}: {value!r} is not one of its categories and "
            f"was scored as unknown ({self.rows} rows).{hint}"
        )


def merge(
    categories: Sequence[UnknownCategory], more: Iterable[UnknownCategory], first_row: int
) -> list[UnknownCategory]:
    """Add the unknown categories of rows from ``first_row`` on to those of earlier rows; at most
    ``_MOST_KEPT`` different ones are kept.
    """
    by_value = {(category.field, category.value): category for category in categories}
    for category in more:
        key = (category.field, category.value)
        if (before := by_value.get(key)) is not None:
            by_value[key] = msgspec.structs.replace(before, rows=before.rows + category.rows)
        elif len(by_value) < _MOST_KEPT:
            by_value[key] = msgspec.structs.replace(category, row=category.row + first_row)
    return list(by_value.values())


def header_list(names: Iterable[str]) -> str:
    """Names for a header, percent-encoded, separated by commas; excess names are only counted, as
    ``+3``.
    """
    all_names = list(names)
    texts = [_encoded(name) for name in all_names[:MOST_SHOWN]]
    return ", ".join(
        texts + ([f"+{len(all_names) - MOST_SHOWN}"] if len(all_names) > MOST_SHOWN else [])
    )


def _encoded(name: str) -> str:
    """The name in ASCII, without a comma, and short: a proxy accepts only a few kilobytes of
    headers.
    """
    whole = quote(name[:_LONGEST], safe=" ()=")
    if len(whole) <= _LONGEST and len(name) <= _LONGEST:
        return whole
    cut = whole[:_LONGEST]
    return (cut[: cut.rfind("%")] if "%" in cut[-2:] else cut) + "..."


def remark_headers(ignored: Sequence[str], unknown: Sequence[Any]) -> dict[str, str]:
    """The headers of an answer, each name and value once; none without remarks."""
    values = dict.fromkeys(f"{category.field}={category.value}" for category in unknown)
    headers = {IGNORED_HEADER: header_list(ignored)} if ignored else {}
    return headers | ({UNKNOWN_HEADER: header_list(values)} if unknown else {})
