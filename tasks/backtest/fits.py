"""The fits of a backtest, and their packages: each is made once, and charged to every strategy that
requests it."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from serving.package.model import Package
from serving.package.model import load as load_package
from tasks.contest.decide import Contestant
from tasks.contest.fairness import why_unfair
from tasks.data.row_digests import HoldoutOverlap
from tasks.data.traits import case_by_traits
from tasks.drift.examine import Yardstick
from tasks.drift.learning import learn_profile
from tasks.drift.thresholds import calibrate, monitored
from tasks.measures.metrics import score
from tasks.models import modelling
from tasks.models.cross_fitting import cross_fit
from tasks.models.executors import core_threads
from tasks.models.refits import refit_scores, refits_of
from tasks.models.selection import (
    Recipe,
    best_of,
    best_trial,
    can_compare,
    choose_recipes,
    comparison_rows,
    first_trials,
)
from tasks.models.tuning import Tuned, inner_split, tune
from tasks.packages.packaging import Origin, make_package
from usecases.definition import (
    SCORE,
    Candidate,
    UseCase,
    holdout_named,
    last_of,
    names_before,
    period_named,
    periods_of,
)

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Model:
    """A recipe fitted on the periods ``trained_on``. ``score`` is the gate's metric on ``holdout``,
    of one or several periods; a refit has that of the model that won. ``rivals`` are those that it
    was chosen from on the hold-out itself."""

    recipe: Recipe
    fitted: "Pipeline"
    trained_on: tuple[str, ...]
    holdout: str
    score: float
    rivals: tuple["Model", ...] = ()

    @property
    def name(self) -> str:
        """Recipe and last period, such as "boosting through 2013-03"."""
        return f"{self.recipe.candidate} through {self.trained_on[-1]}"

    @property
    def key(self) -> tuple[object, ...]:
        return (self.recipe.candidate, sorted(self.recipe.params.items()), self.trained_on)


@dataclass
class History:
    """The rows of each period, and every fit that was made on them."""

    case: UseCase
    periods: dict[str, pl.DataFrame]
    seed: int
    say: Callable[[str], None] = lambda text: None
    _fits: dict[str, tuple[Any, float]] = field(default_factory=dict)

    def labelled(self, *periods: str) -> pl.DataFrame:
        return pl.concat([self.periods[name] for name in periods]).filter(
            pl.col(self.case.label).is_not_null()
        )

    def before(self, period: str) -> tuple[str, ...]:
        return names_before(period, self.periods)

    def after(self, period: str) -> list[str]:
        return [name for name in self.periods if period_named(name) > period_named(period)]

    def holdout_through(self, period: str) -> str:
        """The hold-out that ends with ``period``."""
        through = (*self.before(period), period)
        return holdout_named(last_of(through, self.case.promotion.holdout_periods))

    def challenger(self, holdout: str, champion: Model | None) -> tuple[Model, float]:
        """Return the candidate that is best on the periods before ``holdout``, or after HPO if it
        misses the gate on ``holdout``, and the seconds of all fits."""
        gate = self.case.gate
        learned = self.case.training_window(self.before(periods_of(holdout)[0]))
        recipes = choose_recipes(self.case, champion.recipe if champion else None)
        chosen, seconds = self._compare(recipes, learned)
        entered = [self._enter(recipe, learned, holdout) for recipe in chosen]
        seconds += sum(cost for _, cost in entered)
        models = [model for model, _ in entered]
        best = best_of(gate.metric, models, lambda model: model.score)
        if gate.passes(best.score):
            return _among(models, best), seconds
        searches = [
            self._search(candidate, learned, first_trials(candidate, recipes))
            for candidate in self.case.candidates
            if candidate.search
        ]
        tuned = best_trial(gate.metric, [search for search, _ in searches])
        if tuned is None:
            return best, seconds
        best, cost = self._enter(tuned, learned, holdout)
        return _among(models, best), seconds + cost + sum(spent for _, spent in searches)

    def refit(self, won: Model) -> tuple[Model, float]:
        """Return the recipe fitted with the hold-out included, and the seconds of that fit."""
        periods = self.case.training_window((*won.trained_on, *periods_of(won.holdout)))
        fitted, seconds = self._fit(won.recipe, periods)
        return Model(won.recipe, fitted, periods, won.holdout, won.score), seconds

    def contestant(self, model: Model, holdout: str) -> Contestant:
        """Return the model's package on the labelled rows of ``holdout``, and why it may not be
        judged on them."""
        rows = self.labelled(*periods_of(holdout))
        # Periods of a replay do not change: their names serve as digests.
        digests = {period: period for period in model.trained_on}
        judged_on = {period: period for period in periods_of(holdout)}
        seen_rows = HoldoutOverlap(self.case, rows, lambda period, digest: self.periods[period])
        unfair = why_unfair(model.name, digests, judged_on, seen_rows)
        rivals = [modelling.predict(rival.fitted, self.case, rows) for rival in model.rivals]
        training = partial(self.labelled, *model.trained_on)
        number = refits_of(self.case, len(training()))

        def refits() -> list[np.ndarray]:
            name, params = model.recipe.candidate, model.recipe.params
            return refit_scores(self.case, name, params, training(), rows, number, self.seed)

        return Contestant(
            self._package(model),
            rows,
            unfair,
            training=training,
            rivals=rivals,
            refits=refits if number else None,
        )

    def watch(self, champion: Model) -> Yardstick:
        """Calibrate on the champion's training rows, as its package would be."""

        def calibrated() -> Yardstick:
            rows = self.labelled(*champion.trained_on)
            crossed = cross_fit(self.case, champion.fitted, rows, self.seed)
            reference, thresholds, enough = calibrate(
                self.case, rows.with_columns(crossed.answers.alias(SCORE)), self.seed
            )
            methods = {
                column.name: self.case.drift.method(column)
                for column in monitored(case_by_traits(self.case), thresholds)
            }
            return Yardstick(
                reference=reference,
                thresholds=thresholds,
                calibrated=enough,
                importance=crossed.importance,
                methods=methods,
                profile=learn_profile(self.case, rows, self.seed),
            )

        watch: Yardstick = self._once(("watch", *champion.key), calibrated)[0]
        return watch

    def _compare(
        self, recipes: tuple[Recipe, ...], learned: tuple[str, ...]
    ) -> tuple[tuple[Recipe, ...], float]:
        """Return the best recipe on the last of the periods ``learned``, as ``compare_recipes`` of
        the loop does, and the seconds of the fits; all recipes if they cannot be compared."""
        last = last_of(learned, self.case.promotion.holdout_periods)
        if len(recipes) < 2 or len(learned) < 2:
            return recipes, 0.0
        earlier = learned[: -len(last)]
        if not can_compare(self.case, self.labelled(*earlier), self.labelled(*last)):
            return recipes, 0.0
        entered = [
            self._enter(recipe, earlier, holdout_named(last), to_compare=True) for recipe in recipes
        ]
        models = [model for model, _ in entered]
        best = best_of(self.case.gate.metric, models, lambda model: model.score)
        return (best.recipe,), sum(cost for _, cost in entered)

    def _enter(
        self, recipe: Recipe, periods: tuple[str, ...], holdout: str, to_compare: bool = False
    ) -> tuple[Model, float]:
        fitted, seconds = self._fit(recipe, periods, to_compare)
        rows = self.labelled(*periods_of(holdout))
        truth, scores = (
            modelling.labels(self.case, rows),
            modelling.predict(fitted, self.case, rows),
        )
        reached = score(self.case.gate.metric, truth, scores)
        return Model(recipe, fitted, periods, holdout, reached), seconds

    def _package(self, model: Model) -> Package:
        """Package as ``register_challenger`` and ``refit_winner`` do, without the drift thresholds,
        which ``watch`` makes."""

        def make() -> Package:
            case, recipe = self.case, model.recipe
            origin = Origin(
                recipe.candidate,
                recipe.params,
                dataset_version="backtest",
                trained_on={period: period for period in model.trained_on},
                metrics={case.gate.metric.name: model.score},
            )
            training = self.labelled(*model.trained_on)
            proof = self.labelled(*periods_of(model.holdout))
            with tempfile.TemporaryDirectory(prefix="laurel-backtest-") as folder:
                package = make_package(
                    Path(folder),
                    case,
                    model.fitted,
                    origin,
                    training,
                    proof,
                    self.seed,
                    watched=False,
                )
                return load_package(package.folder, package.sha256)

        package: Package = self._once(("package", *model.key), make)[0]
        return package

    def _fit(
        self, recipe: Recipe, periods: tuple[str, ...], to_compare: bool = False
    ) -> tuple["Pipeline", float]:
        """``to_compare``: on the rows that recipes are compared by, if these are fewer."""
        candidate, rows = self.case.candidate(recipe.candidate), self.labelled(*periods)
        drawn = comparison_rows(self.case, rows, self.seed) if to_compare else rows

        def fit() -> "Pipeline":
            self.say(f"fitting {candidate.name} on {periods[0]}..{periods[-1]}")
            return modelling.fit(self.case, candidate, recipe.params, drawn, self.seed)

        key = ("fit", candidate.name, sorted(recipe.params.items()), periods, len(drawn))
        return self._once(key, fit)

    def _search(
        self, candidate: Candidate, periods: tuple[str, ...], first: tuple[Mapping[str, Any], ...]
    ) -> tuple[Tuned, float]:
        def search() -> Tuned:
            self.say(f"HPO of {candidate.name} on {periods[0]}..{periods[-1]}")
            rows, check = inner_split(self.case, periods, self.labelled(*periods))
            with core_threads() as threads:
                return tune(self.case, candidate, rows, check, self.seed, threads, first)

        return self._once(
            ("tune", candidate.name, periods, [sorted(params.items()) for params in first]), search
        )

    def _once(self, key: object, work: Callable[[], Any]) -> tuple[Any, float]:
        """Return what ``work`` makes, and the seconds that it took when it was made."""
        if repr(key) not in self._fits:
            begun = time.monotonic()
            result = work()
            self._fits[repr(key)] = result, time.monotonic() - begun
        return self._fits[repr(key)]


def _among(models: Sequence[Model], best: Model) -> Model:
    """``best`` with the other models that the hold-out was opened for."""
    return replace(best, rivals=tuple(model for model in models if model is not best))
