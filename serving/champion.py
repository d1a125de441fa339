"""The champion of a use case: who it is, and how the service follows the crown.

The alias is asked for every few seconds. A new version is fetched beside the old one and proven on its smoke rows; then one
assignment swaps it, and requests in flight finish on the object they hold. Whatever fails, the old one keeps serving.
"""

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from serving.errors import PackageError, RegistryAway
from serving.metrics import Metrics
from serving.package import Package
from serving.package_cache import PackageCache
from serving.registry import Crowned, Registry
from serving.rows import RowReader
from serving.segments import header_of

_LONGEST_WAIT_SECONDS = 15.0
_LONGEST_REFUSAL_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """A version that serves. Never changed: whoever holds it can finish with it."""

    version: str
    sha256: str
    package: Package
    reader: RowReader
    log_header: bytes
    since: datetime

    @classmethod
    def crown(cls, use_case: str, version: str, sha256: str, package: Package) -> "Champion":
        """Raises ``PackageError`` where the package is another use case's, or its schema contradicts itself."""
        manifest = package.manifest
        if manifest.use_case != use_case:
            raise PackageError(f"The package is of {manifest.use_case!r}, not of {use_case!r}.")
        try:
            reader = RowReader(manifest.features, manifest.event_time, manifest.dtype)
        except (ValueError, TypeError) as error:
            raise PackageError(f"The package's schema contradicts itself: {error}.") from error
        return cls(version, sha256, package, reader, header_of(manifest, version), datetime.now(UTC))


@dataclass(frozen=True)
class Refusal:
    """A version that must not be served, and when to try it again (``time.monotonic``)."""

    crowned: Crowned
    failures: int
    retry_at: float
    message: str


class ChampionWatch:
    """Follows the alias of one use case. ``champion`` is the only thing that a request reads."""

    def __init__(self, use_case: str, registry: Registry, cache: PackageCache, poll_seconds: float, metrics: Metrics) -> None:
        self.use_case = use_case
        self.champion: Champion | None = None
        self.last_error: str | None = None
        self.alias_version: str | None = None
        self.checked: datetime | None = None
        self._registry = registry
        self._cache = cache
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._told: str | None = None
        self._away = 0
        self._refused: Refusal | None = None

    def restore(self) -> None:
        """Serve what was served before the restart, if it is still whole. Asks nobody."""
        try:
            found = self._cache.last_good()
            if found is not None:
                last, package = found
                self._swap(Champion.crown(self.use_case, last.version, last.sha256, package), "from this disk")
        except PackageError as error:
            self._fail("package", f"The last good package cannot be restored: {error}")

    def check(self) -> None:
        """Look once at the alias and follow it. Blocking: called in a thread."""
        try:
            crowned = self._registry.champion(self.use_case)
            self._away, self.checked = 0, datetime.now(UTC)
            self.alias_version = crowned.version if crowned else None
            self._follow(crowned)
        except RegistryAway as error:
            self._away += 1
            self._fail("registry", str(error))

    def wait_seconds(self) -> float:
        """Until the next look: the poll with jitter, doubled for each failure of the registry in a row."""
        longest = max(self._poll_seconds, _LONGEST_WAIT_SECONDS)
        return min(self._poll_seconds * 2 ** min(self._away, 10), longest) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await asyncio.to_thread(self.check)
                await asyncio.sleep(self.wait_seconds())
        except Exception as error:
            self.last_error = f"The watch of the alias ended ({type(error).__name__}); the champion keeps serving. Restart the service."
            logger.exception("watch ended use_case=%s", self.use_case)
            raise

    def _follow(self, crowned: Crowned | None) -> None:
        now = self.champion
        if crowned is None:
            keeps = f"version {now.version} keeps serving" if now else "there is nothing to serve yet"
            self.last_error = f"No version of {self.use_case!r} has the alias 'champion'; {keeps}."
            self._tell(self.last_error)
        elif now and (now.version, now.sha256) == (crowned.version, crowned.sha256):
            self.last_error = self._told = self._refused = None
        elif (refused := self._refused) and refused.crowned == crowned and time.monotonic() < refused.retry_at:
            self.last_error = refused.message
        else:
            self._take(crowned)

    def _take(self, crowned: Crowned) -> None:
        try:
            package = self._cache.get(crowned, self._registry)
            champion = Champion.crown(self.use_case, crowned.version, crowned.sha256 or "", package)
            self._cache.keep(champion.version, champion.sha256)
        except (PackageError, OSError) as error:
            message = f"Version {crowned.version} is refused: {error}"
            failures = self._refused.failures + 1 if self._refused and self._refused.crowned == crowned else 1
            wait_seconds = min(self._poll_seconds * 2 ** min(failures, 10), _LONGEST_REFUSAL_SECONDS)
            self._refused = Refusal(crowned, failures, time.monotonic() + wait_seconds, message)
            self._fail("package", message)
            return
        self._swap(champion, "from the registry")

    def _swap(self, champion: Champion, source: str) -> None:
        old, self.champion = self.champion, champion
        self.last_error = self._told = self._refused = None
        self._metrics.crowned(self.use_case, champion.version, champion.package.manifest.recipe, swapped=old is not None)
        logger.info(
            "champion serves use_case=%s version=%s before=%s source=%r", self.use_case, champion.version, old and old.version, source
        )

    def _fail(self, reason: str, message: str) -> None:
        self.last_error = message
        self._metrics.swap_failures.labels(self.use_case, reason).inc()
        self._tell(message)

    def _tell(self, message: str) -> None:
        """Once for each reason in a row, not at every poll."""
        if message != self._told:
            self._told = message
            logger.warning("champion unchanged use_case=%s: %s", self.use_case, message)
