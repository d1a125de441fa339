"""What the contest adds to a retrain of flights: CPU seconds of its parts.

    python -m benchmarks.contest.retrain

The champion is a boosting through March, the hold-out is June, as in the second retrain of
``make demo``. Measured is what computes, from the rehearsal to the winner's package with drift
thresholds; ingest, MLflow and the swap are not. *All recipes on the hold-out* is how a retrain
chose its challenger before the contest had an earlier slice."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import polars as pl

from tasks.backtest.fits import History, Model
from tasks.contest.decide import decide, judge_rows
from tasks.contest.near_rows import find_near_rows
from tasks.data.sources import source_of
from tasks.models import modelling
from tasks.models.selection import Recipe, choose_recipes
from tasks.packages.packaging import Origin, make_package
from tasks.packages.rehearsal import rehearse
from tasks.steps.challenger import draw
from usecases.definition import UseCase, load

T = TypeVar("T")
CHAMPION_THROUGH, HOLDOUT = "2013-03", "2013-06"


def measure(case: UseCase) -> None:
    source = source_of(case)
    periods = {name: source.read(name) for name in source.periods() if name <= HOLDOUT}
    history = History(case, periods, seed=0)
    boosting = case.candidate("boosting")
    recipe = Recipe(candidate=boosting.name, params=dict(boosting.params), why="champion 2")
    champion = history.refit(history._enter(recipe, ("2013-01", "2013-02"), CHAMPION_THROUGH)[0])[0]
    history._package(champion)

    recipes = choose_recipes(case, recipe)
    anew = History(case, periods, seed=0)
    before = _say(
        "all recipes on the hold-out",
        lambda: [anew._enter(each, anew.before(HOLDOUT), HOLDOUT)[0] for each in recipes],
    )
    challenger, now = _say_result(
        "the best on May, and that one on the hold-out",
        lambda: history.challenger(HOLDOUT, champion)[0],
    )
    rows, learned = history.labelled(HOLDOUT), history.labelled(*challenger.trained_on)
    others = _say("rehearsal", lambda: _rehearse(history, recipes, learned))
    others += _say("the challenger's package", lambda: history._package(challenger))
    others += _say("its plots", lambda: draw(case, challenger.fitted, rows, 0))
    theirs, ours = (modelling.predict(model.fitted, case, rows) for model in (champion, challenger))
    _say("of the decision: the bounds", lambda: judge_rows(case, rows, theirs, ours, 0, []))
    near = _say("of the decision: near rows", lambda: find_near_rows(case, rows, learned))
    decision = {}
    for refits in (0, 3):
        ruled = _with_refits(case, refits)
        past = replace(history, case=ruled)
        decision[refits] = _say(
            f"the decision, {refits} refits",
            lambda ruled=ruled, past=past: decide(  # type: ignore[misc]
                ruled,
                past.contestant(challenger, HOLDOUT),
                past.contestant(champion, HOLDOUT),
                0,
            ),
        )
    refit = _say("the winner's refit", lambda: history.refit(challenger))
    package = _say("its package, with drift thresholds", lambda: _watched(history, challenger))
    rest = others + refit + package
    print(f"all, chosen on the hold-out, no near rows: {before + decision[0] - near + rest:.1f} s")
    print(f"all, chosen on May, no refits: {now + decision[0] + rest:.1f} s")
    print(f"all, chosen on May, 3 refits: {now + decision[3] + rest:.1f} s")


def _with_refits(case: UseCase, refits: int) -> UseCase:
    promotion = case.promotion.model_copy(update={"refits": refits})
    return case.model_copy(update={"promotion": promotion})


def _rehearse(history: History, recipes: tuple[Recipe, ...], rows: pl.DataFrame) -> None:
    for recipe in recipes:
        candidate = history.case.candidate(recipe.candidate)
        rehearse(history.case, candidate, recipe.params, rows, 0)


def _watched(history: History, challenger: Model) -> None:
    winner, _ = history.refit(challenger)
    origin = Origin(
        winner.recipe.candidate,
        winner.recipe.params,
        dataset_version="benchmark",
        trained_on={period: period for period in winner.trained_on},
        metrics={history.case.gate.metric.name: winner.score},
    )
    rows, proof = history.labelled(*winner.trained_on), history.labelled(HOLDOUT)
    with TemporaryDirectory() as folder:
        make_package(Path(folder), history.case, winner.fitted, origin, rows, proof, 0)


def _say(name: str, work: Callable[[], object]) -> float:
    return _say_result(name, work)[1]


def _say_result(name: str, work: Callable[[], T]) -> tuple[T, float]:
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    print(f"{name}: {seconds:.1f} s", flush=True)
    return result, seconds


if __name__ == "__main__":
    measure(load("flights"))
