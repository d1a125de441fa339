"""The drift reference of a model and the threshold of each column, learned when its package is
made, and the distances of a window from that reference.

Why thresholds of our own and out-of-sample scores: docs/decisions/0007-drift.md."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl

from tasks.data.traits import by_traits
from tasks.drift.checks.distances import distance
from tasks.drift.profile.profile import LEAST_LIMIT, draw_days, family_of
from tasks.drift.training_windows import BLOCK, cut
from usecases.definition import SCORE, Column, UseCase

_DRAWS = 20
_LEAST = 1e-9  # a threshold of nothing at all would be beyond itself


def monitored(case: UseCase, thresholds: Collection[str] = ()) -> list[Column]:
    """What the prediction log leaves out cannot be monitored. The model's score is, where
    ``thresholds`` has one for it.
    """
    columns = [
        column
        for column in case.columns
        if column.monitored and column.name not in case.prediction_log.leave_out
    ]
    return [*columns, *([watched_answer(case)] if SCORE in thresholds else [])]


def watched_answer(case: UseCase) -> Column:
    """The model's answer as a column of references and windows."""
    return case.answer.model_copy(update={"name": SCORE})


def without(case: UseCase, absent: Collection[str]) -> UseCase:
    """The use case as a window can be judged that lacks the columns ``absent``, and is not broken
    for it.
    """
    return case.model_copy(
        update={"columns": tuple(column for column in case.columns if column.name not in absent)}
    )


def sample(rows: pl.DataFrame, limit: int, seed: int) -> pl.DataFrame:
    return rows if len(rows) <= limit else rows.sample(limit, seed=seed)


def sample_where(rows: pl.DataFrame, chosen: pl.Series, limit: int, seed: int) -> pl.DataFrame:
    """``sample`` of the rows that are ``chosen`` ``(n_rows,)``, without a copy of all of them."""
    places = chosen.arg_true()
    return rows[places if len(places) <= limit else places.sample(limit, seed=seed)]


def calibrate(
    case: UseCase, training: pl.DataFrame, seed: int
) -> tuple[pl.DataFrame, dict[str, float], bool]:
    """The drift reference of a model: a sample of its ``training`` rows, the threshold of each
    column, calibrated or not.

    Each window (``tasks/drift/training_windows.py``) is held against a sample of the others;
    ``DriftPolicy`` says how the largest distance becomes the threshold. With fewer of them than the
    policy wants, the floor is all there is, and the third value is False. The score alone decides,
    so that its threshold is that of a test of its own. A column ``score`` of ``training`` (out of
    sample: ``tasks/models/cross_fitting.py``) is calibrated like the inputs."""
    case, training = by_traits(case, training)
    policy, names = case.drift, _kept(case, training)
    rows, blocks = cut(case, training.select(names), seed)
    calibrated = len(blocks) >= policy.minimum_blocks
    columns = monitored(case, names)
    between: dict[str, list[float]] = {column.name: [] for column in columns}
    for block in blocks if calibrated else []:
        is_inside = rows[BLOCK] == block
        inside = sample_where(rows, is_inside, policy.sample_rows, seed)
        others = sample_where(rows, ~is_inside, policy.sample_rows, seed)
        for column in columns:
            far = distance(column, others[column.name], inside[column.name], policy.method(column))
            between[column.name].append(far if np.isfinite(far) else 0.0)
    limits = {
        name: max(policy.floor, policy.factor * max(several, default=0.0), _LEAST)
        for name, several in between.items()
    }
    if calibrated and SCORE in limits:
        limits[SCORE] = max(limits[SCORE], _score_limit(case, rows, between[SCORE], seed))
    limits = {name: policy.thresholds.get(name, limit) for name, limit in limits.items()}
    return draw_reference(case, training, seed), limits, calibrated


def _score_limit(case: UseCase, rows: pl.DataFrame, between: Sequence[float], seed: int) -> float:
    """The threshold of the score, which alone decides, so that it is a test of its own
    (``tasks/drift/profile/profile.py``): draws of as many days as a window needs count beside
    the windows, and where a window lies far from what the others would allow, the next may too.
    """
    policy, day = case.drift, pl.col(case.event_time).dt.date()
    rows = rows.select(case.event_time, SCORE)
    dates = rows.select(day.unique().sort()).to_series().to_list()
    column, whole = watched_answer(case), sample(rows, policy.sample_rows, seed)
    drawn = []
    for flags in draw_days(dates, case.drift_days, _DRAWS, np.random.default_rng(seed)):
        chosen = [date for date, flag in zip(dates, flags, strict=True) if flag]
        is_chosen = rows.select(day.is_in(chosen)).to_series()
        some = sample_where(rows, is_chosen, policy.sample_rows, seed)[SCORE]
        far = distance(column, whole[SCORE], some, policy.method(column))
        drawn.append(far if np.isfinite(far) else 0.0)
    out, draws = (np.reshape(side, (-1, 1)) for side in (between, drawn))
    family = family_of([SCORE], out, draws, max(policy.floor, _LEAST) / LEAST_LIMIT)
    return family.scales[SCORE] * family.limit * policy.factor / LEAST_LIMIT


def draw_reference(case: UseCase, training: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The sample of the training rows that windows are held against."""
    case, rows = by_traits(case, sample(training, case.drift.sample_rows, seed))
    return rows.select(_kept(case, rows))


def _kept(case: UseCase, training: pl.DataFrame) -> list[str]:
    scored = SCORE in training.columns and training[SCORE].null_count() < len(training)
    return [case.event_time, *case.column_names, case.label, *([SCORE] if scored else [])]


def measure(
    case: UseCase,
    reference: pl.DataFrame,
    current: pl.DataFrame,
    thresholds: Collection[str],
    methods: Mapping[str, str],
) -> dict[str, float]:
    """The distance of each monitored column that the window has and that has a threshold, by the
    ``methods`` of the thresholds.
    """
    columns = [
        column
        for column in monitored(case, thresholds)
        if column.name in thresholds and column.name in current.columns
    ]
    return {
        column.name: distance(
            column, reference[column.name], current[column.name], methods.get(column.name)
        )
        for column in columns
    }
