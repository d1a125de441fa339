"""Learns the profile of a champion's training rows, once, when its package is made."""

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from tasks.data.traits import by_traits
from tasks.drift.profile.profile import (
    LEAST_LIMIT,
    Family,
    Profile,
    draw_days,
    family_of,
    store_relations,
)
from tasks.drift.profile.relations import (
    MOST_CATEGORIES,
    Days,
    Relations,
    View,
    days_of,
    encoding_of,
    fit_relations,
    largest_three,
    middle,
)
from tasks.drift.profile.tallies import (
    Tally,
    lost_and_new,
    null_move,
    presence_by_day,
    repeated_share,
    tally,
    volumes,
    weekday_rows,
)
from tasks.drift.thresholds import monitored
from tasks.drift.training_windows import BLOCK, cut
from usecases.definition import UseCase

_BLOCK_ROWS, _ALL_ROWS = 15_000, 120_000  # of which relations are learned
_CELLS = 40_000_000  # of their matrix at most: of hundreds of columns fewer rows are enough
_DRAWS = 20
_LEAST_R2 = 0.3  # a column that the others explain less has no relation to lose
# The least of each family, as a logarithm or a share. A limit is at least LEAST_LIMIT scales.
_LEAST = {
    "within": np.log(1.7),
    "over": np.log(1.7),
    "lost": 0.045,
    "new": 0.045,
    "nulls": np.log(2.8),
    "volume": np.log(1.5),
    "day": np.log(2.8),
}
_FLOORS = {name: float(least) / LEAST_LIMIT for name, least in _LEAST.items()}


def learn_profile(
    case: UseCase, training: pl.DataFrame, seed: int, stands_for: float = 1.0
) -> Profile:
    """The profile of ``training``, by day and by window. Each row ``stands_for`` so many that came.

    Relations are learned from at most 15,000 rows of a window and 120,000 in all, and fewer if
    there are hundreds of columns. Columns that are not monitored, and those that the prediction log
    leaves out, are no part of it."""
    case, training = by_traits(case, training)
    case = case.model_copy(update={"columns": tuple(monitored(case))})
    time, chance = case.event_time, np.random.default_rng(seed)
    rows, blocks = cut(case, training, seed, by_day=True)
    widest = sum(MOST_CATEGORIES if column.kind == "category" else 2 for column in case.columns)
    most = min(_BLOCK_ROWS, min(_ALL_ROWS, _CELLS // widest) // max(1, len(blocks)))
    some = pl.concat(_some(rows.filter(pl.col(BLOCK) == block), most, seed) for block in blocks)
    encoding = encoding_of(case, some)
    days, counted = days_of(encoding, some, time), tally(case, rows, time)
    of_day = [_block_of(rows, blocks, time, dates) for dates in (days.dates, counted.dates)]
    draws = draw_days(days.dates, case.drift_days, _DRAWS, chance)
    with threadpool_limits(1, user_api="blas"):  # small products: threads cost more than they bring
        within, of_within, _ = _learn_view("within", days, of_day[0], draws)
        over, of_over, daily = _learn_view("over", days, of_day[0], draws)
    names = list(encoding.numbers)
    families = {
        "within": _relations(names, within, of_within),
        "over": _relations(names, over, of_over),
    }
    drawn = draw_days(counted.dates, case.drift_days, _DRAWS, chance)
    families |= _learn_counts(counted, of_day[1], drawn)
    shares = [counted.category_shares(of_day[1] == number) for number in range(len(blocks))]
    categories = {
        name: {
            value: [round(block[name].get(value, 0.0), 6) for block in shares]
            for value in sorted(values)
        }
        for name, values in counted.categories.items()
    }
    every = np.ones(len(counted.dates), dtype=bool)
    spread, statistic = daily_statistics(over, daily)
    return Profile(
        window=case.drift_window.noun,
        blocks=len(blocks),
        rows_a_day=int(np.median(np.diff(np.append(days.starts, len(days.matrix))))),
        numbers=encoding.numbers,
        flags=encoding.flags,
        encoded=encoding.categories,
        within=store_relations(within),
        over=store_relations(over),
        categories=categories,
        nulls=counted.null_shares(every),
        repeats=max(
            repeated_share(case, rows.filter(pl.col(BLOCK) == block), time) for block in blocks
        ),
        weekdays=weekday_rows(counted.dates, counted.rows * stands_for),
        families=families,
        spread=spread,
        daily=statistic,
        present=np.round(presence_by_day(counted, categories, case.drift.described), 6).tolist(),
    )


def _some(rows: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    return rows.sample(min(most, len(rows)), shuffle=True, seed=seed)


def _block_of(rows: pl.DataFrame, blocks: list[str], time: str, dates: list) -> np.ndarray:
    """The number of the window of each of ``dates``."""
    day = rows.group_by(pl.col(time).dt.date().alias("_day")).agg(pl.col(BLOCK).first())
    by_day = dict(day.iter_rows())
    return np.array([blocks.index(by_day[value]) for value in dates])


def _learn_view(
    view: View, days: Days, block: np.ndarray, draws: list[np.ndarray]
) -> tuple[Relations, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The relations of all days; the statistics of each period against the others and of the draws;
    and the result by day.

    Days of a period follow each other, so that its Gram matrix is taken off the whole one."""
    bounds = [np.flatnonzero(block == number) for number in np.unique(block)]
    parts = [days.gram(view, some[0], some[-1] + 1) for some in bounds]
    whole = np.sum(parts, axis=0)
    relations, by_day = fit_relations(view, whole, days)
    out = [
        middle(fit_relations(view, whole - part, days, block != number)[1][some])
        for number, (part, some) in enumerate(zip(parts, bounds, strict=True))
        if len(parts) > 1
    ]
    drawn = [middle(by_day[flags]) for flags in draws]
    k = days.numbers
    return relations, (np.reshape(out, (len(out), k)), np.reshape(drawn, (len(drawn), k))), by_day


def _relations(
    names: list[str], relations: Relations, statistics: tuple[np.ndarray, np.ndarray]
) -> Family:
    """Only of columns that the others explain."""
    judged = relations.explained >= _LEAST_R2
    chosen = [name for name, flag in zip(names, judged, strict=True) if flag]
    out, draws = (side[:, judged] for side in statistics)
    return family_of(chosen, out, draws, _FLOORS[relations.view])


def _learn_counts(counted: Tally, block: np.ndarray, draws: list[np.ndarray]) -> dict[str, Family]:
    """The families of what is counted: categories lost and new, nulls, volume."""
    periods = [block == number for number in np.unique(block)]
    outside = [[other for other in periods if other is not inside] for inside in periods]
    pairs = [(inside, others) for inside, others in zip(periods, outside, strict=True) if others]
    of_draws = [(flags, periods) for flags in draws]
    out, drawn = ([_statistics(counted, *pair) for pair in side] for side in (pairs, of_draws))
    families = {}
    for name in ("lost", "new", "nulls", "volume", "day"):
        columns = sorted({key for side in (*out, *drawn) for key in side[name]})
        table = [
            np.array(
                [[side[name].get(key, 0.0) for key in columns] for side in several],
                dtype=np.float64,
            ).reshape(len(several), len(columns))
            for several in (out, drawn)
        ]
        families[name] = family_of(columns, table[0], table[1], _FLOORS[name])
    return families


def _statistics(
    counted: Tally, inside: np.ndarray, periods: list[np.ndarray]
) -> dict[str, dict[str, float]]:
    """Of the days ``inside`` against the ``periods``, by family and column."""
    others = np.any(periods, axis=0)
    now, before = counted.null_shares(inside), counted.null_shares(others)
    rows = float(counted.rows[inside].sum())
    shares, blocks = (
        counted.category_shares(inside),
        [counted.category_shares(period) for period in periods],
    )
    presence: dict[str, dict[str, float]] = {"lost": {}, "new": {}}
    for name, values in shares.items():
        listed = {value: [block[name][value] for block in blocks] for value in values}
        lost, new = lost_and_new(values, listed)
        presence["lost"][name], presence["new"][name] = sum(lost.values()), sum(new.values())
    dates = [day for day, flag in zip(counted.dates, inside, strict=True) if flag]
    reference = [day for day, flag in zip(counted.dates, others, strict=True) if flag]
    weekdays = weekday_rows(reference, counted.rows[others])
    level, beside = volumes(dates, counted.rows[inside], weekdays)
    return presence | {
        "nulls": {name: null_move(now[name], before[name], rows) for name in now},
        "volume": {"rows": abs(level)},
        "day": {"rows": float(np.max(np.abs(beside), initial=0.0))},
    }


def daily_statistics(relations: Relations, by_day: np.ndarray) -> tuple[list[float], list[float]]:
    """The standard deviation of each relation over the reference's days, 0 of those that are not
    judged, and the mean of the three largest standardised ones of each day.
    """
    judged = (relations.explained >= _LEAST_R2) & np.isfinite(by_day).any(axis=0)
    spread = np.zeros(by_day.shape[1])
    spread[judged] = np.nanstd(by_day[:, judged], axis=0)
    return np.round(spread, 6).tolist(), np.round(largest_three(by_day, spread), 6).tolist()
