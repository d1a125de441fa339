"""What the contest costs, how often it errs, and what its slices can tell on the flights.

python -m benchmarks.contest                 the first three, some minutes
python -m benchmarks.contest cost            what the bounds of one contest cost
python -m benchmarks.contest errors 500      how often equal, better and losing challengers are
                                             promoted, in 500 made-up worlds each
python -m benchmarks.contest power           half-widths of the flights' slices, and how often an
                                             equal challenger would pass
python -m benchmarks.contest promises        false promotions and power in hard worlds, by the
                                             number of candidates and tries
python -m benchmarks.contest quick           some of them in less than a minute; fails beyond what
                                             is promised
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.contest import promises
from serving.records.contest import Contest
from tasks.contest.verdict import hold
from tasks.measures.bounds import critical_value, critical_value_of_last
from tasks.measures.influence import influence
from tasks.measures.metrics import score
from usecases.definition import (
    CALIBRATION_ERROR,
    LOG_LOSS,
    ROC_AUC,
    Guard,
    Promotion,
    UseCase,
    load,
)

if TYPE_CHECKING:
    import polars as pl

ROWS, DAYS = 28_000, 30
A_DAY, SLICES = 900, 3
TOLERANCE = 0.02
SHARED = 0.9  # of the noise


def cost() -> None:
    """Print milliseconds of the influences and of the critical values, on as many rows as a month
    of flights has."""
    chance = np.random.default_rng(7)
    truth = (chance.random(ROWS) < 0.2).astype(int)
    champion, challenger = (
        0.7 * chance.random(ROWS) + 0.3 * chance.random(ROWS) * truth for _ in range(2)
    )
    day = chance.integers(0, DAYS, ROWS)
    _say("influences of both models on ROC AUC", lambda: _both(truth, champion, challenger, day))
    _say("critical value of a gain, once", lambda: critical_value(np.eye(1), DAYS, 0.975))
    same = 0.5 + 0.5 * np.eye(5)
    _say("critical value of five guards and slices", lambda: critical_value(same, DAYS, 0.95))
    for tries in (2, 5, 12):
        levels = [0.05 / (at * (at + 1)) for at in range(1, tries + 1)]
        same = 0.5 + 0.5 * np.eye(tries)
        sizes = [1] * tries
        _say(
            f"critical value of try {tries}",
            partial(critical_value_of_last, same, sizes, DAYS, levels),
        )


def _both(
    truth: np.ndarray, champion: np.ndarray, challenger: np.ndarray, day: np.ndarray
) -> list[float]:
    return [influence(ROC_AUC, truth, scores, day, DAYS).score for scores in (champion, challenger)]


def _say(name: str, work: Callable[[], object]) -> None:
    start = time.process_time()
    work()
    print(f"{name}: {1000 * (time.process_time() - start):.0f} ms")


@dataclass(frozen=True)
class Scene:
    """A world of ``SLICES`` equal slices. The noise with which the champion and the challenger see
    the log-odds; ``losing``: in slice 0.
    """

    name: str
    champion: float
    challenger: float
    losing: float | None = None


def world(scene: Scene, seed: int, days: int = DAYS, a_day: int = A_DAY) -> dict[str, np.ndarray]:
    """Truth, scores of both, day and slice of rows whose days have effects; what both mistake is
    partly the same.
    """
    chance = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), a_day)
    piece = chance.integers(0, SLICES, len(day))
    margin = chance.normal(0, 1.2, len(day)) + chance.normal(0, 0.5, days)[day]
    shared = chance.normal(0, SHARED, len(day))
    noise = np.where(
        (piece == 0) & (scene.losing is not None), scene.losing or 0.0, scene.challenger
    )
    seen = {
        "champion": margin + shared + scene.champion * chance.normal(0, 1, len(day)),
        "challenger": margin + shared + noise * chance.normal(0, 1, len(day)),
    }
    scores = {
        name: 1 / (1 + np.exp(-values * 1.7 / (1.7 + SHARED**2 + scene.champion**2)))
        for name, values in seen.items()
    }
    truth = (chance.random(len(day)) < 1 / (1 + np.exp(-margin))).astype(int)
    return {"truth": truth, "block": day, "piece": piece, **scores}


def held(scene: Scene, seed: int, rule: Promotion) -> Contest:
    scores = world(scene, seed)
    slices = {f"slice {at}": scores["piece"] == at for at in range(SLICES)}
    return hold(
        rule,
        ROC_AUC,
        scores["truth"],
        scores["champion"],
        scores["challenger"],
        scores["block"],
        slices,
        seed,
    )


def slice_loss(scene: Scene, worlds: int = 20) -> float:
    """By how much the challenger loses slice 0 in truth: the mean over long worlds."""
    lost = []
    for seed in range(worlds):
        scores = world(scene, 10_000 + seed, days=60, a_day=1000)
        there = scores["piece"] == 0
        auc = [score(ROC_AUC, scores["truth"][there], scores[who][there]) for who in SIDES]
        lost.append(auc[0] - auc[1])
    return statistics.mean(lost)


SIDES = ("champion", "challenger")
# The noises of slice 0 make it lose as much as is tolerated, three halves of it, and twice as much.
SCENES = (
    Scene("equal everywhere", 0.8, 0.8),
    Scene("better everywhere", 0.8, 0.2),
    Scene("better, but equal in slice 0", 0.8, 0.2, losing=0.8),
    Scene("better, slice 0 loses the tolerance", 0.8, 0.2, losing=1.15),
    Scene("better, slice 0 loses half as much again", 0.8, 0.2, losing=1.325),
    Scene("better, slice 0 loses twice that", 0.8, 0.2, losing=1.505),
)
RULE = Promotion(
    guards=(
        Guard(metric=LOG_LOSS, tolerance=0.01),
        Guard(metric=CALIBRATION_ERROR, tolerance=0.03),
    ),
    slice_tolerance=TOLERANCE,
    suspicious_gain=1,
)


def errors(worlds: int) -> None:
    """Print how often the rule promotes in each scene, how often a guard or slice was in the way,
    and whether the joint bounds hold.
    """
    print(
        f"{worlds} worlds of {DAYS} days x {A_DAY} rows in {SLICES} slices, tolerated "
        f"{TOLERANCE}, {RULE.confidence:.0%} bounds"
    )
    for scene in SCENES:
        contests = [held(scene, seed, RULE) for seed in range(worlds)]
        promoted = sum(contest.promoted for contest in contests)
        against = sum(any("worse" in reason for reason in contest.reasons) for contest in contests)
        caught = sum(
            any(reason.startswith("slice 0") for reason in contest.reasons) for contest in contests
        )
        print(
            f"{scene.name:40} slice 0 gains {-slice_loss(scene):+.4f}: promoted "
            f"{promoted / worlds:6.1%}, "
            f"a guard or slice against it {against / worlds:6.1%}, slice 0 {caught / worlds:6.1%}"
        )


def power() -> None:
    """Print, for real pairs of flights' models, each slice's half-width, and how often one that is
    equal in truth would pass.
    """
    from tasks.contest.decide import judge_rows

    for window, champion, challenger in (("2013-06", 3, 5), ("2013-09", 3, 5), ("2013-11", 6, 10)):
        case, rows, scores = flights_pair(window, champion, challenger)
        for column in ("origin", "carrier"):
            contest = judge_rows(_with_slices(case, column), rows, scores[0], scores[1], 0)
            print(
                f"{window}, trained through month {champion} against {challenger}, by "
                f"{column}: {contest.verdict}"
            )
            for name, slice_ in contest.slices.items():
                there = (rows[column] == name.partition("=")[2]).to_numpy()
                single = judge_rows(
                    _with_slices(case), rows.filter(there), scores[0][there], scores[1][there], 0
                )
                alone, value = single.main, critical_value(np.eye(1), single.blocks, 0.95)
                if (
                    slice_.gain is None
                    or slice_.low is None
                    or alone.low is None
                    or alone.high is None
                ):
                    continue
                half, error = slice_.gain - slice_.low, (alone.high - alone.low) / (2 * value)
                passes = statistics.NormalDist().cdf((TOLERANCE - half) / error)
                measured = (
                    f"gain {slice_.gain:+.4f}, at worst {slice_.low:+.4f}, half-width {half:.4f}"
                )
                print(
                    f"  {name:12} {slice_.rows:6,} rows: {measured}, an equal one passes in "
                    f"{passes:4.0%}"
                )


def _with_slices(case: UseCase, *columns: str) -> UseCase:
    promotion = case.promotion.model_copy(update={"slices": columns, "slice_minimum_rows": 1})
    return case.model_copy(update={"promotion": promotion})


def flights_pair(
    window: str, champion: int, challenger: int
) -> "tuple[UseCase, pl.DataFrame, list[np.ndarray]]":
    """The flights, the rows of ``window``, and the scores of two default boostings, fitted through
    those months of 2013.
    """
    import polars as pl

    from tasks.data.sources import source_of
    from tasks.models import modelling

    case = load("flights")
    source, recipe = source_of(case), case.candidate("boosting")

    def labelled(*months: int) -> pl.DataFrame:
        return pl.concat([source.read(f"2013-{month:02d}") for month in months]).filter(
            pl.col(case.label).is_not_null()
        )

    rows = labelled(int(window[-2:]))
    fitted = [
        modelling.fit(case, recipe, recipe.params, labelled(*range(1, last + 1)), 7)
        for last in (champion, challenger)
    ]
    return case, rows, [modelling.predict(model, case, rows) for model in fitted]


def main(arguments: list[str]) -> None:
    if arguments[:1] in (["promises"], ["quick"]):
        promises.main(arguments)
        return
    parts = arguments[:1] or ["cost", "errors", "power"]
    worlds = int(arguments[1]) if len(arguments) > 1 else 200
    for name in parts:
        {"cost": cost, "errors": lambda: errors(worlds), "power": power}[name]()
