"""Everything that lives as long as the process: watches, scorer, prediction log, keys. Routes use
it and hold no state themselves.
"""

import asyncio
import logging
import math
import os
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from blocks.clients.registry import CHAMPION
from blocks.settings import Settings
from serving.champions.champion import ROLES, Champion, ChampionWatch
from serving.champions.package_cache import PackageCache
from serving.champions.use_cases import MOST, all_of, named_by, serves_all
from serving.edge.access_log import AccessLog
from serving.edge.openapi import PREDICT_PATH
from serving.edge.requests import Budget, RequestIds
from serving.errors import NotReady, Refused, RegistryAway, UnknownUseCase, UnseenUseCase
from serving.formats.event_window import EventWindow
from serving.formats.feedback import read_feedback
from serving.keys.admission import Admission, keys_of
from serving.keys.peers import Peers
from serving.keys.proxies import TrustedProxies
from serving.keys.scopes import scope_of
from serving.log.prediction_log import NoPredictionLog, PredictionLog
from serving.log.segments import feedback_header, line_of
from serving.metrics.counters import Metrics, RouteStats
from serving.metrics.traffic import Traffic
from serving.outside.lake import NO_LAKE, open_lake
from serving.outside.model_folder import ModelFolder
from serving.outside.prefect_api import PrefectApi
from serving.outside.registry import Registry
from serving.outside.slack import Slack
from serving.scoring.predictions import Scored
from serving.scoring.scorer import LOOP_BODY_BYTES, Call, Read, Scorer
from serving.service.siblings import facts, flows
from serving.service.workers import WorkerBoard
from serving.upload.carrier import Carrier
from serving.upload.uploader import Uploader

if TYPE_CHECKING:
    from starlette.types import Scope

_TICK_SECONDS = 1.0
_BODY_BUDGET = 16  # largest bodies at a time
_CARRIER_IDLE_SECONDS = 5.0
_PROBED_SECONDS = 120.0
_SHUTDOWN_SECONDS = (
    8.0  # together with uvicorn's drain shorter than process managers wait before they kill
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A use case as the hot path needs it, found by the request's path: ``target``, of the route
    ``path``.
    """

    path: str
    target: str
    use_case: str
    watch: ChampionWatch
    stats: RouteStats


class HotCall(Call, Protocol):
    """A request on the hot path."""

    route: HotRoute
    began: float  # of time.perf_counter
    key: str
    request_id: bytes


class Connection(Protocol):
    """An open connection; ``cycle`` is its latest request."""

    cycle: Any

    def sweep(self, now: float, request_seconds: float, idle_seconds: float) -> None: ...


class Service:
    """The parts of one service. Constructing it does no I/O. Raises ``ValueError`` for invalid
    settings.

    ``open_path`` requires no key, so the service starts without any."""

    def __init__(
        self, settings: Settings, open_path: str | None = None, roles: Sequence[str] = ROLES
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.traffic = Traffic()
        self.request_ids = RequestIds()
        self.registry = (
            ModelFolder(settings.serving_model_folder)
            if settings.serving_model_folder
            else Registry.of(settings)
        )
        self.prefect = PrefectApi.of(settings)
        self.max_body_bytes = settings.serving_max_body_megabytes * 2**20
        self.budget = Budget(self.max_body_bytes * _BODY_BUDGET)
        self.access_log = AccessLog(settings.serving_access_log)
        self.keys = keys_of(settings, may_lack=open_path is not None)
        self._open_path = open_path
        self.admission = Admission(self.keys, settings.serving_allowed_hosts)
        self.peers: Peers | None = None
        self.proxies = TrustedProxies(settings.serving_trusted_proxies)
        self.path_prefix = settings.serving_path_prefix.encode()
        self.board = WorkerBoard.of(settings)
        self.connections: Collection[Connection] = ()
        self.leaving = False
        self._probed = -math.inf
        folder = settings.state / "serving"
        self._slack = Slack.of(settings)
        self._named = named_by(settings)
        self.serves_all = serves_all(settings)
        self._roles = roles
        self.watches: dict[str, ChampionWatch] = {}
        # The roles beside the champion, by use case and role: loaded, but no request reaches them.
        self.beside: dict[str, dict[str, ChampionWatch]] = {}
        self.hot_routes: dict[bytes, HotRoute] = {}
        self._feedback_headers: dict[str, bytes] = {}
        for name in all_of(settings) if self.serves_all else self._named:
            self._add(name)
        self.log = (NoPredictionLog if settings.lake == NO_LAKE else PredictionLog)(
            folder / "log",
            settings.log_flush_seconds,
            settings.log_flush_rows,
            settings.log_backlog_megabytes * 1_000_000,
            settings.log_durability,
        )
        open_lake(settings)  # an invalid address is refused now, and not by the carrier
        self.uploader = Uploader(
            self.log,
            Carrier(_CARRIER_IDLE_SECONDS),
            tick_seconds=min(1.0, settings.log_flush_seconds / 4),
        )
        self.scorer = Scorer(
            self.log,
            self.metrics,
            os.cpu_count() or 1,
            settings.serving_queue_requests,
            settings.serving_max_rows,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._swapped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Serve the last good packages at once, then ask the registry in the background. Raises
        ``OSError``, ``KeysError``.
        """
        self.keys.load(self.settings.host)
        self.peers = None if self.keys.required else Peers()
        self.board.join()
        self._loop = asyncio.get_running_loop()
        self.log.start()
        self.access_log.start()
        self.uploader.start()
        for name in self.watches:
            await self._follow(name)
        self._tasks.append(asyncio.create_task(self._tick()))
        if self.serves_all:
            self._tasks.append(asyncio.create_task(self._find_use_cases()))

    async def stop(self) -> None:
        """Stop after the last answer: the logged rows are uploaded if the lake accepts them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.scorer.stop()
        await asyncio.to_thread(self.uploader.stop, _SHUTDOWN_SECONDS)
        self.log.stop()
        self.access_log.stop()
        self.board.publish(facts(self.watches, self.log, self.metrics))
        self.board.leave()
        self.registry.close()
        self.prefect.close()
        if self.peers is not None:
            self.peers.close()

    def watch(self, use_case: str) -> ChampionWatch:
        """Return the use case's watch. Raises ``UnknownUseCase``."""
        try:
            return self.watches[use_case]
        except KeyError:
            served = (
                f"Unknown use case {use_case!r}. Served here: "
                f"{', '.join(self.watches) or 'none yet'}."
            )
            if self.serves_all:
                way = (
                    "A new one is served once its file is in usecases/, or its first version is in "
                    "the registry."
                )
                raise UnseenUseCase(f"{served} {way}") from None
            raise UnknownUseCase(served) from None

    def champion(self, use_case: str) -> Champion:
        """Return the champion. Raises ``UnknownUseCase``, ``NotReady``."""
        champion = self.watch(use_case).champion
        if champion is None:
            raise NotReady(
                f"No champion for {use_case!r}. Train one: prefect deployment run "
                f"'retrain/{use_case}'."
            )
        return champion

    def check_loop(self, use_case: str) -> None:
        """Raises ``UnknownUseCase``, and ``Refused`` if the model came as files: no run of Prefect
        can change it then.
        """
        self.watch(use_case)
        if self.settings.serving_model_folder is not None:
            setting = "LAUREL_SERVING_MODEL_FOLDER"
            raise Refused(
                404,
                "no_loop",
                f"This service serves a model folder ({setting}): it has neither approvals "
                "nor a rollback.",
            )

    def admit(self, scope: "Scope") -> str:
        """The name of the caller's key; empty if none is required. Raises ``Unauthorized``,
        ``Forbidden``.
        """
        method, needed = scope["method"], self.scope_of(scope["method"], scope["path"])
        foreign = scope.get("laurel.foreign", False)
        return self.admission.admit(
            method, scope["headers"], needed, version=scope["http_version"], foreign=foreign
        )

    def scope_of(self, method: str, path: str) -> str:
        """The scope that a key needs for a request to this service; empty if none is needed."""
        return "" if path == self._open_path else scope_of(method, path)

    def begin(self, call: HotCall) -> None:
        """Have a complete, admitted request of the hot path answered. Raises ``ServingError``."""
        call.champion = self.champion(call.route.use_case)
        self.scorer.submit(call)

    async def score(
        self, use_case: str, body: bytes, kind: str, read: Read, *, logged: bool
    ) -> Scored:
        """Score and log the rows that ``read`` makes from ``body``, whose media type is ``kind``.

        Raises ``UnknownUseCase``, ``NotReady``, ``InputError``, ``PackageError``, ``Overloaded``.
        """
        return await self.scorer.score(self.champion(use_case), body, kind, read, logged=logged)

    async def keep_feedback(self, use_case: str, body: bytes) -> int:
        """Store labels, and return how many. Raises ``InputError``, or ``NotReady``: lost feedback
        must not be acknowledged.
        """

        def keep() -> int | None:
            labels = read_feedback(body)
            rows = len(labels)
            champion = self.watches[use_case].champion
            (champion.events if champion else EventWindow()).check_feedback(
                [label.event_time for label in labels]
            )
            is_logged = self.log.append(
                self._feedback_headers[use_case], use_case, line_of(body, b"", rows), rows
            )
            return rows if is_logged else None

        rows = (
            await self.scorer.run(keep)
            if len(body) > LOOP_BODY_BYTES or self.log.blocking
            else keep()
        )
        if rows is None:
            raise NotReady(
                "Feedback cannot be stored now: the prediction log's backlog or disk is full, or "
                "there is no lake. Try again later."
            )
        return rows

    def account(self, call: HotCall, status: int, rows: int, address: str) -> None:
        """Count an answer of the hot path."""
        seconds = time.perf_counter() - call.began
        call.route.stats.count(status, seconds)
        self.access_log.add(
            call.request_id, "POST", call.route.target, status, seconds, rows, call.key, address
        )

    def account_asgi(
        self, scope: "Scope", status: int, seconds: float, key: str, request_id: bytes
    ) -> None:
        """Count any other answer. Paths and use cases that do not exist share one series."""
        parameters = scope.get("path_params", {})
        use_case = (
            scope.get("laurel.use_case")
            or parameters.get("use_case")
            or parameters.get("model")
            or ""
        )
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.routes[use_case if use_case in self.watches else "", route].count(
            status, seconds
        )
        client = scope.get("client")
        self.access_log.add(
            request_id,
            scope["method"],
            scope["path"],
            status,
            seconds,
            0,
            key,
            client[0] if client else "",
        )

    def account_refusal(self, request_id: bytes, status: int, seconds: float, address: str) -> None:
        """Count the answer to data that was not yet a request."""
        self.metrics.routes["", "other"].count(status, seconds)
        self.access_log.add(request_id, "", "", status, seconds, 0, "", address)

    @property
    def default_use_case(self) -> str | None:
        """The use case for callers that name none: the first of the settings, else the only one, or
        the only one with a champion.
        """
        if self._named:
            return self._named[0]
        ready = [name for name, watch in self.watches.items() if watch.champion is not None]
        candidates = ready if len(ready) == 1 else list(self.watches)
        return candidates[0] if len(candidates) == 1 else None

    def not_ready(self) -> list[str]:
        """Use cases that should have a champion and have none.

        A use case that the settings do not name may still wait for its first training: it must not
        take the others out of a load balancer. If there is no champion at all, all use cases are
        missing."""
        missing = [name for name, watch in self.watches.items() if watch.champion is None]
        if len(missing) == len(self.watches):
            return missing or ["any use case"]
        return [
            name
            for name in missing
            if name in self._named or self.watches[name].alias_version is not None
        ]

    def _add(self, name: str) -> None:
        watches = {role: self._watch_of(name, role) for role in self._roles}
        watch = self.watches[name] = watches.pop(CHAMPION)
        self.beside[name] = watches
        path = PREDICT_PATH.replace("{use_case}", name).encode()
        self.hot_routes[path] = HotRoute(
            PREDICT_PATH, path.decode(), name, watch, self.metrics.routes[name, PREDICT_PATH]
        )
        self._feedback_headers[name] = feedback_header(name)

    def _watch_of(self, name: str, role: str) -> ChampionWatch:
        return ChampionWatch(
            name,
            self.registry,
            PackageCache(self.settings.state / "serving" / name, role),
            self.settings.serving_poll_seconds,
            self.metrics,
            self._slack,
            self._tell_of_swap,
            role=role,
        )

    async def _follow(self, name: str) -> None:
        for watch in (self.watches[name], *self.beside[name].values()):
            await asyncio.to_thread(watch.restore)
            self._tasks.append(asyncio.create_task(watch.run()))

    def find_unserved(self, models: Sequence[str]) -> list[str]:
        """New use cases that are not served yet: as many as there is room for."""
        names = [name for name in all_of(self.settings, models) if name not in self.watches]
        return names[: max(0, MOST - len(self.watches))]

    async def _find_use_cases(self) -> None:
        """Serve a use case once it has a file, or its first version is registered. It stays served
        until a restart.
        """
        models: list[str] = []
        while True:
            with suppress(RegistryAway):  # each watch logs it already
                models = await asyncio.to_thread(self.registry.models)
            for name in await asyncio.to_thread(self.find_unserved, models):
                logger.info("use case is served from now on use_case=%s", name)
                self._add(name)
                await self._follow(name)
            await asyncio.sleep(self.settings.serving_poll_seconds)

    def is_ready(self, use_case: str | None = None) -> bool:
        """Whether to send requests here. No when the service is about to stop, so that load
        balancers send elsewhere.
        """
        self._probed = time.monotonic()
        if self.leaving:
            return False
        return self.watches[use_case].champion is not None if use_case else not self.not_ready()

    def is_probed(self) -> bool:
        """Whether a readiness probe came lately."""
        return time.monotonic() - self._probed < _PROBED_SECONDS

    def check_stays(self) -> None:
        """Raises ``NotReady`` when the service is about to stop."""
        self._probed = time.monotonic()
        if self.leaving:
            raise NotReady(
                "This service is about to stop: it still answers requests, but takes no new "
                "callers."
            )

    def _tell_of_swap(self) -> None:
        """Called on the thread that swapped: any worker must soon report the new version of all
        workers.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._swapped.set)

    async def _tick(self) -> None:
        """Each second, and at a swap: close slow connections, reread the keys, record the figures,
        tell the other workers.
        """
        settings = self.settings
        while True:
            now = time.perf_counter()
            for connection in list(self.connections):
                connection.sweep(
                    now, settings.serving_request_seconds, settings.serving_idle_seconds
                )
            self.keys.reload()
            for name in self.watches:
                self.traffic.add(name, flows(self.board, self.metrics, name))
            self.board.publish(facts(self.watches, self.log, self.metrics))
            # Not wait_for: in Python 3.11 it loses a cancellation that comes together with a swap,
            # and the service would never end.
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._swapped.wait()
            self._swapped.clear()
