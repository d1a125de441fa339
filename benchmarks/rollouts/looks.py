"""Verdicts on gains that are looked at after each block, of two days each."""

from collections.abc import Iterator
from itertools import product
from math import sqrt

import numpy as np

from tasks.rollouts.blocks import BLOCK_DAYS, Judged, MissingLabel, Rows, is_informative, judge_days
from tasks.rollouts.planning import Spread, blocks_for, plan
from tasks.rollouts.sequential import ERROR, first_finding
from usecases.definition import LOG_LOSS

DAYS = (28, 56)
_SEED = 11
_BURN = 50  # days before the first


def errors(worlds: int) -> Iterator[str]:
    """Print how often equal challengers are found better; a look after each block."""
    print(f"\nFalse crowns in % of {worlds} worlds (wanted: {100 * ERROR:g}; rho .5: 8)")
    for days in DAYS:
        for horizon in (days // BLOCK_DAYS, None):
            for name, rho, skew in (
                ("rho 0", 0.0, 0.0),
                ("rho .3", 0.3, 0.0),
                ("rho .5", 0.5, 0.0),
                ("skew -1.5", 0.0, 1.5),
            ):
                share = _found(horizon, worlds, days, rho=rho, skew=skew)
                _print(f"{days} days, {_method(horizon)}, {name}", share)
                limit = 0.08 if skew or rho > 0.3 else ERROR
                yield from _beyond(f"false crowns, {days} days, {name}", share, limit, worlds)


def power(worlds: int) -> Iterator[str]:
    """Print how often a gain is found, in standard deviations of a day's gain, and the median day
    of those that are."""
    print(f"\nGains that are found in % of {worlds} worlds, and when: the median day")
    for days in DAYS:
        for horizon in (days // BLOCK_DAYS, None):
            for gain in (0.35, 0.5, 1.0):
                found = _found_after(horizon, worlds, days, gain=gain)
                share, day = len(found) / worlds, BLOCK_DAYS * float(np.median(found or [0]))
                _print(f"{days} days, {_method(horizon)}, gain {gain:g}", share, f"day {day:.0f}")
                if (days, horizon, gain) == (28, 14, 0.5):
                    yield from _beyond("a gain missed", 1 - share, 0.35, worlds)


def plans(worlds: int) -> Iterator[str]:
    """Print the planned days for a gain, and how often they find it."""
    print("\nPlanned days for 80 %, and what they find")
    cases = [(0.5, 0.0), (0.75, 0.0), (1.0, 0.0), (1.0, 0.3)]
    for (gain, rho), is_planned in product(cases, (True, False)):
        # A block is the mean of two days, so it differs less than a day does.
        spread = Spread(sqrt((1 + rho) / 2), rho * (1 + rho) / 2)
        planned = plan(gain, spread, planned=is_planned)
        if planned.blocks is None:
            continue
        days = planned.blocks * BLOCK_DAYS
        horizon = planned.blocks if is_planned else None
        share = _found(horizon, worlds, days, rho=rho, gain=gain)
        _print(f"gain {gain:g}, rho {rho:g}, {_method(horizon)}: {days} days", share)
        yield from _beyond(f"planned for {gain:g} and missed", 1 - share, 0.25, worlds)


def against_ab(worlds: int) -> Iterator[str]:
    """Print the planned days of a shadow and of an A/B, half and half, for the same gain: a
    challenger that sees more than the champion, and one that has learned a little more."""
    worlds = max(4, worlds // 50)
    print(f"\nDays for 80 %, of {worlds} worlds of 56 days x 900 rows: shadow, A/B")
    for name, champion, challenger, common in (
        ("models that differ", 1.0, 0.7, 0.0),
        ("a refit on more rows", 0.8, 0.75, 0.9),
    ):
        chance = np.random.default_rng(_SEED)
        pairs = [_both_ways(chance, champion, challenger, common) for _ in range(worlds)]
        gain = float(np.mean([shadow for shadow, _ in pairs]))
        days = [_planned_days(gain, [pair[way] for pair in pairs]) for way in (0, 1)]
        print(f"  {name:52} {days[0]:5.0f} {days[1]:6.0f}  {days[1] / days[0]:.1f} times")
        if days[1] < days[0]:
            yield f"{name}: an A/B of {days[1]:.0f} days is shorter than a shadow of {days[0]:.0f}"


def _planned_days(gain: float, gains: list[np.ndarray]) -> float:
    """The days that find a gain, also where they are more than a rollout may last."""
    deviation = float(np.median([each.std(ddof=1) for each in gains]))
    return BLOCK_DAYS * blocks_for(gain / deviation, 0.0, planned=True)


def _both_ways(
    chance: np.random.Generator, champion: float, challenger: float, common: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gains in log loss by blocks, of pairs and of two halves of the same rows. The log odds of
    both models err by so much, ``common`` (0-1) of it together."""
    day = np.repeat(np.arange(56), 900)
    odds = chance.normal(-1.0, 1.0, len(day)) + np.repeat(chance.normal(0, 0.2, 56), 900)
    truth = chance.random(len(day)) < 1 / (1 + np.exp(-odds))
    shared = chance.normal(size=len(day))
    losses = []
    for size in (champion, challenger):
        own = chance.normal(size=len(day))
        errs = size * (sqrt(common) * shared + sqrt(1 - common) * own)
        losses.append(np.logaddexp(0, np.where(truth, -1, 1) * (odds + errs)))
    block, half = day // BLOCK_DAYS, chance.random(len(day)) < 0.5
    means = [
        np.bincount(block[rows], loss[rows]) / np.bincount(block[rows])
        for loss, rows in ((losses[0], ~half), (losses[1], half))
    ]
    pairs = np.bincount(block, losses[0] - losses[1]) / np.bincount(block)
    return pairs, means[0] - means[1]


def late_labels(worlds: int) -> Iterator[str]:
    """Print how often an equal challenger is crowned whose errors are the champion's turned round,
    by how labels come late; a look after each day."""
    worlds = max(1, worlds // 10)
    print(f"\nFalse crowns with late labels, in % of {worlds} worlds of 35 days x 300 rows")
    cases: list[tuple[str, float, float, float, float, MissingLabel]] = [
        ("the same for all, 80 % come", 7, 7, 0.8, 0.8, "unknown"),
        ("positives by day 2, negatives by 7", 2, 7, 1, 1, "unknown"),
        ("positives sooner; 95 and 65 % come", 2, 7, 0.95, 0.65, "unknown"),
        ("negatives never come", 7, 7, 1, 0, "negative"),
    ]
    for name, positive, negative, some, others, missing in cases:
        chance = np.random.default_rng(_SEED)
        crowned = np.mean(
            [
                _crowned_late(chance, (positive, negative), (some, others), missing)
                for _ in range(worlds)
            ]
        )
        _print(name, float(crowned))
        yield from _beyond(f"labels: {name}", float(crowned), ERROR, worlds)


def rewards(worlds: int) -> Iterator[str]:
    """Print how often an equal challenger is found better by its rewards, and one that brings 15 %
    more: most answers bring nothing, and a few very much (Pareto 2.2)."""
    print(f"\nRewards of two equal sides over 28 days x 400 rows, in % of {worlds} worlds")
    for cap in (np.inf, 20.0):
        for more in (0.0, 0.15):
            chance = np.random.default_rng(_SEED)
            found = np.mean([_rewarded(chance, 1 + more, cap) for _ in range(worlds)])
            name = "equal" if not more else f"+{100 * more:.0f} %"
            _print(f"{name}, {'no cap' if cap == np.inf else f'cap {cap:g}'}", float(found))
            if not more:
                yield from _beyond(f"rewards, cap {cap:g}", float(found), ERROR, worlds)


def _rewarded(chance: np.random.Generator, times: float, cap: float) -> bool:
    blocks = 28 // BLOCK_DAYS
    sides = [
        np.minimum(4 * each * (1 + chance.pareto(2.2, (blocks, 400))), cap)
        * (chance.random((blocks, 400)) < 0.3)
        for each in (1.0, times)
    ]
    gains = sides[1].mean(axis=1) - sides[0].mean(axis=1)
    return first_finding(gains, blocks).finding == "better"


def _crowned_late(
    chance: np.random.Generator,
    lateness: tuple[float, float],
    coverage: tuple[float, float],
    missing: MissingLabel,
    days: int = 35,
    a_day: int = 300,
    follow_up: int = 7,
) -> bool:
    day = np.repeat(np.arange(days), a_day)
    odds = chance.normal(-1.0, 1.0, len(day)) + np.repeat(chance.normal(0, 0.2, days), a_day)
    truth = (chance.random(len(day)) < 1 / (1 + np.exp(-odds))).astype(float)
    errs = np.abs(chance.normal(0, 0.6, len(day)))
    champion, challenger = (1 / (1 + np.exp(-(odds + side * errs))) for side in (-1, 1))
    is_positive = truth == 1
    comes_at = day + chance.random(len(day)) * np.where(is_positive, *lateness)
    comes = chance.random(len(day)) < np.where(is_positive, *coverage)
    judged = Judged()
    for today in range(days + 1):
        known = np.where(comes & (comes_at <= today), truth, np.nan)
        judged = judge_days(
            judged, Rows(day, known, champion, challenger), LOG_LOSS, today - follow_up - 1, missing
        )
        if is_informative(judged.blocks):
            return False
        if first_finding(judged.gains, None).finding == "better":
            return True
    return False


def _days(chance: np.random.Generator, days: int, rho: float, skew: float) -> np.ndarray:
    """Gains of days with variance 1 that hang together; ``skew``: with a long tail below."""
    noise = chance.normal(size=days + _BURN)
    if skew:
        shape = 4 / skew**2
        noise = (shape - chance.gamma(shape, size=days + _BURN)) / sqrt(shape)
    for place in range(1, len(noise)):
        noise[place] = rho * noise[place - 1] + sqrt(1 - rho**2) * noise[place]
    return noise[_BURN:]


def _found(horizon: int | None, worlds: int, days: int, **world: float) -> float:
    """The share of the worlds (0-1) whose challenger is found better."""
    return len(_found_after(horizon, worlds, days, **world)) / worlds


def _found_after(
    horizon: int | None,
    worlds: int,
    days: int,
    rho: float = 0.0,
    skew: float = 0.0,
    gain: float = 0.0,
) -> list[int]:
    """The blocks after which the challenger was found better, in the worlds in which it was."""
    chance = np.random.default_rng(_SEED)
    gains = (_days(chance, days, rho, skew) + gain for _ in range(worlds))
    blocks = (each.reshape(-1, BLOCK_DAYS).mean(axis=1) for each in gains)
    looks = (first_finding(each, horizon) for each in blocks)
    return [look.blocks for look in looks if look.finding == "better"]


def _method(horizon: int | None) -> str:
    return "no horizon" if horizon is None else "planned"


def _print(name: str, share: float, more: str = "") -> None:
    print(f"  {name:52} {100 * share:5.1f}  {more}".rstrip(), flush=True)


def _beyond(name: str, share: float, limit: float, worlds: int) -> Iterator[str]:
    """The promise, if the share is beyond ``limit`` by more than three simulation errors."""
    if share > limit + 3 * sqrt(limit * (1 - limit) / worlds):
        yield f"{name}: {100 * share:.1f} % of {worlds} worlds, promised {100 * limit:g} %."
