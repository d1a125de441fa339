"""Speed-up of a search over Dask's workers, processes on this machine.

    python -m benchmarks.search [--workers 1 2 4] [--trials 32] [--seconds 2] [--computes .1]

A trial takes ``--seconds``, about half of them half as long again, and ``--computes`` of them on a
core; the rest it waits, since this machine may have fewer cores than workers. Each search has
twice as many trials at once as workers. The workers' imports are over before it is
measured."""

import argparse
import time

from benchmarks.search.model import seconds_of, slow_candidate
from tasks.models.dask_workers import dask_workers
from tasks.models.tuning import tune
from usecases.definition import load
from usecases.diabetes import patients


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--computes", type=float, default=0.1)
    arguments = parser.parse_args()
    print("workers  trials  fits s  search s  speed-up  of the workers")
    for workers in arguments.workers:
        trials, fits, took = _measure(workers, arguments)
        print(
            f"{workers:7}  {trials:6}  {fits:6.1f}  {took:8.1f}  {fits / took:8.2f}  "
            f"{fits / took / workers:14.0%}",
            flush=True,
        )


def _measure(workers: int, arguments: argparse.Namespace) -> tuple[int, float, float]:
    """Trials, the seconds that they take one after the other, and those of the search."""
    from distributed import LocalCluster

    case, rows = load("diabetes"), patients()
    fit_rows, check_rows = rows[:300], rows[300:]
    slow = slow_candidate(arguments.trials, 2 * workers, arguments.seconds, arguments.computes)
    warm = slow_candidate(2 * workers, 2 * workers, 0.0, 0.0)
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        dask_workers(cluster.scheduler_address, case.name) as executor,
    ):
        cluster.wait_for_workers(workers)
        tune(case, warm, fit_rows, check_rows, 1, executor)  # imports of the workers
        began = time.monotonic()
        tuned = tune(case, slow, fit_rows, check_rows, 0, executor)
        took = time.monotonic() - began
    fits = sum(seconds_of(trial.params["rate"], arguments.seconds) for trial in tuned.trials)
    return len(tuned.trials), fits, took


if __name__ == "__main__":
    main()
