"""The training rows of a champion, cut into windows as long as those that will be checked."""

import numpy as np
import polars as pl

from usecases.definition import PeriodKind, UseCase, period_named
from usecases.definition.period_kinds import DAYS

BLOCK = "_block"
_MOST = 60  # of more windows some are drawn: each is held against all others


def cut(
    case: UseCase, training: pl.DataFrame, seed: int, by_day: bool = False
) -> tuple[pl.DataFrame, list[str]]:
    """The rows of whole windows, each with the name of its window in ``BLOCK``, and these names in
    the order of time: of at most 60 windows, drawn evenly by ``seed``.

    A window that the training begins or ends within is left out: part of it would differ more than
    a whole one does. If that leaves none, all rows are one block. ``by_day``: windows shorter than
    a day are days, for what is counted by day."""
    kind = DAYS if by_day and not case.drift_window.is_of_whole_days else case.drift_window
    rows = training.with_columns(kind.names(pl.col(case.event_time)).alias(BLOCK))
    names = sorted(rows[BLOCK].drop_nulls().unique(), key=period_named)
    whole = _whole(case, kind, rows, names)
    if not whole:
        return rows.with_columns(pl.lit("").alias(BLOCK)), [""]
    if len(whole) > _MOST:
        chosen = np.random.default_rng(seed).choice(len(whole), _MOST, replace=False)
        whole = [whole[at] for at in sorted(chosen)]
    return (rows if whole == names else rows.filter(pl.col(BLOCK).is_in(whole))), whole


def _whole(case: UseCase, kind: PeriodKind, rows: pl.DataFrame, names: list[str]) -> list[str]:
    """Those of the windows that do not reach beyond the first and last period of the rows."""
    if kind == case.period_kind or not names:
        return names
    times = rows[case.event_time]
    first = case.period_kind.containing(times.min()).start  # type: ignore[arg-type]
    last = case.period_kind.containing(times.max()).end  # type: ignore[arg-type]
    windows = map(period_named, names)
    return [window.name for window in windows if first <= window.start and window.end <= last]
