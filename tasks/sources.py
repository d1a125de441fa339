"""Where the rows of a use case are read: at its own source, or at the warehouse with its query."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blocks.warehouse import Warehouse, WarehouseError
from tasks.outside import warehouse
from usecases.definition import Source, SourceError, SqlSource, UseCase

if TYPE_CHECKING:
    import polars as pl


def source_of(case: UseCase) -> Source:
    """What answers ``periods`` and ``read`` for the use case. Raises ``NotRegistered`` where it is a query and there is no warehouse."""
    if isinstance(case.source, SqlSource):
        return Query(warehouse(), case.source.query, case.event_time)
    return case.source


@dataclass(frozen=True)
class Query:
    """A query of the warehouse as a source. Raises ``SourceError`` where it is refused, ``WarehouseAway`` where nobody answers."""

    warehouse: Warehouse
    query: str
    event_time: str

    def periods(self) -> list[str]:
        try:
            return self.warehouse.months(self.query, self.event_time)
        except WarehouseError as error:
            raise SourceError(str(error)) from error

    def read(self, period: str) -> "pl.DataFrame":
        try:
            return self.warehouse.read(self.query, self.event_time, period)
        except WarehouseError as error:
            raise SourceError(str(error)) from error
