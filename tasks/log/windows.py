"""A window of the prediction log, read once at bounded cost: an even sample of its rows, and facts
about all of them.

Each row draws ``u`` in [0, 1) by seed, file and position, whatever the order in which files are
read. A row logged with sample rate ``r`` stands for ``1 / r`` requests; those with the smallest ``u
* r`` are kept, which takes each request with the same chance (bottom-k sampling: Cohen and Kaplan,
PODC 2007). Below the lowest rate there is no smaller ``u * r`` that was not logged, so rows above
it are left out: that evens windows in which the rate was changed."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from blocks.lake import Lake
from tasks.log.columns import Intake
from tasks.log.facts import ColumnFacts, Tally
from tasks.log.files import find_files, for_each, in_window, read_batches
from usecases.definition import SCORE, Period, UseCase, period_named

if TYPE_CHECKING:
    from pyarrow import RecordBatch

LIMIT_FILES = (
    5000  # a service with little traffic uploads every few seconds: half a million files in a month
)
_ORDER = "_order"
_TIMES = ("time", "event_time")


@dataclass(frozen=True)
class Window:
    """What was predicted in a window: ``rows`` of it, in random order, so that the first n are a
    sample as well.

    ``counted`` predictions were logged, in ``files`` files (estimated where not all were read);
    ``how`` says in words what ``rows`` are. ``partly``: columns of the use case that a part of the
    files lacks, null in their rows. ``problems``: types that are not the use case's. ``facts`` are
    of all rows read and not of the sample, by column, ``score`` among them."""

    name: str
    rows: pl.DataFrame
    counted: int
    files: int
    how: str
    sampled: bool
    partly: frozenset[str]
    problems: tuple[str, ...]
    facts: dict[str, ColumnFacts]


def read_window(
    store: Lake,
    case: UseCase,
    window: str,
    limit_rows: int,
    seed: int,
    columns: Collection[str] | None = None,
    limit_files: int = LIMIT_FILES,
) -> Window:
    """At most ``limit_rows`` of the predictions of ``window``, the name of a period (``2013-06``),
    from at most ``limit_files`` files.

    ``columns``: only these, of the use case's and the log's own. Numbers come as Float64 (NaN as
    null), categories as String, whatever the files hold. Memory is bounded by ``limit_rows``; of
    the same files and seed the same rows come. Raises ``LogDamaged``, ``LakeAway``, and
    ``ValueError`` for no window."""
    if limit_rows < 1 or limit_files < 1:
        raise ValueError(
            f"A window needs room for a row and a file: got limit_rows {limit_rows}, "
            f"limit_files {limit_files}."
        )
    period = period_named(window)
    if columns is not None and not period.is_of_whole_days:
        columns = {*columns, *_TIMES}
    paths = find_files(store, "predictions", case.name, period.first, period.last)
    read = sorted(sorted(paths, key=lambda path: _draw(seed, path))[:limit_files])
    intake, sample, tally = Intake(case, columns), _Sample(limit_rows), Tally(case, columns)

    def take(path: str) -> None:
        chance = np.random.default_rng(_draw(seed, path))
        for batch in read_batches(
            store, path, lambda schema: intake.choose(path, schema), intake.texts
        ):
            batch, rates = intake.conform(batch)
            if not period.is_of_whole_days:
                batch, rates = _inside(period, batch, rates)
            sample.add(batch, chance.random(len(batch)) * rates, intake)
            tally.add(batch, rates)

    for_each(read, take)
    logged = tally.rows
    total = logged if len(read) == len(paths) else round(logged * len(paths) / len(read))
    lowest = min(tally.rates, default=1.0)
    rows = _with_answer(case, sample.finish(intake.names, tally.rates))
    return Window(
        name=window,
        rows=rows,
        counted=total,
        files=len(paths),
        how=_describe_sample(
            rows, total, (len(read), len(paths)), len(tally.rates) > 1, lowest, seed
        ),
        sampled=len(read) < len(paths) or sample.full,
        partly=frozenset(intake.partly(len(read))),
        problems=tuple(intake.problems(len(read))),
        facts=tally.facts(),
    )


def _inside(
    period: Period, batch: "RecordBatch", rates: np.ndarray
) -> tuple["RecordBatch", np.ndarray]:
    """The rows of a day that belong to the part of it, with their rates."""
    import pyarrow as pa

    there = [name for name in _TIMES if name in batch.schema.names]
    flags = in_window(period, pl.DataFrame(pl.from_arrow(batch.select(there)))).to_numpy()
    return batch.filter(pa.array(flags)), rates[flags]


def _with_answer(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with the watched output as ``SCORE`` too, under which the reference has it."""
    name = case.answer.name
    return rows.with_columns(pl.col(name).alias(SCORE)) if name in rows.columns else rows


def _draw(seed: int, path: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {path}".encode()).digest()[:16])


def _describe_sample(
    rows: pl.DataFrame, total: int, files: tuple[int, int], uneven: bool, lowest: float, seed: int
) -> str:
    if not total:
        return "no predictions"
    if len(rows) == total:
        return f"all {total:,} predictions"
    whole = files[0] == files[1]
    of_files = "" if whole else f", from {files[0]:,} of {files[1]:,} files"
    thinned = f", thinned to a sample rate of {lowest:.3g}" if uneven else ""
    return (
        f"a random sample of {len(rows):,} of {'' if whole else 'about '}{total:,} "
        f"predictions{of_files}{thinned} (seed {seed})"
    )


@dataclass
class _Sample:
    """The rows with the smallest order, of which ``limit`` stay; from several threads."""

    limit: int
    full: bool = False
    _cut: float = math.inf
    _kept: list[pl.DataFrame] = field(default_factory=list)
    _waiting: int = 0
    _lock: Lock = field(default_factory=Lock)

    def add(self, batch: "RecordBatch", order: np.ndarray, intake: Intake) -> None:
        """A cut that another thread lowers meanwhile lets in too much here, never too little."""
        positions = np.flatnonzero(order < self._cut)
        if not len(positions):
            return
        rows = intake.frame(batch, positions).with_columns(pl.Series(_ORDER, order[positions]))
        with self._lock:
            self._kept.append(rows)
            self._waiting += len(rows)
            if self._waiting > self.limit + 100_000:
                self._shrink()

    def _shrink(self) -> pl.DataFrame:
        whole = pl.concat(self._kept, how="diagonal") if self._kept else pl.DataFrame()
        if len(whole) > self.limit:
            self.full = True
            whole = whole.bottom_k(self.limit, by=_ORDER)
            self._cut = float(whole[_ORDER].max())  # type: ignore[arg-type]
        self._kept, self._waiting = [whole], len(whole)
        return whole

    def finish(self, names: Collection[str], rates: Collection[float]) -> pl.DataFrame:
        """The sample in the order of its draw, which is random, and evened."""
        self._kept = [rows.filter(pl.col(_ORDER) < min(rates)) for rows in self._kept]
        whole = self._shrink()
        self.full = self.full and len(whole) == self.limit  # else evening left fewer than the limit
        return (
            whole.sort(_ORDER).select(name for name in names if name in whole.columns)
            if whole.width
            else whole
        )
