"""How often the contest crowns a challenger that is no better, and how often it finds one that is,
beside what docs/contest.md promises.

    python -m benchmarks.contest promises [worlds] [seed]    all parts, some 40 minutes
    python -m benchmarks.contest promises tries 600 31       one part: single, power, candidates,
                                                             tries, gate, months, intervals or
                                                             dependence
    python -m benchmarks.contest quick                       less than a minute; fails beyond

All worlds have good and bad days: a day changes the log-odds of its rows, and how well each model
sees them (by .25 of a noise of .8 for either; by .125 where the world is ``mild``). Days may hang
together (AR(1), ``rho``). A challenger is chosen from candidates on as many days before the
hold-out (``slice``) or, without such days, on the hold-out (``rows``), and each further try on a
hold-out has new candidates. Rows of several tries have a third of the worlds. All go through the
product's own ``hold``."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving.records.contest import Contest
from tasks.contest.verdict import hold
from tasks.measures.bounds import critical_value, standard_error
from tasks.measures.influence import Influence, influence
from tasks.measures.intervals import intervals
from usecases.definition import LOG_LOSS, ROC_AUC, Metric, Promotion

RULE = Promotion(suspicious_share=1, suspicious_score=1, minimum_class_rows=1)
NOISE, SHARED = 0.8, 0.9


@dataclass(frozen=True)
class World:
    """``days`` of ``a_day`` rows that hang together by ``rho``. The challenger sees the log-odds
    with ``better`` less noise than the champion. ``base`` are the log-odds of an ordinary row, and
    by ``skill`` (a standard deviation) a day makes one model's noise larger and the other's
    smaller."""

    days: int = 30
    a_day: int = 100
    rho: float = 0.0
    better: float = 0.0
    base: float = -1.7
    skill: float = 0.25
    metric: Metric = ROC_AUC

    @property
    def name(self) -> str:
        hang = f", rho {self.rho:g}" if self.rho else ""
        rare = ", rare positives" if self.base < -3 else ""
        mild = ", mild" if self.skill < 0.2 else ""
        return f"{self.metric.in_words()}, {self.days} days x {self.a_day}{hang}{rare}{mild}"


@dataclass(frozen=True)
class Row:
    """A row of the table. ``promise``: at most this share of equal challengers (or of better ones,
    at least this share) is crowned, in any of ``tries``."""

    world: World
    promise: float
    candidates: int = 1
    chosen_on: str = "slice"
    tries: int = 1

    @property
    def is_power(self) -> bool:
        return self.world.better > 0

    def fails(self, crowned: int, worlds: int) -> bool:
        """Whether the count is beyond the promise by more than chance (99.5 %)."""
        low, high = wilson(crowned, worlds, 2.58)
        return high < self.promise if self.is_power else low > self.promise


def wilson(number: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927)."""
    share, centre = number / of, number / of + z * z / (2 * of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (centre - half) / (1 + z * z / of), (centre + half) / (1 + z * z / of)


@dataclass
class Rows:
    """Labelled rows of days in time order, and models that see them."""

    world: World
    seed: int
    days: int

    def __post_init__(self) -> None:
        self.chance = np.random.default_rng([self.seed, 12])
        self.day = np.repeat(np.arange(self.days), self.world.a_day)
        self.margin = self.chance.normal(0, 1.2, len(self.day)) + self.world.base
        self.margin += 0.5 * self._by_day()[self.day]
        self.shared = self.chance.normal(0, SHARED, len(self.day))
        self.truth = (self.chance.random(len(self.day)) < sigmoid(self.margin)).astype(int)
        self.skill = np.clip(self.world.skill * self._by_day(), -0.75, 0.75)[self.day]

    def _by_day(self) -> np.ndarray:
        shocks, rho = self.chance.normal(size=self.days), self.world.rho
        for day in range(1, self.days):
            shocks[day] = rho * shocks[day - 1] + math.sqrt(1 - rho**2) * shocks[day]
        return shocks

    def champion(self) -> np.ndarray:
        return self._seen(NOISE + self.skill)

    def challenger(self) -> np.ndarray:
        return self._seen(NOISE - self.world.better - self.skill)

    def _seen(self, noise: np.ndarray) -> np.ndarray:
        own = np.maximum(noise, 0) * self.chance.normal(size=len(self.day))
        return sigmoid(self.margin + self.shared + own)


def sigmoid(margin: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-margin))


def crowned(row: Row, seed: int, replicates: int) -> bool:
    """Whether any try of a row's world crowns.

    A try that does not win at 95 % alone cannot win with less left: its contest is held only if a
    later try has to know it."""
    world = row.world
    before = world.days if row.candidates > 1 and row.chosen_on == "slice" else 0
    rows = Rows(world, seed, before + world.days)
    late = rows.day >= before
    champion, tried = rows.champion(), list[np.ndarray]()
    theirs = _influence(rows, champion, late)

    def judged(
        challenger: np.ndarray, earlier: list[Contest] | None, rivals: Sequence[np.ndarray] = ()
    ) -> Contest:
        fewer = {"replicates": replicates} if rivals or earlier else {}
        rule = RULE.model_copy(update=fewer)
        sides = rows.truth[late], champion[late], challenger[late], rows.day[late]
        return hold(rule, world.metric, *sides, earlier=earlier, rivals=rivals)

    for _ in range(row.tries):
        candidates = [rows.challenger() for _ in range(row.candidates)]
        chosen_by = late if row.chosen_on == "rows" else ~late
        scores = [_score(world.metric, rows, candidate, chosen_by) for candidate in candidates]
        best = int(np.argmax(scores)) if row.candidates > 1 else 0
        rivals = [scores[late] for at, scores in enumerate(candidates) if at != best]
        if row.chosen_on == "rows":
            return judged(candidates[best], None, rivals).promoted
        tried.append(candidates[best])
        if not _wins_alone(world.metric, _influence(rows, candidates[best], late), theirs):
            continue
        if row.tries == 1:
            return judged(candidates[best], None).promoted
        contests = [judged(challenger, None) for challenger in tried[:-1]]
        if judged(candidates[best], contests).promoted:
            return True
    return False


def _influence(rows: Rows, scores: np.ndarray, some: np.ndarray) -> Influence:
    days, home = np.unique(rows.day[some], return_inverse=True)
    return influence(rows.world.metric, rows.truth[some], scores[some], home, len(days))


def _wins_alone(metric: Metric, ours: Influence, theirs: Influence) -> bool:
    sign = 1 if metric.higher_is_better else -1
    by_block = sign * (ours.by_block - theirs.by_block)
    value = critical_value(np.eye(1), len(by_block), RULE.confidence, 0, RULE.replicates)
    return bool(sign * (ours.score - theirs.score) > value * standard_error(by_block))


def _score(metric: Metric, rows: Rows, scores: np.ndarray, some: np.ndarray) -> float:
    if not some.any():
        return 0.0
    home = np.zeros(int(some.sum()), dtype=int)
    value = influence(metric, rows.truth[some], scores[some], home, 1).score
    return value if metric.higher_is_better else -value


def true_gain(world: World) -> float:
    """The gain on two million rows of many days."""
    rows = Rows(replace(world, a_day=500), 1, 4_000)
    home = np.zeros(len(rows.day), dtype=int)
    ours, theirs = (
        influence(world.metric, rows.truth, scores, home, 1).score
        for scores in (rows.challenger(), rows.champion())
    )
    return world.metric.gain(ours, theirs)


def table(
    rows: Sequence[Row], worlds: int, seed: int, replicates: int
) -> Iterator[tuple[str, bool]]:
    """The lines of the table, and whether each is beyond its promise."""
    for row in rows:
        number = worlds if row.tries == 1 else max(worlds // 3, 40)
        won = sum(crowned(row, 1_000_000 * seed + at, replicates) for at in range(number))
        chosen = f"{row.candidates} on {row.chosen_on}" if row.candidates > 1 else "1"
        gain = f"{true_gain(row.world):+.4f}" if row.is_power else "0"
        promise = f"{'≥' if row.is_power else '≤'} {row.promise:.0%}"
        beyond = row.fails(won, number)
        line = (
            f"| {row.world.name} | {chosen} | {row.tries} | {gain} | {_with_interval(won, number)} "
            f"| {promise} |{' BEYOND' if beyond else ''}"
        )
        yield line, beyond


def coverage(world: World, worlds: int, seed: int) -> tuple[float, float]:
    """How often the 90 % intervals of one model's ROC AUC and log loss hold the value of a long
    history."""
    truth = {
        metric.name: influence(metric, long.truth, long_scores, np.zeros(len(long.day), int), 1)
        for long, long_scores in [_long(world)]
        for metric in (ROC_AUC, LOG_LOSS)
    }
    held = dict.fromkeys(truth, 0)
    for at in range(worlds):
        rows = Rows(world, 1_000_000 * seed + at, world.days)
        by_metric = intervals((ROC_AUC, LOG_LOSS), rows.truth, rows.champion(), rows.day, 0)
        for name, interval in by_metric.items():
            bounds = interval.bounds
            held[name] += bounds is not None and bounds[0] <= truth[name].score <= bounds[1]
    return held["roc_auc"] / worlds, held["log_loss"] / worlds


def _long(world: World) -> tuple[Rows, np.ndarray]:
    rows = Rows(replace(world, rho=0.0, a_day=500), 2, 4_000)
    return rows, rows.champion()


AR, LOSS = World(rho=0.5), World(metric=LOG_LOSS)
SINGLE = (
    Row(World(days=10), 0.05),
    Row(World(), 0.05),
    Row(World(days=60), 0.05),
    Row(World(a_day=50, base=-5.2), 0.05),
    Row(LOSS, 0.05),
    Row(AR, 0.05),
    Row(replace(AR, days=14), 0.05),
    Row(replace(AR, metric=LOG_LOSS), 0.06),
    Row(replace(AR, a_day=400, skill=0.125), 0.07),
    Row(replace(AR, a_day=400, skill=0.125, metric=LOG_LOSS), 0.07),
    Row(replace(AR, a_day=400), 0.09),
    Row(replace(AR, a_day=400, metric=LOG_LOSS), 0.09),
)
MILD = World(base=0.0, skill=0.125)  # the advantage by day has a standard deviation of .25
POWER = (
    Row(replace(MILD, better=0.205), 0.28),
    Row(replace(MILD, better=0.39), 0.68),
    Row(replace(MILD, better=0.1, a_day=900), 0.38),
    Row(replace(MILD, better=0.205, days=60), 0.0),
    Row(replace(MILD, better=0.205), 0.0, 5, "slice"),
    Row(replace(MILD, better=0.205), 0.0, 5, "rows"),
)
CHOSEN = tuple(
    Row(world, promise, candidates, on)
    for world, promise in ((World(), 0.05), (AR, 0.06))
    for on in ("slice", "rows")
    for candidates in (2, 5, 10)
)
TRIED = tuple(
    Row(world, promise, candidates, "slice", tries)
    for world, promise in ((World(), 0.05), (AR, 0.06))
    for candidates in (1, 2, 5, 10)
    for tries in (5, 12)
)
QUICK = (*SINGLE[:2], SINGLE[5], POWER[1], CHOSEN[1])


PARTS = {"single": SINGLE, "power": POWER, "candidates": CHOSEN, "tries": TRIED}


def promises(part: str, worlds: int, seed: int) -> int:
    """Print a part of the table. Returns how many rows are beyond."""
    others = {
        "gate": gate_looks,
        "months": months,
        "intervals": covered,
        "dependence": dependence,
    }
    if part in others:
        print("\n".join(others[part](worlds, seed)), flush=True)
        return 0
    print(HEAD)
    beyond = 0
    for line, failed in table(PARTS[part], worlds, seed, 8_000):
        print(line, flush=True)
        beyond += failed
    return beyond


def covered(worlds: int, seed: int) -> Iterator[str]:
    """How often the 90 % intervals of a score hold its true value."""
    yield "| 90 % intervals | ROC AUC | log loss |\n|---|---|---|"
    for world in (World(days=10), World(), World(days=60), AR):
        auc, loss = coverage(world, worlds, seed)
        yield f"| {world.name} | {auc:.1%} | {loss:.1%} |"


def gate_looks(worlds: int, seed: int) -> Iterator[str]:
    """Two equal candidates: the second is judged if the first misses a gate on the hold-out, as
    after HPO. How often one is crowned if the first look is not counted, and if the first is a
    rival of the second, by the gate's distance from what both reach in truth."""
    yield "| gate | second looks | first alone | not counted | as a rival |"
    yield "|---:|---:|---|---|---|"
    world = World()
    long, scores = _long(world)
    truth = influence(ROC_AUC, long.truth, scores, np.zeros(len(long.day), int), 1).score
    for away in (-0.01, 0.0, 0.01):
        looks, alone, uncounted, rival = 0, 0, 0, 0
        for at in range(worlds):
            rows = Rows(world, 1_000_000 * seed + at, world.days)
            champion, first, second = rows.champion(), rows.challenger(), rows.challenger()
            everywhere = np.ones(len(rows.day), dtype=bool)
            reached = [_score(ROC_AUC, rows, model, everywhere) for model in (first, second)]
            if reached[0] >= truth + away:
                won = _won(rows, champion, first)
                alone, uncounted, rival = alone + won, uncounted + won, rival + won
            elif reached[1] >= truth + away:
                looks += 1
                uncounted += _won(rows, champion, second)
                rival += _won(rows, champion, second, [first])
        shares = [_with_interval(won, worlds) for won in (alone, uncounted, rival)]
        yield f"| {away:+.2f} | {looks / worlds:.0%} | {' | '.join(shares)} |"


def dependence(worlds: int, seed: int) -> Iterator[str]:
    """What critical values of days that hang together by more or less would mean, on normal days:
    false promotions at one-sided 95 %, power for a gain of 2.5 standard errors of independent days,
    and the coverage of two-sided 90 % intervals."""
    yield "| days | value for | errs at 0 / .5 | power | covers at 0 / .5 |"
    yield "|---:|---:|---|---:|---|"
    for days in (10, 30, 60):
        alone, together = (_normal_days(worlds, days, rho, seed) for rho in (0.0, 0.5))
        better = alone + 2.5 * days**-0.5
        statistics = [x.sum(axis=1) / standard_error(x) for x in (alone, together, better)]
        for hang in (0.0, 0.25, 0.3, 0.4, 0.5):
            value = critical_value(np.eye(1), days, 0.95, hang=hang)
            errs = " / ".join(f"{np.mean(x > value):.1%}" for x in statistics[:2])
            covers = " / ".join(f"{np.mean(np.abs(x) <= value):.1%}" for x in statistics[:2])
            power = f"{np.mean(statistics[2] > value):.1%}"
            yield f"| {days} | {hang:g} | {errs} | {power} | {covers} |"


def _normal_days(worlds: int, days: int, rho: float, seed: int) -> np.ndarray:
    apart = np.abs(np.subtract.outer(np.arange(days), np.arange(days)))
    root = np.linalg.cholesky(rho**apart)
    return np.random.default_rng([seed, days]).normal(size=(worlds, days)) @ root.T


def _won(
    rows: Rows, champion: np.ndarray, challenger: np.ndarray, rivals: Sequence[np.ndarray] = ()
) -> bool:
    rule = RULE.model_copy(update={"replicates": 8_000})
    return hold(
        rule, rows.world.metric, rows.truth, champion, challenger, rows.day, rivals=rivals
    ).promoted


def months(worlds: int, seed: int) -> Iterator[str]:
    """How often a challenger that is better by .01 is crowned, on hold-outs of one month of 30 days
    and of two."""
    yield "| hold-out | try | crowned |\n|---|---|---|"
    world = replace(MILD, better=0.205, days=90)
    found = dict.fromkeys(
        [
            "one month | first",
            "two new months | first",
            "two months, one of them contested before | second",
        ],
        0,
    )
    for at in range(worlds):
        rows = Rows(world, 1_000_000 * seed + at, world.days)
        champion, equal, better = rows.champion(), rows.champion(), rows.challenger()

        before = _on_days(rows, champion, equal, (0, 60), [])
        contests = [
            _on_days(rows, champion, better, (60, 90), []),
            _on_days(rows, champion, better, (30, 90), []),
            _on_days(rows, champion, better, (30, 90), [before]),
        ]
        for name, contest in zip(found, contests, strict=True):
            found[name] += contest.promoted
    for name, won in found.items():
        yield f"| {name} | {_with_interval(won, worlds)} |"


def _on_days(
    rows: Rows,
    champion: np.ndarray,
    challenger: np.ndarray,
    days: tuple[int, int],
    earlier: list[Contest],
) -> Contest:
    some = (rows.day >= days[0]) & (rows.day < days[1])
    sides = rows.truth[some], champion[some], challenger[some], rows.day[some]
    rule = RULE.model_copy(update={"replicates": 8_000})
    return hold(rule, rows.world.metric, *sides, earlier=earlier)


def _with_interval(won: int, worlds: int) -> str:
    low, high = wilson(won, worlds)
    return f"{won / worlds:.1%} ({low:.1%} to {high:.1%})"


HEAD = "| world | candidates | tries | gain | crowned | promise |\n|---|---|---:|---:|---|---|"


def quick(seed: int = 4) -> int:
    """Print a few rows on fewer worlds. Returns how many are beyond."""
    print(HEAD)
    beyond = 0
    tried = Row(World(), 0.05, 1, "slice", 12), Row(AR, 0.06, 5, "slice", 5)
    for rows, worlds in ((QUICK, 400), (tried, 300)):
        for line, failed in table(rows, worlds, seed, 2_000):
            print(line, flush=True)
            beyond += failed
    return beyond


def main(arguments: Sequence[str]) -> None:
    """``promises`` or ``quick``; exits with the number of rows that are beyond."""
    if arguments[0] == "quick":
        sys.exit(quick(*map(int, arguments[1:])))
    parts = [name for name in arguments[1:2] if not name.isdecimal()]
    numbers = [int(argument) for argument in arguments[1 + len(parts) :]]
    worlds, seed = [*numbers, *(1_000, 3)[len(numbers) :]]
    every = (*PARTS, "gate", "months", "intervals")
    sys.exit(sum(promises(part, worlds, seed) for part in parts or every))
