"""What the check says of shifts of stated size, planted into windows that have none."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from benchmarks.drift.world import Champion, draw_days, draw_rows
from usecases.definition import SCORE

Spoil = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]

_UNITS = {
    "distance_miles": ("in km", 1.609344, 0.0),
    "wind_speed_mph": ("in m/s", 0.44704, 0.0),
    "temperature_f": ("in Celsius", 5 / 9, -160 / 9),
}


@dataclass(frozen=True)
class Shift:
    """``expected``: what the check should say of a large one; of a small one it may be stable.

    ``rescored``: the scores are the model's answers to what was changed.
    """

    name: str
    size: str
    expected: str
    spoil: Spoil
    rescored: bool = True


def shifts(champion: Champion) -> Iterator[Shift]:
    """All that is planted; which columns are important is what the champion's package says."""
    numbers = [column.name for column in champion.case.columns if column.kind == "number"]
    by_weight = sorted(numbers, key=lambda name: -champion.importance.get(name, 0.0))
    first, several, last = by_weight[0], by_weight[:5], by_weight[-1]
    groups = [
        column.name
        for column in champion.case.columns
        if column.kind == "category" and column.name not in champion.case.drift.described
    ]
    group = max(groups, key=lambda name: champion.importance.get(name, 0.0))
    spread = {name: float(champion.reference[name].std() or 0.0) for name in numbers}  # type: ignore[arg-type]
    for deviations in (0.25, 0.5, 1.0, 2.0):
        yield Shift(
            f"{first} + k sd",
            f"{deviations:g}",
            "drifted",
            _moved({first: deviations * spread[first]}),
        )
    for deviations in (0.25, 0.5, 1.0):
        several_moved = _moved({name: deviations * spread[name] for name in several})
        yield Shift(
            f"the {len(several)} weightiest numbers + k sd",
            f"{deviations:g}",
            "drifted",
            several_moved,
        )
    for points in (5, 10, 20):
        yield Shift(
            f"{group}: most common + k points",
            str(points),
            "drifted",
            _more_of(group, points / 100),
        )
    for deviations in (0.25, 0.5, 1.0):
        if SCORE in champion.reference.columns:
            deviation = float(champion.reference[SCORE].std())  # type: ignore[arg-type]
            shifted = _moved({SCORE: deviations * deviation})
            yield Shift("score + k sd", f"{deviations:g}", "drifted", shifted, rescored=False)
    yield Shift(f"{last} + k sd (unimportant)", "2", "stable", _moved({last: 2 * spread[last]}))
    yield from _broken(first, [name for name in _UNITS if name in numbers])


def _broken(first: str, with_units: list[str]) -> Iterator[Shift]:
    for name in with_units:
        unit, factor, offset = _UNITS[name]
        yield Shift(f"{name} {unit}", "", "broken", _converted(name, factor, offset))
    yield Shift(
        f"{first} constant",
        "",
        "broken",
        lambda rows, _: rows.with_columns(pl.lit(rows[first].median()).alias(first)),
    )
    yield Shift(f"{first} null", "80 %", "broken", _lost(first, 0.8))


def _moved(by: dict[str, float]) -> Spoil:
    return lambda rows, _: rows.with_columns(pl.col(name) + far for name, far in by.items())


def _converted(name: str, factor: float, offset: float) -> Spoil:
    return lambda rows, _: rows.with_columns(pl.col(name) * factor + offset)


def _lost(name: str, share: float) -> Spoil:
    def spoil(rows: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        return rows.with_columns(
            pl.when(pl.Series(chance.random(len(rows)) >= share)).then(name).alias(name)
        )

    return spoil


def _more_of(name: str, points: float) -> Spoil:
    """Rows of other categories become the most common one, until its share is ``points`` (0-1)
    larger.
    """

    def spoil(rows: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        most = rows[name].drop_nulls().mode().sort()[0]
        others = np.flatnonzero((rows[name] != most).fill_null(False).to_numpy())
        changed = np.zeros(len(rows), dtype=bool)
        changed[
            chance.choice(others, min(round(points * len(rows)), len(others)), replace=False)
        ] = True
        return rows.with_columns(
            pl.when(pl.Series(changed)).then(pl.lit(most)).otherwise(name).alias(name)
        )

    return spoil


def planted(
    champion: Champion, windows: int, sizes: tuple[int, ...], days: tuple[int, ...], seed: int
) -> Iterator[dict[str, Any]]:
    """The share of windows that are called drifted, and broken, for each shift and size; sizes in
    rows drawn alone, or in whole days.
    """
    for shift in shifts(champion):
        for draw, size in [
            *((draw_rows, size) for size in sizes),
            *((draw_days, size) for size in days),
        ]:
            outcomes: Counter[str] = Counter()
            for number in range(windows):
                chance = np.random.default_rng(
                    [seed, size, number]
                )  # the same windows for each shift
                rows = shift.spoil(draw(champion.case, champion.training, size, chance), chance)
                if shift.rescored:
                    rows = rows.with_columns(
                        pl.Series(SCORE, champion.held_out(rows), dtype=pl.Float64)
                    )
                outcomes[champion.judge("", rows).outcome] += 1
            summary = {
                outcome: outcomes[outcome] / windows
                for outcome in ("drifted", "broken", "stable", "inconclusive")
            }
            window = f"{size} {'rows' if draw is draw_rows else 'days'}"
            yield {
                "shift": shift.name,
                "k": shift.size,
                "window": window,
                "expected": shift.expected,
                **summary,
            }
