"""All that lives as long as the process: watches, scorer, prediction log, keys. Routes read it and hold nothing themselves."""

import asyncio
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blocks.settings import Settings
from serving.access_log import AccessLog
from serving.admission import Admission, keys_of
from serving.boundary import Budget, Refused, RequestIds, scope_of
from serving.carrier import Carrier
from serving.champion import Champion, ChampionWatch
from serving.errors import NotReady, UnknownUseCase
from serving.feedback import read_feedback
from serving.lake import NO_LAKE, open_lake
from serving.metrics import Metrics, RouteStats
from serving.model_folder import ModelFolder
from serving.openapi import PREDICT_PATH
from serving.package_cache import PackageCache
from serving.prediction_log import NoPredictionLog, PredictionLog
from serving.predictions import Scored
from serving.prefect_api import PrefectApi
from serving.registry import Registry
from serving.rows import Asked
from serving.scoring import LOOP_BODY_BYTES, Scorer
from serving.segments import feedback_header, line_of
from serving.siblings import facts, flows
from serving.slack import Slack
from serving.traffic import Traffic
from serving.uploader import Uploader
from serving.workers import WorkerBoard

if TYPE_CHECKING:
    from starlette.types import Scope

    from serving.protocol import PredictCall, PredictProtocol

_TICK_SECONDS = 1.0
_BODY_BUDGET = 16  # largest bodies at a time
_OURS = ("log", "workers")
_CARRIER_IDLE_SECONDS = 5.0
_SHUTDOWN_SECONDS = 8.0  # with the drain of uvicorn less than what process managers wait before they kill


@dataclass(frozen=True, slots=True)
class HotRoute:
    """What the hot path needs to know of a use case, found by the request's path."""

    path: str
    use_case: str
    watch: ChampionWatch
    stats: RouteStats


class Service:
    """The parts of one service. Constructing it does no I/O. Raises ``ValueError`` for settings that cannot be.

    ``open_path`` asks nobody for a key, and so the service starts without any.
    """

    def __init__(self, settings: Settings, open_path: str | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.traffic = Traffic()
        self.request_ids = RequestIds()
        self.registry = ModelFolder(settings.serving_model_folder) if settings.serving_model_folder else Registry.of(settings)
        self.prefect = PrefectApi.of(settings)
        self.max_body_bytes = settings.serving_max_body_megabytes * 2**20
        self.budget = Budget(self.max_body_bytes * _BODY_BUDGET)
        self.access_log = AccessLog(settings.serving_access_log)
        self.keys = keys_of(settings, may_lack=open_path is not None)
        self._open_path = open_path
        self.admission = Admission(self.keys, settings.serving_allowed_hosts)
        self.board = WorkerBoard.of(settings)
        self.connections: set[PredictProtocol] = set()
        folder = settings.state / "serving"
        slack = Slack.of(settings)
        names = _names(settings.serving_use_cases)
        self.default_use_case = names[0]
        self.watches = {
            name: ChampionWatch(
                name, self.registry, PackageCache(folder / name), settings.serving_poll_seconds, self.metrics, slack, self._tell_of_swap
            )
            for name in names
        }
        self.hot_routes = {
            PREDICT_PATH.replace("{use_case}", name).encode(): HotRoute(PREDICT_PATH, name, watch, self.metrics.routes[name, PREDICT_PATH])
            for name, watch in self.watches.items()
        }
        self.log = (NoPredictionLog if settings.lake == NO_LAKE else PredictionLog)(
            folder / "log",
            settings.log_flush_seconds,
            settings.log_flush_rows,
            settings.log_backlog_megabytes * 1_000_000,
            settings.log_durability,
        )
        open_lake(settings)  # so that an address that is none is refused now, and not by the carrier
        self.uploader = Uploader(self.log, Carrier(_CARRIER_IDLE_SECONDS), tick_seconds=min(1.0, settings.log_flush_seconds / 4))
        self.scorer = Scorer(self.log, self.metrics, os.cpu_count() or 1, settings.serving_queue_requests, settings.serving_max_rows)
        self._feedback_headers = {name: feedback_header(name) for name in names}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._swapped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serve the last good packages at once, then ask the registry in the background. Raises ``OSError``, ``KeysError``."""
        self.keys.load(self.settings.host)
        self.board.join()
        self._loop = asyncio.get_running_loop()
        self.log.start()
        self.access_log.start()
        self.uploader.start()
        for watch in self.watches.values():
            await asyncio.to_thread(watch.restore)
            self._tasks.append(asyncio.create_task(watch.run()))
        self._tasks.append(asyncio.create_task(self._tick()))

    async def stop(self) -> None:
        """Every request has been answered when this is called: what was logged is uploaded if the lake takes it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.scorer.stop()
        await asyncio.to_thread(self.uploader.stop, _SHUTDOWN_SECONDS)
        self.log.stop()
        self.access_log.stop()
        self.board.publish(facts(self))
        self.board.leave()
        self.registry.close()
        self.prefect.close()

    def watch(self, use_case: str) -> ChampionWatch:
        """Raises ``UnknownUseCase``."""
        try:
            return self.watches[use_case]
        except KeyError:
            raise UnknownUseCase(f"Unknown use case {use_case!r}. Served here: {', '.join(self.watches)}.") from None

    def champion(self, use_case: str) -> Champion:
        """Raises ``UnknownUseCase``, ``NotReady``."""
        champion = self.watch(use_case).champion
        if champion is None:
            raise NotReady(f"No champion for {use_case!r}. Train one: prefect deployment run 'retrain/{use_case}'.")
        return champion

    def check_loop(self, use_case: str) -> None:
        """Raises ``UnknownUseCase``, and ``Refused`` where the model came as files: no run of Prefect changes what is served then."""
        self.watch(use_case)
        if self.settings.serving_model_folder is not None:
            setting = "LAUREL_SERVING_MODEL_FOLDER"
            raise Refused(404, "no_loop", f"This service serves a model folder ({setting}): it has neither approvals nor a rollback.")

    def admit(self, headers: list[tuple[bytes, bytes]], method: str, path: str) -> str:
        """The name of the caller's key; empty where none is asked for. Raises ``Unauthorized``, ``Forbidden``."""
        return self.admission.admit(method, headers, self.scope_of(method, path))

    def scope_of(self, method: str, path: str) -> str:
        """Which scope a key needs for a request to this service; empty where none is needed."""
        return "" if path == self._open_path else scope_of(method, path)

    def begin(self, call: "PredictCall") -> None:
        """The hot path's request is there, and was admitted: have it answered. Raises ``ServingError``."""
        call.champion = self.champion(call.route.use_case)
        self.scorer.submit(call)

    async def score(self, use_case: str, size: int, read: Callable[[Champion], Asked], *, logged: bool) -> Scored:
        """Rows that ``read`` makes of ``size`` bytes, scored and logged.

        Raises ``UnknownUseCase``, ``NotReady``, ``InputError``, ``PackageError``, ``Overloaded``.
        """
        return await self.scorer.score(self.champion(use_case), size, read, logged=logged)

    async def keep_feedback(self, use_case: str, body: bytes) -> int:
        """How many labels were kept. Raises ``InputError``, or ``NotReady``: feedback that is lost must not be acknowledged."""

        def keep() -> int | None:
            rows = len(read_feedback(body))
            kept = self.log.append(self._feedback_headers[use_case], use_case, line_of(body, b"", rows), rows)
            return rows if kept else None

        rows = await self.scorer.run(keep) if len(body) > LOOP_BODY_BYTES or self.log.blocking else keep()
        if rows is None:
            raise NotReady("Feedback cannot be kept now: backlog or disk of the prediction log is full, or there is no lake. Try later.")
        return rows

    def account(self, call: "PredictCall", status: int, rows: int, client: tuple[str, int] | None) -> None:
        """Count an answer of the hot path."""
        seconds = time.perf_counter() - call.began
        call.route.stats.answered(status, seconds)
        path = f"/v1/{call.route.use_case}/predict"
        self.access_log.add(call.request_id, "POST", path, status, seconds, rows, call.key, client[0] if client else "")

    def account_asgi(self, scope: "Scope", status: int, seconds: float, key: str, request_id: bytes) -> None:
        """Count any other answer. Paths and use cases that do not exist share one series."""
        parameters = scope.get("path_params", {})
        use_case = scope.get("laurel.use_case") or parameters.get("use_case") or parameters.get("model") or ""
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.routes[use_case if use_case in self.watches else "", route].answered(status, seconds)
        client = scope.get("client")
        self.access_log.add(request_id, scope["method"], scope["path"], status, seconds, 0, key, client[0] if client else "")

    def account_refusal(self, request_id: bytes, status: int, seconds: float, client: tuple[str, int] | None) -> None:
        """Count an answer to what was not yet a request."""
        self.metrics.routes["", "other"].answered(status, seconds)
        self.access_log.add(request_id, "", "", status, seconds, 0, "", client[0] if client else "")

    def not_ready(self) -> list[str]:
        """Use cases without a champion."""
        return [name for name, watch in self.watches.items() if watch.champion is None]

    def _tell_of_swap(self) -> None:
        """Called on the thread that swapped: whoever asks any worker which version serves must soon get the answer for all."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._swapped.set)

    async def _tick(self) -> None:
        """Each second, and at a swap: let go of callers that dawdle, read the keys again, keep the figures, tell the other workers."""
        settings = self.settings
        while True:
            now = time.perf_counter()
            for connection in list(self.connections):
                connection.sweep(now, settings.serving_request_seconds, settings.serving_idle_seconds)
            self.keys.reload()
            for name in self.watches:
                self.traffic.add(name, flows(self, name))
            self.board.publish(facts(self))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._swapped.wait(), _TICK_SECONDS)
            self._swapped.clear()


def _names(use_cases: str) -> list[str]:
    names = [name.strip() for name in use_cases.split(",") if name.strip()]
    # Each is a folder beside those of the log and of the workers.
    if not names or not all(re.fullmatch(r"[A-Za-z0-9_-]+", name) and name not in _OURS for name in names):
        raise ValueError(f"LAUREL_SERVING_USE_CASES is {use_cases!r}; it must name use cases, such as 'flights' or 'flights,digits'.")
    return names
