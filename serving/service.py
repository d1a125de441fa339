"""All that lives as long as the process: watches, prediction log, threads. Routes read it and hold nothing themselves."""

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from blocks.settings import Settings
from serving.champion import Champion, ChampionWatch
from serving.errors import NotReady, UnknownUseCase
from serving.feedback import read_feedback
from serving.lake import open_lake
from serving.metrics import Metrics
from serving.package_cache import PackageCache
from serving.prediction_log import PredictionLog
from serving.predictions import PredictionIds, predict
from serving.registry import Registry
from serving.segments import feedback_header
from serving.uploader import Uploader

# About 32 rows of 27 features. Above it a request leaves the event loop: for one row a pool doubles the CPU time,
# for 1000 rows it is what keeps the others from waiting (docs/decisions).
LOOP_BODY_BYTES = 16 * 1024
_SHUTDOWN_SECONDS = 8.0  # with the drain of uvicorn less than what process managers wait before they kill

T = TypeVar("T")


class Service:
    """The parts of one service. Constructing it does no I/O. Raises ``ValueError`` for settings that cannot be."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.ids = PredictionIds()
        self.registry = Registry(settings.mlflow_tracking_uri)
        folder = settings.state / "serving"
        names = _names(settings.serving_use_cases)
        self.watches = {
            name: ChampionWatch(name, self.registry, PackageCache(folder / name), settings.serving_poll_seconds, self.metrics)
            for name in names
        }
        backlog_bytes = settings.log_backlog_megabytes * 1_000_000
        self.log = PredictionLog(folder / "log", settings.log_flush_seconds, settings.log_flush_rows, backlog_bytes)
        self.uploader = Uploader(self.log, open_lake(settings), tick_seconds=min(1.0, settings.log_flush_seconds / 4))
        self.metrics.watch_log(lambda: {name: self.log.state(name) for name in self.watches})
        self._feedback_headers = {name: feedback_header(name) for name in names}
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="score")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serve the last good packages at once, then ask the registry in the background. Raises ``OSError``."""
        self.log.start()
        self.uploader.start()
        for watch in self.watches.values():
            await asyncio.to_thread(watch.restore)
            self._tasks.append(asyncio.create_task(watch.run()))

    async def stop(self) -> None:
        """Every request has been answered when this is called: what was logged is uploaded if the lake takes it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown()
        await asyncio.to_thread(self.uploader.stop, _SHUTDOWN_SECONDS)
        self.log.stop()
        self.registry.close()

    def watch(self, use_case: str) -> ChampionWatch:
        """Raises ``UnknownUseCase``."""
        try:
            return self.watches[use_case]
        except KeyError:
            raise UnknownUseCase(f"Unknown use case {use_case!r}. Served here: {', '.join(self.watches)}.") from None

    async def predict(self, use_case: str, body: bytes, *, logged: bool) -> bytes:
        """The answer's JSON, logged. Raises ``NotReady``, ``InputError``, ``PackageError``."""
        champion = self.watches[use_case].champion
        if champion is None:
            raise NotReady(f"No champion for {use_case!r}. Train one: prefect deployment run 'retrain/{use_case}'.")
        answer, rows = await self._run(body, lambda: self._predict(champion, use_case, body, logged))
        self.metrics.rows.labels(use_case).inc(rows)
        return answer

    async def keep_feedback(self, use_case: str, body: bytes) -> int:
        """How many labels were kept. Raises ``InputError``, or ``NotReady``: feedback that is lost must not be acknowledged."""
        rows = len(await self._run(body, lambda: read_feedback(body)))
        if not self.log.append(self._feedback_headers[use_case], use_case, body, b"", rows):
            raise NotReady("Feedback cannot be kept now: the prediction log's backlog or disk is full. Send it again later.")
        return rows

    async def _run(self, body: bytes, work: Callable[[], T]) -> T:
        """Small bodies here and now, large ones on a thread."""
        if len(body) <= LOOP_BODY_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _predict(self, champion: Champion, use_case: str, body: bytes, logged: bool) -> tuple[bytes, int]:
        answer, rows = predict(champion, body, self.ids)
        if logged:
            self.log.append(champion.log_header, use_case, body, answer, rows)
        return answer, rows

    def not_ready(self) -> list[str]:
        """Use cases without a champion."""
        return [name for name, watch in self.watches.items() if watch.champion is None]

    def describe(self, use_case: str) -> dict[str, Any]:
        """What ``GET /v1/{use_case}`` says. Raises ``UnknownUseCase``."""
        watch = self.watch(use_case)
        state = self.log.state(use_case)
        said: dict[str, Any] = {
            "use_case": use_case,
            "ready": watch.champion is not None,
            "version": None,
            "alias": {"version": watch.alias_version, "checked": watch.checked},
            "last_error": watch.last_error,
            "traffic": self.metrics.traffic(use_case),
            "log": {
                "rows_waiting": state.rows_waiting,
                "rows_uploaded": state.rows_uploaded,
                "rows_dropped": state.rows_dropped,
                "lines_torn": state.lines_torn,
                "last_error": self.uploader.last_error if self.uploader.alive else "The uploader ended; restart the service.",
            },
        }
        if watch.champion is not None:
            said |= _describe_champion(watch.champion)
        return said


def _names(use_cases: str) -> list[str]:
    names = [name.strip() for name in use_cases.split(",") if name.strip()]
    # Each is a folder beside the one of the log.
    if not names or not all(re.fullmatch(r"[A-Za-z0-9_-]+", name) and name != "log" for name in names):
        raise ValueError(f"LAUREL_SERVING_USE_CASES is {use_cases!r}; it must name use cases, such as 'flights' or 'flights,digits'.")
    return names


def _describe_champion(champion: Champion) -> dict[str, Any]:
    manifest = champion.package.manifest
    return {
        "version": champion.version,
        "since": champion.since,
        "title": manifest.title,
        "question": manifest.question,
        "recipe": manifest.recipe,
        "metrics": manifest.metrics,
        "trained_on": manifest.trained_on,
        "trained_through": manifest.trained_through,
        "dataset_version": manifest.dataset_version,
        "created": manifest.created,
        "decision_threshold": manifest.decision_threshold,
        "schema": {"features": manifest.features, "event_time": manifest.event_time, "label": manifest.label},
        "example": champion.package.smoke.rows[0],
    }
