"""Where the rows of a use case are read: at its own source, or at the warehouse with its query, and
what may come from there.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from blocks.lake import Lake
from tasks.data.arrivals import Arrivals
from tasks.data.dataset import Mark
from tasks.data.tables import Cursor, Files, Frame, Query
from tasks.outside.blocks_of_run import lake, warehouse
from tasks.outside.user_code import UseCaseFailed, calling, describe_value
from usecases.definition import (
    FileSource,
    FrameSource,
    PeriodKind,
    Source,
    SqlSource,
    TableSource,
    UseCase,
    period_named,
)

_CONVERSIONS = {
    "pandas.DataFrame": "polars.from_pandas(frame)",
    "polars.LazyFrame": "frame.collect()",
    "polars.Series": "frame.to_frame()",
    "pyarrow.Table": "polars.from_arrow(table)",
    "list": "polars.DataFrame(rows)",
    "dict": "polars.DataFrame(columns)",
    "ndarray": "polars.DataFrame(matrix, schema=names)",
}


def source_of(case: UseCase, store: Lake | None = None) -> "Checked":
    """What answers ``periods`` and ``read`` for the use case; rows without a time arrive after
    those that ``store`` has, the registered lake by default. Raises ``NotRegistered`` if it is
    a query and there is no warehouse.
    """
    kind, source = case.period_kind, case.source
    if not isinstance(source, TableSource):
        return Checked(case.name, kind, source)
    table = _table_of(case, source)
    return Checked(
        case.name, kind, Arrivals(case, table, store or lake()) if case.arrival else table
    )


def _table_of(case: UseCase, source: TableSource) -> Query | Files | Frame:
    if isinstance(source, SqlSource):
        cursor = Cursor(source.cursor_column, _rules(case)) if source.cursor_column else None
        return Query(warehouse(), source.query, case.event_time, case.period_kind, cursor)
    if isinstance(source, FileSource):
        return Files(case, source)
    assert isinstance(source, FrameSource)
    return Frame(case, source)


def _rules(case: UseCase) -> str:
    """A digest of what rows of the use case are read and checked by."""
    content = case.model_dump(mode="json", include={"source", "key", "event_time", "columns"})
    content["target"] = case.target.model_dump(mode="json")
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Checked:
    """A source whose answers are checked.

    Raises ``SourceError`` as the source does, ``SourceAway`` for an outage, and ``UseCaseFailed``
    for whatever else goes wrong."""

    use_case: str
    kind: PeriodKind
    source: Source

    @property
    def notes(self) -> tuple[str, ...]:
        """What the source found out by itself, for people; most find nothing."""
        return tuple(getattr(self.source, "notes", ()))

    def mark(self, period: str) -> Mark | None:
        """What the source says of the period without reading it; most say nothing."""
        find = getattr(self.source, "mark", None)
        return find(period) if find else None

    def periods(self) -> list[str]:
        """Names of periods, each once, oldest first."""
        first = self.kind.containing(date(2024, 1, 1))
        expectation = (
            f"periods() must return the complete {self.kind.noun}s, oldest first, such as "
            f"{[first.name, self.kind.next(first).name]}."
        )
        with calling(self.use_case, "periods()", expectation):
            answer: Any = self.source.periods()
            is_list = isinstance(answer, Iterable) and not isinstance(
                answer, str | bytes | dict | pl.DataFrame
            )
            names = list(answer) if is_list else None
        if names is None:
            raise UseCaseFailed(
                f"{self.use_case}: periods() returned {describe_value(answer)}. {expectation}"
            )
        for name in names:
            if not isinstance(name, str) or not self._may_be(name):
                raise UseCaseFailed(
                    f"{self.use_case}: periods() returned "
                    f"{describe_value(name)}{self._instead(name)}. {expectation}"
                )
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise UseCaseFailed(f"{self.use_case}: periods() names {repeated} twice. {expectation}")
        return sorted(names, key=period_named)

    def _instead(self, value: Any) -> str:
        """The suggested replacement, if one can be derived."""
        suggestion = self.kind.suggest(value)
        return f": write {suggestion}" if suggestion else ""

    def _may_be(self, name: str) -> bool:
        """A year with a digit too few or too many is a typing error."""
        period = self.kind.find(name)
        return period is not None and 1900 <= period.last.year <= 2099

    def read(self, period: str) -> pl.DataFrame:
        """The rows of the period, a Polars frame."""
        call = f"read({period!r})"
        expectation = (
            f"read(period) must return a Polars frame with every row of that {self.kind.noun}."
        )
        with calling(self.use_case, call, expectation):
            rows: Any = self.source.read(period)
        if not isinstance(rows, pl.DataFrame):
            raise UseCaseFailed(
                f"{self.use_case}: {call} returned {describe_value(rows)}"
                f"{_as_frame(rows)}. {expectation}"
            )
        return rows


def _as_frame(value: Any) -> str:
    kind = type(value)
    name = f"{kind.__module__.split('.')[0]}.{kind.__name__}"
    conversion = _CONVERSIONS.get(name) or _CONVERSIONS.get(kind.__name__)
    return f": write return {conversion}" if conversion else ""
