"""Whether a ledger is intact, and whether MLflow's champion is the one that it crowned last."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from blocks.clients.heads import LATEST_RUNS
from blocks.clients.registry import CHAMPION, LEDGER_TAG
from blocks.lake import Lake, LakeAway
from blocks.registry import ModelRegistry, RegistryAway, RegistryError
from serving.records.heads import Heads, read_heads
from serving.records.ledger import Entry
from tasks.ledger.entries import Examined, examine, latest
from tasks.ledger.reign import last_crowned
from tasks.ledger.witness import SETTLE_SECONDS, LedgerBroken
from usecases.definition import known

_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Audit:
    """``faults`` name what is wrong; if the ledger is not ``checked``, they say why. Without any it
    is intact. ``notes`` are what a reader should know of an intact one."""

    use_case: str
    entries: int
    champion: str | None
    faults: tuple[str, ...]
    checked: bool = True
    notes: tuple[str, ...] = ()


def audited_use_cases(store: Lake) -> list[str]:
    """Return the known use cases, and those gone that left a ledger. Raises ``LakeAway``."""
    return sorted({*known(), *(path.split("/")[1] for path in store.list("decisions"))})


def audit_ledger(
    store: Lake, registry: ModelRegistry, use_case: str, every_head: bool = False
) -> Audit:
    """Check the ledger against its heads in MLflow, and the alias ``champion`` against the last
    crown.

    The newest head vouches for all entries before it, by their chain: older heads are compared as
    well with ``every_head``, a second for 3,000 entries. A check that cannot be made is a fault. A
    fault counts if it lasts: a flow may be writing."""

    def look() -> Audit:
        return _look(store, registry, use_case, every_head)

    try:
        audit = look()
        return audit if not audit.faults else _look_until_settled(audit, look)
    except (LakeAway, RegistryAway, RegistryError, LedgerBroken) as error:
        return Audit(use_case, 0, None, (str(error),), checked=False)


def _look_until_settled(audit: Audit, look: Callable[[], Audit]) -> Audit:
    until = time.monotonic() + SETTLE_SECONDS
    while audit.faults and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        previous, audit = audit, look()
        if audit == previous:
            return audit
    return audit


def _look(store: Lake, registry: ModelRegistry, use_case: str, every_head: bool) -> Audit:
    head = registry.model_tags(use_case).get(LEDGER_TAG)
    runs = registry.head_runs(use_case, None if every_head else LATEST_RUNS)
    deleted_runs = registry.head_runs(use_case, deleted=True)
    heads = read_heads([*runs, *deleted_runs])
    has_model = head is not None or bool(registry.versions(use_case))
    holder = registry.at(use_case, CHAMPION)
    champion = holder.number if holder else None
    examined = examine(store, use_case, head, heads)
    faults, entries = list(examined.faults), len(examined.entries)
    # Before the first version there is no model to note the head on.
    if head is None and has_model and entries:
        vouches = "nothing vouches for the last entry" if not heads.exist else _TAG_COMES_BACK
        faults.append(f"MLflow's model has no tag {LEDGER_TAG}: {vouches}")
    audit = Audit(use_case, entries, champion, tuple(faults))
    if faults:
        return audit
    return replace(
        audit,
        faults=tuple(_alias_faults(examined.entries, champion)),
        notes=tuple(_notes(examined, heads)),
    )


_TAG_COMES_BACK = (
    "it was removed, or the model is new; MLflow's run vouches for the last entry, and Laurel's "
    "next entry sets the tag again"
)


def _notes(examined: Examined, heads: Heads) -> list[str]:
    notes = []
    if heads.is_half_written(examined.end):
        notes.append("the last entry has no head yet: its writer was killed, or still writes")
    if accepted := latest(examined.entries, "ledger"):
        notes.append(
            f"accepted as it stood by {accepted.facts.get('by')} in entry {accepted.sequence}: "
            f"{accepted.facts.get('why')}"
        )
    return notes


def _alias_faults(entries: list[Entry], champion: str | None) -> list[str]:
    crowned = last_crowned(entries)
    if (crowned.version if crowned else None) == champion:
        return []
    if crowned is None:
        ledger = "no entry crowned a version"
    else:
        crown = f"version {crowned.version} last" if crowned.version else None
        ledger = f"entry {crowned.sequence} " + (
            f"crowned {crown}" if crown else "left the crown vacant"
        )
    return [
        (
            f"the alias {CHAMPION} in MLflow is "
            f"{f'at version {champion}' if champion else 'gone'}, and {ledger}: somebody "
            "moved it by hand"
        )
    ]
