"""A challenger that answers some callers, until its guard reverts it.

Whatever it fails is answered by the champion, so that no caller notices. A revert holds in this
process at once, and in the other workers when their watch looks at the folder that they share."""

import logging
from collections.abc import Callable, Sequence

from serving.champions.champion import Champion
from serving.metrics.variants import Variants, VariantStats
from serving.rollouts.guards import Guards
from serving.rollouts.routing import RowKey, Split
from serving.rollouts.terms import Terms

Headers = Sequence[tuple[bytes, bytes]]

logger = logging.getLogger(__name__)


class Canary:
    """The challenger of one use case in this process. Called on the event loop only.

    ``on_revert`` is called once, with the rollout's id and the reason. ``guards`` are kept while
    the rollout lasts, from step to step."""

    def __init__(
        self,
        challenger: Champion,
        terms: Terms,
        on_revert: Callable[[str, str], None],
        variants: Variants,
        guards: Guards | None = None,
    ) -> None:
        self.challenger = challenger
        self.terms = terms
        self.guards = guards or Guards()
        self.reverted = ""
        self._use_case = challenger.package.manifest.use_case
        self._split = Split(terms.id, terms.share)
        self._header = terms.header.encode()
        self._row_key = RowKey(terms.field) if terms.field else None
        self._is_private = terms.field in challenger.package.manifest.log_leave_out
        self._on_revert = on_revert
        self._variants = variants

    def step(self, challenger: Champion, terms: Terms) -> "Canary":
        """The same rollout on other terms: it keeps what its guards have seen."""
        after = Canary(challenger, terms, self._on_revert, self._variants, self.guards)
        after.reverted = self.reverted
        return after

    def place_of(self, headers: Headers, request_id: bytes, body: bytes = b"") -> int:
        """The caller's place in the split. ``body`` is the request as native JSON, which is read if
        a field of the row is the key (``needs_row``)."""
        key = self._key(headers)
        if not key and self._row_key is not None:
            key = self._row_key.of(body)
        return self._split.place(key or request_id)

    def to_log(self, place: int) -> int | None:
        """A caller's place for the prediction log; ``None`` if the use case keeps the field that
        tells callers apart out of it, since a hash can be guessed."""
        return None if self._is_private else place

    def takes(self, champion: Champion, place: int) -> bool:
        """Whether the challenger answers the caller at ``place``, and not the champion."""
        if self.reverted or champion.version == self.challenger.version:
            return False
        return self._split.takes(place)

    @property
    def needs_row(self) -> bool:
        return self._row_key is not None

    def note(self, answering: Champion, *, challenged: bool) -> None:
        """Count an answered request, by the champion if the challenger, on whose side it was
        (``challenged``), failed it. A request counts once: its rows fail together."""
        self._stats_of(answering).requests += 1
        if challenged:
            failed = answering.role != self.challenger.role
            if failed:
                stats = self._stats_of(self.challenger)
                stats.failures += 1
                stats.fallbacks += 1
            self.guards.failures.add(int(failed), 1)
            self._judge()

    def note_failure(self, failing: Champion) -> None:
        """Count a request that nobody could score, ``failing`` as the last."""
        self._stats_of(failing).failures += 1

    def note_pace(self, answering: Champion, rows: int, seconds: float) -> None:
        """Note how long the scoring of a batch took."""
        self._stats_of(answering).scoring.observe(seconds)
        is_challenger = answering.role == self.challenger.role
        self.guards.pace.add(rows, seconds, challenger=is_challenger)
        if is_challenger:
            self._judge()

    def _judge(self) -> None:
        if self.reverted or not (breach := self.guards.breach):
            return
        self.reverted = breach
        self._variants.reverts[self._use_case, self.challenger.version] += 1
        logger.error(
            "rollout reverted use_case=%s version=%s rollout=%s: %s",
            *(self._use_case, self.challenger.version, self.terms.id, breach),
        )
        self._on_revert(self.terms.id, breach)

    def _stats_of(self, champion: Champion) -> VariantStats:
        return self._variants.answering[self._use_case, champion.role, champion.version]

    def _key(self, headers: Headers) -> bytes:
        if self._header:
            for name, value in headers:
                if name == self._header:
                    return value
        return b""
