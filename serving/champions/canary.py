"""A challenger that answers some callers, until its guard reverts it.

Whatever it fails is answered by the champion, so that no caller notices. A revert holds in this
process at once, and in the other workers when their watch looks at the folder that they share."""

import logging
from collections.abc import Callable, Sequence

from serving.champions.champion import Champion
from serving.rollouts.guards import RateGuard, failure_guard
from serving.rollouts.routing import Split
from serving.rollouts.terms import Terms

Headers = Sequence[tuple[bytes, bytes]]

logger = logging.getLogger(__name__)


class Canary:
    """The challenger of one use case in this process. Called on the event loop only.

    ``on_revert`` is called once, with the rollout's id and the reason. ``guard`` is kept while the
    rollout lasts, from step to step."""

    def __init__(
        self,
        challenger: Champion,
        terms: Terms,
        on_revert: Callable[[str, str], None],
        guard: RateGuard | None = None,
    ) -> None:
        self.challenger = challenger
        self.terms = terms
        self.guard = guard or failure_guard()
        self.reverted = ""
        self._split = Split(terms.id, terms.share)
        self._header = terms.header.encode()
        self._on_revert = on_revert

    def step(self, challenger: Champion, terms: Terms) -> "Canary":
        """The same rollout on other terms: it keeps what its guard has seen."""
        after = Canary(challenger, terms, self._on_revert, self.guard)
        after.reverted = self.reverted
        return after

    def takes(self, champion: Champion, headers: Headers, request_id: bytes) -> bool:
        """Whether the challenger answers this request, and not the champion."""
        if self.reverted or champion.version == self.challenger.version:
            return False
        return self._split.takes(self._key(headers) or request_id)

    def note(self, *, failed: bool) -> None:
        """Count an answered request of the challenger's side: by the champion if the challenger
        ``failed``. A request counts once: its rows fail together."""
        self.guard.add(int(failed), 1)
        if self.guard.is_breached and not self.reverted:
            self.reverted = (
                f"failed {self.guard.bad:,} of {self.guard.trials:,} requests that the champion "
                "answers"
            )
            logger.error(
                "rollout reverted use_case=%s version=%s rollout=%s: %s",
                self.challenger.package.manifest.use_case,
                self.challenger.version,
                self.terms.id,
                self.reverted,
            )
            self._on_revert(self.terms.id, self.reverted)

    def _key(self, headers: Headers) -> bytes:
        if self._header:
            for name, value in headers:
                if name == self._header:
                    return value
        return b""
