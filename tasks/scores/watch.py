"""Whether the rows of a batch drifted: an even sample of each of their windows is judged as the
drift check judges the prediction log."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from serving.package.manifest import Manifest
from serving.records.drift import DriftVerdict
from tasks.drift.examine import Yardstick, examine
from tasks.drift.thresholds import without
from tasks.drift.verdict import judge
from tasks.packages.own_columns import as_champion
from tasks.scores.scorer import SCORED_AT
from usecases.definition import SCORE, UseCase, period_named

TIME = "event_time"
_MOST_WINDOWS = 12
_ORDER, _WINDOW = "_order", "_window"


@dataclass
class _Sample:
    """The rows with the smallest draw, of which ``limit`` stay, of ``counted``."""

    limit: int
    counted: int = 0
    _cut: float = math.inf
    _kept: list[pl.DataFrame] = field(default_factory=list)

    def add(self, rows: pl.DataFrame) -> None:
        self.counted += len(rows)
        self._kept.append(rows.filter(pl.col(_ORDER) < self._cut))
        if sum(map(len, self._kept)) > 2 * self.limit:
            self._kept = [self.rows()]
            self._cut = float(self._kept[0][_ORDER].max())  # type: ignore[arg-type]

    def rows(self) -> pl.DataFrame:
        """In the order of the draw, which is random."""
        return pl.concat(self._kept).sort(_ORDER).head(self.limit)


class Watch:
    """Collects what was scored, by window; only the latest 12 windows are judged."""

    def __init__(self, case: UseCase, manifest: Manifest, seed: int) -> None:
        case = as_champion(case, manifest)
        left_out = {*case.prediction_log.leave_out, *manifest.log_leave_out}
        self._case = without(case, left_out)
        self._seed, self._chunks = seed, 0
        self._windows: dict[str, _Sample] = {}

    def add(self, inputs: pl.DataFrame, answers: pl.DataFrame, time: str | None) -> None:
        """Add answered rows, which have their event times in the column ``time``, or happen at
        their time of scoring."""
        names = [name for name in self._case.column_names if name in inputs.columns]
        draw = np.random.default_rng([self._seed, self._chunks]).random(len(inputs))
        self._chunks += 1
        at = answers[SCORED_AT].dt.replace_time_zone(None) if time is None else inputs[time]
        rows = inputs.select(names).with_columns(
            answers[self._case.answer.name].alias(SCORE),
            at.alias(TIME),
            pl.Series(_ORDER, draw),
        )
        rows = rows.filter(pl.col(TIME).is_not_null())
        windows = rows.with_columns(self._case.drift_window.names(pl.col(TIME)).alias(_WINDOW))
        for (name,), of_window in windows.partition_by(
            _WINDOW, as_dict=True, include_key=False
        ).items():
            sample = self._windows.setdefault(str(name), _Sample(self._case.drift.sample_rows))
            sample.add(of_window)
        while len(self._windows) > _MOST_WINDOWS:
            del self._windows[min(self._windows, key=period_named)]

    def verdicts(self, yardstick: Yardstick) -> Iterator[DriftVerdict]:
        """The verdict on each window, oldest first, against what the package of the version has."""
        whole = replace(yardstick, sample_rate=1.0)
        for name in sorted(self._windows, key=period_named):
            sample = self._windows[name]
            rows = sample.rows().drop(_ORDER)
            evidence = examine(self._case, whole, rows, window=name, counted=sample.counted)
            verdict = judge(self._case.drift, evidence)
            yield replace(verdict, how=_how(len(rows), sample.counted, self._seed))


def _how(rows: int, counted: int, seed: int) -> str:
    if rows == counted:
        return f"all {counted:,} rows that were scored"
    return f"a random sample of {rows:,} of {counted:,} rows that were scored (seed {seed})"
