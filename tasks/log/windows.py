"""A window of the prediction log, read once at bounded cost: an even sample of its rows, and facts
about all of them.

Each row draws ``u`` in [0, 1) by seed, segment and line, whatever the order in which files are read
and whether its day was compacted. A row logged with sample rate ``r`` stands for ``1 / r``
requests; those with the smallest ``u * r`` are kept, which takes each request with the same chance
(bottom-k sampling: Cohen and Kaplan, PODC 2007). Below the lowest rate there is no smaller ``u *
r`` that was not logged, so rows above it are left out: that evens windows in which the rate was
changed. Where only some of very many segments are read, their rows stand for those of the others
too, as if they were logged at a lower rate; compacted files are all read."""

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
from tasks.log.files import LogFile, for_each, in_window, read_batches, read_files
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

    def sample(files: list[LogFile]) -> Window:
        return _sample(store, case, period, (limit_rows, limit_files), seed, columns, files)

    return read_files(store, "predictions", case.name, (period.first, period.last), sample)


def _sample(
    store: Lake,
    case: UseCase,
    period: Period,
    limits: tuple[int, int],
    seed: int,
    columns: Collection[str] | None,
    files: list[LogFile],
) -> Window:
    limit_rows, limit_files = limits
    read, share = _choose_files(files, seed, limit_files)
    intake, sample, tally = Intake(case, columns), _Sample(limit_rows), Tally(case, columns)
    weights = _Weights()

    def take(file: LogFile) -> None:
        draw, offset = _Draw(seed, file), 0
        for batch in read_batches(
            store, file.path, lambda schema: intake.choose(file.path, schema), intake.texts
        ):
            order = draw(offset, len(batch))
            offset += len(batch)
            batch, rates, kept = intake.conform(batch)
            if file.compacted is None:
                rates = rates * share
            order = order[kept]
            if not period.is_of_whole_days:
                batch, rates, order = _inside(period, batch, rates, order)
            sample.add(batch, order * rates, intake)
            tally.add(batch, rates)
            weights.add(len(batch), 1.0 if file.compacted else share)

    for_each(read, take)
    total = round(weights.rows)
    lowest = min(tally.rates, default=1.0)
    rows = _with_answer(case, sample.finish(intake.names, tally.rates))
    return Window(
        name=period.name,
        rows=rows,
        counted=total,
        files=len(files),
        how=_describe_sample(
            rows, total, (len(read), len(files)), len(tally.rates) > 1, lowest, seed
        ),
        sampled=len(read) < len(files) or sample.full,
        partly=frozenset(intake.partly(len(read))),
        problems=tuple(intake.problems(len(read))),
        facts=tally.facts(),
    )


def _choose_files(files: list[LogFile], seed: int, limit: int) -> tuple[list[LogFile], float]:
    """All compacted files, and of the segments as many as the limit leaves; and their share."""
    compacted = [file for file in files if file.compacted is not None]
    segments = [file for file in files if file.compacted is None]
    room = max(limit - len(compacted), 1)
    chosen = sorted(segments, key=lambda file: _number(seed, file.day, file.names[0]))[:room]
    share = len(chosen) / len(segments) if segments else 1.0
    return sorted([*compacted, *chosen], key=lambda file: file.path), share


@dataclass
class _Weights:
    """How many rows were logged, those of the segments that were not read among them."""

    rows: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def add(self, rows: int, share: float) -> None:
        with self._lock:
            self.rows += rows / share


class _Draw:
    """The numbers of a file's rows, uniform in [0, 1): the same before and after a compaction."""

    def __init__(self, seed: int, file: LogFile) -> None:
        self._file = file
        numbers = [_number(seed, file.day, name) for name in file.names]
        self._numbers = np.array(numbers, dtype=np.uint64)

    def __call__(self, offset: int, rows: int) -> np.ndarray:
        """SplitMix64 (Steele, Lea, Flood 2014) of the segment's number and the line."""
        segments, lines = self._file.place(offset, rows)
        mixed = self._numbers[segments] + lines.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return (mixed >> np.uint64(11)) * 2.0**-53


def _inside(
    period: Period, batch: "RecordBatch", rates: np.ndarray, order: np.ndarray
) -> tuple["RecordBatch", np.ndarray, np.ndarray]:
    """The rows of a day that belong to the part of it, with their rates and numbers."""
    import pyarrow as pa

    there = [name for name in _TIMES if name in batch.schema.names]
    flags = in_window(period, pl.DataFrame(pl.from_arrow(batch.select(there)))).to_numpy()
    return batch.filter(pa.array(flags)), rates[flags], order[flags]


def _with_answer(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with the watched output as ``SCORE`` too, under which the reference has it."""
    name = case.answer.name
    return rows.with_columns(pl.col(name).alias(SCORE)) if name in rows.columns else rows


def _number(seed: int, day: str, segment: str) -> int:
    digest = hashlib.sha256(f"{seed} {day} {segment}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


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
