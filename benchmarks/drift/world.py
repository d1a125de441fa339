"""A champion as the drift check sees it, made here without a registry, and windows to hold against
it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from typing import Any

import numpy as np
import polars as pl

from serving.records.drift import DriftVerdict
from tasks.data.sources import source_of
from tasks.drift.examine import Yardstick, examine
from tasks.drift.learning import learn_profile
from tasks.drift.thresholds import calibrate, monitored
from tasks.drift.verdict import judge
from tasks.models import modelling
from tasks.models.cross_fitting import cross_fit
from usecases.definition import SCORE, UseCase, load, period_named

EVIDENTLY_LIMIT, EVIDENTLY_SHARE = (
    0.1,
    0.5,
)  # what Evidently does if nobody says otherwise, beyond 1,000 reference rows

_FIRST_MONDAY = date(2100, 1, 4)


@dataclass(frozen=True)
class Champion:
    """What its package has for the check. ``training`` are its rows, with scores of models that
    have not learned them.

    ``score`` gives the champion's scores of rows that it has not learned, ``held_out`` those of its
    training rows, changed or not, by models fitted without their month."""

    case: UseCase
    through: str
    training: pl.DataFrame
    yardstick: Yardstick
    score: Callable[[pl.DataFrame], np.ndarray]
    held_out: Callable[[pl.DataFrame], np.ndarray]

    @property
    def reference(self) -> pl.DataFrame:
        return self.yardstick.reference

    @property
    def importance(self) -> Mapping[str, float]:
        return self.yardstick.importance

    def judge(self, name: str, rows: pl.DataFrame, counted: int | None = None) -> DriftVerdict:
        """The verdict of ``drift_check`` on a window of these rows, of which ``counted`` were
        logged. Answers are not scored anew: they are the model's own.
        """
        counted = len(rows) if counted is None else counted
        evidence = examine(self.case, self.yardstick, rows, window=name, counted=counted)
        return judge(self.case.drift, evidence)


def evidently_fires(verdict: DriftVerdict) -> bool:
    """Whether Evidently's default thresholds call the inputs drifted, told from the same distances
    (a test of ours holds them equal).
    """
    far = [distance or 0.0 for name, distance in verdict.distances.items() if name != SCORE]
    return (
        bool(far)
        and sum(distance >= EVIDENTLY_LIMIT for distance in far) / len(far) >= EVIDENTLY_SHARE
    )


def make_champion(use_case: str, through: str, seed: int) -> Champion:
    """The champion of the labelled rows of all months up to ``through``."""
    return champion_of(load(use_case), through, _rows(use_case, through), seed)


def champion_of(case: UseCase, through: str, training: pl.DataFrame, seed: int) -> Champion:
    """The recipe with the most to learn (the last candidate), untuned, on the rows."""
    from threadpoolctl import threadpool_limits

    recipe = case.candidates[-1]
    with threadpool_limits(
        1, user_api="openmp"
    ):  # threads that wait for one another on a busy machine cost more than they bring
        fitted = modelling.fit(case, recipe, recipe.params, training, seed)
    crossed = cross_fit(case, fitted, training, seed)
    training = training.with_columns(crossed.answers.alias(SCORE))
    reference, thresholds, calibrated = calibrate(case, training, seed)
    yardstick = Yardstick(
        reference=reference,
        thresholds=thresholds,
        calibrated=calibrated,
        importance=crossed.importance,
        methods={column.name: case.drift.method(column) for column in monitored(case, thresholds)},
        profile=learn_profile(case, training, seed),
    )
    return Champion(
        case=case,
        through=through,
        training=training,
        yardstick=yardstick,
        score=lambda rows: modelling.predict(fitted, case, rows),
        held_out=_by_month(case, fitted, training, seed),
    )


def _by_month(
    case: UseCase, fitted: Any, training: pl.DataFrame, seed: int
) -> Callable[[pl.DataFrame], np.ndarray]:
    """Scores of rows whose values were changed, by a model that learned other months than theirs:
    as ``cross_fit`` does it.
    """
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    def months(rows: pl.DataFrame) -> pl.Series:
        return rows.select(case.period_of_rows).to_series()

    @cache
    def without(month: str) -> Any:
        others = training.filter(months(training) != month)
        others = others.sample(min(case.drift.sample_rows, len(others)), seed=seed)
        with threadpool_limits(1, user_api="openmp"):
            return clone(fitted).fit(modelling.inputs(case, others), modelling.labels(case, others))

    def score(rows: pl.DataFrame) -> np.ndarray:
        scores, month = np.empty(len(rows)), months(rows).to_numpy()
        for value in np.unique(month):
            scores[month == value] = modelling.predict(
                without(str(value)), case, rows.filter(pl.Series(month == value))
            )
        return scores

    return score


@lru_cache(maxsize=2)
def _rows(use_case: str, through: str) -> pl.DataFrame:
    case = load(use_case)
    months = [
        month for month in source_of(case).periods() if period_named(month) <= period_named(through)
    ]
    return pl.concat([read_month(use_case, month) for month in months]).filter(
        pl.col(case.label).is_not_null()
    )


@lru_cache(maxsize=16)
def read_month(use_case: str, month: str) -> pl.DataFrame:
    """The rows of a month as ``ingest`` leaves them: without those that go to quarantine."""
    from tasks.data.validation import validate

    case = load(use_case)
    return validate(case, month, source_of(case).read(month)).good


def months_after(use_case: str, through: str) -> list[str]:
    last, months = period_named(through), source_of(load(use_case)).periods()
    return [month for month in months if period_named(month) > last]


def draw_rows(
    case: UseCase, rows: pl.DataFrame, size: int, chance: np.random.Generator
) -> pl.DataFrame:
    """``size`` rows, each drawn by itself."""
    return rows[chance.choice(len(rows), min(size, len(rows)), replace=False)]


def draw_days(
    case: UseCase, rows: pl.DataFrame, size: int, chance: np.random.Generator
) -> pl.DataFrame:
    """All rows of ``size`` days, drawn from all of them: rows of a day belong together."""
    return _of_days(
        case, rows, chance.choice(_day(case, rows).max(), size, replace=False) + 1, chance
    )


def draw_stretch(
    case: UseCase, rows: pl.DataFrame, size: int, chance: np.random.Generator
) -> pl.DataFrame:
    """All rows of ``size`` days that follow each other: what a season does is in it."""
    first = chance.integers(1, _day(case, rows).max() - size + 2)
    return _of_days(case, rows, np.arange(first, first + size), chance)


def draw_weeks(
    case: UseCase, rows: pl.DataFrame, weeks: int, chance: np.random.Generator
) -> pl.DataFrame:
    """All rows of days drawn from all of them, each on its own weekday of ``weeks`` weeks that
    follow each other: a window in which no day is missing and nothing changed.
    """
    day = pl.col(case.event_time).dt.date()
    days = rows.select(day.unique().sort()).to_series()
    moves = {}
    for weekday in range(7):
        of_weekday = days.filter(days.dt.weekday() == weekday + 1).to_list()
        drawn = chance.choice(len(of_weekday), min(weeks, len(of_weekday)), replace=False)
        for week, number in enumerate(drawn):
            place = _FIRST_MONDAY + timedelta(days=7 * week + weekday)
            moves[of_weekday[number]] = (place - of_weekday[number]).days
    chosen = rows.filter(day.is_in(list(moves)))
    far = day.replace_strict(moves, return_dtype=pl.Int64)
    return chosen.with_columns(pl.col(case.event_time) + pl.duration(days=far))


def _day(case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    return rows[case.event_time].dt.date().rank("dense").to_numpy().astype(np.int64)


def _of_days(
    case: UseCase, rows: pl.DataFrame, days: np.ndarray, chance: np.random.Generator
) -> pl.DataFrame:
    """At most as many as the check looks at."""
    matching = rows.filter(pl.Series(np.isin(_day(case, rows), days)))
    return draw_rows(case, matching, case.drift.sample_rows, chance)
