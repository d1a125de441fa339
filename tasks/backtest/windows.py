"""The drift checks of a replay: the windows of a champion that end with each period."""

from collections.abc import Sequence

import polars as pl

from serving.records.drift import DriftVerdict
from tasks.backtest.fits import History, Model
from tasks.drift.drivers import starts_retrain
from tasks.drift.examine import examine
from tasks.drift.thresholds import sample
from tasks.drift.verdict import judge
from tasks.models import modelling
from usecases.definition import Period, PeriodKind, period_named


def check_windows(
    history: History, champion: Model, period: str, earlier: Sequence[bool]
) -> list[DriftVerdict]:
    """Check all rows of each window that ends in ``period``, labelled or not, for drift under
    ``champion``; ``earlier`` are those before, whether they were beyond the limit.
    """
    beyond, verdicts = list(earlier), list[DriftVerdict]()
    for window in _ending_in(history.case.drift_window, period_named(period)):
        rows = _rows_of(history, window)
        if len(rows):
            verdicts.append(_check(history, champion, window.name, rows, beyond))
            beyond.append(bool(verdicts[-1].beyond))
    return verdicts


def decisive(verdicts: Sequence[DriftVerdict]) -> DriftVerdict | None:
    """The first that starts a retrain, or else the last; ``None`` of none."""
    starting = [verdict for verdict in verdicts if starts_retrain(verdict)]
    return next(iter([*starting, *verdicts[-1:]]), None)


def _ending_in(kind: PeriodKind, period: Period) -> list[Period]:
    windows, window = list[Period](), kind.containing(period.start)
    while window.end <= period.end:
        windows.append(window)
        window = kind.containing(window.end)
    return windows


def _rows_of(history: History, window: Period) -> pl.DataFrame:
    """The rows of a window; those of a part of a period are cut out."""
    frames = [rows for name, rows in history.periods.items() if period_named(name).overlaps(window)]
    if not frames:
        return pl.DataFrame()
    time = pl.col(history.case.event_time)
    return pl.concat(frames).filter(time.is_between(window.start, window.end, closed="left"))


def _check(
    history: History, champion: Model, window: str, rows: pl.DataFrame, earlier: Sequence[bool]
) -> DriftVerdict:
    case, watch = history.case, history.watch(champion)
    rows = rows.with_columns(
        modelling.watched(case, modelling.predict(champion.fitted, case, rows))
    )
    some = sample(rows, case.drift.sample_rows, history.seed)
    evidence = examine(case, watch, some, window=window, counted=len(rows), earlier=earlier)
    return judge(case.drift, evidence)
