"""When the event of a row was, by which periods rows are held out, and what identifies a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from tasks.drafts.facts import Facts
from tasks.drafts.tables import NoDraft
from tasks.drafts.targets import Target
from tasks.drafts.words import BEGINNINGS, ENDINGS, LIFETIMES, words_of
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
_MOST_DUPLICATES = 0.05


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
        return f"{name}: its values are no dates"
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


@dataclass(frozen=True)
class Key:
    """The columns of the key, none if a row is known by its content, and why those. ``repeated``
    is the share of rows (0-1) that have the key of another one."""

    columns: tuple[str, ...]
    why: str
    repeated: float = 0.0


def key_of(
    facts: Mapping[str, Facts],
    timing: Timing,
    target: Target,
    inputs: Sequence[str],
    asked: Sequence[str] = (),
) -> Key:
    """What identifies a row: ids and the event time; its content if they do not. Raises
    ``NoDraft`` for a key that is ``asked`` for and does not.
    """
    time = [timing.column] if timing.column else []
    if asked:
        return _asked(facts, target, asked)
    ids = [
        name
        for name, one in facts.items()
        if one.is_id and one.why != "numbers the rows" and not one.nulls and name != target.name
    ]
    ways: list[tuple[str, ...]] = [(name,) for name in ids]
    if time:
        ways += [(*time, name) for name in ids] + ([(*time, *ids)] if ids else []) + [(*time,)]
    for way in ways:
        if not (repeated := _repeated(facts, way)):
            return Key(way, "another in each row")
    if time and ids and (repeated := _repeated(facts, (*time, *ids))) < _MOST_DUPLICATES:
        return Key((*time, *ids), "another in nearly each row", repeated)
    if not time:
        return Key((), "no column is an id: a row is known by its inputs")
    whole = [name for name in inputs if not facts[name].nulls and facts[name].kind != "text"]
    repeated = _repeated(facts, (*time, *whole))
    return Key((*time, *whole), "no column is an id: the time and all full columns", repeated)


def _asked(facts: Mapping[str, Facts], target: Target, asked: Sequence[str]) -> Key:
    if strangers := [name for name in asked if name not in facts]:
        raise NoDraft(f"--key names {strangers}; the table has {', '.join(facts)}.")
    if target.name in asked:
        raise NoDraft("--key names the target, which comes late and changes.")
    if (repeated := _repeated(facts, asked)) > 0.2:
        raise NoDraft(
            f"--key: {repeated:.0%} of the rows have the same {', '.join(asked)} as another row, "
            "and would go to quarantine. Name more columns, or leave --key out."
        )
    return Key(tuple(asked), "as asked", repeated)


def _repeated(facts: Mapping[str, Facts], names: Sequence[str]) -> float:
    rows = pl.DataFrame([facts[name].values.alias(str(at)) for at, name in enumerate(names)])
    return 1 - rows.n_unique() / max(1, len(rows))
