"""Everything that lives as long as the process: watches, scorer, prediction log, keys. Routes use
it and hold no state themselves.
"""

import asyncio
import math
import os
import time
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from blocks.settings import Settings
from serving.champions.champion import Champion
from serving.edge.access_log import AccessLog
from serving.edge.requests import Budget, Headers, RequestIds
from serving.errors import InputError, NotReady, Overloaded, Refused
from serving.formats.event_window import EventWindow
from serving.formats.feedback import read_feedback
from serving.keys.admission import Admission, keys_of
from serving.keys.peers import Peers
from serving.keys.proxies import TrustedProxies
from serving.keys.scopes import scope_of
from serving.log.prediction_log import NoPredictionLog, PredictionLog
from serving.log.segments import feedback_header, line_of
from serving.metrics.counters import Metrics
from serving.metrics.traffic import Flow, Traffic, flow_of
from serving.outside.lake import NO_LAKE
from serving.outside.model_folder import ModelFolder
from serving.outside.prefect_api import PrefectApi
from serving.outside.registry import Registry
from serving.package.outputs import YES_OR_NO
from serving.scoring.predictions import Scored
from serving.scoring.scorer import LOOP_BODY_BYTES, Call, Read, Scorer, fall_back
from serving.service.served_use_cases import HotRoute, ServedUseCases
from serving.service.siblings import facts, flows
from serving.service.workers import WorkerBoard
from serving.upload.carrier import Carrier
from serving.upload.traffic import KeptTraffic
from serving.upload.uploader import Uploader

if TYPE_CHECKING:
    from starlette.types import Scope

_TICK_SECONDS = 1.0
_BODY_BUDGET = 16  # largest bodies at a time
_CARRIER_IDLE_SECONDS = 5.0
_LATE_FLUSHES = 3
_PROBED_SECONDS = 120.0
_SHUTDOWN_SECONDS = (
    8.0  # together with uvicorn's drain shorter than process managers wait before they kill
)


class HotCall(Call, Protocol):
    """A request on the hot path."""

    route: HotRoute
    began: float  # of time.perf_counter
    key: str
    request_id: bytes
    headers: Headers


class Connection(Protocol):
    """An open connection; ``cycle`` is its latest request."""

    cycle: Any

    def sweep(self, now: float, request_seconds: float, idle_seconds: float) -> None: ...


class Service:
    """The parts of one service. Constructing it does no I/O. Raises ``ValueError`` for invalid
    settings.

    ``open_path`` requires no key, so the service starts without any."""

    def __init__(self, settings: Settings, open_path: str | None = None) -> None:
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
        self._swapped = asyncio.Event()
        self.use_cases = ServedUseCases(settings, self.registry, self.metrics, self._tell_of_swap)
        self.log = (NoPredictionLog if settings.lake == NO_LAKE else PredictionLog)(
            folder / "log",
            settings.log_flush_seconds,
            settings.log_flush_rows,
            settings.log_backlog_megabytes * 1_000_000,
            settings.log_durability,
        )
        self.uploader = Uploader(
            self.log,
            Carrier(_CARRIER_IDLE_SECONDS),
            tick_seconds=min(1.0, settings.log_flush_seconds / 4),
            traffic=None if settings.lake == NO_LAKE else KeptTraffic(self._flows),
            late_seconds=_LATE_FLUSHES * settings.log_flush_seconds,
        )
        self.scorer = Scorer(
            self.log,
            self.metrics,
            os.cpu_count() or 1,
            settings.serving_queue_requests,
            settings.serving_max_rows,
            shadows=self.use_cases.shadows,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticking: asyncio.Task[None] | None = None

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
        await self.use_cases.start()
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Stop after the last answer: the logged rows are uploaded if the lake accepts them."""
        await self.use_cases.stop()
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait([self._ticking])
        self.scorer.stop()
        end = time.monotonic() + _SHUTDOWN_SECONDS
        await asyncio.to_thread(self.uploader.stop, _SHUTDOWN_SECONDS)
        await asyncio.to_thread(self.use_cases.join_shadows, end - time.monotonic())
        self.log.stop()
        self.access_log.stop()
        self.board.publish(facts(self.use_cases.watches, self.log, self.metrics))
        self.board.leave()
        self.registry.close()
        self.prefect.close()
        if self.peers is not None:
            self.peers.close()

    def check_loop(self, use_case: str) -> None:
        """Raises ``UnknownUseCase``, and ``Refused`` if the model came as files: no run of Prefect
        can change it then.
        """
        self.use_cases.watch(use_case)
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
        use_case = call.route.use_case
        champion = call.champion = self.use_cases.champion(use_case)
        canary = call.canary = self.use_cases.canaries.get(use_case)
        if canary is None:
            self.scorer.submit(call)
            return
        place = canary.place_of(call.headers, call.request_id, call.body)
        call.place = canary.to_log(place)
        if not canary.takes(champion, place):
            self.scorer.submit(call)
            return
        call.challenged, call.champion, call.stand_in = True, canary.challenger, champion
        try:
            self.scorer.submit(call)
        except InputError:  # of another schema, perhaps
            fall_back(call)
            self.scorer.submit(call)

    async def score(
        self, use_case: str, caller: "Scope", body: bytes, kind: str, read: Read, *, logged: bool
    ) -> Scored:
        """Score and log the rows that ``read`` makes from ``body``, whose media type is ``kind``.

        Raises ``UnknownUseCase``, ``NotReady``, ``InputError``, ``PackageError``, ``Overloaded``.
        """
        champion = self.use_cases.champion(use_case)
        canary = self.use_cases.canaries.get(use_case)
        score = partial(self.scorer.score, body=body, kind=kind, read=read, logged=logged)
        if canary is None or "version" in caller["path_params"]:  # the caller has chosen
            return await score(champion)
        json = _native_json(champion, body, read) if canary.needs_row else b""
        place = canary.place_of(caller["headers"], caller["laurel.request_id"], json)
        score = partial(score, place=canary.to_log(place))
        challenged = canary.takes(champion, place)
        if challenged:
            try:
                scored = await score(canary.challenger)
            except Overloaded:
                raise
            except Exception:  # noqa: BLE001 - the champion answers, or raises its own
                scored = await score(champion)
        else:
            scored = await score(champion)
        canary.note(scored.champion, challenged=challenged)
        return scored

    async def keep_feedback(self, use_case: str, body: bytes) -> int:
        """Store labels, and return how many. Raises ``InputError``, or ``NotReady``: lost feedback
        must not be acknowledged.
        """

        def keep() -> int | None:
            champion = self.use_cases.watches[use_case].champion
            label = champion.form.label if champion else YES_OR_NO
            try:
                labels = read_feedback(body, label)
            except InputError as error:
                if champion is None and error.field == "label":
                    raise NotReady(
                        f"There is no champion of {use_case!r} yet, so that nobody knows what its "
                        "labels are. Try again later."
                    ) from error
                raise
            rows = len(labels)
            (champion.events if champion else EventWindow()).check_feedback(
                [label.event_time for label in labels]
            )
            is_logged = self.log.append(
                feedback_header(use_case, label.kind), use_case, line_of(body, b"", rows), rows
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
        self.metrics.routes[use_case if use_case in self.use_cases.watches else "", route].count(
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

    def is_ready(self, use_case: str | None = None) -> bool:
        """Whether to send requests here. No when the service is about to stop, so that load
        balancers send elsewhere.
        """
        self._probed = time.monotonic()
        if self.leaving:
            return False
        return (
            self.use_cases.watches[use_case].champion is not None
            if use_case
            else not self.use_cases.not_ready()
        )

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

    def _flows(self) -> dict[str, Flow]:
        return {name: flow_of(self.metrics, name) for name in list(self.use_cases.watches)}

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
            for name in self.use_cases.watches:
                self.traffic.add(name, flows(self.board, self.metrics, name))
            self.board.publish(facts(self.use_cases.watches, self.log, self.metrics))
            # Not wait_for: in Python 3.11 it loses a cancellation that comes together with a swap,
            # and the service would never end.
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._swapped.wait()
            self._swapped.clear()


def _native_json(champion: Champion, body: bytes, read: Read) -> bytes:
    """The request as native JSON, to find its routing key; empty for a large one, which is then
    routed on its own, and for one that will be refused."""
    if len(body) > LOOP_BODY_BYTES or champion.package.takes_files:
        return b""
    try:
        return next(iter(read(champion, None))).json
    except InputError:
        return b""
