"""False alarms, and what the check says of the months that really came."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl

from benchmarks.drift.world import (
    Champion,
    draw_days,
    draw_rows,
    draw_stretch,
    evidently_fires,
    read_month,
)
from serving.records.drift import DriftVerdict
from tasks.drift.drivers import drifted_columns
from usecases.definition import SCORE

Row = dict[str, Any]
DRAWS = {"rows": draw_rows, "days": draw_days, "stretch": draw_stretch}
SIZES = {"rows": (1000, 5000, 20_000), "days": (1, 3, 7, 14, 21, 28), "stretch": (7, 14, 21, 28)}


def false_alarms(
    champion: Champion, windows: int, seed: int, sizes: dict[str, Iterable[int]] | None = None
) -> Iterator[Row]:
    """How often windows of the champion's own training rows are called drifted or broken, by how
    they are drawn and how large they are.

    They carry the scores of models that have not learned them, as the reference does. ``rows`` are
    drawn each by itself, ``days`` are whole days from anywhere, a ``stretch`` is days in a row.
    Intervals are 95 %, exact (Clopper and Pearson 1934). Evidently is not asked about a window that
    is broken or too small, which is in its favour."""
    for way, several in (sizes or SIZES).items():
        for size in several:
            chance = np.random.default_rng([seed, size])
            verdicts = [
                champion.judge("", DRAWS[way](champion.case, champion.training, size, chance))
                for _ in range(windows)
            ]
            outcomes = Counter(verdict.outcome for verdict in verdicts)
            low, high = interval(outcomes["drifted"], windows)
            yield {
                "champion": champion.through,
                "drawn": way,
                "size": size,
                "windows": windows,
                "drifted": outcomes["drifted"] / windows,
                "low": low,
                "high": high,
                "broken": outcomes["broken"] / windows,
                "inconclusive": outcomes["inconclusive"] / windows,
                "evidently": sum(map(evidently_fires, verdicts)) / windows,
            }


def interval(count: int, of: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    bounds = binomtest(count, of).proportion_ci(0.95, method="exact")
    return float(bounds.low), float(bounds.high)


def months(champion: Champion, ahead: list[str]) -> Iterator[Row]:
    """The verdict on each real month after the training, scored by the champion itself."""
    for month in ahead:
        rows = scored(champion, month)
        verdict = champion.judge(month, sampled(champion, rows))
        yield _said(champion, month, len(rows), verdict)


def delay(champion: Champion, month: str) -> Iterator[Row]:
    """The verdicts on the first one, two, three... days of a month: after how many of them it says
    drifted.
    """
    rows = scored(champion, month)
    day = rows[champion.case.event_time].dt.day()
    for last in range(1, int(day.max()) + 1):  # type: ignore[arg-type]
        so_far = rows.filter(day <= last)
        verdict = champion.judge(month, sampled(champion, so_far))
        yield _said(champion, f"{month} to day {last}", len(so_far), verdict)


def scored(champion: Champion, month: str) -> pl.DataFrame:
    rows = read_month(champion.case.name, month)
    return rows.with_columns(pl.Series(SCORE, champion.score(rows), dtype=pl.Float64))


def sampled(champion: Champion, rows: pl.DataFrame) -> pl.DataFrame:
    return draw_rows(champion.case, rows, champion.case.drift.sample_rows, np.random.default_rng(7))


def _said(champion: Champion, window: str, rows: int, verdict: DriftVerdict) -> Row:
    return {
        "champion": champion.through,
        "window": window,
        "rows": rows,
        "verdict": verdict.outcome,
        "share": verdict.share,
        "evidently": evidently_fires(verdict) if verdict.distances else None,
        "drivers": ", ".join(drifted_columns(verdict)[:4])
        if verdict.share is not None
        else verdict.reasons[0],
    }
