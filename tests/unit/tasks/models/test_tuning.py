import pickle
from collections.abc import Collection
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

import polars as pl
import pytest
from threadpoolctl import threadpool_info
from usecases.toy import toy_rows

from tasks.measures.metrics import score
from tasks.models.climbing import WorkersLost
from tasks.models.executors import core_threads
from tasks.models.modelling import fit, labels, predict
from tasks.models.tuning import Tuned, tune
from tasks.outside.user_code import UseCaseFailed
from usecases.definition import LOG_LOSS, ROC_AUC, Gate, UseCase, load


class AtOnce(Executor):
    """Does all work in this thread; what goes there and what comes back is pickled, as for a worker
    elsewhere. The workers of the submissions ``lost``, by their number, die.
    """

    def __init__(self, lost_numbers: Collection[int] = ()) -> None:
        self.submitted, self._lost = 0, lost_numbers

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future = Future[Any]()
        if self.submitted in self._lost:
            future.set_exception(BrokenExecutor("a worker died"))
        else:
            call, args = pickle.loads(pickle.dumps((call, args)))
            try:
                future.set_result(pickle.loads(pickle.dumps(call(*args))))
            except UseCaseFailed as error:
                future.set_exception(error)
        self.submitted += 1
        return future


CHAMPION = {"learning_rate": 0.11, "max_leaf_nodes": 13, "max_iter": 40}
DEFAULT = {"learning_rate": 0.1, "max_leaf_nodes": 31}


@pytest.fixture(scope="module")
def case() -> UseCase:
    return load("toy")


@pytest.fixture(scope="module")
def sides() -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the trials are fitted on, and the later month that they are scored on."""
    return toy_rows("2024-01"), toy_rows("2024-02")


def search(
    case: UseCase,
    sides: tuple[pl.DataFrame, pl.DataFrame],
    seed: int = 7,
    workers: int = 2,
    **more: Any,
) -> Tuned:
    with core_threads(workers) as threads:
        return search_in(threads, case, sides, seed, **more)


def search_in(
    executor: Executor,
    case: UseCase,
    sides: tuple[pl.DataFrame, pl.DataFrame],
    seed: int = 7,
    **more: Any,
) -> Tuned:
    return tune(case, case.candidate("boosting"), *sides, seed, executor, **more)


def test_the_process_has_its_threads_back_afterwards(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    """First in this file: once lost, they would be lost before, too."""

    def threads() -> list[tuple[str, int]]:
        return sorted((pool["filepath"], pool["num_threads"]) for pool in threadpool_info())

    fit(case, case.candidate("boosting"), {"max_iter": 1}, sides[0], 7)
    before = threads()
    search(case, sides)
    assert threads() == before


@pytest.fixture(scope="module")
def tuned(case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]) -> Tuned:
    return search(case, sides, first=(CHAMPION, DEFAULT))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame], tuned: Tuned, workers: int
) -> None:
    assert search(case, sides, workers=workers, first=(CHAMPION, DEFAULT)) == tuned


def test_another_seed_tries_other_parameters(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame], tuned: Tuned
) -> None:
    other = search(case, sides, seed=8, first=(CHAMPION, DEFAULT))
    assert other.trials[:2] != tuned.trials[2:4]
    assert {trial.params["learning_rate"] for trial in other.trials[2:]}.isdisjoint(
        {t.params["learning_rate"] for t in tuned.trials[2:]}
    )


def test_the_parameters_of_the_champion_are_tried_first(tuned: Tuned) -> None:
    assert tuned.trials[0].params == {"learning_rate": 0.11, "max_leaf_nodes": 13}
    assert tuned.trials[1].params == DEFAULT


def test_parameters_that_are_given_twice_are_tried_once(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    tuned = search(case, sides, first=(CHAMPION, CHAMPION))
    assert [dict(trial.params) for trial in tuned.trials].count(
        {"learning_rate": 0.11, "max_leaf_nodes": 13}
    ) == 1


def test_all_trials_are_there_in_order_and_inside_the_search_space(
    case: UseCase, tuned: Tuned
) -> None:
    space = case.candidate("boosting").search
    assert space is not None
    assert [trial.number for trial in tuned.trials] == list(range(space.trials))
    for trial in tuned.trials:
        assert set(trial.params) == set(space.space)
        assert all(
            within.low <= trial.params[name] <= within.high for name, within in space.space.items()
        )
        assert isinstance(trial.params["max_leaf_nodes"], int)


def test_some_trials_are_pruned_and_the_first_is_not(tuned: Tuned) -> None:
    pruned = [trial.pruned for trial in tuned.trials]
    assert 0 < sum(pruned) < len(pruned)
    assert not pruned[0]


def test_the_best_is_the_best_of_the_trials_that_were_finished(tuned: Tuned) -> None:
    finished = [trial for trial in tuned.trials if not trial.pruned]
    best = max(finished, key=lambda trial: trial.score)
    assert tuned.score == best.score > min(trial.score for trial in finished)
    assert tuned.params == {**best.params, "max_iter": 40}


def test_the_best_is_the_lowest_where_less_is_better(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    tuned = search(case.model_copy(update={"gate": Gate(metric=LOG_LOSS, threshold=0.5)}), sides)
    finished = [trial.score for trial in tuned.trials if not trial.pruned]
    assert tuned.score == min(finished) < max(finished)


def test_fitting_the_best_anew_gives_its_score(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame], tuned: Tuned
) -> None:
    again = fit(case, case.candidate(tuned.candidate), tuned.params, sides[0], 7)
    assert score(ROC_AUC, labels(case, sides[1]), predict(again, case, sides[1])) == pytest.approx(
        tuned.score, abs=1e-9
    )


def test_the_rows_that_score_teach_nothing(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame], tuned: Tuned
) -> None:
    """With their labels turned round, the first trial scores the opposite: it was fitted on the
    other rows alone.
    """
    turned = sides[1].with_columns((1 - pl.col("won")).alias("won"))
    assert search(case, (sides[0], turned), first=(CHAMPION, DEFAULT)).trials[
        0
    ].score == pytest.approx(1 - tuned.trials[0].score)


def test_progress_is_told_up_to_the_last_trial(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    reports: list[tuple[int, int, float]] = []
    tuned = search(
        case, sides, progress=lambda done, trials, best: reports.append((done, trials, best))
    )
    assert [number for number, _, _ in reports] == [4, 8]
    assert reports[-1] == (8, 8, tuned.score)
    assert reports[0][2] <= reports[1][2]


def test_a_candidate_without_a_search_space_is_refused_by_name(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    with pytest.raises(ValueError, match="'logistic' of 'toy' has no search space"):
        tune(case, case.candidate("logistic"), *sides, 7, AtOnce())


@pytest.mark.parametrize("side", [0, 1], ids=["fitted on", "scored on"])
def test_a_single_class_on_either_side_is_refused(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame], side: int
) -> None:
    arguments = [
        rows.filter(pl.col("won") == 1) if place == side else rows
        for place, rows in enumerate(sides)
    ]
    with pytest.raises(ValueError, match="'won' is 1 in all of them"):
        search(case, (arguments[0], arguments[1]))


def test_another_executor_gives_the_same(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame], tuned: Tuned
) -> None:
    assert search_in(AtOnce(), case, sides, first=(CHAMPION, DEFAULT)) == tuned


def test_a_lost_worker_costs_no_trial(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame], tuned: Tuned
) -> None:
    once, whole = AtOnce(lost_numbers={1, 6}), AtOnce()
    assert search_in(once, case, sides, first=(CHAMPION, DEFAULT)) == tuned
    search_in(whole, case, sides, first=(CHAMPION, DEFAULT))
    assert once.submitted == whole.submitted + 2


def test_workers_that_are_lost_again_end_the_search_with_a_reason(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    with pytest.raises(
        WorkersLost, match="toy: HPO lost its workers at max_iter=10.*a worker died"
    ):
        search_in(AtOnce(lost_numbers=range(100)), case, sides)


def test_as_many_trials_as_asked_are_made_though_they_come_in_groups(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    boosting = case.candidate("boosting")
    assert boosting.search is not None
    few = boosting.model_copy(update={"search": boosting.search.model_copy(update={"trials": 6})})
    tuned = tune(case, few, *sides, 7, AtOnce())
    assert [trial.number for trial in tuned.trials] == list(range(6))


def test_an_error_of_a_trial_is_not_taken_for_a_lost_worker(
    case: UseCase, sides: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    executor = AtOnce()
    broken = case.candidate("boosting").model_copy(update={"params": {"max_bins": 1000}})
    with pytest.raises(UseCaseFailed, match="toy: a trial of candidate 'boosting'"):
        tune(case, broken, *sides, 7, executor)
    assert executor.submitted == 4
