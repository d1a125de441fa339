"""False decisions where nothing changed though seasons did: the days of a whole year are permuted
within their weekdays, and half of the year's months are the reference of the other half.

Days of one world, so that each decision is false. The relations, the counted families, the
thresholds and the score are learned anew from each shuffle's reference, as a package does."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from benchmarks.drift.studies import interval, sampled, scored
from benchmarks.drift.world import Champion, months_after
from tasks.drift.examine import Yardstick, examine
from tasks.drift.learning import learn_profile
from tasks.drift.verdict import calibrate, judge
from usecases.definition import UseCase


def year_of(champion: Champion) -> pl.DataFrame:
    """The champion's training rows with scores out of sample, and the later months with its own."""
    ahead = [
        scored(champion, month) for month in months_after(champion.case.name, champion.through)
    ]
    columns = champion.training.columns
    return pl.concat([champion.training, *[rows.select(columns) for rows in ahead]])


def shuffle_days(case: UseCase, rows: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    """Each day takes the place of another one of the same weekday."""
    time = case.event_time
    dates = rows[time].dt.date().unique().sort().to_list()
    moves: dict[date, int] = {}
    for weekday in range(7):
        days = [day for day in dates if day.weekday() == weekday]
        for day, place in zip(days, chance.permutation(len(days)), strict=True):
            moves[day] = (days[place] - day).days
    by_day = pl.col(time).dt.date().replace_strict(moves, return_dtype=pl.Int64)
    return rows.with_columns(pl.col(time) + pl.duration(days=by_day))


def shuffles(champion: Champion, count: int, blocks: int, seed: int) -> Iterator[dict[str, Any]]:
    """How many windows are called broken or drifted, and of how many something is said, in
    ``count`` shuffles: the first ``blocks`` months are the reference of the last six.
    """
    case, year = champion.case, year_of(champion)
    outcomes: Counter[str] = Counter()
    checks: Counter[str] = Counter()
    for number in range(count):
        rows = shuffle_days(case, year, np.random.default_rng([seed, number]))
        month = rows[case.event_time].dt.month()
        yardstick = _yardstick(case, rows.filter(month.is_between(7 - blocks, 6)), champion, seed)
        for value in range(7, 13):
            window = rows.filter(month == value)
            evidence = examine(
                case,
                yardstick,
                sampled(champion, window),
                window=str(value),
                counted=len(window),
            )
            verdict = judge(case.drift, evidence)
            outcomes[verdict.outcome] += 1
            words = {finding.word for finding in verdict.findings}
            outcomes["noted"] += bool(words & {"said", "uncalibrated"})
            checks.update({f"{finding.check} {finding.word}" for finding in verdict.findings})
            if verdict.outcome == "drifted" and "drifted" not in words:
                checks["score or share"] += 1
    windows = count * 6
    wrong = outcomes["broken"] + outcomes["drifted"]
    yield {
        "reference months": blocks,
        "shuffles": count,
        "windows": windows,
        "broken": outcomes["broken"],
        "drifted": outcomes["drifted"],
        "false": wrong / windows,
        "high": interval(wrong, windows)[1],
        "noted": outcomes["noted"],
        "by": ", ".join(f"{name}: {times}" for name, times in checks.most_common()),
    }


def _yardstick(case: UseCase, training: pl.DataFrame, champion: Champion, seed: int) -> Yardstick:
    reference, thresholds, calibrated = calibrate(case, training, seed)
    return Yardstick(
        reference=reference,
        thresholds=thresholds,
        calibrated=calibrated,
        importance=champion.importance,
        methods=champion.yardstick.methods,
        profile=learn_profile(case, training, seed),
    )
