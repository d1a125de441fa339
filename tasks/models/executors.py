"""Where fits run side by side. HPO takes any ``concurrent.futures.Executor``; this one is ours."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def core_threads(workers: int | None = None) -> Iterator[Executor]:
    """A thread for each core, or ``workers`` threads, in each of which an estimator keeps to that
    one.

    scikit-learn's own threads wait for one another at each split: where other programs use the
    cores, for a minute. BLAS's limit is the whole process's, so it is given back in the end."""
    import sklearn.ensemble  # noqa: F401 - a library that is loaded later would not be limited
    from threadpoolctl import threadpool_limits

    workers = workers or os.cpu_count() or 1
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, initializer=_limit_thread) as threads,
    ):
        yield threads


@contextmanager
def one_core() -> Iterator[None]:
    """Inside, what scikit-learn fits keeps to the core of this thread: for small fits, which gain
    little from the others."""
    import sklearn.ensemble  # noqa: F401 - as above
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):
        yield


def _limit_thread() -> None:
    """OpenMP's limit is one of the thread that sets it, and ends with it."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="openmp")
