"""The day-by-day note: after how many days it rings where nothing changed, and after a fault.

Where nothing changed: the days of a year are permuted within their weekdays, half of them are the
reference, and the days of the other half follow each other in ever new orders until the note rings.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.drift.faults import faults
from benchmarks.drift.shuffles import halves, year_of
from benchmarks.drift.world import Champion, draw_weeks
from tasks.drift.checks.against_profile import HeldAgainst, day_chances
from tasks.drift.checks.exact import drop_impossible
from tasks.drift.learning import learn_profile
from tasks.drift.profile.sequential import ALARM, add_days

YEAR, MOST_YEARS = 365, 20
_RUNS = 20  # orders of one shuffle's days
_WINDOWS, _WEEKS = 10, 8
_PLANTED = (
    "none",
    "Celsius",
    "Celsius in half of the rows",
    "each number of other rows",
    "seats of other rows",
    "0 in 5 % of humidity",
    "airline UA gone",
    "a new airline in 6 %",
    "nulls in 6 % of temperature",
)


def run_lengths(champion: Champion, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Days until the note rings, over ``count`` shuffles of the year; a run that rings never ends
    after twenty years."""
    case, year = champion.case, year_of(champion)
    lengths: list[int] = []
    with threadpool_limits(1):
        for number in range(count):
            parts = halves(champion, year, number, 6, seed)
            profile = learn_profile(case, parts.training, seed)
            chances = day_chances(HeldAgainst(case, profile, drop_impossible(case, parts.later)))
            chance = np.random.default_rng([seed, number])
            lengths += [run_length(chances, chance) for _ in range(_RUNS)]
    several = np.array(lengths)
    yield {
        "shuffles": count,
        "runs": len(several),
        "mean days": int(several.mean()),
        "median days": int(np.median(several)),
        "rang in a year": float(np.mean(several <= YEAR)),
        "never in 20 years": float(np.mean(several >= MOST_YEARS * YEAR)),
    }


def run_length(chances: tuple[np.ndarray, np.ndarray], chance: np.random.Generator) -> int:
    """Days until the sum of the p-values ``(n_days,)`` each, in ever new orders, rings."""
    level, past = 0.0, 0
    while past < MOST_YEARS * YEAR:
        order = chance.permutation(len(chances[0]))
        path = add_days(level, [side[order] for side in chances])
        if (path >= ALARM).any():
            return past + int(np.argmax(path >= ALARM)) + 1
        level, past = float(path[-1]), past + len(path)
    return MOST_YEARS * YEAR


def delays(champion: Champion, seed: int) -> Iterator[dict[str, Any]]:
    """Days from a fault to the note, in windows of eight weeks of drawn training days that have the
    fault on each day."""
    case, profile = champion.case, champion.yardstick.profile
    assert profile is not None
    numbers = [column.name for column in case.columns if column.kind == "number"]
    planted = {name: spoil for name, _, spoil in faults(numbers) if name in _PLANTED}
    for name, spoil in planted.items():
        days = []
        with threadpool_limits(1):
            for number in range(_WINDOWS):
                chance = np.random.default_rng([seed, number])
                rows = spoil(draw_weeks(case, champion.training, _WEEKS, chance), chance)
                possible = drop_impossible(case, rows)
                days.append(_delay(HeldAgainst(case, profile, possible)))
        rang = sorted(day for day in days if day is not None)
        yield {
            "fault": name,
            "windows": _WINDOWS,
            "rang": len(rang),
            "median days": int(np.median(rang)) if rang else None,
            "first": rang[0] if rang else None,
            "last": rang[-1] if rang else None,
        }


def _delay(window: HeldAgainst) -> int | None:
    path = add_days(0.0, day_chances(window))
    rang = np.flatnonzero(path >= ALARM)
    return int(rang[0]) + 1 if len(rang) else None
