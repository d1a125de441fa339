"""Scores a frame of a batch with a package: by the functions that the service scores with, so that
the answers are the same to the bit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from serving.errors import InputError, PackageError
from serving.package.kinds import KINDS
from serving.package.model import Package
from serving.package.outputs import Output, number_places
from tasks.data.validation import REASON
from tasks.scores.row_rules import RowRules

ROW, VERSION, SCORED_AT = "row", "model_version", "scored_at"
OWN = (ROW, VERSION, SCORED_AT)
_MOST_KEPT = 1000
_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "number": pl.Float64,
    "bound": pl.Float64,
    "decision": pl.Boolean,
    "category": pl.String,
    "set": pl.List(pl.String),
}


@dataclass(frozen=True)
class Scored:
    """The rows of a frame in its order: ``answers`` (number of the row, key columns, a column for
    each output, version, time) and ``refused`` (number, all columns, reason). ``inputs`` are the
    answered rows as they were read."""

    answers: pl.DataFrame
    refused: pl.DataFrame
    inputs: pl.DataFrame


class Scorer:
    """Scores with ``package``, which is version ``version``; ``keep`` are the key columns.

    ``unknown`` counts the values that a row was scored without: categories that the package does
    not know, by column."""

    def __init__(
        self, package: Package, version: str, keep: Sequence[str], scored_at: datetime
    ) -> None:
        manifest = package.manifest
        self._package, self._keep = package, list(keep)
        self._outputs: Sequence[Output] = manifest.outputs
        self._numbers = number_places(manifest.outputs)
        self._rules = RowRules(manifest.features, manifest.dtype)
        self._known = {
            feature.name: feature.categories or []
            for feature in manifest.features
            if KINDS[feature.kind].coded
        }
        self._version, self._scored_at = version, scored_at
        self.unknown: dict[str, Counter[str]] = {name: Counter() for name in self._known}

    def score(self, rows: pl.DataFrame, first: int) -> Scored:
        """Score ``rows``, of which the first has the number ``first``.

        Raises ``PackageError`` if the model gives a number that is not finite."""
        rows = rows.with_columns(pl.int_range(first, first + len(rows), dtype=pl.Int64).alias(ROW))
        features = rows.select(self._package.names)
        reasons = self._rules.refusals(features)
        if REASON in rows.columns:
            reasons |= {row: rows[REASON][row] for row in rows[REASON].is_not_null().arg_true()}
        numbers, more = self._numbers_of(features, reasons)
        reasons |= more
        good = np.ones(len(rows), dtype=bool)
        good[list(reasons)] = False
        inputs = rows.filter(good)
        self._count_unknown(inputs)
        return Scored(self._answers(inputs, numbers), self._refused(rows, reasons), inputs)

    def _numbers_of(
        self, features: pl.DataFrame, refused: Mapping[int, str]
    ) -> tuple[np.ndarray, dict[int, str]]:
        """The model's numbers for the rows that are not refused, and which others are refused
        since their files cannot be read, and why."""
        rest = np.setdiff1d(np.arange(len(features)), list(refused))
        size, numbers = max(1, min(self._package.rows_at_once, len(features))), []
        more: dict[int, str] = {}
        for at in range(0, len(rest), size):
            positions = rest[at : at + size]
            matrix, bad = self._encoded(features[positions])
            more |= {int(positions[row]): reason for row, reason in bad.items()}
            if len(matrix):
                numbers.append(self._package.score(matrix))
        return (np.concatenate(numbers) if numbers else np.empty(0)), more

    def _encoded(self, features: pl.DataFrame) -> tuple[np.ndarray, dict[int, str]]:
        """The matrix, without the rows whose files cannot be read."""
        try:
            return self._package.encode(_columns(features)), {}
        except InputError as error:
            if error.row is None:
                raise
        bad: dict[int, str] = {}
        for row in range(len(features)):
            try:
                self._package.encode(_columns(features[row : row + 1]))
            except InputError as error:
                bad[row] = "F" + str(error).removeprefix("Row 0, f")
        left = np.setdiff1d(np.arange(len(features)), list(bad))
        if not len(left):
            return np.empty((0, self._package.width)), bad
        return self._package.encode(_columns(features[left])), bad

    def _answers(self, rows: pl.DataFrame, numbers: np.ndarray) -> pl.DataFrame:
        values = self._package.values_of(numbers) if len(rows) else [[] for _ in self._outputs]
        for place in self._numbers:
            finite = np.isfinite(values[place])
            if not finite.all():
                raise PackageError(
                    f"Version {self._version} gives no finite number for row "
                    f"{rows[ROW][int(np.argmin(finite))]:,}. Roll back, and look at the row's "
                    "values."
                )
        answers = [
            pl.Series(output.name, column, dtype=_TYPES[output.kind])
            for output, column in zip(self._outputs, values, strict=True)
        ]
        return rows.select(ROW, *self._keep).with_columns(
            *answers,
            pl.lit(self._version, pl.String).alias(VERSION),
            pl.lit(self._scored_at, pl.Datetime("us", "UTC")).alias(SCORED_AT),
        )

    def _refused(self, rows: pl.DataFrame, reasons: Mapping[int, str]) -> pl.DataFrame:
        positions = sorted(reasons)
        told = pl.Series("reason", [reasons[row] for row in positions], dtype=pl.String)
        names = dict.fromkeys([ROW, *self._keep, *self._package.names])
        return rows[positions].select(*names).with_columns(told)

    def _count_unknown(self, inputs: pl.DataFrame) -> None:
        for name, known in self._known.items():
            values = inputs[name].drop_nulls()
            strangers = values.filter(~values.is_in(known))
            if len(strangers):
                counted = self.unknown[name]
                for value, count in strangers.value_counts().iter_rows():
                    if value in counted or len(counted) < _MOST_KEPT:
                        counted[value] += count


def _columns(features: pl.DataFrame) -> dict[str, Sequence[Any]]:
    """Raw columns for the package: numbers as an array, null as NaN."""
    return {
        column.name: column.to_numpy() if column.dtype.is_float() else column.to_list()  # type: ignore[misc]
        for column in features
    }
