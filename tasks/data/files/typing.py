"""Frames of texts, or of values as a Parquet file has them, become frames of the use case's types.

A text that is no number, or no time, becomes null, and its row gets a reason: it goes to
quarantine."""

from collections.abc import Iterable, Iterator

import polars as pl

from tasks.data.columns.booleans import booleans
from tasks.data.files import values
from tasks.data.files.values import Reading, Votes
from tasks.data.kinds import KINDS
from tasks.data.validation import REASON
from usecases.definition import ARRIVED, ROW_ID, Binary, Classes, Number, SourceError, UseCase

AT = "laurel_at"
"""The local time by which a row belongs to a period: its own, or that of the row before it."""


def wanted_columns(case: UseCase) -> list[str]:
    """The columns that a table of the use case has: rows that arrive have no time, and perhaps no
    key.
    """
    made = {ARRIVED, ROW_ID} if case.arrival else set()
    names = dict.fromkeys([*case.key, case.event_time, *case.column_names, case.label])
    return [name for name in names if name not in made]


class Typing:
    """``votes`` are those of all values: they say how dates are read, and whether labels are no
    numbers, where they may be either. Raises ``SourceError`` for dates that nobody can read."""

    def __init__(self, case: UseCase, reading: Reading, votes: Votes) -> None:
        self._case, self._reading = case, reading
        by_kind = {
            kind: {column.name for column in case.columns if column.kind == kind} for kind in KINDS
        }
        self._numbers, self._categories = by_kind["number"], by_kind["category"]
        self._booleans = by_kind["boolean"]
        self._dates = {name: votes.reading_of_dates(name, reading) for name in by_kind["datetime"]}
        if not (is_text_label(case) or (isinstance(case.target, Binary) and votes.words)):
            self._numbers.add(case.label)
        self._examples: dict[str, str] = {}

    def first_time(self, blocks: Iterable[pl.DataFrame]) -> object:
        """The first time that can be read; ``None`` if rows have no time. Raises ``SourceError``
        if none can be read.
        """
        if self._case.arrival:
            return None
        for block in blocks:
            known = self._times(block[self._case.event_time], self._reading)[0].drop_nulls()
            if len(known):
                return known[0]
        raise SourceError(f"No row has a time in {self._case.event_time!r}.")

    def frames(
        self, name: str, blocks: Iterable[pl.DataFrame], first: object
    ) -> Iterator[pl.DataFrame]:
        """The ``blocks`` of the file ``name``, typed, with ``AT`` and the reasons. ``first`` is
        the time of rows before the first that has one.
        """
        last = first
        for block in blocks:
            frame = self._frame(name, block)
            if self._case.arrival:
                yield frame
                continue
            at = frame[self._case.event_time].fill_null(strategy="forward").fill_null(last)
            last = at[-1] if len(at) else last
            yield frame.with_columns(at.alias(AT))

    def _frame(self, name: str, block: pl.DataFrame) -> pl.DataFrame:
        case, reasons, typed = self._case, [], []
        for texts in block:
            column, bad, word = texts.name, None, ""
            if column == REASON:
                reasons.append(texts)
                continue
            if column == case.event_time:
                texts, bad = self._times(texts, self._reading)
                word = "time"
            elif column in self._dates and (texts.dtype == pl.String or texts.dtype.is_temporal()):
                texts, bad = self._times(texts, self._dates[column])
                word = "date"
            elif column in self._numbers and texts.dtype == pl.String:
                texts, bad = values.numbers(texts, self._reading)
                word = "number"
            elif column in self._booleans and texts.dtype == pl.String:
                texts, bad = booleans(values.words(texts, self._reading))
                word = "boolean"
            elif column in self._categories:
                texts = _as_category(name, texts)
            if texts.dtype == pl.String:
                texts = values.words(texts, self._reading)
            if bad is not None and bad.any():
                reasons.append(self._reason(block[column], bad, word))
            typed.append(texts)
        reason = (
            pl.select(pl.concat_str(reasons, separator="; ", ignore_nulls=True)).to_series()
            if reasons
            else pl.Series([None] * len(block), dtype=pl.String)
        )
        return pl.DataFrame([*typed, reason.set(reason == "", None).alias(REASON)])

    def _times(self, moments: pl.Series, reading: Reading) -> tuple[pl.Series, pl.Series | None]:
        if moments.dtype == pl.String:
            return values.times(moments, reading)
        return values.local_times(moments, moments.name, reading.time_zone), None

    def _reason(self, texts: pl.Series, bad: pl.Series, word: str) -> pl.Series:
        example = self._examples.setdefault(texts.name, texts.filter(bad)[0][:40])
        reason = f"{texts.name}: no {word}, such as {example!r}"
        return pl.select(pl.when(bad).then(pl.lit(reason))).to_series()


def is_text_label(case: UseCase) -> bool:
    """Whether labels are texts, whatever they look like."""
    target = case.target
    return isinstance(target, Classes) or (
        isinstance(target, Binary) and isinstance(target.positive, str | bool)
    )


def count(votes: Votes, case: UseCase, block: pl.DataFrame) -> None:
    """Let the texts of ``block`` vote."""
    names = [column.name for column in case.columns if column.kind == "number"]
    if not is_text_label(case):
        names.append(case.label)
    for name in names:
        if name in block.columns and block.schema[name] == pl.String:
            votes.count_numbers(block[name])
            if name == case.label and not isinstance(case.target, Number):
                votes.count_words(block[name])
    if block.schema.get(case.event_time) == pl.String:
        votes.count_times(block[case.event_time])
    for name in (column.name for column in case.columns if column.kind == "datetime"):
        if block.schema.get(name) == pl.String:
            votes.count_dates(block[name])


def _as_category(name: str, codes: pl.Series) -> pl.Series:
    if codes.dtype.is_integer():
        return codes.cast(pl.String)
    if codes.dtype == pl.Boolean:
        return codes.cast(pl.String)
    if codes.dtype.is_float():
        raise SourceError(
            f"{name}: column {codes.name!r} holds numbers with a decimal point, and it is a "
            "category: write it as text."
        )
    return codes
