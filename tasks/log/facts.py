"""Facts counted over all rows of a window, since a sample might miss them."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.data.kinds import KINDS
from usecases.definition import UseCase

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch

MOST_CATEGORIES = 10_000  # a column with more is an identifier, and would fill the memory


@dataclass(frozen=True)
class ColumnFacts:
    """Of one column. ``values`` and ``nulls`` count requests: a row logged with sample rate ``r``
    counts ``1 / r`` times.

    Rows of files without the column are not counted. ``minimum`` and ``maximum`` are of numbers
    and times, ``None`` if there is no value. ``counts`` are requests by category or boolean;
    ``None`` of others, and where there are more than 10,000."""

    values: float
    nulls: float
    minimum: float | datetime | None = None
    maximum: float | datetime | None = None
    counts: Mapping[str, float] | None = None

    @property
    def null_share(self) -> float:
        """0-1; not a number where nothing was counted."""
        total = self.values + self.nulls
        return self.nulls / total if total else math.nan

    @property
    def constant(self) -> bool:
        """Whether all values are one and the same; there is at least one. Never of texts and
        images.
        """
        if self.counts is not None:
            return len(self.counts) == 1
        return self.minimum is not None and self.minimum == self.maximum

    def strangers(self, categories: Collection[str]) -> float | None:
        """The share of the requests (0-1) with a category that is not in ``known``; ``None`` if
        they were too many to count.
        """
        if self.counts is None:
            return None
        total = self.values + self.nulls
        return (
            sum(count for name, count in self.counts.items() if name not in categories) / total
            if total
            else 0.0
        )


@dataclass
class _Column:
    """Counts by sample rate, which stay whole numbers until the end: the order of threads then
    cannot change the sum.
    """

    counted: bool
    described: bool = False  # by traits, as texts and images: Arrow knows no extremes of these
    values: Counter[float] = field(default_factory=Counter)
    nulls: Counter[float] = field(default_factory=Counter)
    low: Any = None
    high: Any = None
    names: dict[str, Counter[float]] = field(default_factory=dict)
    too_many: bool = False
    lock: Lock = field(
        default_factory=Lock
    )  # one a column: a thread works on one while another works on the next

    def take(self, array: "Array", rate: float) -> None:
        with self.lock:
            self._take(array, rate)

    def _take(self, array: "Array", rate: float) -> None:
        import pyarrow.compute as pc

        self.values[rate] += len(array) - array.null_count
        self.nulls[rate] += array.null_count
        if array.null_count == len(array) or self.described:
            return
        if not self.counted:
            extremes = pc.min_max(array)
            low, high = extremes["min"].as_py(), extremes["max"].as_py()
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
        elif not self.too_many:
            for entry in pc.value_counts(array).to_pylist():
                if entry["values"] is not None:
                    self.names.setdefault(entry["values"], Counter())[rate] += entry["counts"]
            if len(self.names) > MOST_CATEGORIES:
                self.too_many, self.names = True, {}

    def facts(self) -> ColumnFacts:
        counts = {name: _requests(self.names[name]) for name in sorted(self.names)}
        return ColumnFacts(
            values=_requests(self.values),
            nulls=_requests(self.nulls),
            minimum=self.low,
            maximum=self.high,
            counts=counts if self.counted and not self.too_many else None,
        )


def _requests(rows: Counter[float]) -> float:
    return sum(rows[rate] / rate for rate in sorted(rows))


class Tally:
    """Counts the use case's columns, and the outputs that are numbers or classes, over batches;
    from several threads. ``rates`` are the sample rates met.
    """

    def __init__(self, case: UseCase, columns: Collection[str] | None) -> None:
        kinds = {column.name: KINDS[column.kind] for column in case.columns}
        counted = {name: kind.counted for name, kind in kinds.items()}
        described = {
            name for name, kind in kinds.items() if kind.log_type == "text" and not kind.counted
        }
        counted |= {
            output.name: output.kind == "category"
            for output in case.outputs
            if output.kind not in ("decision", "set")
        }
        self._columns = {
            name: _Column(is_counted, name in described)
            for name, is_counted in counted.items()
            if columns is None or name in columns
        }
        self._met: set[str] = set()
        self._rows: Counter[float] = Counter()
        self._lock = Lock()

    @property
    def rates(self) -> list[float]:
        return sorted(self._rows)

    @property
    def rows(self) -> int:
        return self._rows.total()

    def add(self, batch: "RecordBatch", rates: np.ndarray) -> None:
        import pyarrow as pa

        distinct_rates = np.unique(rates)
        for rate in distinct_rates:
            part = batch if len(distinct_rates) == 1 else batch.filter(pa.array(rates == rate))
            names = [name for name in part.schema.names if name in self._columns]
            with self._lock:
                self._rows[float(rate)] += len(part)
                self._met.update(names)
            for name in names:
                self._columns[name].take(part.column(name), float(rate))

    def facts(self) -> dict[str, ColumnFacts]:
        """By column; of those that no file has, none."""
        return {name: column.facts() for name, column in self._columns.items() if name in self._met}
