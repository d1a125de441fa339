"""HPO: Optuna's TPE with successive halving, in parallel and yet the same on every machine for the
same seed.

Trials are asked for in groups of fixed size and climb the rungs together; a group's scores are told
in its own order, whatever order the threads finish in. What TPE and the pruner see therefore does
not depend on the number of cores. The split lies inside the training window (its last period), so
the hold-out stays unseen."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tasks.measures.metrics import score
from tasks.models.growing import grow_of
from tasks.models.modelling import build, encoder, inputs, labels
from tasks.outside.user_code import calling
from usecases.definition import Candidate, Metric, Range, UseCase

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
    workers: int,
    first: tuple[Mapping[str, Any], ...] = (),
    progress: Callable[[int, int, float], None] = lambda done, trials, best: None,
) -> Tuned:
    """Search ``candidate.search`` on ``fit_rows``, scored by the gate's metric on ``check_rows``.

    ``first`` are tried before any other (defaults, the champion's parameters); ``progress`` gets
    trials done, in all, and the best score. Raises ``ValueError`` for a candidate without a search
    space, or rows of a single class."""
    import optuna
    from threadpoolctl import threadpool_limits

    search = candidate.search
    if search is None:
        raise ValueError(f"Candidate {candidate.name!r} of {case.name!r} has no search space.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    resource, rungs = search.resource
    metric = case.gate.metric
    codes = encoder(case).fit(inputs(case, fit_rows))
    data = _Split(
        codes.transform(inputs(case, fit_rows)),
        labels(case, fit_rows),
        codes.transform(inputs(case, check_rows)),
        labels(case, check_rows),
    )
    if min(len(np.unique(data.fit_labels)), len(np.unique(data.check_labels))) < 2:
        raise ValueError(
            f"HPO of {case.name!r} needs both classes of {case.label!r} on either side of "
            "its inner split."
        )
    study = optuna.create_study(
        direction="maximize" if metric.higher_is_better else "minimize",
        sampler=optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=2 * GROUP, constant_liar=True
        ),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=2),
    )
    for params in first:
        study.enqueue_trial(
            {name: params[name] for name in search.space if name in params}, skip_if_exists=True
        )
    done: list[Trial] = []
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, initializer=one_thread) as threads,
    ):
        while len(done) < search.trials:
            asked = [study.ask() for _ in range(min(GROUP, search.trials - len(done)))]
            climbs = [
                _Climb(
                    trial,
                    candidate,
                    case,
                    {k: _suggest(trial, k, r) for k, r in search.space.items()},
                    resource,
                    seed,
                )
                for trial in asked
            ]
            for rung in rungs:
                alive = [climb for climb in climbs if not climb.pruned]
                values = threads.map(
                    lambda climb, rung=rung: climb.reach(resource, rung, data, metric), alive
                )
                for climb, value in zip(alive, list(values), strict=True):
                    climb.told(value, rung, last=rung == rungs[-1])
            for climb in climbs:
                study.tell(climb.trial, None if climb.pruned else climb.value, _state(climb.pruned))
                done.append(Trial(climb.trial.number, climb.params, climb.value, climb.pruned))
            progress(len(done), search.trials, study.best_value)
    best = study.best_trial
    return Tuned(
        candidate.name,
        {**candidate.params, **best.params, resource: rungs[-1]},
        float(study.best_value),
        tuple(done),
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


def _end(within: Range, end: str) -> float | int:
    value = getattr(within, end)
    return int(value) if within.integer else value


def inner_split(
    case: UseCase, periods: Sequence[str], rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The training window without its last period, and that period; a single period is cut at three
    quarters of its time.
    """
    last = pl.col(case.event_time).dt.strftime("%Y-%m") == periods[-1]
    if len(periods) == 1:
        ordered = rows.sort(case.event_time)
        return ordered[: len(rows) * 3 // 4], ordered[len(rows) * 3 // 4 :]
    return rows.filter(~last), rows.filter(last)


@dataclass(frozen=True)
class _Split:
    fit_matrix: np.ndarray
    fit_labels: np.ndarray
    check_matrix: np.ndarray
    check_labels: np.ndarray


class _Climb:
    """One trial on its way up the rungs; the estimator grows and is not fitted
    anew.
    """

    def __init__(
        self,
        trial: Any,
        candidate: Candidate,
        case: UseCase,
        params: Mapping[str, Any],
        resource: str,
        seed: int,
    ) -> None:
        self.trial, self.params = trial, params
        self._case, self._candidate = case, candidate
        self.estimator = build(case, candidate, {**candidate.params, **params}, seed)
        self._grow = grow_of(case, candidate, resource, self.estimator)
        self.value, self.pruned = float("nan"), False

    def reach(self, resource: str, rung: int, data: _Split, metric: Metric) -> float:
        call = f"a trial of candidate {self._candidate.name!r} with {dict(self.params)}"
        with calling(
            self._case.name, call, "docs/use-cases.md says what Search asks of an estimator."
        ):
            self.estimator = self._grow(
                self.estimator, resource, rung, data.fit_matrix, data.fit_labels
            )
        return score(
            metric, data.check_labels, self.estimator.predict_proba(data.check_matrix)[:, 1]
        )

    def told(self, value: float, rung: int, last: bool) -> None:
        self.value = value
        self.trial.report(value, rung)
        self.pruned = not last and self.trial.should_prune()


def one_thread() -> None:
    """Trials share the cores among themselves; an estimator's own threads would only fight over
    them.

    OpenMP's limit is one of the thread that sets it, and ends with it; that of BLAS is the whole
    process's, so ``tune`` gives it back."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="openmp")


def _suggest(trial: Any, name: str, within: Range) -> float | int:
    if within.integer:
        return trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
    return trial.suggest_float(name, within.low, within.high, log=within.log)


def _state(pruned: bool) -> Any:
    from optuna.trial import TrialState

    return TrialState.PRUNED if pruned else TrialState.COMPLETE
