"""The use cases that a service serves: for each a watch per role, and what its routes look up."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from blocks.clients.registry import CHAMPION, ROLLOUT
from blocks.settings import Settings
from serving.champions.canary import Canary
from serving.champions.champion import Champion, ChampionWatch
from serving.champions.package_cache import PackageCache
from serving.champions.reverts import Reverts
from serving.champions.use_cases import MOST, all_of, named_by, serves_all
from serving.edge.openapi import PREDICT_PATH
from serving.errors import NotReady, RegistryAway, UnknownUseCase, UnseenUseCase
from serving.metrics.counters import Metrics, RouteStats
from serving.metrics.variants import Variants
from serving.outside.lake import NO_LAKE, open_lake
from serving.outside.registry import Registry
from serving.outside.slack import Slack
from serving.rollouts.copies import Task
from serving.rollouts.shadow import Shadow

_FIRST_LOOK_SECONDS = 5.0
_GLANCE_SECONDS = 0.01

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


class ServedUseCases:
    """The use cases of one service. Constructing it does no I/O but to list files. Raises
    ``ValueError`` for settings that name an impossible use case.

    ``on_swap`` is called on the thread that has swapped a champion. ``canaries`` are the
    challengers that some callers meet now, by use case, on the terms that the watches of
    ``challengers`` read; ``shadows`` score copies of what the champion answers, and
    ``variants`` has the figures of both."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        metrics: Metrics,
        on_swap: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._metrics = metrics
        self._slack = Slack.of(settings)
        self._lake = open_lake(settings, for_page=True)  # a poll asks again
        self._on_swap = on_swap
        self._named = named_by(settings)
        self._tasks: list[asyncio.Task[None]] = []
        self.serves_all = serves_all(settings)
        self.watches: dict[str, ChampionWatch] = {}
        self.challengers: dict[str, ChampionWatch] = {}
        self.canaries: dict[str, Canary] = {}
        self.shadows: dict[str, Shadow] = {}
        self.variants = Variants()
        self.hot_routes: dict[bytes, HotRoute] = {}
        for name in all_of(settings) if self.serves_all else self._named:
            self._add(name)

    async def start(self) -> None:
        """Load the last good packages, then ask the registry in the background.

        Returns once it is known what is rolled out, or the registry does not say: callers on a
        challenger's side must not meet the champion for the first moments of a new process."""
        for name in self.watches:
            await self._follow(name)
        end = time.monotonic() + _FIRST_LOOK_SECONDS
        while time.monotonic() < end and not all(
            watch.has_looked for watch in self.challengers.values()
        ):
            await asyncio.sleep(_GLANCE_SECONDS)
        if self.serves_all:
            self._tasks.append(asyncio.create_task(self._find()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for shadow in self.shadows.values():
            shadow.end()

    def join_shadows(self, seconds: float) -> None:
        """Wait until the shadows have ended, at most so long."""
        end = time.monotonic() + seconds
        for shadow in self.shadows.values():
            shadow.join(max(0.0, end - time.monotonic()))

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
                f"No champion for {use_case!r}. Train one: laurel run retrain {use_case}."
            )
        return champion

    @property
    def default(self) -> str | None:
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

    def find_unserved(self, models: Sequence[str]) -> list[str]:
        """New use cases that are not served yet: as many as there is room for."""
        names = [name for name in all_of(self._settings, models) if name not in self.watches]
        return names[: max(0, MOST - len(self.watches))]

    def _add(self, name: str) -> None:
        watch = self.watches[name] = self._watch_of(name, CHAMPION)
        self.challengers[name] = self._watch_of(name, ROLLOUT)
        path = PREDICT_PATH.replace("{use_case}", name).encode()
        self.hot_routes[path] = HotRoute(
            PREDICT_PATH, path.decode(), name, watch, self._metrics.routes[name, PREDICT_PATH]
        )

    def _watch_of(self, name: str, role: str) -> ChampionWatch:
        return ChampionWatch(
            name,
            self._registry,
            PackageCache(self._settings.state / "serving" / name, role),
            self._settings.serving_poll_seconds,
            self._metrics,
            self._slack,
            self._on_swap if role == CHAMPION else partial(self._renew_rollout, name),
            role=role,
            reverts=Reverts(name, self._lake) if role == ROLLOUT else None,
        )

    def _renew_rollout(self, name: str) -> None:
        """Send callers, or copies of their requests, to the challenger on the terms of its watch,
        or no longer. A reverted rollout stays reverted, and a running one keeps its guard from step
        to step."""
        watch, before = self.challengers[name], self.canaries.get(name)
        challenger = watch.champion
        self._renew_shadow(name, challenger)
        self._note_state(name, challenger)
        if challenger is None or challenger.terms is None or challenger.terms.kind == "shadow":
            self.canaries.pop(name, None)
        elif before is not None and before.terms.id == challenger.terms.id:
            self.canaries[name] = before.step(challenger, challenger.terms)
        else:
            self.canaries[name] = Canary(challenger, challenger.terms, watch.revert, self.variants)
        self._note_guards(name)
        self._on_swap()

    def _note_guards(self, name: str) -> None:
        canary = self.canaries.get(name)
        if canary is None:
            self.variants.guards.pop(name, None)
        else:
            self.variants.guards[name] = (canary.challenger.version, canary.guards.rates)

    def _note_state(self, name: str, challenger: Champion | None) -> None:
        """Show at ``/metrics`` what runs now."""
        if challenger is None:
            self.variants.states.pop(name, None)
        elif (terms := challenger.terms) is None:
            self.variants.states[name] = (challenger.version, "", "", "without terms")
        else:
            self.variants.states[name] = (challenger.version, terms.id, terms.kind, "running")

    def _renew_shadow(self, name: str, challenger: Champion | None) -> None:
        """End a shadow that is no longer wanted, and begin a new one. Without a lake nobody could
        judge its answers."""
        before, wanted = self.shadows.get(name), None
        if challenger is not None and self._settings.lake != NO_LAKE:
            wanted = self._task_of(name, challenger)
        if before is not None and before.task != wanted:
            self.shadows.pop(name).end()
        if wanted is not None and (before is None or before.task != wanted):
            stats = self.variants.shadows[name, wanted.version]
            self.shadows[name] = shadow = Shadow(wanted, stats, partial(self._tell, wanted))
            shadow.start()

    def _task_of(self, name: str, challenger: Champion) -> Task | None:
        """What the process of a shadow needs; ``None`` if the challenger is none."""
        terms = challenger.terms
        if terms is None or terms.kind != "shadow":
            return None
        folder = self.challengers[name].folder_of(challenger.version)
        return Task(terms.id, name, challenger.version, challenger.sha256, str(folder.absolute()))

    def _tell(self, task: Task, trouble: str) -> None:
        """Tell people of a shadow's trouble, once for all workers."""
        cache = PackageCache(self._settings.state / "serving" / task.use_case, "shadow")
        with suppress(OSError):
            if cache.claim_report(f"{task.rollout} {task.version}"):
                self._slack.tell(
                    f":warning: {task.use_case}: the shadow, version {task.version}, is sick\n"
                    f"It {trouble}.\nThe champion answers as before, and the shadow is started "
                    "again; what it misses is counted as dropped."
                )

    async def _follow(self, name: str) -> None:
        for watch in (self.watches[name], self.challengers[name]):
            await asyncio.to_thread(watch.restore)
            self._tasks.append(asyncio.create_task(watch.run()))

    async def _find(self) -> None:
        """Serve a use case once it has a file, or its first version is registered. It stays served
        until a restart.
        """
        models: list[str] = []
        while True:
            with suppress(RegistryAway):  # each watch logs it already
                models = await asyncio.to_thread(self._registry.models)
            for name in await asyncio.to_thread(self.find_unserved, models):
                logger.info("use case is served from now on use_case=%s", name)
                self._add(name)
                await self._follow(name)
            await asyncio.sleep(self._settings.serving_poll_seconds)
