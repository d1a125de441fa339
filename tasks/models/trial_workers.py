"""Where the trials of a search are fitted: on this machine, or on others."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from tasks.models.dask_workers import dask_workers
from tasks.models.executors import core_threads


@contextmanager
def trial_workers(
    address: str | None, use_case: str, at_once: int, warn: Callable[[str], None]
) -> Iterator[Executor]:
    """Where the trials of a search are fitted: in the workers of the Dask cluster at ``address``,
    or without one in threads of this process. Raises ``DaskAway`` and ``OtherCode``."""
    if not address:
        with core_threads() as threads:
            yield threads
        return
    with dask_workers(address, use_case) as workers:
        if workers.threads > at_once:
            warn(
                f"The Dask cluster at {address} can fit {workers.threads} trials at a time, but "
                f"the search of {use_case} has {at_once} at once: the others wait. Set "
                f"Search(at_once={2 * workers.threads}) to use them all."
            )
        yield workers
