"""Rows counted by day: nulls, categories and volume, and the statistics that compare a window's
days with the reference's."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from usecases.definition import UseCase

STANDING = 0.004  # a category with this share in every block is expected
STRANGER = 0.0004  # a category below this share of the reference is new
_LEAST_MASS = 0.03
_COMMON = 0.02  # a category with this share in every block is expected each day
_GONE = 5  # a standing category is lost below this part of its share
_TRIM = 0.1
_LEAST_NULLS = 0.005  # shares of nulls that differ by less are alike


@dataclass(frozen=True)
class Tally:
    """Counts by day, in the order of ``dates``: ``rows`` ``(n_days,)``, ``nulls`` by column
    ``(n_days,)``, ``categories`` by column and value ``(n_days,)``.
    """

    dates: list[date]
    rows: np.ndarray
    nulls: dict[str, np.ndarray]
    categories: dict[str, dict[str, np.ndarray]]

    def null_shares(self, days: np.ndarray) -> dict[str, float]:
        """Of the days whose flag is set ``(n_days,)``: the mean over days without the highest and
        lowest tenth, since one day of a dead sensor is no new share.
        """
        if not self.nulls:
            return {}
        shares = np.sort([count[days] / self.rows[days] for count in self.nulls.values()], axis=1)
        cut = int(_TRIM * shares.shape[1])
        means = shares[:, cut : shares.shape[1] - cut].mean(axis=1)
        return dict(zip(self.nulls, means.tolist(), strict=True))

    def category_shares(self, days: np.ndarray) -> dict[str, dict[str, float]]:
        rows = self.rows[days].sum()
        return {
            name: {value: float(count[days].sum() / rows) for value, count in values.items()}
            for name, values in self.categories.items()
        }


def time_of(case: UseCase, rows: pl.DataFrame) -> str:
    """The column of the events' time: the prediction log has its own name for it."""
    return "event_time" if "event_time" in rows.columns else case.event_time


def tally(case: UseCase, rows: pl.DataFrame, time: str) -> Tally:
    """Count the columns of the use case that ``rows`` have."""
    columns = [column.name for column in case.columns if column.name in rows.columns]
    texts = [name for name in columns if rows.schema[name] == pl.String]
    day = pl.col(time).dt.date().alias("_day")
    missing = [
        (pl.col(name).fill_nan(None) if rows.schema[name].is_float() else pl.col(name))
        .is_null()
        .sum()
        .alias(name)
        for name in columns
    ]
    by_day = rows.group_by(day).agg(pl.len().alias("_rows"), *missing).sort("_day")
    dates = by_day["_day"].to_list()
    place = {value: number for number, value in enumerate(dates)}
    categories: dict[str, dict[str, np.ndarray]] = {}
    for name in texts:
        counts = rows.group_by(day, name).agg(pl.len().alias("_rows")).drop_nulls(name)
        values = categories[name] = {}
        for when, value, count in counts.select("_day", name, "_rows").iter_rows():
            values.setdefault(value, np.zeros(len(dates)))[place[when]] = count
    return Tally(
        dates,
        by_day["_rows"].to_numpy(),
        {name: by_day[name].to_numpy() for name in columns},
        categories,
    )


def lost_and_new(
    now: dict[str, float], before: dict[str, list[float]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Categories that every block had and that are below a fifth of their share, with that share;
    and those that the reference lacks, with their share now.
    """
    mean = {value: float(np.mean(shares)) for value, shares in before.items()}
    lost = {
        value: share
        for value, share in mean.items()
        if min(before[value]) >= STANDING and now.get(value, 0.0) < share / _GONE
    }
    new = {value: share for value, share in now.items() if mean.get(value, 0.0) < STRANGER}
    return lost, new


def presence_by_day(
    counted: Tally, before: dict[str, dict[str, list[float]]], described: Collection[str] = ()
) -> np.ndarray:
    """The mass of the common categories that a day lacks, and of those that are new, of the column
    where it is largest ``(n_days,)``; 0 of less than 3 % of a day.

    ``before`` is the share in each block by column and value. Columns that are only ``described``,
    such as the day of the week, are left out.
    """
    largest = np.zeros(len(counted.dates))
    for name, values in counted.categories.items():
        if name not in before or name in described:
            continue
        mean = {value: float(np.mean(shares)) for value, shares in before[name].items()}
        moved = np.zeros(len(counted.dates))
        for value, share in mean.items():
            if min(before[name][value]) >= _COMMON:
                there = values.get(value, np.zeros(len(counted.dates)))
                moved += share * (there < counted.rows * share / _GONE)
        for value, count in values.items():
            if mean.get(value, 0.0) < STRANGER:
                moved += count / counted.rows
        largest = np.maximum(largest, moved)
    return np.where(largest >= _LEAST_MASS, largest, 0.0)


def null_move(now: float, before: float, rows: float) -> float:
    """How far a share of nulls moved, in log odds; 0 for shares that are alike."""
    if abs(now - before) < _LEAST_NULLS:
        return 0.0
    least = 0.5 / max(rows, 1)
    now, before = (float(np.clip(share, least, 1 - least)) for share in (now, before))
    return abs(float(np.log(now / (1 - now)) - np.log(before / (1 - before))))


def weekday_rows(dates: list[date], rows: np.ndarray) -> list[float]:
    """The mean rows of a Monday to Sunday; 0 of a weekday that has none."""
    weekday = np.array([day.weekday() for day in dates], dtype=int)
    return [
        float(rows[weekday == value].mean()) if (weekday == value).any() else 0.0
        for value in range(7)
    ]


def volumes(dates: list[date], rows: np.ndarray, weekdays: list[float]) -> tuple[float, np.ndarray]:
    """The logarithm of the volume against ``weekdays``: the median day's, and each day's beside it
    ``(n_days,)``. Days of unknown weekdays are 0.
    """
    expected = np.array([weekdays[day.weekday()] for day in dates])
    known = expected > 0
    moved = np.zeros(len(dates))
    moved[known] = np.log(np.maximum(rows[known], 0.5) / expected[known])
    level = float(np.median(moved[known])) if known.any() else 0.0
    return level, np.where(known, moved - level, 0.0)


def repeated_share(case: UseCase, rows: pl.DataFrame, time: str) -> float:
    """The share of the rows that an earlier one has, all columns and the time alike."""
    names = [time, *(column.name for column in case.columns if column.name in rows.columns)]
    return (
        1 - rows.select(pl.struct(names).hash().n_unique()).item() / len(rows) if len(rows) else 0.0
    )
