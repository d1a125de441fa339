"""The champion's performance on a window of the lake: which of its predictions are read, and the
labels that came for them.
"""

from threading import Lock

import polars as pl

from blocks.lake import Lake
from serving.package.manifest import Manifest
from serving.records.performance import Performance
from serving.records.reasons import because
from tasks.drift.performance import judge_performance, logged_numbers
from tasks.log.files import LogDamaged, LogFile, for_each, read_batches, read_files
from tasks.log.labels import read_labels
from tasks.log.windows import Window, read_window
from tasks.models.fingerprint import other_answer
from usecases.definition import UseCase, period_named

LIMIT_ROWS = 1_000_000
_BEFORE, _AFTER = ("id", "time", "event_time"), ("model_version", "sample_rate")


def check_performance(
    store: Lake,
    case: UseCase,
    manifest: Manifest,
    champion: str,
    read: Window,
    seed: int,
    expected: pl.DataFrame | None = None,
) -> Performance:
    """Judge the champion on the window that was ``read`` for its columns, or on more of its rows
    where that was a sample. ``expected`` has the expected losses of the rows that were read, by id.

    Labels that cannot be read leave the performance *unknown*: they say nothing of the data. So
    does a champion that predicts something else than the use case. Raises ``LakeAway``."""
    if other := other_answer(case, manifest):
        reason = because("champion_of_other_target", version=champion, why=other)
        return _unknown(reason, champion, 0, seed)
    if read.sampled:
        columns = (*_BEFORE, *logged_numbers(case), *_AFTER)
        read = read_window(store, case, read.name, LIMIT_ROWS, seed, columns)
    logged = _dated(read.rows)
    try:
        ids = logged["id"] if len(logged) else pl.Series("id", [], dtype=pl.String)
        labels = read_labels(store, case, read.name, ids)
        left_out = (
            None if len(logged) < read.counted else count_unknown(store, case.name, read.name, ids)
        )
    except LogDamaged as error:
        return _unknown(str(error), champion, len(logged), seed)
    return judge_performance(case, manifest, logged, labels, seed, champion, left_out, expected)


def _unknown(reason: str, champion: str, rows: int, seed: int) -> Performance:
    return Performance(
        champion=champion,
        verdict="unknown",
        provisional=True,
        reasons=[reason],
        rows=rows,
        labels=0,
        coverage=0.0,
        days=0,
        unknown_ids=None,
        seed=seed,
    )


def _dated(rows: pl.DataFrame) -> pl.DataFrame:
    """A row whose caller told no event time counts on the day of its answer, as the log files
    it.
    """
    if rows.is_empty() or "time" not in rows.columns:
        return rows
    return rows.with_columns(
        pl.coalesce(
            "event_time", pl.col("time").dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        )
    )


def count_unknown(store: Lake, use_case: str, window: str, ids: pl.Series) -> int | None:
    """How many ids have feedback under the days of ``window`` and no prediction among ``ids``;
    ``None`` for a window of hours, since feedback lies by day. Raises ``LogDamaged``, ``LakeAway``.
    """
    period = period_named(window)
    if not period.is_of_whole_days:
        return None
    predicted = ids.to_frame("id")

    def count(files: list[LogFile]) -> int:
        unknown, lock = [pl.DataFrame(schema={"id": pl.String})], Lock()

        def take(file: LogFile) -> None:
            for batch in read_batches(store, file.path, lambda _: ["id"]):
                rows = pl.from_arrow(batch)
                assert isinstance(rows, pl.DataFrame)
                strangers = rows.cast(pl.String).unique().join(predicted, on="id", how="anti")
                with lock:
                    unknown.append(strangers)

        for_each(files, take)
        return pl.concat(unknown).n_unique()

    return read_files(store, "feedback", use_case, (period.first, period.last), count)
