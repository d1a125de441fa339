"""The rows that a model learns: all of the training window, or a sample whose rows say for how many
they stand.

Each period is read on its own, so that no more than one is in memory beside the sample. Strata are
the periods, or the classes in each of them; of a stratum of N rows n are drawn at random, and each
has the weight N / n (Horvitz & Thompson 1952): weighted sums over the sample are unbiased for sums
over all rows, and the weights of a stratum add up to its rows. Which rows are drawn follows from
the seed and the SHA-256 of the period's file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from blocks.lake import Lake
from tasks.data.dataset import DatasetVersion, read_periods
from tasks.data.frames import keep_frame
from usecases.definition import UseCase
from usecases.definition.sampling import WEIGHT

_Stratum = tuple[str, object]


@dataclass(frozen=True)
class Drawn:
    """``rows`` in the order of time, with a column ``WEIGHT`` if they are a sample of ``whole``
    labelled rows. ``how`` says so for people; empty: they are all.
    """

    rows: pl.DataFrame
    whole: int
    how: str = ""


def draw_rows(
    lake: Lake, dataset: DatasetVersion, periods: Sequence[str], case: UseCase, seed: int
) -> Drawn:
    """The labelled rows of ``periods`` that a model of the use case learns. Raises as
    ``read_periods`` does.
    """
    labelled = {file.period: file.labelled for file in dataset.periods}
    whole = sum(labelled.get(period, 0) for period in periods)
    if case.sample is None or whole <= case.sample.rows:
        return Drawn(read_periods(lake, dataset, periods, case.label), whole)
    digests = dataset.digests(periods)
    named = f"{case.sample!r} {seed} {case.label} {sorted(digests.items())}"
    sample = keep_frame(lake.url, named, lambda: _read_sample(lake, dataset, periods, case, seed))
    return Drawn(sample, whole, _describe(case, sample, whole, seed))


def _read_sample(
    lake: Lake, dataset: DatasetVersion, periods: Sequence[str], case: UseCase, seed: int
) -> pl.DataFrame:
    counts = _counts(lake, dataset, periods, case)
    sizes, digests = _sizes(case, counts), dataset.digests(periods)
    frames = []
    for period in periods:
        if not any(name == period for name, _ in counts):
            continue
        rows = read_periods(lake, dataset, [period], case.label)
        chance = np.random.default_rng([seed, int(digests[period][:16], 16)])
        frames.append(_draw(case, period, rows, sizes, chance))
    return pl.concat(frames, how="vertical_relaxed")


def _counts(
    lake: Lake, dataset: DatasetVersion, periods: Sequence[str], case: UseCase
) -> dict[_Stratum, int]:
    """The labelled rows of each stratum."""
    if case.sample is None or case.sample.by != "class":
        return {
            (file.period, None): file.labelled
            for file in dataset.periods
            if file.period in periods and file.labelled
        }
    counts: dict[_Stratum, int] = {}
    for period in periods:
        labels = read_periods(lake, dataset, [period])[case.label].drop_nulls()
        for value, count in labels.value_counts(sort=True).iter_rows():
            counts[period, value] = count
    return counts


def _sizes(case: UseCase, counts: Mapping[_Stratum, int]) -> dict[_Stratum, int]:
    """How many rows of each stratum are drawn: at least one."""
    assert case.sample is not None
    group = {"class": lambda one: one[1], "period": lambda one: one[0], None: lambda one: None}
    group_of = group[case.sample.by]
    totals: dict[object, int] = {}
    for stratum, count in counts.items():
        totals[group_of(stratum)] = totals.get(group_of(stratum), 0) + count
    share = {name: size / totals[name] for name, size in _even(totals, case.sample.rows).items()}
    return {
        stratum: min(count, max(1, round(count * share[group_of(stratum)])))
        for stratum, count in counts.items()
    }


def _even(totals: Mapping[object, int], rows: float) -> dict[object, float]:
    """``rows`` dealt evenly over the groups: one that has fewer gives the rest to the others."""
    dealt: dict[object, float] = {}
    for left, name in zip(
        range(len(totals), 0, -1), sorted(totals, key=lambda one: totals[one]), strict=True
    ):
        dealt[name] = min(totals[name], (rows - sum(dealt.values())) / left)
    return dealt


def _draw(
    case: UseCase,
    period: str,
    rows: pl.DataFrame,
    sizes: Mapping[_Stratum, int],
    chance: np.random.Generator,
) -> pl.DataFrame:
    by_class = case.sample is not None and case.sample.by == "class"
    weights = np.zeros(len(rows))
    values = sorted(rows[case.label].unique()) if by_class else [None]
    for value in values:
        places = (rows[case.label] == value).arg_true().to_numpy() if by_class else None
        there = np.arange(len(rows)) if places is None else places
        drawn = chance.permutation(there)[: sizes[period, value]]
        weights[drawn] = len(there) / len(drawn)
    chosen = np.flatnonzero(weights)
    return rows[chosen].with_columns(pl.Series(WEIGHT, weights[chosen]))


def _describe(case: UseCase, sample: pl.DataFrame, whole: int, seed: int) -> str:
    assert case.sample is not None
    by = {"class": "evenly by class, in each period", "period": "evenly by period"}
    weights = sample[WEIGHT].to_numpy()
    return (
        f"{len(sample):,} of {whole:,} labelled rows, drawn at random "
        f"{by.get(case.sample.by or '', 'in each period')} (seed {seed}); each stands for "
        f"{weights.min():.4g} to {weights.max():.4g} rows"
    )


def even_rows(rows: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, float]:
    """Rows that all stand for as many, and for how many: those of a sample are thinned by their
    weights, and have no ``WEIGHT`` any more; others stay as they are, and stand for themselves.

    What is measured on them is unbiased without weights: scores, references, thresholds."""
    if WEIGHT not in rows.columns:
        return rows, 1.0
    weights = rows[WEIGHT].to_numpy()
    kept = np.random.default_rng([seed, len(rows)]).random(len(rows)) < weights / weights.max()
    return rows.drop(WEIGHT).filter(kept), float(weights.max())
