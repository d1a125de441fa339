"""What a column may hold: the observed values with room, so that next month's rows fit and those of
another unit do not."""

import math
from datetime import datetime
from typing import Any

import polars as pl

from tasks.drafts.inference.times import ARRIVAL_PERIODS, Timing
from tasks.drafts.reading.facts import Facts
from usecases.definition import window_kind

_CLOSED = 12
_LEAST_OF_CATEGORY = 5
_LEAST_TOLERANCE = 0.05
_TYPICAL_ROWS = 50
_DIGITS = 2


def arguments(column: Facts, timing: Timing, periods: pl.Series | None) -> dict[str, Any]:
    """The arguments of ``Column`` that say what ``column`` may hold, in their order. ``periods``
    are those of the sample's rows, ``(n_sample_rows,)``.
    """
    made: dict[str, Any] = {}
    if column.kind == "number":
        made = _numbers(column, periods)
    elif column.kind == "category":
        made = _categories(column)
    elif column.kind == "datetime":
        made = {"parts": _parts(column)}
    if column.nulls:
        made["nullable"] = True
        tolerance = _null_tolerance(column, periods, timing)
        if tolerance > _LEAST_TOLERANCE:
            made["null_tolerance"] = tolerance
    return made


def periods_of(timing: Timing, event: Facts | None) -> pl.Series | None:
    """The names of the periods of the sample's rows ``(n_sample_rows,)``; ``None`` without a
    time.
    """
    if event is None:
        return None
    kind = window_kind(timing.period)
    return pl.select(kind.names(pl.lit(event.values))).to_series()


def _numbers(column: Facts, periods: pl.Series | None) -> dict[str, Any]:
    """The observed range and as much on both sides; 0 stays the floor. ``typical`` are medians of
    periods, and twice the quartile range on both sides."""
    known = column.values.drop_nulls()
    low, high = float(known.min()), float(known.max())  # type: ignore[arg-type]
    span = high - low
    below = 0.0 if 0 <= low <= span else _rounded(low - span, down=True)
    made: dict[str, Any] = {"low": _plain(below), "high": _plain(_rounded(high + span))}
    if periods is None or not (typical := _typical(column.values, periods)):
        return made
    low, high = (min(max(end, made["low"]), made["high"]) for end in typical)
    return {**made, "typical": (low, high)}


def _typical(values: pl.Series, periods: pl.Series) -> tuple[float, float] | None:
    table = pl.DataFrame({"value": values, "period": periods}).drop_nulls()
    quartiles = [values.quantile(share) for share in (0.25, 0.75)]
    if None in quartiles or not (width := quartiles[1] - quartiles[0]):  # type: ignore[operator]
        return None
    medians = (
        table.group_by("period")
        .agg(pl.col("value").median().alias("middle"), pl.len().alias("rows"))
        .filter(pl.col("rows") >= _TYPICAL_ROWS)["middle"]
    )
    if len(medians) < 2:
        return None
    low, high = float(medians.min()), float(medians.max())  # type: ignore[arg-type]
    return (
        _plain(_rounded(low - 2 * width, down=True)),
        _plain(_rounded(high + 2 * width)),
    )


def _categories(column: Facts) -> dict[str, Any]:
    """A few values that are all frequent, and were all there from the first half on, are all."""
    known = column.values.drop_nulls()
    counts = known.value_counts()
    often = int(counts["count"].min() or 0) >= _LEAST_OF_CATEGORY  # type: ignore[arg-type]
    first, second = known.head(len(known) // 2), known.tail(len(known) - len(known) // 2)
    if len(counts) > _CLOSED or not often or not set(second.unique()) <= set(first.unique()):
        return {}
    return {"categories": tuple(counts[column.name].sort())}


def _parts(column: Facts) -> tuple[str, ...]:
    known = column.values.drop_nulls()
    timed = bool((known.dt.hour() != 0).any())
    return ("days", "month", "weekday", *(["hour"] if timed else []))


def _null_tolerance(column: Facts, periods: pl.Series | None, timing: Timing) -> float:
    """Twice the worst period. Rows that arrive are dealt by chance: four standard errors more."""
    share = column.nulls
    if periods is None:
        rows = max(1, timing.rows, len(column.values) // ARRIVAL_PERIODS)
        worst = share + 4 * math.sqrt(share * (1 - share) / rows)
    else:
        table = pl.DataFrame({"null": column.values.is_null(), "period": periods}).drop_nulls()
        worst = float(table.group_by("period").agg(pl.col("null").mean())["null"].max() or 0)  # type: ignore[arg-type]
        worst = 2 * worst
    return min(1.0, max(_LEAST_TOLERANCE, math.ceil(max(worst, 2 * share) * 100) / 100))


def _rounded(value: float, down: bool = False) -> float:
    """Two digits, away from the values."""
    if not value:
        return 0.0
    scale = 10.0 ** (math.floor(math.log10(abs(value))) - _DIGITS + 1)
    digits = math.floor(value / scale) if down else math.ceil(value / scale)
    return float(f"{digits * scale:.{_DIGITS + 1}g}")


def _plain(value: float) -> float | int:
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def is_long_ago(moment: datetime, days: float) -> bool:
    return (datetime.now() - moment).days > days
