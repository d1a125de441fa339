"""How many late labels the intervals or the sets of the answers held, and whether that is off.

It is off if the whole interval of a window (90 %, by whole days) lies beyond what was promised and
beyond what the calibration held on windows that were left out. One such window may be the weather
of a month: people are told when several in a row are off on the same side (docs/performance.md has
the rates)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from serving.package.manifest import Coverage, Manifest
from serving.records.drift import DriftVerdict, Finding
from serving.records.performance import Interval, Performance
from serving.records.reasons import Reason, because
from tasks.data.targets import late_dtype
from tasks.measures.conformal import share_held
from tasks.measures.intervals import days_of
from usecases.definition import Classes, Number, UseCase

CHECK = "coverage"
_NAMES = {"number": "interval coverage", "classes": "set coverage"}
OFF = ("fewer", "more")


def measure_coverage(case: UseCase, joined: pl.DataFrame, seed: int) -> dict[str, Interval]:
    """The share of the labels within the answers' own intervals or sets, by the name of the
    metric; none without them."""
    columns = coverage_columns(case)
    if not columns or not {*columns} <= set(joined.columns):
        return {}
    known = joined.drop_nulls(columns)
    if known.is_empty():
        return {}
    if isinstance(case.target, Number):
        inside = known["label"].is_between(known["low"], known["high"])
    else:
        label = pl.col("label").cast(late_dtype(case)).cast(pl.String)
        inside = known.select(pl.col("class_set").list.contains(label)).to_series()
    held = share_held(np.asarray(inside.to_numpy(), bool), days_of(known["event_time"]), seed)
    return {_NAMES[case.target.kind]: held}


def coverage_columns(case: UseCase) -> list[str]:
    """The columns of the prediction log that the share is measured on."""
    return [output.name for output in case.outputs if output.kind in ("bound", "set")]


def judge_coverage(case: UseCase, manifest: Manifest, measured: dict[str, Interval]) -> str:
    """Whether a window held ``fewer`` or ``more`` labels than promised, surely, or ``as promised``;
    empty if that is not known."""
    promise = _promise(case)
    if promise is None or not measured:
        return ""
    (share,) = measured.values()
    if share.bounds is None:
        return ""
    low, high = share.bounds
    least, most = promised(promise, manifest.coverage or None)
    if high < least:
        return "fewer"
    return "more" if low > most else "as promised"


def promised(coverage: float, calibrated: Coverage | None) -> tuple[float, float]:
    """What no window surely misses: the promise, and what the calibration held of itself."""
    if calibrated is None or calibrated.low is None or calibrated.high is None:
        return coverage, coverage
    return min(coverage, calibrated.low), max(coverage, calibrated.high)


def windows_needed(case: UseCase, performance: Performance) -> int:
    """How many windows before this one ``tell_coverage`` asks for: none unless this one is off."""
    return case.labels.coverage_windows - 1 if performance.held in OFF else 0


def tell_coverage(
    case: UseCase, verdict: DriftVerdict, performance: Performance, before: Sequence[str]
) -> DriftVerdict:
    """Add a note to the verdict of a window that is off as all the windows ``before`` it are,
    the last that were judged, if these are enough (``LabelPolicy.coverage_windows``)."""
    needed = case.labels.coverage_windows
    off = performance.held
    if off not in OFF or [*before, off] != [off] * needed:
        return verdict
    (said,) = coverage_remarks(case, performance.metrics, off)
    share = performance.metrics[_NAMES[case.target.kind]].value
    if needed == 1:
        reason = because("held_in_a_window", what=said)
    else:
        reason = because("held_in_a_row", what=said, windows=needed)
    note = Finding(
        check=CHECK,
        word="said",
        reason=reason,
        value=share,
        limit=_promise(case),
    )
    return replace(verdict, findings=[*verdict.findings, note])


def coverage_remarks(case: UseCase, metrics: dict[str, Interval], held: str) -> list[Reason]:
    """A sentence on a window that is off."""
    if held not in OFF:
        return []
    share, promised = metrics[_NAMES[case.target.kind]].value, _promise(case)
    if isinstance(case.target, Number):
        if held == "fewer":
            return [because("intervals_held_fewer", held=share, promised=promised)]
        return [because("intervals_held_more", held=share, promised=promised)]
    if held == "fewer":
        return [because("sets_held_fewer", held=share, promised=promised)]
    return [because("sets_held_more", held=share, promised=promised)]


def _promise(case: UseCase) -> float | None:
    return case.target.coverage if isinstance(case.target, Number | Classes) else None
