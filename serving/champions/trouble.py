"""Report what keeps a use case from following the crown: shown, counted, logged once in a row, and
sent to Slack once for all workers.
"""

import logging
from contextlib import suppress

from serving.champions.package_cache import PackageCache
from serving.metrics.counters import Metrics
from serving.outside.slack import Slack

logger = logging.getLogger(__name__)


class Trouble:
    """The trouble of one use case in this worker. ``last`` is the current message, ``None`` if all
    is well.
    """

    def __init__(
        self, use_case: str, cache: PackageCache, metrics: Metrics, slack: Slack | None
    ) -> None:
        self.last: str | None = None
        self._use_case = use_case
        self._cache = cache
        self._metrics = metrics
        self._slack = slack
        self._logged: str | None = None
        self._reports: set[str] = set()

    def say(self, message: str) -> None:
        """Show a message that is not a failure of the service, such as a missing alias."""
        self.last = message
        if message != self._logged:  # not at every poll
            self._logged = message
            logger.warning("champion unchanged use_case=%s: %s", self._use_case, message)

    def fail(self, reason: str, message: str) -> None:
        """Show and count a failure; ``reason`` is "package" or "registry"."""
        self._metrics.swap_failures.labels(self._use_case, reason).inc()
        self.say(message)

    def tell(self, failure: str, headline: str, fallback: str) -> None:
        """Tell Slack what is wrong if no worker has: again only after all was well."""
        if self._slack is None or failure in self._reports:
            return
        self._reports.add(failure)
        with suppress(OSError):
            if self._cache.claim_report(failure):
                self._slack.tell(f":warning: {self._use_case}: {headline}\n{self.last}\n{fallback}")

    def end(self) -> None:
        """Clear the trouble: all is well."""
        self.last = self._logged = None
        self._reports.clear()
        self._cache.forget_reports()
