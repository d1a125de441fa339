"""What is predicted: the column whose name decides, and whether it is a yes or no, one of several
classes, a number or a count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from tasks.drafts.reading.facts import Facts
from tasks.drafts.reading.tables import NoDraft
from tasks.drafts.reading.words import CLASSES, COUNTS, IDS, YES, target_rank, words_of

TargetKind = Literal["binary", "classes", "number", "count"]

MOST_CLASSES = 100
_MOST_CODES = 20
_MANY_ZEROS = 0.05
_COUNT_VALUES = 10
_LEAST_LABELLED = 0.5
_LEAST_ROWS = 30
# A hold-out of a fifth of the rows has one of so many with a chance of 99 %.
_LEAST_OF_CLASS = 21
_SHOWN = 8


@dataclass(frozen=True)
class Target:
    """``labels`` ``(n_sample_rows,)`` are 0 and 1, the names of classes, or numbers; null where
    they are not known. ``positive`` is the value that means yes, as ``Binary`` takes it. ``rare``
    are classes with too few rows to be learned, and how many those are."""

    name: str
    kind: TargetKind
    labels: pl.Series
    positive: str | int | float | None = None
    classes: tuple[str, ...] = ()
    rare: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_number(self) -> bool:
        return self.kind in ("number", "count")

    @property
    def share_of_yes(self) -> float:
        return float(self.labels.cast(pl.Float64).mean() or 0)  # type: ignore[arg-type]


def named_target(facts: Mapping[str, Facts]) -> str | None:
    """The column whose name says that it is the target; ``None`` if there is none."""
    ranks = {name: target_rank(name) for name in facts}
    known = {name: rank for name, rank in ranks.items() if rank is not None}
    return min(known, key=lambda name: known[name]) if known else None


def likely_targets(facts: Mapping[str, Facts]) -> list[str]:
    """Columns that can be asked about, the likeliest first: a yes or no, then the last ones."""
    able = [one for one in facts.values() if one.kind in ("boolean", "category", "number")]
    two = [one.name for one in able if one.values.drop_nulls().n_unique() == 2]
    last = [one.name for one in reversed(able)]
    return list(dict.fromkeys([*two[::-1], *last]))


def target_of(facts: Mapping[str, Facts], name: str) -> Target:
    """Raises ``NoDraft`` if nothing can be learned of the column."""
    if name not in facts:
        raise NoDraft(f"There is no column {name!r}. The table has {', '.join(facts)}.")
    column = facts[name]
    known = column.values.drop_nulls()
    if not len(known) or column.why == "empty":
        raise NoDraft(f"The target {name!r} is empty in all rows: give rows with a label.")
    if known.n_unique() == 1:
        raise NoDraft(
            f"The target {name!r} is {known[0]!s} in all rows: there is nothing to learn. Give "
            "rows of both kinds, or name another with --target."
        )
    if len(known) < _LEAST_LABELLED * len(column.values):
        raise NoDraft(
            f"The target {name!r} is empty in {column.nulls:.0%} of the rows, and periods are "
            "learned from where at least half of them have one: give the rows that are labelled."
        )
    if len(known) < _LEAST_ROWS:
        raise NoDraft(
            f"{len(known)} rows with a label are too few to learn and to judge a model on: give "
            f"at least {_LEAST_ROWS}, better some hundreds."
        )
    if column.kind == "datetime":
        raise NoDraft(f"The target {name!r} is a date: a yes or no, classes or a number are.")
    return _of_numbers(column) if column.values.dtype.is_numeric() else _of_words(column)


def _of_words(column: Facts) -> Target:
    labels = column.values
    counts = labels.drop_nulls().cast(pl.String).value_counts(sort=True)
    counted = dict(zip(counts[labels.name].to_list(), counts["count"].to_list(), strict=True))
    if len(counted) == 2:
        if labels.dtype == pl.Boolean:
            return Target(column.name, "binary", labels.cast(pl.Int8))
        yes = _positive(counted)
        return Target(column.name, "binary", (labels == yes).cast(pl.Int8), yes)
    return _classes(column.name, labels, counted)


def _of_numbers(column: Facts) -> Target:
    name, labels = column.name, column.values
    known, words = labels.drop_nulls(), set(words_of(column.name))
    distinct = known.unique().sort()
    if len(distinct) == 2:
        if set(distinct) == {0.0, 1.0}:
            return Target(name, "binary", labels.cast(pl.Int8))
        low, high = (int((known == value).sum()) for value in distinct)
        chosen = distinct[1] if high <= low else distinct[0]
        yes = int(chosen) if chosen == int(chosen) else float(chosen)
        return Target(name, "binary", (labels == yes).cast(pl.Int8), yes)
    if column.is_integer:
        codes = len(distinct) <= _MOST_CODES and distinct[-1] - distinct[0] == len(distinct) - 1
        if codes and words & CLASSES:
            texts = labels.cast(pl.Int64).cast(pl.String)
            counts = texts.drop_nulls().value_counts(sort=True).iter_rows()
            return _classes(name, texts, dict(counts))
        is_count = distinct[0] >= 0 and not _is_code(words)
        zeros = int((known == 0).sum()) / len(known)
        many = zeros > _MANY_ZEROS and len(distinct) > _COUNT_VALUES
        if is_count and (words & COUNTS or many):
            return Target(name, "count", labels)
    return Target(name, "number", labels)


def _is_code(words: set[str]) -> bool:
    return bool(words & IDS - COUNTS)


def _classes(name: str, labels: pl.Series, counted: Mapping[str, int]) -> Target:
    if len(counted) > MOST_CLASSES:
        raise NoDraft(
            f"The target {name!r} has {len(counted):,} different texts, and at most {MOST_CLASSES} "
            "can be classes: name another with --target, or group them."
        )
    rare = {word: count for word, count in counted.items() if count < _LEAST_OF_CLASS}
    often = tuple(sorted((word for word in counted if word not in rare), key=_natural))
    if sum(rare.values()) > 0.1 * sum(counted.values()) or len(often) < 2:
        few = ", ".join(f"{word} {count}" for word, count in list(rare.items())[:_SHOWN])
        raise NoDraft(
            f"The target {name!r} has classes with fewer than {_LEAST_OF_CLASS} rows ({few}): too "
            "few to learn and to judge. Give more rows, or group classes."
        )
    if len(often) == 2:
        yes = _positive({word: counted[word] for word in often})
        kept = labels.is_in(list(often)).fill_null(False)
        return Target(name, "binary", (labels == yes).cast(pl.Int8).set(~kept, None), yes, (), rare)
    return Target(name, "classes", labels, None, often, rare)


def _natural(word: str) -> tuple[float, str]:
    return (float(word), word) if word.lstrip("-").isdigit() else (float("inf"), word)


def _positive(counted: Mapping[str, int]) -> str:
    """A word for yes, else the rarer value."""
    yes = [word for word in counted if word.lower() in YES]
    return yes[0] if len(yes) == 1 else min(counted, key=lambda word: (counted[word], word))
