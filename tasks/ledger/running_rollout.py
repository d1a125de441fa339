"""Which rollout is running, by the ledger: MLflow's alias ``rollout`` and its tag only show it."""

from collections.abc import Sequence
from dataclasses import dataclass

from blocks.clients.registry import ROLLOUT
from blocks.lake import Lake
from blocks.registry import ModelRegistry
from serving.records.ledger import Decision, Entry
from serving.records.rollout import RUNNING, WON, Rollout
from tasks.ledger.entries import read, read_back

_RECENT_ENTRIES = 200


@dataclass(frozen=True)
class Standing:
    """``entry`` is the rollout's latest; ``place`` the last one of the ledger when it was read."""

    entry: Entry
    place: int

    @property
    def rollout(self) -> Rollout:
        assert self.entry.rollout is not None
        return self.entry.rollout

    @property
    def version(self) -> str:
        return str(self.entry.version)

    @property
    def has_won(self) -> bool:
        """Whether only the crown is missing."""
        return self.entry.verdict == WON


def running(entries: Sequence[Decision]) -> Decision | None:
    """The latest entry of the rollout that has not ended; ``None`` if none runs. One that has won
    runs until the crown moved, or failed to."""
    for entry in reversed(entries):
        if entry.kind == "rollout":
            return entry if entry.verdict in (*RUNNING, WON) and entry.rollout else None
        if (entry.kind, entry.verdict) in (("crown", "crowned"), ("rollback", "rollback")):
            before = next((each for each in reversed(entries) if each.kind == "rollout"), None)
            if before is not None and before.verdict == WON:
                return None
    return None


def find_running(store: Lake, models: ModelRegistry, use_case: str) -> Standing | None:
    """The rollout that has not ended. Where the alias says that there is one, the ledger is read as
    far back as its latest entry. Raises ``LedgerBroken``, ``LakeAway``, ``RegistryAway``."""
    if models.at(use_case, ROLLOUT) is None:
        entries = read(store, use_case, _RECENT_ENTRIES)
    else:
        entries = read_back(
            store, use_case, lambda read_so_far: any(e.kind == "rollout" for e in read_so_far)
        )
    entry = running(entries)
    return Standing(entry, entries[-1].sequence) if isinstance(entry, Entry) else None
