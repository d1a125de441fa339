"""Rollouts that a replica has ended, in the lake, where every other replica looks with its poll.

rollouts/<use case>/<rollout>/reverted.json    version, reason, time; written once, never changed
"""

import logging
from datetime import UTC, datetime

import msgspec

from serving.errors import LakeAway
from serving.outside.lake import Lake
from serving.records.rollout import revert_key

logger = logging.getLogger(__name__)


class Revert(msgspec.Struct, frozen=True):
    """Who ended a rollout, and why; ``time`` is UTC."""

    version: str
    reason: str
    time: datetime


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_REVERT = msgspec.json.Decoder(Revert)


class Reverts:
    """Of one use case. A lake that is away delays what replicas tell each other, and no more."""

    def __init__(self, use_case: str, lake: Lake) -> None:
        self._use_case = use_case
        self._lake = lake
        self._kept: set[str] = set()

    def find(self, rollout: str) -> str | None:
        """Why a replica has ended the rollout; ``None`` if none has, as far as the lake says."""
        key = revert_key(self._use_case, rollout)
        try:
            # To read what is not there asks S3 for the whole bucket, which the service may not.
            if not self._lake.list(key.rpartition("/")[0]):
                return None
            return _REVERT.decode(self._lake.get(key)).reason
        except (FileNotFoundError, LakeAway):
            return None
        except msgspec.DecodeError:
            return "was ended by another replica"  # whatever it wrote: that it wrote says it

    def keep(self, rollout: str, version: str, reason: str) -> None:
        """Tell the other replicas, if none has; may be called again until the lake has it."""
        if rollout in self._kept:
            return
        revert = Revert(version, reason, datetime.now(UTC))
        try:
            if self.find(rollout) is None:
                self._lake.put(revert_key(self._use_case, rollout), msgspec.json.encode(revert))
            self._kept.add(rollout)
        except LakeAway as error:
            logger.warning("other replicas are not told of a revert yet: %s", error)
