"""What the checks of a use case share: its definition, a sample of its rows, and fitted models."""

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blocks.lake import Lake
from blocks.settings import Settings
from blocks.warehouse import Warehouse
from serving.package.model import Package
from tasks.checks.lines import Lines
from tasks.data.dataset import is_labelled
from tasks.data.sources import Checked, source_of
from tasks.models.selection import best_of
from tasks.outside.blocks_of_run import given
from usecases.definition import UseCase, holdout_named, last_of, names_before

ROWS = 20_000
SEED = 0


@dataclass(frozen=True)
class Batch:
    """One period of the source. It has ``rows`` rows; ``looked_at`` of them were validated, and
    ``good`` are the good ones of these. Seconds are those of all
    rows: of the clock for reading, of a core for validating."""

    period: str
    rows: int
    looked_at: int
    good: pl.DataFrame
    reasons: dict[str, int]
    read_seconds: float
    validate_seconds: float

    def labelled(self, label: str) -> int:
        """The number of good rows with a label, among those looked at."""
        return len(self.good) - self.good[label].null_count()


@dataclass(frozen=True)
class Fit:
    """A candidate, fitted on ``rows`` rows in ``seconds`` of one core, and on ``few_rows`` in
    ``few_seconds``."""

    candidate: str
    pipeline: Any
    rows: int
    seconds: float
    few_rows: int
    few_seconds: float


@dataclass(frozen=True)
class Judged:
    """A fitted candidate on the hold-out: its scores by metric, the interval of the gate's, and its
    predictions ``(n_rows,)`` or ``(n_rows, n_classes)``."""

    scores: dict[str, float]
    interval: tuple[float, float] | None
    predicted: np.ndarray


@dataclass
class Bench:
    """The state of the checks of the use case ``name``. Each candidate is fitted on at most
    ``most`` rows."""

    name: str
    most: int = ROWS
    seed: int = SEED
    found: UseCase | None = None
    periods: list[str] = field(default_factory=list)
    batches: dict[str, Batch] = field(default_factory=dict)
    fits: dict[str, Fit] = field(default_factory=dict)
    judged: dict[str, Judged] = field(default_factory=dict)
    packages: dict[str, Package] = field(default_factory=dict)
    package_seconds: dict[str, float] = field(default_factory=dict)
    champion_seconds: float = 0.0
    champion_rows: int = 0

    @property
    def case(self) -> UseCase:
        assert self.found is not None
        return self.found

    @cached_property
    def lines(self) -> Lines:
        return Lines(self.name)

    @cached_property
    def folder(self) -> Path:
        """A folder that is removed with the bench."""
        self._removed_with_this = tempfile.TemporaryDirectory(prefix="laurel-check-")
        return Path(self._removed_with_this.name)

    @cached_property
    def source(self) -> Checked:
        """The source as a first ingest sees it: rows without a time arrive in an empty lake."""
        empty = self.folder / "lake"
        empty.mkdir(exist_ok=True)
        return source_of(self.case, Lake(url=f"file://{empty}"))

    def outside(self) -> AbstractContextManager[None]:
        """Lake and warehouse as the settings name them, without Prefect."""
        settings = Settings.of_stack()
        warehouse = Warehouse.of(settings)
        return given(Lake.of(settings), *([warehouse] if warehouse else []))

    @property
    def labelled_periods(self) -> list[str]:
        """The periods read that can be learned or judged on, oldest first."""
        batches = (self.batches[name] for name in self.periods if name in self.batches)
        label = self.case.label
        return [
            batch.period for batch in batches if is_labelled(batch.labelled(label), len(batch.good))
        ]

    @property
    def judged_periods(self) -> tuple[str, ...]:
        """The periods of the hold-out, as a first training chooses them."""
        return last_of(self.labelled_periods, self.case.promotion.holdout_periods)

    @property
    def holdout_name(self) -> str:
        return holdout_named(self.judged_periods)

    @property
    def training_window(self) -> tuple[str, ...]:
        """The periods that a first training learns, read or not."""
        unlabelled = {*self.batches} - {*self.labelled_periods}
        names = [name for name in self.periods if name not in unlabelled]
        return self.case.training_window(names_before(self.judged_periods[0], names))

    @property
    def training_periods(self) -> tuple[str, ...]:
        """Those of them that were read."""
        return tuple(name for name in self.training_window if name in self.batches)

    @cached_property
    def holdout(self) -> pl.DataFrame:
        """The labelled rows of the hold-out that were looked at."""
        return self._rows(self.judged_periods)

    @cached_property
    def proof(self) -> pl.DataFrame:
        """``most`` rows of the hold-out."""
        return self._some(self.holdout)

    @cached_property
    def training(self) -> pl.DataFrame:
        """``most`` labelled rows of the training periods that were read."""
        return self._some(self._rows(self.training_periods))

    def params(self, candidate: str) -> dict[str, Any]:
        """The parameters that a candidate begins with."""
        return dict(self.case.candidate(candidate).params)

    @property
    def best(self) -> str:
        """The candidate that is best on the hold-out."""
        metric = self.case.gate.metric
        return best_of(metric, [*self.judged], lambda name: self.judged[name].scores[metric.name])

    @property
    def all_times(self) -> pl.Series:
        """The event times of all good rows that were looked at."""
        return pl.concat([batch.good[self.case.event_time] for batch in self.batches.values()])

    def training_rows(self) -> int:
        """How many labelled rows a first training has, as far as the sample tells."""
        read = [self.batches[name] for name in self.training_periods]
        known = sum(self._labelled_rows(batch) for batch in read)
        unread = len(self.training_window) - len(read)
        return known + round(unread * known / max(len(read), 1))

    def holdout_rows(self) -> int:
        return sum(self._labelled_rows(self.batches[name]) for name in self.judged_periods)

    def _labelled_rows(self, batch: Batch) -> int:
        return round(batch.labelled(self.case.label) * batch.rows / max(batch.looked_at, 1))

    def _rows(self, periods: Sequence[str]) -> pl.DataFrame:
        frames = [self.batches[name].good for name in periods]
        label = self.case.label
        return pl.concat(frames, how="vertical_relaxed").filter(pl.col(label).is_not_null())

    def _some(self, rows: pl.DataFrame) -> pl.DataFrame:
        """In the order of time, as the lake has them."""
        some = rows if len(rows) <= self.most else rows.sample(self.most, seed=self.seed)
        return some.sort([self.case.event_time, *self.case.key])
