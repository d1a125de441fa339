"""Where the rows of a use case are read: at its own source, or at the warehouse with its query, and
what may come from there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from blocks.warehouse import Warehouse, WarehouseError
from tasks.outside.blocks_of_run import warehouse
from tasks.outside.user_code import UseCaseFailed, calling, describe_value
from usecases.definition import Source, SourceError, SqlSource, UseCase

_MONTH = re.compile(r"(19|20)\d\d-(0[1-9]|1[0-2])")
_MONTHS = "periods() gives the complete months, oldest first, as ['2024-01', '2024-02']."
_ROWS = "read(period) gives a Polars frame with every row of that month."
_CONVERSIONS = {
    "pandas.DataFrame": "polars.from_pandas(frame)",
    "polars.LazyFrame": "frame.collect()",
    "polars.Series": "frame.to_frame()",
    "pyarrow.Table": "polars.from_arrow(table)",
    "list": "polars.DataFrame(rows)",
    "dict": "polars.DataFrame(columns)",
    "ndarray": "polars.DataFrame(matrix, schema=names)",
}


def source_of(case: UseCase) -> Source:
    """What answers ``periods`` and ``read`` for the use case. Raises ``NotRegistered`` where it is
    a query and there is no warehouse.
    """
    if isinstance(case.source, SqlSource):
        return Checked(case.name, Query(warehouse(), case.source.query, case.event_time))
    return Checked(case.name, case.source)


@dataclass(frozen=True)
class Checked:
    """A source whose answers are what they should be.

    Raises ``SourceError`` as the source does, ``SourceAway`` for an outage, and ``UseCaseFailed``
    for whatever else goes wrong."""

    use_case: str
    source: Source

    def periods(self) -> list[str]:
        """Months of the form ``2024-01``, each once, oldest first."""
        with calling(self.use_case, "periods()", _MONTHS):
            answer: Any = self.source.periods()
            is_list = isinstance(answer, Iterable) and not isinstance(
                answer, str | bytes | dict | pl.DataFrame
            )
            months = list(answer) if is_list else None
        if months is None:
            raise UseCaseFailed(
                f"{self.use_case}: periods() gave {describe_value(answer)}. {_MONTHS}"
            )
        for month in months:
            if not isinstance(month, str) or not _MONTH.fullmatch(month):
                raise UseCaseFailed(
                    f"{self.use_case}: periods() gave "
                    f"{describe_value(month)}{_as_month(month)}. {_MONTHS}"
                )
        if repeated := sorted({month for month in months if months.count(month) > 1}):
            raise UseCaseFailed(f"{self.use_case}: periods() names {repeated} twice. {_MONTHS}")
        return sorted(months)

    def read(self, period: str) -> pl.DataFrame:
        """The rows of the month, a Polars frame."""
        call = f"read({period!r})"
        with calling(self.use_case, call, _ROWS):
            rows: Any = self.source.read(period)
        if not isinstance(rows, pl.DataFrame):
            raise UseCaseFailed(
                f"{self.use_case}: {call} gave {describe_value(rows)}{_as_frame(rows)}. {_ROWS}"
            )
        return rows


def _as_month(value: Any) -> str:
    """What to write in its stead, where that can be known."""
    if isinstance(value, date):
        return ": write period.strftime('%Y-%m')"
    parts = re.match(r"((?:19|20)\d\d)\D?(\d\d?)(?!\d\d)", str(value))
    return f": write '{parts[1]}-{int(parts[2]):02d}'" if parts and 1 <= int(parts[2]) <= 12 else ""


def _as_frame(value: Any) -> str:
    kind = type(value)
    name = f"{kind.__module__.split('.')[0]}.{kind.__name__}"
    conversion = _CONVERSIONS.get(name) or _CONVERSIONS.get(kind.__name__)
    return f": write return {conversion}" if conversion else ""


@dataclass(frozen=True)
class Query:
    """A query of the warehouse as a source. Raises ``SourceError`` where it is refused,
    ``WarehouseAway`` where nobody answers.
    """

    warehouse: Warehouse
    query: str
    event_time: str

    def periods(self) -> list[str]:
        try:
            return self.warehouse.months(self.query, self.event_time)
        except WarehouseError as error:
            raise SourceError(str(error)) from error

    def read(self, period: str) -> pl.DataFrame:
        try:
            return self.warehouse.read(self.query, self.event_time, period)
        except WarehouseError as error:
            raise SourceError(str(error)) from error
