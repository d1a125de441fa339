"""When the event of a row was, and by which periods rows are held out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from tasks.drafts.inference.targets import Target
from tasks.drafts.reading.facts import Facts
from tasks.drafts.reading.tables import NoDraft
from tasks.drafts.reading.words import BEGINNINGS, ENDINGS, LIFETIMES, words_of
from usecases.definition import window_kind
from usecases.definition.periods import PeriodNoun

_PERIODS: tuple[PeriodNoun, ...] = ("month", "week", "day", "hour")
# What a hold-out has at least, so that it has the blocks that a contest needs.
_HOLDOUTS = {"month": 1, "week": 2, "day": 10, "hour": 10}
ARRIVAL_PERIODS, ARRIVAL_HOLDOUT = 10, 2
_LEAST_PERIODS = 6
_LEAST_ROWS, _LEAST_OF_CLASS = 200, 20
_MOST_NULL = 0.01
_DISTINCT = 5
_BEGUN = 0.5


@dataclass(frozen=True)
class Timing:
    """The ``column`` of the event time and its period, of which there are ``periods``, complete
    and labelled; without a column rows arrive. ``rows`` of all are in a usual period, and
    ``holdout_rows`` in the hold-out."""

    column: str | None
    period: PeriodNoun
    holdout_periods: int
    periods: int
    rows: int
    holdout_rows: int
    why: str

    @property
    def block(self) -> str:
        return "hour" if self.period == "hour" else "day"


def timing_of(
    facts: Mapping[str, Facts], target: Target, step: int, asked: str | None = None
) -> Timing:
    """The event time, ``asked`` for or found; every ``step``-th row is in the sample. Raises
    ``NoDraft`` for one that is asked for and cannot be it.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    refusals = []
    for name in [asked] if asked else _candidates(facts, target):
        if refusal := _unfit(facts, name):
            refusals.append(refusal)
            continue
        found = _periods(facts[name].values, target, step, now)
        if found is not None:
            return Timing(name, *found, f"{name}: the event")
        refusals.append(f"{name}: too few periods with rows enough to hold one out")
    if asked:
        raise NoDraft(f"--time {refusals[0]}. Leave --time out to let rows arrive.")
    rows = len(target.labels.drop_nulls()) * step // ARRIVAL_PERIODS
    why = "; ".join(refusals) or "no column says when the event was"
    held = rows * ARRIVAL_HOLDOUT
    return Timing(None, "week", ARRIVAL_HOLDOUT, ARRIVAL_PERIODS, rows, held, why)


def _candidates(facts: Mapping[str, Facts], target: Target) -> list[str]:
    """Columns of dates: those named after a beginning first, those after an end last, and the
    earliest in a row before others.
    """
    dated = [
        one
        for one in facts.values()
        if one.kind == "datetime"
        and one.name != target.name
        and not set(words_of(one.name)) & LIFETIMES
    ]
    return [
        one.name
        for one in sorted(
            dated,
            key=lambda one: (
                not _begins(one.name),
                bool(set(words_of(one.name)) & ENDINGS),
                one.values.median() or datetime.max,
            ),
        )
    ]


def _begins(name: str) -> bool:
    words = words_of(name)
    return bool(words) and words[0] in BEGINNINGS


def _unfit(facts: Mapping[str, Facts], name: str) -> str | None:
    column = facts.get(name)
    if column is None:
        return f"{name}: there is no such column, there are {', '.join(facts)}"
    if column.kind != "datetime":
        why = column.why if column.why.startswith("dates") else "its values are no dates"
        return f"{name}: {why}"
    if column.nulls > _MOST_NULL:
        return f"{name}: empty in {column.nulls:.0%} of the rows"
    if column.values.n_unique() <= _DISTINCT:
        return f"{name}: has {column.values.n_unique()} different dates only"
    return None


def _periods(
    moments: pl.Series, target: Target, step: int, now: datetime
) -> tuple[PeriodNoun, int, int, int, int] | None:
    """The longest period of which there are enough, the hold-out's, how many there are, and how
    many rows a usual one and the hold-out have; ``None`` if none will do."""
    rows = pl.DataFrame({"at": moments, "label": target.labels}).drop_nulls("at")
    smaller = None
    for noun in _PERIODS:
        kind = window_kind(noun)
        yes = (pl.col("label") == 1).sum() if target.kind == "binary" else pl.len()
        no = (pl.col("label") == 0).sum() if target.kind == "binary" else pl.len()
        each = (
            rows.group_by(kind.names(pl.col("at")).alias("period"))
            .agg(pl.len().alias("rows"), pl.col("label").count().alias("known"), yes=yes, no=no)
            .filter(pl.col("known") * 2 >= pl.col("rows"))
        )
        names = [
            name for name in each["period"] if kind.parse(name).end + kind.settles_after <= now
        ]
        each = each.filter(pl.col("period").is_in(names))
        if not len(each):
            continue
        median = int(each["known"].median() or 0) * step  # type: ignore[arg-type]
        rarer = pl.min_horizontal("yes", "no") if target.kind == "binary" else pl.col("rows")
        least = _LEAST_OF_CLASS if target.kind == "binary" else _LEAST_ROWS
        good = each.filter((pl.col("known") * step >= _LEAST_ROWS) & (rarer * step >= least))
        enough = max(_LEAST_PERIODS, 2 * _HOLDOUTS[noun] + 1)
        if len(good) >= enough and 2 * len(good) > len(each):
            return noun, *_held_out(each, _HOLDOUTS[noun], median, step)
        wanted = max(_HOLDOUTS[noun], -(-_LEAST_ROWS // max(1, median)))
        if smaller is None and len(each) >= max(_LEAST_PERIODS, 3 * wanted):
            smaller = noun, *_held_out(each, wanted, median, step)
    return smaller


def _held_out(
    each: pl.DataFrame, periods: int, median: int, step: int
) -> tuple[int, int, int, int]:
    """The periods of the hold-out, one more if the last has just begun: an export ends in the
    middle of a month. All periods, the rows of a usual one, and those of the hold-out.
    """
    rows = [count * step for count in each.sort("period")["known"]]
    if rows[-1] < _BEGUN * median:
        periods += 1
    return periods, len(rows), median, sum(rows[-periods:])
