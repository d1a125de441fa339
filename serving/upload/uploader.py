"""The thread that uploads closed segments to the lake, oldest first, and repeats failed uploads.
Once a minute it brings the counts of traffic there as well."""

import logging
import threading
import time
from pathlib import Path
from typing import Protocol

from serving.errors import LakeAway
from serving.log.prediction_log import PredictionLog
from serving.log.segments import Segment, Unreadable
from serving.upload.carrier import Receipt
from serving.upload.traffic import KeptTraffic

_LONGEST_WAIT_SECONDS = 30.0
_TRAFFIC_SECONDS = 60.0

logger = logging.getLogger(__name__)


class SegmentCarrier(Protocol):
    """Uploads one segment to the lake: ``serving/upload/carrier.py``."""

    def carry(self, path: Path, patience_seconds: float | None = None) -> Receipt:
        """Gives way to all else for so long; ``None``: for as long as it takes. Raises
        ``Unreadable``, ``LakeAway``, ``OSError``.
        """

    def put(self, key: str, data: bytes, patience_seconds: float | None = None) -> None:
        """Write or replace a small object. Raises ``LakeAway``, ``OSError``."""

    def rest(self, *, now: bool = False) -> None:
        """Release resources while idle, or for good with ``now``."""


class Uploader:
    """The uploader of one log. It retries an unreachable lake after 1, 2, 4 ... 30 seconds, and
    segments wait meanwhile. A segment whose first row is older than ``late_seconds`` no longer
    gives way to other work on this machine, and at the end none does; ``None``: all always do.
    """

    def __init__(
        self,
        log: PredictionLog,
        carrier: SegmentCarrier,
        tick_seconds: float,
        traffic: KeptTraffic | None = None,
        late_seconds: float | None = None,
    ) -> None:
        self.last_error: str | None = None
        self._traffic = traffic
        self._traffic_waits = False
        self._kept_at = time.monotonic()
        self._log = log
        self._carrier = carrier
        self._tick_seconds = tick_seconds
        self._late_seconds = late_seconds
        self._stopping = threading.Event()
        self._failures = 0
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout_seconds: float) -> None:
        """Close open segments and try once to upload all; the rest waits for the next start."""
        self._stopping.set()
        self._log.wake.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._log.wake.wait(self._tick_seconds)
            self._log.wake.clear()
            # While the lake is unreachable, segments grow: few large ones wait, not many small.
            if self._failures == 0:
                self._log.close_old()
            if time.monotonic() >= self._retry_at:
                self._upload()
            if time.monotonic() - self._kept_at >= _TRAFFIC_SECONDS:
                self._keep_traffic()
            self._carrier.rest()
        self._log.close_old(everything=True)
        self._upload()
        self._keep_traffic()
        self._carrier.rest(now=True)

    def _upload(self) -> None:
        while self._log.closed:
            segment = self._log.closed[0]
            try:
                self._carry(segment)
            except (LakeAway, OSError) as error:
                self._fail(str(error))
                return
            if self._failures:
                logger.info("the lake accepts the prediction log again")
            self._failures, self._retry_at, self.last_error = 0, 0.0, None

    def _carry(self, segment: Segment) -> None:
        """Upload the segment and remove it. Raises ``LakeAway``, ``OSError``."""
        try:
            receipt = self._carrier.carry(segment.path, self._patience(segment.since))
        except Unreadable as error:
            logger.error("segment set aside: %s", error)
            self._log.set_aside(segment)
            return
        if receipt.torn:
            message = "unreadable lines are set aside segment=%s lines=%d rows=%d in_the_lake=%d"
            logger.error(message, segment.path.name, receipt.torn, receipt.unreadable, receipt.rows)
        self._log.uploaded(segment, receipt.rows, receipt.torn, receipt.unreadable)

    def _patience(self, since: float) -> float | None:
        """How long what is there ``since`` then (seconds since 1970) may give way."""
        if self._late_seconds is None:
            return None
        if self._stopping.is_set():
            return 0.0
        # A clock that was put back makes nothing wait for longer.
        return min(max(0.0, since + self._late_seconds - time.time()), self._late_seconds)

    def _keep_traffic(self) -> None:
        """What the lake does not accept goes there later; nothing is tried while it is away."""
        if self._traffic is None or self._failures:
            return
        self._kept_at = time.monotonic()
        try:
            for key, data in self._traffic.files().items():
                self._carrier.put(key, data, self._patience(time.time()))
                self._traffic.written(key)
            self._traffic_waits = False
        except (LakeAway, OSError) as error:
            if not self._traffic_waits:
                logger.warning("the counts of traffic wait in memory: %s", error)
            self._traffic_waits = True

    def _fail(self, message: str) -> None:
        if self._failures == 0:
            logger.warning("the prediction log waits on this disk: %s", message)
        self.last_error = message
        self._failures += 1
        self._retry_at = time.monotonic() + min(
            2.0 ** min(self._failures - 1, 10), _LONGEST_WAIT_SECONDS
        )
