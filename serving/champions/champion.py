"""The champion of a use case, and how the service follows the crown.

The service looks up the alias every few seconds, and at once when MLflow's webhook calls. It
fetches a new version beside the old one and proves it on its smoke rows; then one assignment swaps
them, and requests in flight finish on the old object. After any failure the old version keeps
serving."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from blocks.clients.registry import CHAMPION, ROLLOUT
from serving.champions.package_cache import PackageCache
from serving.champions.reverts import Reverts
from serving.champions.trouble import Trouble
from serving.errors import PackageError, RegistryAway
from serving.formats.event_window import EventWindow
from serving.formats.outputs import AnswerForm
from serving.formats.rows import RowReader
from serving.log.policy import LogRequest, log_request_of
from serving.log.segments import header_of
from serving.metrics.counters import Metrics
from serving.outside.registry import Crowned, Registry
from serving.outside.slack import Slack
from serving.package.model import Package
from serving.rollouts.terms import Terms, terms_of

_LONGEST_WAIT_SECONDS = 15.0
_LONGEST_REFUSAL_SECONDS = 60.0
_GLANCE_SECONDS = 0.05
_RARELY = 5  # times the poll

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """A loaded version in its role: the champion serves. It never changes, so a request can finish
    with it.
    """

    version: str
    role: str
    sha256: str
    package: Package
    reader: RowReader
    form: AnswerForm
    log_header: bytes
    column_header: bytes
    log_request: LogRequest
    events: EventWindow
    since: datetime
    # the registration time, from the registry; a package has no time
    created: str | None = None
    # of the challenger that has the alias ``rollout``; a restored one waits for the registry's
    terms: Terms | None = None

    @classmethod
    def crown(
        cls, use_case: str, version: str, sha256: str, package: Package, role: str = CHAMPION
    ) -> "Champion":
        """Prepare a version to serve. Raises ``PackageError`` if the package is for another use
        case, or its schema contradicts itself.
        """
        manifest = package.manifest
        if manifest.use_case != use_case:
            raise PackageError(f"The package is for {manifest.use_case!r}, not for {use_case!r}.")
        try:
            reader = RowReader(manifest.features, manifest.event_time, manifest.dtype)
        except (ValueError, TypeError) as error:
            raise PackageError(f"The package's schema contradicts itself: {error}.") from error
        header = header_of(manifest, version, role)
        column_header = header_of(manifest, version, role, by_column=True)
        events = EventWindow(
            manifest.event_time, manifest.event_past_days, manifest.event_future_days
        )
        return cls(
            version,
            role,
            sha256,
            package,
            reader,
            AnswerForm(manifest.outputs),
            header,
            column_header,
            log_request_of(manifest),
            events,
            datetime.now(UTC),
        )


@dataclass(frozen=True)
class Refusal:
    """A version that must not be served, and when to try it again (``time.monotonic``)."""

    crowned: Crowned
    failures: int
    retry_at: float
    message: str


class ChampionWatch:
    """Follows the alias ``role`` of one use case. ``champion`` is the version that has it, and in
    the role ``champion`` the only attribute that a request reads.

    ``on_swap`` is called after each change, on the thread that made it. ``slack`` reports, once for
    all workers, a refused version, and a registry that was unreachable for ``away_seconds``.
    ``reverts`` are the rollouts that other replicas have ended."""

    def __init__(
        self,
        use_case: str,
        registry: Registry,
        cache: PackageCache,
        poll_seconds: float,
        metrics: Metrics,
        slack: Slack | None = None,
        on_swap: Callable[[], None] = lambda: None,
        away_seconds: float = 60.0,
        role: str = CHAMPION,
        reverts: Reverts | None = None,
    ) -> None:
        self.use_case = use_case
        self.role = role
        self._reverts = reverts
        self.champion: Champion | None = None
        self.alias_version: str | None = None
        self.checked: datetime | None = None
        self.has_looked = False  # once, whatever came of it
        self._registry = registry
        self._cache = cache
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._trouble = Trouble(use_case, cache, metrics, slack)
        self._on_swap = on_swap
        self._away_seconds = away_seconds
        self._turn = threading.Lock()
        self._failed_looks = 0
        self._outage_began = 0.0
        self._refusal: Refusal | None = None

    @property
    def last_error(self) -> str | None:
        """Why the alias is not followed now; ``None`` if it is."""
        return self._trouble.last

    def restore(self) -> None:
        """Serve the version from before the restart, if it is still whole. Makes no request."""
        try:
            cached = self._cache.last_good()
            if cached is not None:
                last, package = cached
                self._swap(self._load(last.version, last.sha256, package), "from this disk")
        except PackageError as error:
            self._trouble.fail("package", f"The last good package cannot be restored: {error}")

    def poke(self) -> None:
        """Let every worker look at the alias now. If the disk refuses, the poll is enough."""
        with suppress(OSError):
            self._cache.request_look()

    def revert(self, rollout: str, reason: str) -> None:
        """End a rollout in every worker of this disk, now and after a restart, and tell people.
        If the disk refuses, it ends in this process."""
        is_first = True
        with suppress(OSError):
            is_first = self._cache.revert(rollout, reason)
        self.poke()
        version = self.champion.version if self.champion else "?"
        self._trouble.last = f"Version {version} {reason}."
        if is_first:
            self._trouble.tell(
                f"rollout {rollout}", f"version {version} was reverted", "The champion answers all."
            )

    def why_reverted(self, rollout: str) -> str | None:
        """Why a guard has ended the rollout, as this disk knows; ``None`` if none has. Reads the
        disk."""
        return self._cache.why_reverted(rollout)

    def folder_of(self, version: str) -> Path:
        """The folder of a version's package on this disk."""
        return self._cache.path_of(version)

    def check(self) -> None:
        """Look at the alias and follow it. Blocking: called in a thread; a second call waits for
        the first.
        """
        with self._turn:
            now = self.champion
            if now is not None and now.terms and self._has_ended(now.version, now.terms.id):
                self._vacate()  # before the registry is asked, which may be slow
            try:
                crowned = self._look()
                # The alias may move while a package is fetched: only a version that the registry
                # still names may serve.
                while crowned is not None and (champion := self._prepare(crowned)) is not None:
                    newest = self._look_again(crowned)
                    if newest == crowned:
                        self._crown(champion, crowned)
                        break
                    crowned = newest
                if crowned is None and self.role == CHAMPION:
                    self._trouble.say(
                        f"No version of {self.use_case!r} has the alias 'champion'. "
                        f"{self._fallback}"
                    )
                elif crowned is None:
                    self._vacate()
            except RegistryAway as error:
                self._note_outage(error)
            finally:
                self.has_looked = True

    def wait_seconds(self) -> float:
        """Seconds until the next look: the poll with jitter, doubled for each failure of the
        registry in a row. It is rarer while nothing is rolled out: nobody waits for that, and a
        webhook tells sooner.
        """
        is_idle = self.role == ROLLOUT and self.champion is None and self.alias_version is None
        poll = self._poll_seconds * (_RARELY if is_idle else 1)
        longest = max(poll, _LONGEST_WAIT_SECONDS)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311
        return min(poll * 2 ** min(self._failed_looks, 10), longest) * jitter

    async def run(self) -> None:
        """Look until cancelled: at each poll, and at once when any worker is poked."""
        try:
            while True:
                last_request = self._cache.look_requested_at()
                await asyncio.to_thread(self.check)
                end = time.monotonic() + self.wait_seconds()
                while (
                    seconds_left := end - time.monotonic()
                ) > 0 and self._cache.look_requested_at() == last_request:
                    await asyncio.sleep(min(seconds_left, _GLANCE_SECONDS))
        except Exception as error:
            self._trouble.last = (
                f"The service stopped following the alias ({type(error).__name__}). Restart it."
            )
            logger.exception("watch ended use_case=%s", self.use_case)
            raise

    def _look(self) -> Crowned | None:
        crowned = self._registry.at(self.use_case, self.role)
        self._failed_looks, self.checked = 0, datetime.now(UTC)
        if crowned is not None and self._is_reverted(crowned):
            crowned = None
        self.alias_version = crowned.version if crowned else None
        return crowned

    def _look_again(self, crowned: Crowned) -> Crowned | None:
        """The registry's version now; the previous one if the registry is unreachable."""
        try:
            return self._look()
        except RegistryAway:
            return crowned

    def _prepare(self, crowned: Crowned) -> Champion | None:
        """The proven champion of ``crowned``; ``None`` if there is nothing to swap."""
        now = self.champion
        if now and (now.version, now.sha256) == (crowned.version, crowned.sha256):
            self._note_news(now, crowned)
        elif (
            (refusal := self._refusal)
            and refusal.crowned == crowned
            and time.monotonic() < refusal.retry_at
        ):
            self._trouble.say(refusal.message)
        else:
            try:
                package = self._cache.get(crowned, self._registry)
                champion = self._load(crowned.version, crowned.sha256 or "", package)
                return replace(champion, created=crowned.created, terms=self._terms(crowned))
            except (PackageError, OSError) as error:
                self._refuse(crowned, error)
        return None

    def _note_news(self, now: Champion, crowned: Crowned) -> None:
        """Take what the registry says anew of the version that is loaded: its time, if it was
        restored from this disk, and another step of its rollout."""
        try:
            terms = self._terms(crowned)
        except PackageError as error:
            # The last step must not go on: nobody could say how long, or end it.
            if now.terms is not None:
                self.champion = replace(now, terms=None)
                self._on_swap()
            self._refuse(crowned, error)
            return
        if (now.created, now.terms) != (crowned.created, terms):
            self.champion = replace(now, created=crowned.created, terms=terms)
            if terms != now.terms:
                self._on_swap()
        self._clear_trouble()

    def _is_reverted(self, crowned: Crowned) -> bool:
        try:
            terms = self._terms(crowned)
        except PackageError:
            return False
        running = self.champion and self.champion.terms
        if terms is None or (running and running.id == terms.id):  # ``check`` has looked
            return False
        return self._has_ended(crowned.version, terms.id)

    def _has_ended(self, version: str, rollout: str) -> bool:
        """Whether a guard has ended the rollout here or, as the lake says, on another replica.
        What one knows, the other learns."""
        reason = self._cache.why_reverted(rollout)
        if self._reverts is None:
            return reason is not None
        if reason is not None:
            self._reverts.keep(rollout, version, reason)
        elif (reason := self._reverts.find(rollout)) is not None:
            with suppress(OSError):
                self._cache.revert(rollout, reason)
            logger.warning(
                "rollout was reverted elsewhere use_case=%s version=%s rollout=%s: %s",
                *(self.use_case, version, rollout, reason),
            )
        return reason is not None

    def _terms(self, crowned: Crowned) -> Terms | None:
        """Raises ``PackageError`` for terms that cannot be read."""
        return terms_of(crowned.version, crowned.terms) if self.role == ROLLOUT else None

    def _load(self, version: str, sha256: str, package: Package) -> Champion:
        return Champion.crown(self.use_case, version, sha256, package, self.role)

    def _vacate(self) -> None:
        """Drop the version of an alias that is gone. A champion stays, since one must answer."""
        was_there = self.champion is not None
        self.champion = None
        self._cache.forget()
        self._clear_trouble()
        if was_there:
            logger.info("no version serves use_case=%s role=%s", self.use_case, self.role)
            self._on_swap()

    def _crown(self, champion: Champion, crowned: Crowned) -> None:
        try:
            self._cache.keep(champion.version, champion.sha256)
        except OSError as error:
            self._refuse(crowned, error)
            return
        self._swap(champion, "from the registry")
        self._clear_trouble()

    def _swap(self, champion: Champion, source: str) -> None:
        old, self.champion = self.champion, champion
        if self.role == CHAMPION:
            self._metrics.crowned(
                self.use_case,
                champion.version,
                champion.package.manifest.recipe,
                swapped=old is not None,
            )
        logger.info(
            "%s serves use_case=%s version=%s before=%s source=%r",
            self.role,
            self.use_case,
            champion.version,
            old and old.version,
            source,
        )
        self._on_swap()

    def _clear_trouble(self) -> None:
        self._refusal = None
        self._trouble.end()

    def _refuse(self, crowned: Crowned, error: Exception) -> None:
        message = f"Version {crowned.version} is refused: {error}"
        failures = (
            self._refusal.failures + 1 if self._refusal and self._refusal.crowned == crowned else 1
        )
        wait_seconds = min(self._poll_seconds * 2 ** min(failures, 10), _LONGEST_REFUSAL_SECONDS)
        self._refusal = Refusal(crowned, failures, time.monotonic() + wait_seconds, message)
        self._trouble.fail("package", message)
        self._trouble.tell(
            f"version {crowned.version} {crowned.sha256}",
            f"version {crowned.version} cannot be served",
            self._fallback,
        )

    def _note_outage(self, error: RegistryAway) -> None:
        self._failed_looks += 1
        if self._failed_looks == 1:
            self._outage_began = time.monotonic()
        self._trouble.fail("registry", str(error))
        if time.monotonic() - self._outage_began >= self._away_seconds:
            self._trouble.tell(
                "registry",
                "the registry is unreachable, so a new champion would not be noticed",
                self._fallback,
            )

    @property
    def _fallback(self) -> str:
        now = self.champion
        if self.role == ROLLOUT:
            is_on = now is not None and now.terms is not None
            return "The rollout goes on as it is." if is_on else "The champion answers all."
        return f"Version {now.version} keeps serving." if now else "There is nothing to serve yet."
