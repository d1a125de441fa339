"""Which recipes compete, what HPO tries first, and who is the best: the choices of a training.

Recipes are compared on the last training periods, as many as a hold-out has, fitted on those before
them. So the hold-out is opened for one challenger: the best of several on the rows that judge it is
the luckiest as well (docs/contest.md has the rates)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import polars as pl

from tasks.data.targets import lacks
from tasks.models.tuning import Tuned
from usecases.definition import Candidate, Metric, UseCase
from usecases.definition.columns import Frozen

Scored = TypeVar("Scored")


class Recipe(Frozen):
    """A candidate's name, and the parameters to fit it with."""

    candidate: str
    params: dict[str, Any]
    why: str


class Tried(Frozen):
    """A recipe and the gate's metric that it reached on the period where recipes are compared;
    ``None``: it does not exist there."""

    recipe: Recipe
    score: float | None


COMPARED_ROWS = 40_000


def can_compare(case: UseCase, earlier: pl.DataFrame, period: pl.DataFrame) -> bool:
    """Whether recipes can be fitted on labelled rows ``earlier`` and compared on those of
    ``period``: no class is missing, and rows enough for a contest."""
    return (
        len(period) >= case.promotion.minimum_rows
        and not lacks(case, earlier[case.label])
        and not lacks(case, period[case.label])
    )


def comparison_rows(case: UseCase, earlier: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The rows that recipes are fitted on to be compared: ``COMPARED_ROWS`` of ``earlier``, drawn
    at random, and all of them if there are no more, or a class would be missing.

    The winner is fitted on all rows afterwards: which of some recipes is better can be told from
    fewer."""
    if len(earlier) <= COMPARED_ROWS:
        return earlier
    drawn = earlier.sample(COMPARED_ROWS, seed=seed)
    return earlier if lacks(case, drawn[case.label]) else drawn


def choose_recipes(case: UseCase, champion: Recipe | None) -> tuple[Recipe, ...]:
    """The baselines, and the champion's recipe in the place of the same candidate's.

    One that the use case does not have any more cannot be fitted, and does not compete."""
    baselines = [
        Recipe(candidate=candidate.name, params=dict(candidate.params), why="baseline")
        for candidate in case.candidates
        if candidate.baseline
    ]
    if champion is None or not is_candidate(case, champion.candidate):
        return tuple(baselines)
    others = [recipe for recipe in baselines if recipe.candidate != champion.candidate]
    return (*others, champion)


def is_candidate(case: UseCase, name: str) -> bool:
    return any(candidate.name == name for candidate in case.candidates)


def first_trials(candidate: Candidate, recipes: Sequence[Recipe]) -> tuple[Mapping[str, Any], ...]:
    """The parameters that HPO of ``candidate`` tries before any other: those of the ``recipes``
    that competed, and its own.
    """
    params = [recipe.params for recipe in recipes if recipe.candidate == candidate.name]
    return (*params, candidate.params)


def best_of(
    metric: Metric, scored: Sequence[Scored], score_of: Callable[[Scored], float]
) -> Scored:
    """The best by ``metric``; the earlier one where two tie, and a NaN never."""
    best = scored[0]
    for other in scored[1:]:
        if metric.gain(score_of(other), score_of(best)) > 0 or score_of(best) != score_of(best):
            best = other
    return best


def best_trial(metric: Metric, searches: Sequence[Tuned]) -> Recipe | None:
    """The best trial on the inner split as a recipe; ``None`` if nothing was searched."""
    if not searches:
        return None
    best = max(searches, key=lambda search: metric.gain(search.score, 0.0))
    trials = [trial for search in searches for trial in search.trials]
    why = f"best of {len(trials)} trials, {sum(trial.pruned for trial in trials)} pruned"
    if failed := sum(bool(trial.failed) for trial in trials):
        why += f", {failed} failed"
    return Recipe(candidate=best.candidate, params=dict(best.params), why=why)
