"""HPO: Optuna's TPE with successive halving, in parallel and yet the same on every machine for the
same seed.

Trials are asked for in groups of fixed size and climb the rungs together; a group's scores are told
in its own order, whatever order the workers finish in. What TPE and the pruner see therefore does
not depend on the number of workers. The split lies inside the training window (its last periods),
so the hold-out stays unseen."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.data.sampling import even_rows
from tasks.data.targets import lacks
from tasks.models.climbing import Climb, Split, climb_all
from tasks.models.growing import grow_of
from tasks.models.modelling import build, encode, fit_encoder, labels, pipeline
from tasks.models.vectorizers import check_size, params_of_texts
from tasks.models.weights import row_weights
from usecases.definition import Candidate, Metric, Range, Search, UseCase, last_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial as OptunaTrial
    from optuna.trial import TrialState

GROUP = 4


@dataclass(frozen=True)
class Trial:
    """``score`` on the inner split at the last rung it reached; ``pruned`` trials stopped before
    the last.
    """

    number: int
    params: Mapping[str, Any]
    score: float
    pruned: bool


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
) -> Tuned:
    """Search ``candidate.search`` on ``fit_rows``, scored by the gate's metric on ``check_rows``.

    Trials are fitted in ``executor``. ``first`` are tried before any other (defaults, the
    champion's parameters); ``progress`` gets trials done, in all, and the best score. Raises
    ``ValueError`` for a candidate without a search space, or rows that lack a class, and
    ``WorkersLost``."""
    search = candidate.search
    if search is None:
        raise ValueError(f"Candidate {candidate.name!r} of {case.name!r} has no search space.")
    splits = _Splits(case, candidate, fit_rows, check_rows, seed)
    study = _study(case.gate.metric, search, seed, first)
    trials: list[Trial] = []
    while len(trials) < search.trials:
        group = [
            _RunningTrial(study.ask(), case, candidate, search, seed)
            for _ in range(min(GROUP, search.trials - len(trials)))
        ]
        _climb_rungs(executor, group, search.resource[1], splits)
        for trial in group:
            study.tell(trial.asked, None if trial.pruned else trial.score, _state(trial.pruned))
            trials.append(trial.record())
        progress(len(trials), search.trials, study.best_value)
    resource, rungs = search.resource
    return Tuned(
        candidate.name,
        {**candidate.params, **study.best_params, resource: rungs[-1]},
        float(study.best_value),
        tuple(trials),
    )


def _study(
    metric: Metric, search: Search, seed: int, first: tuple[Mapping[str, Any], ...]
) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if metric.higher_is_better else "minimize",
        sampler=optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=2 * GROUP, constant_liar=True
        ),
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
    for the trials of a group.

    Raises ``ValueError`` for rows that lack a class."""

    def __init__(
        self,
        case: UseCase,
        candidate: Candidate,
        fit_rows: pl.DataFrame,
        check_rows: pl.DataFrame,
        seed: int,
    ) -> None:
        for side, rows in (("fits", fit_rows), ("scores", check_rows)):
            if missing := lacks(case, rows[case.label]):
                raise ValueError(
                    f"HPO of {case.name!r} {side} its trials on {len(rows)} rows, and {missing}: "
                    "its inner split needs more."
                )
        self._case, self._candidate, self._seed = case, candidate, seed
        self._fit_rows, self._check_rows = fit_rows, even_rows(check_rows, seed)[0]
        self._known: dict[str, Split] = {}

    def of(self, params: Mapping[str, Any]) -> Split:
        """The split for a trial with ``params``."""
        key = repr(sorted(params_of_texts(self._case, params).items()))
        if key not in self._known:
            while len(self._known) >= GROUP:
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


def _climb_rungs(
    executor: Executor, group: list["_RunningTrial"], rungs: tuple[int, ...], splits: _Splits
) -> None:
    """Take the trials of a group up the rungs together, and prune them on the way."""
    for rung in rungs:
        alive = [trial for trial in group if not trial.pruned]
        steps = [trial.step(rung, splits.of(trial.params)) for trial in alive]
        answers = climb_all(executor, steps)
        for trial, (estimator, score) in zip(alive, answers, strict=True):
            trial.take(estimator, score, rung, last=rung == rungs[-1])


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
    """A trial that climbs the rungs; ``asked`` is Optuna's own object of it."""

    def __init__(
        self, trial: "OptunaTrial", case: UseCase, candidate: Candidate, search: Search, seed: int
    ) -> None:
        self.asked = trial
        self.params = {name: _suggest(trial, name, within) for name, within in search.space.items()}
        self.score, self.pruned = float("nan"), False
        self._case, self._candidate, self._resource = case, candidate, search.resource[0]
        self._estimator = build(case, candidate, {**candidate.params, **self.params}, seed)
        self._grow = grow_of(case, candidate, self._resource, self._estimator)

    def step(self, rung: int, split: Split) -> Climb:
        return Climb(
            self._case.name,
            f"a trial of candidate {self._candidate.name!r} with {self.params}",
            self._estimator,
            self._grow,
            self._resource,
            rung,
            split,
            self._case.gate.metric,
        )

    def take(self, estimator: Any, score: float, rung: int, last: bool) -> None:
        """What the step to ``rung`` gave."""
        self._estimator, self.score = estimator, score
        self.asked.report(score, rung)
        self.pruned = not last and self.asked.should_prune()

    def record(self) -> Trial:
        return Trial(self.asked.number, self.params, self.score, self.pruned)


def _suggest(trial: "OptunaTrial", name: str, within: Range) -> float | int:
    if within.integer:
        return trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
    return trial.suggest_float(name, within.low, within.high, log=within.log)


def _state(pruned: bool) -> "TrialState":
    from optuna.trial import TrialState

    return TrialState.PRUNED if pruned else TrialState.COMPLETE
