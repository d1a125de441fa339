"""HPO: Optuna's TPE with successive halving, in parallel and yet the same on every machine for the
same seed.

``Search.at_once`` trials climb at a time, and what TPE and the pruner see follows a clock of its
own: a step from one rung to the next takes as long there as the resource grows. The order in which
scores are told does not depend on the workers, their number or their speed, and nobody waits for
all the others of a group. The split lies inside the training window (its last periods), so the
hold-out stays unseen."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.data.sampling import even_rows
from tasks.data.targets import lacks
from tasks.models.climbing import Climb, Reached, Split, TrialFailed, receive, send
from tasks.models.growing import grow_of
from tasks.models.modelling import build, encode, fit_encoder, labels, pipeline
from tasks.models.studies import Record, Trial
from tasks.models.vectorizers import check_size, params_of_texts
from tasks.models.weights import row_weights
from usecases.definition import Candidate, Metric, Range, Search, UseCase, last_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial as OptunaTrial
    from optuna.trial import TrialState

STARTUP = 8  # trials at random, before TPE has seen enough
MOST_KILLS = 3


class SearchFailed(RuntimeError):
    """No trial of a search could be finished: each failed, or was pruned."""


@dataclass(frozen=True)
class Tuned:
    """The best of ``trials``; ``params`` include the resource at its last rung."""

    candidate: str
    params: Mapping[str, Any]
    score: float
    trials: tuple[Trial, ...]


def tune(
    case: UseCase,
    candidate: Candidate,
    fit_rows: pl.DataFrame,
    check_rows: pl.DataFrame,
    seed: int,
    executor: Executor,
    first: tuple[Mapping[str, Any], ...] = (),
    progress: Callable[[int, int, float], None] = lambda number, trials, best: None,
    record: Record | None = None,
) -> Tuned:
    """Search ``candidate.search`` on ``fit_rows``, scored by the gate's metric on ``check_rows``.

    Trials are fitted in ``executor``, unless ``record`` has them. ``first`` are tried before any
    other (defaults, the champion's parameters); ``progress`` gets trials done, in all, and the best
    score. Raises ``ValueError`` for a candidate without a search space, or rows that lack a class,
    ``SearchFailed``, ``UseCaseFailed`` and ``WorkersLost``."""
    search = candidate.search
    if search is None:
        raise ValueError(f"Candidate {candidate.name!r} of {case.name!r} has no search space.")
    splits = _Splits(case, candidate, fit_rows, check_rows, seed, search.at_once)
    study = _study(case.gate.metric, search, seed, first)
    record, space = record or Record(), _distributions(search)
    rungs, trials = search.resource[1], list[Trial]()
    climbing: list[tuple[int, int, _RunningTrial]] = []

    def begin(now: int) -> None:
        trial = _RunningTrial(study.ask(), case, candidate, search, seed, record)
        trial.send(executor, rungs[0], splits)
        heappush(climbing, (now + rungs[0], trial.asked.number, trial))

    try:
        for _ in range(min(search.at_once, search.trials)):
            begin(0)
        while climbing:
            now, number, trial = heappop(climbing)
            rung = trial.receive(executor, last=rungs[-1])
            if trial.goes_on:
                above = rungs[rungs.index(rung) + 1]
                trial.send(executor, above, splits)
                heappush(climbing, (now + above - rung, number, trial))
                continue
            study.tell(trial.asked, trial.value, trial.state)
            trials.append(trial.ended())
            record.end(trials[-1], space)
            if len(trials) + len(climbing) < search.trials:
                begin(now)
            if len(trials) % search.at_once == 0 or len(trials) == search.trials:
                progress(len(trials), search.trials, _best(case.gate.metric, trials))
    finally:
        for _, _, trial in climbing:
            trial.cancel()
    trials.sort(key=lambda trial: trial.number)
    if all(trial.failed or trial.pruned for trial in trials):
        failed = next((trial.failed for trial in trials if trial.failed), "all scored NaN")
        raise SearchFailed(
            f"{case.name}: none of the {len(trials)} trials of candidate {candidate.name!r} was "
            f"finished: {failed}."
        )
    resource, rungs = search.resource
    return Tuned(
        candidate.name,
        {**candidate.params, **study.best_params, resource: rungs[-1]},
        float(study.best_value),
        tuple(trials),
    )


def _best(metric: Metric, trials: Sequence[Trial]) -> float:
    """The best score of the last rung, or of any as long as no trial has reached it; else NaN."""
    scored = [trial for trial in trials if not math.isnan(trial.score)]
    scores = [trial.score for trial in scored if not (trial.pruned or trial.failed)]
    best = max if metric.higher_is_better else min
    return best(scores or [trial.score for trial in scored], default=math.nan)


def _study(
    metric: Metric, search: Search, seed: int, first: tuple[Mapping[str, Any], ...]
) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if metric.higher_is_better else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True),
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=search.resource[1][0], reduction_factor=2
        ),
    )
    for params in first:
        study.enqueue_trial(
            {name: params[name] for name in search.space if name in params}, skip_if_exists=True
        )
    return study


class _Splits:
    """The split as trials see it: one, unless the search tunes vectorisers. The last few are kept,
    for the trials that climb at once.

    Raises ``ValueError`` for rows that lack a class."""

    def __init__(
        self,
        case: UseCase,
        candidate: Candidate,
        fit_rows: pl.DataFrame,
        check_rows: pl.DataFrame,
        seed: int,
        most: int,
    ) -> None:
        for side, rows in (("fits", fit_rows), ("scores", check_rows)):
            if missing := lacks(case, rows[case.label]):
                raise ValueError(
                    f"HPO of {case.name!r} {side} its trials on {len(rows)} rows, and {missing}: "
                    "its inner split needs more."
                )
        self._case, self._candidate, self._seed = case, candidate, seed
        self._fit_rows, self._check_rows = fit_rows, even_rows(check_rows, seed)[0]
        self._most, self._known = most, dict[str, Split]()

    def of(self, params: Mapping[str, Any]) -> Split:
        """The split for a trial with ``params``."""
        key = repr(sorted(params_of_texts(self._case, params).items()))
        if key not in self._known:
            while len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[key] = self._make(params)
        return self._known[key]

    def _make(self, params: Mapping[str, Any]) -> Split:
        case, fit_rows, check_rows = self._case, self._fit_rows, self._check_rows
        params = {**self._candidate.params, **params}
        whole = pipeline(case, self._candidate, params, self._seed)
        check_size(case, self._candidate, params, whole.named_steps["model"], fit_rows)
        fit_encoder(case, whole, fit_rows)
        return Split(
            encode(whole, case, fit_rows),
            labels(case, fit_rows),
            encode(whole, case, check_rows),
            labels(case, check_rows),
            row_weights(case, fit_rows),
        )


def check_search(case: UseCase, candidate: Candidate, seed: int) -> None:
    """See that what the candidate builds takes every parameter of its search, at either end, and
    can grow.

    Raises ``UseCaseFailed`` that names the parameter. Builds estimators, and fits none.
    """
    search = candidate.search
    if search is None:
        return
    for end in ("low", "high"):
        params = {name: _end(within, end) for name, within in search.space.items()}
        estimator = build(case, candidate, {**candidate.params, **params}, seed)
        grow_of(case, candidate, search.resource[0], estimator)
        resource, rungs = search.resource
        build(case, candidate, {**candidate.params, **params, resource: rungs[-1]}, seed)


def _end(within: Range, end: str) -> float | int:
    value = getattr(within, end)
    return int(value) if within.integer else value


def inner_split(
    case: UseCase, periods: Sequence[str], rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The training window without its last periods, and these: as many as a hold-out has, if one is
    left. A single period is cut at three quarters of its time."""
    last = case.period_of_rows.is_in(last_of(periods, case.promotion.holdout_periods))
    if len(periods) == 1:
        ordered = rows.sort(case.event_time)
        return ordered[: len(rows) * 3 // 4], ordered[len(rows) * 3 // 4 :]
    return rows.filter(~last), rows.filter(last)


class _RunningTrial:
    """A trial that climbs the rungs; ``asked`` is Optuna's own object of it. What ``record`` knows
    of it is not fitted again.
    """

    def __init__(
        self,
        trial: "OptunaTrial",
        case: UseCase,
        candidate: Candidate,
        search: Search,
        seed: int,
        record: Record,
    ) -> None:
        self.asked, self.failed = trial, ""
        self.params = {name: _suggest(trial, name, within) for name, within in search.space.items()}
        self._case, self._resource, self._record = case, search.resource[0], record
        self._call = f"a trial of candidate {candidate.name!r} with {self.params}"
        self._known = record.known(trial.number, self.params)
        self._rung, self._scores, self._pruned, self._ends = 0, dict[int, float](), False, False
        self._estimator = build(case, candidate, {**candidate.params, **self.params}, seed)
        self._grow = grow_of(case, candidate, self._resource, self._estimator)
        self._sent: tuple[Future[Reached], Climb, Split] | None = None

    def send(self, executor: Executor, rung: int, splits: _Splits) -> None:
        """Go on to ``rung``, unless it is known what comes of it."""
        self._rung, number = rung, self.asked.number
        if self._known and (rung in self._known.scores or self._known.failed):
            self.failed = "" if rung in self._known.scores else self._known.failed
        elif (kills := self._record.kills(number)) >= MOST_KILLS:
            self.failed = (
                f"{self._call} is given up: the run was killed {kills} times while it was fitted. "
                "Does it need more memory than there is?"
            )
        else:
            self._record.begin(number)
            step = Climb(
                self._case.name,
                self._call,
                self._estimator,
                self._grow,
                self._resource,
                rung,
                self._case.gate.metric,
            )
            split = splits.of(self.params)
            self._sent = send(executor, step, split), step, split

    def receive(self, executor: Executor, last: int) -> int:
        """Wait for what is reached at the rung, and return the rung. Raises as ``receive`` of
        ``climbing``."""
        sent, self._sent = self._sent, None
        if not self.failed:
            try:
                if sent is not None:
                    self._estimator, score = receive(executor, *sent)
                else:
                    score = self._known.scores[self._rung] if self._known else math.nan
            except TrialFailed as error:
                self.failed = str(error)
            else:
                self._take(score, last)
        return self._rung

    def _take(self, score: float, last: int) -> None:
        self._scores[self._rung] = score
        self.asked.report(score, self._rung)
        self._ends = self._rung == last
        if not self._ends:
            self._pruned = self._ends = self.asked.should_prune()
        elif math.isnan(score):
            self.failed = f"{self._call} scores NaN"

    @property
    def goes_on(self) -> bool:
        return not (self.failed or self._ends)

    @property
    def value(self) -> float | None:
        return None if self.failed or self._pruned else self._scores[self._rung]

    @property
    def state(self) -> "TrialState":
        from optuna.trial import TrialState

        if self.failed:
            return TrialState.FAIL
        return TrialState.PRUNED if self._pruned else TrialState.COMPLETE

    def ended(self) -> Trial:
        score = self._scores[max(self._scores)] if self._scores else math.nan
        return Trial(
            self.asked.number, self.params, score, self._pruned, dict(self._scores), self.failed
        )

    def cancel(self) -> None:
        if self._sent is not None:
            self._sent[0].cancel()


def _suggest(trial: "OptunaTrial", name: str, within: Range) -> float | int:
    if within.integer:
        return trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
    return trial.suggest_float(name, within.low, within.high, log=within.log)


def _distributions(search: Search) -> "dict[str, BaseDistribution]":
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        name: IntDistribution(int(within.low), int(within.high), log=within.log)
        if within.integer
        else FloatDistribution(within.low, within.high, log=within.log)
        for name, within in search.space.items()
    }
