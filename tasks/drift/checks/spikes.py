"""A single value with new mass in a column of numbers: a default that stands for *missing*, such as
0 or -9999, where the reference has none."""

from datetime import timedelta

import numpy as np
import polars as pl

from serving.records.drift import Finding
from serving.records.reasons import because
from tasks.drift.checks.distances import values
from usecases.definition import UseCase
from usecases.definition.drift import WEEK_DAYS

SHARE = 0.015
_TIMES = 3  # a spike is as many times as common as in any window of the reference
_BESIDE = 0.1  # standard deviations to either side: a spike has no new mass there
_FEW_VALUES, _MASS = 50, 0.9  # so many values hold so much of a column of categories in numbers
_STRANGER = 0.0004  # of the rows of a window: a value that the reference hardly has
_LEAST_ROWS = 200  # of a window of the reference whose shares count
_VISIBLE = 0.003  # from this share on a value stands out by itself


def find_spikes(
    case: UseCase, reference: pl.DataFrame, rows: pl.DataFrame, time: str
) -> list[Finding]:
    """Spikes of ``rows``, from 1.5 % of them on at least half of the days; none where most other
    values are new as well, as after a change of precision.

    In a window shorter than a week a spike is *said*: values that change slowly, such as the mean
    of a day, are as common in one by nature. In a column of few values, such as the seats of
    planes, a new value may be the world's and more of an old one is: a new one is *said*, unless it
    lies a standard deviation beyond all others."""
    findings, long = [], case.drift_window.longest >= timedelta(days=WEEK_DAYS)
    for column in case.columns:
        if column.kind != "number" or not {column.name} <= {*reference.columns} & {*rows.columns}:
            continue
        if len(values(reference[column.name])) < 100 or values(rows[column.name]).is_empty():
            continue
        findings += [
            _finding(column.name, value, share, sure and long)
            for value, share, sure in _spikes(case, column.name, reference, rows, time)
        ]
    return findings


def _spikes(
    case: UseCase, name: str, reference: pl.DataFrame, rows: pl.DataFrame, time: str
) -> list[tuple[float, float, bool]]:
    before = values(reference[name])
    counts = values(rows[name]).value_counts(sort=True)
    common = {
        float(value): count / len(rows)
        for value, count in counts.head(30).iter_rows()
        if count >= _VISIBLE * len(rows)
    }
    candidates = [value for value, share in common.items() if share >= SHARE]
    if not candidates:
        return []
    most = _largest_shares(case, name, reference, list(common))
    fresh = {
        value: share
        for value, share in common.items()
        if share >= _TIMES * most[value] and share - most[value] >= min(SHARE, share * 0.6)
    }
    spikes = [
        value for value in candidates if value in fresh and fresh[value] - most[value] >= SHARE
    ]
    other = sum(common.values()) - sum(common[value] for value in spikes)
    new = sum(fresh.values()) - sum(fresh[value] for value in spikes)
    if not spikes or len(spikes) > 3 or (other and new > other / 2):
        return []
    sd = float(before.std() or 0.0)  # type: ignore[arg-type]
    low, high = float(before.min()), float(before.max())  # type: ignore[arg-type]
    few = before.value_counts(sort=True)["count"].head(_FEW_VALUES).sum() >= _MASS * len(before)
    return [
        (value, common[value], not few or not low - sd <= value <= high + sd)
        for value in spikes
        if (not few or most[value] < _STRANGER)
        and _on_most_days(name, rows, value, time)
        and _alone(name, reference, rows, value, sd)
    ]


def _largest_shares(
    case: UseCase, name: str, reference: pl.DataFrame, common: list[float]
) -> dict[float, float]:
    """The largest share of each value in a window of the reference, of those with rows enough to
    tell; in all of it if no window has.
    """
    windows = case.drift_window.names(pl.col(case.event_time))
    values_of = [
        (pl.col(name) == value).mean().alias(str(number)) for number, value in enumerate(common)
    ]
    shares = reference.group_by(windows).agg(pl.len(), *values_of)
    shares = shares.filter(pl.col("len") >= _LEAST_ROWS)
    shares = reference.select(values_of) if shares.is_empty() else shares
    return {
        value: float(shares[str(number)].max() or 0.0)  # type: ignore[arg-type]
        for number, value in enumerate(common)
    }


def _on_most_days(name: str, rows: pl.DataFrame, value: float, time: str) -> bool:
    by_day = rows.group_by(pl.col(time).dt.date()).agg((pl.col(name) == value).mean())
    return bool((by_day[name] >= SHARE / 2).mean() >= 0.5)  # type: ignore[operator]


def _alone(name: str, reference: pl.DataFrame, rows: pl.DataFrame, value: float, sd: float) -> bool:
    """Whether the values beside ``value`` have no new mass."""
    beside = [
        float(np.mean((np.abs(side - value) <= _BESIDE * sd) & (side != value)))
        for side in (values(frame[name]).cast(pl.Float64).to_numpy() for frame in (reference, rows))
    ]
    return beside[1] - beside[0] < SHARE


def _finding(name: str, value: float, share: float, sure: bool) -> Finding:
    if sure:
        reason = because("column_spike_missing", column=name, value=value, share=share)
    else:
        reason = because("column_spike", column=name, value=value, share=share)
    return Finding(
        check="spike",
        word="broken" if sure else "said",
        column=name,
        value=share,
        limit=SHARE,
        reason=reason,
    )
