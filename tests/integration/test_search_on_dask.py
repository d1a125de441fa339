"""A search on a real cluster of Dask: several worker processes, which die, run short of memory or
have other code, and a scheduler that goes away.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from slow_models import slow_candidate
from usecases.toy import toy_rows

from tasks.models import dask_workers as dask
from tasks.models.climbing import WorkersLost
from tasks.models.dask_workers import DaskAway, OtherCode, dask_workers
from tasks.models.executors import core_threads
from tasks.models.studies import open_record
from tasks.models.trial_workers import trial_workers
from tasks.models.tuning import Tuned, tune
from tests.fixtures.dask_cluster import DaskCluster, dask_cluster
from usecases.definition import UseCase, load

pytestmark = pytest.mark.slow("starts a cluster of Dask")

Sides = tuple[pl.DataFrame, pl.DataFrame]


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    with dask_cluster(workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def sides() -> Sides:
    return toy_rows("2024-01"), toy_rows("2024-02")


def with_slow(**params: Any) -> UseCase:
    toy = load("toy")
    return toy.model_copy(update={"candidates": (*toy.candidates, slow_candidate(**params))})


def here(case: UseCase, candidate: str, sides: Sides) -> Tuned:
    with core_threads(2) as threads:
        return tune(case, case.candidate(candidate), *sides, 7, threads)


def there(case: UseCase, candidate: str, sides: Sides, address: str, patience: float = 60) -> Tuned:
    with dask_workers(address, case.name, patience) as workers:
        return tune(case, case.candidate(candidate), *sides, 7, workers)


@pytest.mark.parametrize(
    ("use_case", "candidate"), [("toy", "boosting"), ("toy_own", "network")], ids=["toy", "own"]
)
def test_workers_elsewhere_find_the_same(
    cluster: DaskCluster, sides: Sides, use_case: str, candidate: str
) -> None:
    """The second model is a class in the user's own file."""
    case = load(use_case)
    assert there(case, candidate, sides, cluster.address) == here(case, candidate, sides)


def test_a_worker_that_is_killed_costs_no_trial(cluster: DaskCluster, sides: Sides) -> None:
    case = with_slow(trials=10, waits=0.5)
    before = cluster.pids()
    killer = threading.Timer(1.5, os.kill, (before[0], signal.SIGKILL))
    killer.start()
    tuned = there(case, "slow", sides, cluster.address)
    killer.join()
    assert [trial.number for trial in tuned.trials] == list(range(10))
    assert not any(trial.failed for trial in tuned.trials)
    cluster.wait_for(2)
    assert before[0] not in cluster.pids()
    assert tuned.score == here(with_slow(trials=10), "slow", sides).score


def test_more_workers_than_trials_at_once_are_told(cluster: DaskCluster) -> None:
    warnings = list[str]()
    with trial_workers(cluster.address, "toy", 1, warnings.append):
        pass
    assert len(warnings) == 1 and "Search(at_once=4)" in warnings[0]
    with trial_workers(cluster.address, "toy", 2, pytest.fail):
        pass


def test_a_worker_with_other_libraries_is_named_with_both_versions(
    cluster: DaskCluster, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = {**dask.code_of_trials("toy"), "scikit-learn": "0.1"}
    monkeypatch.setattr(dask, "code_of_trials", lambda name: code)
    with pytest.raises(OtherCode, match=r"worker tcp://.* scikit-learn: 1\.\S+ the run has 0\.1\."):
        there(load("toy"), "boosting", sides, cluster.address)


@pytest.mark.nightly("three starts of workers; a killed worker is tried on each change")
def test_a_search_goes_on_when_the_scheduler_comes_back_and_keeps_its_trials_if_not(
    sides: Sides, tmp_path: Path
) -> None:
    case, url = with_slow(trials=8, at_once=2, waits=0.5), f"sqlite:///{tmp_path}/studies.db"

    def search(patience: float, leaves_at: int, comes_back: bool) -> tuple[int, Tuned]:
        def leave(done: int, trials: int, best: float) -> None:
            if done == leaves_at:
                own.scheduler.kill()
                own.scheduler.wait()
                if comes_back:  # workers end with their scheduler
                    own.start_scheduler()
                    own.start_workers(1)

        with (
            open_record(url, "toy/slow/1", True, pytest.fail) as record,
            dask_workers(own.address, "toy", patience) as workers,
        ):
            slow, known = case.candidate("slow"), record.size
            return known, tune(case, slow, *sides, 7, workers, progress=leave, record=record)

    with dask_cluster(workers=1) as own:
        with pytest.raises(WorkersLost, match="toy: HPO lost its workers at rounds=1 .*go"):
            search(2, leaves_at=2, comes_back=False)
        own.start_scheduler()
        own.start_workers(1)
        known, tuned = search(60, leaves_at=4, comes_back=True)
    assert known == 2
    assert tuned == here(with_slow(trials=8, at_once=2, waits=0.5), "slow", sides)


def test_without_a_scheduler_the_search_says_where_it_looked(sides: Sides) -> None:
    began = time.monotonic()
    with pytest.raises(DaskAway, match=r"LAUREL_DASK_ADDRESS, tcp://127\.0\.0\.1:9 .*unset"):
        there(load("toy"), "boosting", sides, "tcp://127.0.0.1:9", patience=1)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("address", ["nonsense://there", "127.0.0.1:no"])
def test_an_address_that_is_none_is_told(sides: Sides, address: str) -> None:
    with pytest.raises(DaskAway, match="LAUREL_DASK_ADDRESS"):
        there(load("toy"), "boosting", sides, address, patience=1)


@pytest.mark.nightly("ends workers twice; test_studies.py fails a trial on each change")
def test_a_trial_that_takes_all_memory_fails_alone(sides: Sides) -> None:
    case = with_slow(trials=5, at_once=2, heavy=0.8)
    with dask_cluster(workers=2, memory="700MB") as own:
        tuned = there(case, "slow", sides, own.address)
    rates = [trial.params["rate"] for trial in tuned.trials]
    assert [bool(trial.failed) for trial in tuned.trials] == [rate > 0.8 for rate in rates]
    assert 0 < sum(rate > 0.8 for rate in rates) < 5
    assert all("memory" in trial.failed for trial in tuned.trials if trial.failed)


@pytest.mark.nightly("waits for real seconds")
def test_a_cluster_without_workers_or_without_laurel_is_told(sides: Sides) -> None:
    with dask_cluster(workers=0) as own:
        with pytest.raises(DaskAway, match="has no worker for 1 s"):
            there(load("toy"), "boosting", sides, own.address, patience=1)
        own.start_workers(1, paths=())
        own.wait_for(1)
        with pytest.raises(OtherCode, match="cannot import Laurel.*PYTHONPATH"):
            there(load("toy"), "boosting", sides, own.address)
