"""The use cases that a service serves: for each a watch per role, and what its routes look up."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from blocks.clients.registry import CHAMPION, ROLLOUT
from blocks.settings import Settings
from serving.champions.canary import Canary
from serving.champions.champion import Champion, ChampionWatch
from serving.champions.package_cache import PackageCache
from serving.champions.use_cases import MOST, all_of, named_by, serves_all
from serving.edge.openapi import PREDICT_PATH
from serving.errors import NotReady, RegistryAway, UnknownUseCase, UnseenUseCase
from serving.metrics.counters import Metrics, RouteStats
from serving.outside.registry import Registry
from serving.outside.slack import Slack

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
    ``challengers`` read."""

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
        self._on_swap = on_swap
        self._named = named_by(settings)
        self._tasks: list[asyncio.Task[None]] = []
        self.serves_all = serves_all(settings)
        self.watches: dict[str, ChampionWatch] = {}
        self.challengers: dict[str, ChampionWatch] = {}
        self.canaries: dict[str, Canary] = {}
        self.hot_routes: dict[bytes, HotRoute] = {}
        for name in all_of(settings) if self.serves_all else self._named:
            self._add(name)

    async def start(self) -> None:
        """Serve the last good packages at once, then ask the registry in the background."""
        for name in self.watches:
            await self._follow(name)
        if self.serves_all:
            self._tasks.append(asyncio.create_task(self._find()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
            self._on_swap if role == CHAMPION else partial(self._renew_canary, name),
            role=role,
        )

    def _renew_canary(self, name: str) -> None:
        """Send callers to the challenger on the terms of its watch, or no longer. A reverted
        rollout stays reverted, and a running one keeps its guard from step to step."""
        watch, before = self.challengers[name], self.canaries.get(name)
        challenger = watch.champion
        if challenger is None or challenger.terms is None:
            self.canaries.pop(name, None)
        elif before is not None and before.terms.id == challenger.terms.id:
            self.canaries[name] = before.step(challenger, challenger.terms)
        else:
            self.canaries[name] = Canary(challenger, challenger.terms, watch.revert)
        self._on_swap()

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
