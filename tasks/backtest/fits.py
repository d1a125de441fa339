"""The fits of a backtest: each is made once, and charged to every strategy that asks for it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.drift.verdict import calibrate
from tasks.measures.metrics import score
from tasks.models import modelling
from tasks.models.cross_fitting import cross_fit
from tasks.models.executors import core_threads
from tasks.models.tuning import inner_split, tune
from usecases.definition import SCORE, Candidate, UseCase, names_before, period_named

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Champion:
    """Who serves at some moment of the replay. ``name`` says recipe and last period, such as
    "boosting through 2013-03".
    """

    candidate: Candidate
    params: Mapping[str, Any]
    fitted: "Pipeline"
    trained_on: tuple[str, ...]
    holdout: pl.DataFrame

    @property
    def name(self) -> str:
        return f"{self.candidate.name} through {self.trained_on[-1]}"


@dataclass(frozen=True)
class Watch:
    """What a champion's windows are held against: its drift reference, the thresholds, and the
    importance of the inputs.
    """

    reference: pl.DataFrame
    thresholds: Mapping[str, float]
    calibrated: bool
    importance: Mapping[str, float]


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

    def first_champion(self, holdout: str) -> Champion:
        """As the first retrain makes it. Raises ``ValueError`` where nobody passes the gate."""
        found, score_of, _ = self.challenger(holdout, None)
        if not self.case.gate.passes(score_of):
            name, gate = self.case.gate.metric.name, self.case.gate.threshold
            raise ValueError(
                f"Nobody passes the gate of {name} {gate:g} on {holdout} ({score_of:.4f}): "
                "begin the backtest with a later period."
            )
        return self.refit(found, holdout)[0]

    def challenger(self, holdout: str, champion: Champion | None) -> tuple[Champion, float, float]:
        """The best candidate on ``holdout``, after HPO where none passes the gate; its score there;
        and what its fits cost in seconds.
        """
        case, seen = self.case, self.before(holdout)
        recipes: list[tuple[Candidate, Mapping[str, Any]]] = [
            (one, dict(one.params)) for one in case.candidates if one.baseline
        ]
        if champion is not None:
            recipes = [one for one in recipes if one[0].name != champion.candidate.name] + [
                (champion.candidate, champion.params)
            ]
        judged = self.labelled(holdout)
        truth, seconds = modelling.labels(case, judged), 0.0
        best: tuple[Champion, float] | None = None

        def enter(candidate: Candidate, params: Mapping[str, Any]) -> None:
            nonlocal best, seconds
            fitted, cost = self._fit(candidate, params, seen)
            seconds += cost
            reached = score(case.gate.metric, truth, modelling.predict(fitted, case, judged))
            if best is None or case.gate.metric.gain(reached, best[1]) > 0:
                best = Champion(candidate, params, fitted, seen, judged), reached

        for candidate, params in recipes:
            enter(candidate, params)
        assert best is not None
        if not case.gate.passes(best[1]):
            for candidate in (one for one in case.candidates if one.search):
                known = [params for one, params in recipes if one.name == candidate.name]
                params, cost = self._tuned(candidate, seen, (*known, candidate.params))
                seconds += cost
                enter(candidate, params)
        return *best, seconds

    def refit(self, won: Champion, holdout: str) -> tuple[Champion, float]:
        """The recipe fitted with the hold-out in, and what that cost in seconds."""
        periods = (*won.trained_on, holdout)
        fitted, seconds = self._fit(won.candidate, won.params, periods)
        return Champion(won.candidate, won.params, fitted, periods, won.holdout), seconds

    def watch(self, champion: Champion) -> Watch:
        """Calibrated on what the champion was trained on, as its package would be."""

        def calibrated() -> Watch:
            rows = self.labelled(*champion.trained_on)
            crossed = cross_fit(self.case, champion.fitted, rows, self.seed)
            reference, thresholds, enough = calibrate(
                self.case, rows.with_columns(crossed.scores.alias(SCORE)), self.seed
            )
            return Watch(reference, thresholds, enough, crossed.importance)

        found: Watch = self._once(
            (
                "watch",
                champion.candidate.name,
                sorted(champion.params.items()),
                champion.trained_on,
            ),
            calibrated,
        )[0]
        return found

    def _fit(
        self, candidate: Candidate, params: Mapping[str, Any], periods: tuple[str, ...]
    ) -> tuple["Pipeline", float]:
        def fit() -> "Pipeline":
            self.say(f"fitting {candidate.name} on {periods[0]}..{periods[-1]}")
            return modelling.fit(self.case, candidate, params, self.labelled(*periods), self.seed)

        return self._once(("fit", candidate.name, sorted(params.items()), periods), fit)

    def _tuned(
        self, candidate: Candidate, periods: tuple[str, ...], first: tuple[Mapping[str, Any], ...]
    ) -> tuple[Mapping[str, Any], float]:
        def search() -> Mapping[str, Any]:
            self.say(f"HPO of {candidate.name} on {periods[0]}..{periods[-1]}")
            rows, check = inner_split(self.case, periods, self.labelled(*periods))
            with core_threads() as threads:
                return tune(self.case, candidate, rows, check, self.seed, threads, first).params

        return self._once(
            ("tune", candidate.name, periods, [sorted(one.items()) for one in first]), search
        )

    def _once(self, key: object, work: Callable[[], Any]) -> tuple[Any, float]:
        """What ``work`` makes, and what it took when it was made."""
        if repr(key) not in self._fits:
            begun = time.monotonic()
            made = work()
            self._fits[repr(key)] = made, time.monotonic() - begun
        return self._fits[repr(key)]
