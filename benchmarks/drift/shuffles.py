"""False decisions where nothing changed though seasons did: the days of a whole year are permuted
within their weekdays, and half of the year's months are the reference of the other half.

Days of one world, so that each decision is false. The relations, the counted families, the
thresholds and the score are learned anew from each shuffle's reference, as a package does."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.drift.studies import interval, sampled, scored
from benchmarks.drift.world import Champion, months_after
from serving.records.drift import DriftVerdict
from tasks.drift.examine import Yardstick, examine
from tasks.drift.learning import learn_profile
from tasks.drift.thresholds import calibrate
from tasks.drift.verdict import judge
from usecases.definition import SCORE, UseCase

MONTHS = range(7, 13)


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


@dataclass(frozen=True)
class Halves:
    """A shuffled year: the first months as training rows, the last six as windows to come."""

    training: pl.DataFrame
    later: pl.DataFrame


def halves(champion: Champion, year: pl.DataFrame, number: int, blocks: int, seed: int) -> Halves:
    """Shuffle ``number`` of the ``year``, with ``blocks`` months of training."""
    rows = shuffle_days(champion.case, year, np.random.default_rng([seed, number]))
    month = rows[champion.case.event_time].dt.month()
    return Halves(
        rows.filter(month.is_between(7 - blocks, 6)), rows.filter(month.is_in(list(MONTHS)))
    )


def shuffles(champion: Champion, count: int, blocks: int, seed: int) -> Iterator[dict[str, Any]]:
    """How many windows are called broken or drifted in ``count`` shuffles, in all and by each check
    that had anything to say: the first ``blocks`` months are the reference of the last six.

    Intervals are 95 %, exact, as if windows were independent."""
    year = year_of(champion)
    rang: Counter[tuple[str, str]] = Counter()
    with threadpool_limits(1):  # small products: threads cost more than they bring
        for number in range(count):
            for verdict in verdicts(champion, halves(champion, year, number, blocks, seed), seed):
                rang.update(set(alarms(verdict)))
    windows = count * len(MONTHS)
    first = [("any", "broken or drifted"), ("any", "said or uncalibrated")]
    others = sorted(set(rang) - set(first), key=lambda pair: -rang[pair])
    for check, word in [*first, *others]:
        low, high = interval(rang[check, word], windows)
        yield {
            "reference months": blocks,
            "check": check,
            "word": word,
            "windows": windows,
            "rang": rang[check, word],
            "share": rang[check, word] / windows,
            "low": low,
            "high": high,
        }


def verdicts(champion: Champion, parts: Halves, seed: int) -> Iterator[DriftVerdict]:
    """On each later month, by what a package of the training rows would have."""
    case = champion.case
    yardstick = _yardstick(case, parts.training, champion, seed)
    for month in MONTHS:
        window = parts.later.filter(pl.col(case.event_time).dt.month() == month)
        some = sampled(champion, window)
        evidence = examine(case, yardstick, some, window=str(month), counted=len(window))
        yield judge(case.drift, evidence)


def alarms(verdict: DriftVerdict) -> Iterator[tuple[str, str]]:
    """Each check that rang with its word; the distances are *score* and *share*."""
    if verdict.outcome in ("broken", "drifted"):
        yield "any", "broken or drifted"
    words = {finding.word for finding in verdict.findings}
    if words & {"said", "uncalibrated"}:
        yield "any", "said or uncalibrated"
    for finding in verdict.findings:
        yield finding.check, finding.word
    if verdict.outcome == "broken" and "broken" not in words:
        yield "exact", "broken"
    far = verdict.distances.get(SCORE)
    if far is not None and far >= verdict.thresholds[SCORE]:
        yield "score", "drifted"
    if verdict.share is not None and verdict.share >= verdict.limit:
        yield "share", "drifted"


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
