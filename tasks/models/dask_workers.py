"""Fits in the workers of a Dask cluster. What a worker has is lost with it and asked for again;
workers must have the same code and libraries as the run.
"""

import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tasks.models.climbing import TrialFailed
from tasks.models.code import code_of_trials

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

INSTALL = "Install it: pip install distributed==2026.8.0"
_TRIES = 4  # an answer is lost with its scheduler
_LOOKS_SECONDS = 5
_MOST_SHARED = 8


class DaskAway(ConnectionError):
    """The scheduler does not answer, or has no worker. What ended is kept; a later run may help."""


class OtherCode(RuntimeError):
    """A worker has other libraries, or another version of the code, than the run."""


class DaskWorkers(Executor):
    """Sends fits to a scheduler at ``address``, such as ``tcp://host:8786``. ``patience`` is how
    many seconds it waits for the scheduler, and for the first worker.
    """

    def __init__(self, address: str, use_case: str, patience: float) -> None:
        self._address, self._use_case, self._patience = address, use_case, patience
        self._shared: dict[int, tuple[Any, DaskFuture]] = {}
        self.client = self._connect()

    @property
    def threads(self) -> int:
        """How many fits can run at a time, now."""
        return sum(self.client.nthreads().values())

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **_: Any) -> "Future[Any]":
        """Ask for ``call(*arguments)``. The last argument is large and stays in the cluster, for
        the next calls with the same one."""
        return _Answer(self, call, arguments)

    def send(self, call: Callable[..., Any], arguments: tuple[Any, ...]) -> "DaskFuture":
        """Raises ``BrokenExecutor`` if the cluster does not come back."""
        if self.client.status != "running":
            self._reconnect()
        *small, large = arguments
        # As bytes: the worker compares its code before it unpickles anything of a use case.
        work = pickle.dumps((call, small))
        code = code_of_trials(self._use_case)
        try:
            return self.client.submit(
                _work, self._use_case, code, work, self._share(large), pure=False
            )
        except (OSError, CancelledError, RuntimeError) as error:
            raise BrokenExecutor(f"Dask at {self._address}: {error}") from error

    def _share(self, large: Any) -> "DaskFuture":
        """``large`` in the cluster. The scheduler keeps it too: if the workers that have it die,
        others get it. What is only scattered would be lost, and each fit with it."""
        known = self._shared.get(id(large))
        if known is None or known[1].status in ("cancelled", "lost"):
            while len(self._shared) >= _MOST_SHARED:
                del self._shared[next(iter(self._shared))]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is large
                known = large, self.client.submit(_keep, large, pure=False)
            self._shared[id(large)] = known
        return known[1]

    def forget(self) -> None:
        """Something was lost: send the rows again with the next fit."""
        self._shared.clear()

    def check(self, since: float) -> float:
        """Raise ``BrokenExecutor`` if there was no worker from ``since`` on for too long; give the
        last moment at which there was one."""
        now = time.monotonic()
        with suppress(OSError, RuntimeError):
            if self.client.nthreads():
                return now
        if now - since > self._patience:
            raise BrokenExecutor(f"Dask at {self._address} has no worker any more")
        return since

    def _reconnect(self) -> None:
        self.forget()
        self.client.close(timeout=2)
        try:
            self.client = self._connect()
        except DaskAway as error:
            raise BrokenExecutor(str(error)) from error

    def _connect(self) -> "Client":
        try:
            from distributed import Client
        except ModuleNotFoundError as error:
            raise DaskAway(f"LAUREL_DASK_ADDRESS is set, but {error}. {INSTALL}") from error
        way = "Start it, or unset LAUREL_DASK_ADDRESS to search on this machine; then start again."
        try:
            client = Client(
                self._address, timeout=self._patience, set_as_default=False, name="laurel"
            )
        except (OSError, ValueError) as error:
            raise DaskAway(
                f"No Dask scheduler answers at LAUREL_DASK_ADDRESS, {self._address} "
                f"({type(error).__name__}: {str(error).splitlines()[0]}). {way}"
            ) from error
        try:
            client.wait_for_workers(1, timeout=self._patience)
        except TimeoutError as error:
            client.close()
            raise DaskAway(
                f"The Dask scheduler at {self._address} has no worker for {self._patience:g} s. "
                f"{way}"
            ) from error
        try:
            # A worker that cannot import the function of a fit would end with its first one.
            client.run(exec, f"import {__name__}")
        except ModuleNotFoundError as error:
            client.close()
            raise OtherCode(
                f"A worker of the Dask cluster at {self._address} cannot import Laurel ({error}): "
                "start workers where Laurel is installed, with the same PYTHONPATH as flow runs."
            ) from error
        try:
            client.get_versions(check=True)
        except ValueError as error:
            client.close()
            raise OtherCode(
                f"The Dask cluster at {self._address} has other versions than this run: give its "
                f"scheduler and workers the same image. {error}"
            ) from error
        return client

    def close(self) -> None:
        self._shared.clear()
        with suppress(OSError, TimeoutError, RuntimeError):
            self.client.close(timeout=5)


class _Answer(Future[Any]):
    """What a worker will say."""

    def __init__(
        self, workers: DaskWorkers, call: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        super().__init__()
        self._workers, self._call, self._arguments = workers, call, arguments
        self._send()

    def _send(self) -> None:
        self._sent = self._workers.send(self._call, self._arguments)
        self._client = self._workers.client

    def result(self, timeout: float | None = None) -> Any:
        """Wait, and ask again for what was lost. Raises ``TrialFailed`` for a fit that workers die
        of, ``BrokenExecutor`` if no worker is left, ``OtherCode``, and what the fit raises.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._wait()
            except CancelledError:
                self._workers.forget()
                self._send()
        return self._wait()

    def _wait(self) -> Any:
        from distributed.scheduler import KilledWorker

        seen = time.monotonic()
        while True:
            if self._client is not self._workers.client:  # another answer was lost, and this too
                raise CancelledError
            try:
                return self._sent.result(timeout=_LOOKS_SECONDS)
            except TimeoutError:
                if self._sent.done():  # meanwhile, or with such an error of its own
                    return self._sent.result()
                seen = self._workers.check(seen)
            except KilledWorker as error:
                call = getattr(self._arguments[0], "call", "a fit")
                raise TrialFailed(
                    f"{call} ended {error.allowed_failures + 1} workers, the last at "
                    f"{error.last_worker.address}: was there enough memory?"
                ) from error

    def cancel(self) -> bool:
        with suppress(OSError, RuntimeError, CancelledError):
            self._sent.cancel()
        return True


@contextmanager
def dask_workers(address: str, use_case: str, patience: float = 120) -> Iterator[DaskWorkers]:
    """The workers of a cluster. Raises ``DaskAway`` and ``OtherCode``."""
    workers = DaskWorkers(address, use_case, patience)
    try:
        yield workers
    finally:
        workers.close()


def _keep(large: Any) -> Any:
    """On the worker."""
    return large


def _work(use_case: str, code: Mapping[str, str], work: bytes, large: Any) -> Any:
    """On the worker. Raises ``OtherCode``, and what the call raises."""
    from distributed import get_worker

    here = code_of_trials(use_case)
    other = {
        part: f"{here.get(part, 'missing')}, the run has {code.get(part, 'none')}"
        for part in {**code, **here}
        if here.get(part) != code.get(part)
    }
    if other:
        parts = "; ".join(f"{part}: {versions}" for part, versions in sorted(other.items()))
        raise OtherCode(
            f"The Dask worker {get_worker().address} has other code than the run: {parts}. Give it "
            "the same image, or the same checkout and PYTHONPATH, and start it again."
        )
    call, small = pickle.loads(work)  # noqa: S301 - of the run, by way of Dask, which pickles too
    return call(*small, large)
