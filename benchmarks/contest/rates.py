"""What the contest costs, how often it errs, and what its slices can tell on the flights.

python -m benchmarks.contest                 all three, some minutes
python -m benchmarks.contest cost            the block bootstrap against repeating the rows and
                                             calling scikit-learn
python -m benchmarks.contest errors 500      how often equal, better and losing challengers are
                                             promoted, in 500 made-up worlds each
python -m benchmarks.contest power           half-widths of the flights' slices, and how often an
                                             equal challenger would pass
"""

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from serving.records.contest import Contest
from tasks.contest.verdict import hold
from tasks.measures.metrics import reweighted
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

ROWS, DAYS, REPLICATES = 28_000, 30, 400
A_DAY, SLICES = 900, 3
TOLERANCE = 0.02
SHARED = 0.9  # of the noise


def cost() -> None:
    """Print seconds of both, their ratio, and the largest difference between their scores."""
    from sklearn.metrics import roc_auc_score

    chance = np.random.default_rng(7)
    truth = chance.random(ROWS) < 0.2
    predicted = chance.random(ROWS) + 0.3 * truth
    day = chance.integers(0, DAYS, ROWS)
    counts = chance.multinomial(DAYS, np.full(DAYS, 1 / DAYS), size=REPLICATES).astype(float)
    start = time.perf_counter()
    ours = reweighted(ROC_AUC, truth, predicted, day, DAYS)(counts)
    seconds = time.perf_counter() - start
    direct, compared = time.perf_counter(), 40
    theirs = [
        roc_auc_score(truth, predicted, sample_weight=weights[day]) for weights in counts[:compared]
    ]
    direct_seconds = (time.perf_counter() - direct) * REPLICATES / compared
    print(f"{REPLICATES} replicates of {ROWS:,} rows in {DAYS} days: {1000 * seconds:.0f} ms")
    print(
        f"scikit-learn on weighted rows: {1000 * direct_seconds:.0f} ms (from {compared}), "
        f"{direct_seconds / seconds:.0f} times as long"
    )
    print(f"largest difference: {np.abs(ours[:compared] - theirs).max():.1e}")


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
        auc = [
            reweighted(
                ROC_AUC, scores["truth"][there], scores[who][there], np.zeros(there.sum(), int), 1
            )(np.ones((1, 1)))[0]
            for who in SIDES
        ]
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
                alone = judge_rows(
                    _with_slices(case), rows.filter(there), scores[0][there], scores[1][there], 0
                ).main
                if (
                    slice_.gain is None
                    or slice_.low is None
                    or alone.low is None
                    or alone.high is None
                ):
                    continue
                half, error = slice_.gain - slice_.low, (alone.high - alone.low) / (2 * 1.645)
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
    parts = arguments[:1] or ["cost", "errors", "power"]
    worlds = int(arguments[1]) if len(arguments) > 1 else 200
    for name in parts:
        {"cost": cost, "errors": lambda: errors(worlds), "power": power}[name]()
