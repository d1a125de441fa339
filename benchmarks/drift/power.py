"""The smallest change that each check finds in nine of ten windows: weeks of drawn training days,
into which the change is planted in rising sizes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.drift.faults import Fault, in_some, of_other_rows
from benchmarks.drift.shuffles import alarms
from benchmarks.drift.studies import sampled
from benchmarks.drift.world import Champion, draw_weeks
from tasks.drift.checks.against_profile import HeldAgainst, lost_relations, moved_counts
from tasks.drift.checks.exact import drop_impossible, find_exact
from tasks.drift.checks.integrity import ROWS, SHARE
from tasks.drift.checks.spikes import find_spikes
from tasks.drift.examine import examine
from tasks.drift.verdict import judge
from usecases.definition import SCORE

WINDOWS, WEEKS = 10, 4
ENOUGH = 0.9
_LEAST_R2 = 0.3
_SHARES = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15)
_OF_OTHERS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
_DEVIATIONS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
Found = set[tuple[str, str, str | None]]
_WORDS = {"within": "broken", "bounds": "broken", "alias": "broken", "spike": "broken"}
_WORDS |= {"nulls": "said", "repeats": "said", "volume": "said"}


@dataclass(frozen=True)
class Ladder:
    """A change in rising ``sizes``, for ``check`` to find (in ``column``, if there is one).

    ``explained``: R² of the column, given the others."""

    check: str
    change: str
    sizes: Sequence[float]
    spoil: Callable[[float], Fault]
    column: str | None = None
    unit: str = "%"
    explained: float | None = None

    @property
    def word(self) -> str:
        """What the check says of the window where it finds the change."""
        return _WORDS.get(self.check, "drifted")

    def write(self, size: float) -> str:
        return f"{100 * size:g} %" if self.unit == "%" else f"{size:g} {self.unit}"


def power(champion: Champion, seed: int) -> Iterator[dict[str, Any]]:
    """A row for each ladder: the first size that is found in nine of ten windows. A size counts if
    the named check finds it, whatever other checks say."""
    case = champion.case
    windows = [
        draw_weeks(case, champion.training, WEEKS, np.random.default_rng([seed, number]))
        for number in range(WINDOWS)
    ]
    with threadpool_limits(1):
        for ladder in [*relations(champion), *others(champion)]:
            yield climb(champion, ladder, windows, seed)
    yield changed_answers()


def changed_answers() -> dict[str, Any]:
    """The share of changed answers that scoring a sample anew finds with 90 %, by the binomial
    distribution: a changed answer is always seen.
    """
    from scipy.stats import binom

    broken_from = np.ceil(SHARE * ROWS)
    share = next(
        p for p in np.arange(0.01, 0.02, 0.0005) if binom.sf(broken_from - 1, ROWS, p) >= ENOUGH
    )
    return {
        "check": "integrity",
        "word": "broken",
        "change": "changed answers",
        "R²": None,
        "smallest": f"{100 * share:.3g} %",
        "found": f"{binom.sf(broken_from - 1, ROWS, share):.0%} of all",
    }


def climb(
    champion: Champion, ladder: Ladder, windows: Sequence[pl.DataFrame], seed: int
) -> dict[str, Any]:
    """Larger sizes are found as often or more, so that half of the sizes are left out each time."""
    low, high, times = 0, len(ladder.sizes), 0
    while low < high:
        middle = (low + high) // 2
        found = count(champion, ladder, ladder.sizes[middle], windows, seed)
        if found >= ENOUGH * len(windows):
            high, times = middle, found
        else:
            low = middle + 1
    beyond = f"not up to {ladder.write(ladder.sizes[-1])}"
    explained = ladder.explained
    return {
        "check": ladder.check,
        "word": ladder.word,
        "change": ladder.change,
        "R²": None if explained is None else round(explained, 2),
        "smallest": beyond if low == len(ladder.sizes) else ladder.write(ladder.sizes[low]),
        "found": f"{times} of {len(windows)}" if times else None,
    }


def count(
    champion: Champion, ladder: Ladder, size: float, windows: Sequence[pl.DataFrame], seed: int
) -> int:
    """In how many windows the ladder's check finds the change."""
    fault, times = ladder.spoil(size), 0
    for number, rows in enumerate(windows):
        spoiled = fault(rows, np.random.default_rng([seed, number]))
        found = found_by(champion, ladder.check, sampled(champion, spoiled), len(spoiled))
        times += (ladder.check, ladder.word, ladder.column) in found
    return times


def found_by(champion: Champion, check: str, rows: pl.DataFrame, counted: int) -> Found:
    """What the named check, and those measured with it, find."""
    case, yardstick, profile = champion.case, champion.yardstick, champion.yardstick.profile
    assert profile is not None
    if check == "score":
        evidence = examine(case, yardstick, rows, window="", counted=counted)
        return {(name, word, None) for name, word in alarms(judge(case.drift, evidence))}
    if check in ("bounds", "alias"):
        findings = find_exact(case, yardstick.reference, rows)
    else:
        window = HeldAgainst(case, profile, drop_impossible(case, rows))
        if check in ("within", "over"):
            findings = lost_relations(window)
        elif check == "spike":
            findings = find_spikes(case, yardstick.reference, window.rows, window.time)
        else:
            findings = moved_counts(window, counted, 1.0)
    return {(finding.check, finding.word, finding.column) for finding in findings}


def relations(champion: Champion) -> Iterator[Ladder]:
    """Of each column that the others explain: values of other rows, and a level that moved."""
    profile = champion.yardstick.profile
    assert profile is not None
    for check, side in zip(("within", "over"), profile.relations(), strict=True):
        explained = dict(zip(profile.numbers, side.explained.tolist(), strict=True))
        for name in sorted(explained, key=lambda name: -explained[name]):
            if explained[name] < _LEAST_R2:
                continue
            if check == "within":
                yield Ladder(
                    check,
                    f"{name} of other rows",
                    _OF_OTHERS,
                    _of_others(name),
                    name,
                    explained=explained[name],
                )
            else:
                yield Ladder(
                    check,
                    f"{name} + k sd",
                    _DEVIATIONS,
                    _higher(champion, name),
                    name,
                    "sd",
                    explained[name],
                )


def _of_others(name: str) -> Callable[[float], Fault]:
    return lambda share: of_other_rows(name, share=share)


def _higher(champion: Champion, *names: str) -> Callable[[float], Fault]:
    spread = {name: float(champion.reference[name].std() or 0.0) for name in names}  # type: ignore[arg-type]
    return lambda k: (
        lambda rows, _: rows.with_columns(pl.col(name) + k * sd for name, sd in spread.items())
    )


def _value(name: str, value: object) -> Callable[[float], Fault]:
    return lambda share: in_some(name, value, share)


def others(champion: Champion) -> Iterator[Ladder]:
    """Of the flights, the other checks. Columns were chosen by their kind and not by a result."""
    lower = pl.col("destination").str.to_lowercase()
    yield Ladder(
        "bounds", "-9999 in wind", _SHARES, _value("wind_speed_mph", -9999.0), "wind_speed_mph"
    )
    yield Ladder(
        "alias", "destination in lower case", _SHARES, _value("destination", lower), "destination"
    )
    for name, value in (("humidity_percent", 0.0), ("pressure_hpa", 1017.9), ("plane_seats", 0.0)):
        yield Ladder("spike", f"{value:g} in {name}", _SHARES, _value(name, value), name)
    yield Ladder("new", "a new carrier", _SHARES, _value("carrier", "ZZ"), "carrier")
    yield Ladder("new", "a new destination", _SHARES, _value("destination", "ZZZ"), "destination")
    for name in ("temperature_f", "plane_seats"):
        yield Ladder(
            "nulls", f"nulls more in {name}", (*_SHARES, 0.2, 0.3), _value(name, None), name
        )
    yield Ladder("repeats", "rows again", _SHARES, lambda share: _again(share))
    yield Ladder("volume", "rows lost", (0.1, 0.2, 0.3, 0.4, 0.5), lambda share: _lost(share))
    yield Ladder("score", "score + k sd", _DEVIATIONS, _higher(champion, SCORE), unit="sd")


def _again(share: float) -> Fault:
    return lambda rows, chance: pl.concat([rows, _part(rows, share, chance)])


def _lost(share: float) -> Fault:
    return lambda rows, chance: _part(rows, 1 - share, chance)


def _part(rows: pl.DataFrame, share: float, chance: np.random.Generator) -> pl.DataFrame:
    return rows.filter(pl.Series(chance.random(len(rows)) < share))
