"""Whether a ledger is intact, and whether MLflow's champion is the one that it crowned last."""

import re
from dataclasses import dataclass

from blocks.clients.registry import CHAMPION, LEDGER_TAG
from blocks.lake import Lake, LakeAway
from blocks.registry import ModelRegistry, RegistryAway, RegistryError
from serving.records.ledger import Entry
from tasks.ledger.entries import LedgerBroken, find_tampering, read
from tasks.ledger.reign import last_crowned
from usecases.definition import known


@dataclass(frozen=True)
class Audit:
    """``faults`` name what is wrong; if the ledger is not ``checked``, they say why. Without any it
    is intact."""

    use_case: str
    entries: int
    champion: str | None
    faults: tuple[str, ...]
    checked: bool = True


def audited_use_cases(store: Lake) -> list[str]:
    """Return the known use cases, and those gone that left a ledger. Raises ``LakeAway``."""
    return sorted({*known(), *(path.split("/")[1] for path in store.list("decisions"))})


def audit_ledger(store: Lake, registry: ModelRegistry, use_case: str) -> Audit:
    """Check the chain against its head on MLflow's model, and the alias ``champion`` against the
    last crown.

    A check that cannot be made is a fault."""
    try:
        entries = len(store.list(f"decisions/{use_case}"))
        head = registry.model_tags(use_case).get(LEDGER_TAG)
        has_model = head is not None or bool(registry.versions(use_case))
        holder = registry.at(use_case, CHAMPION)
        champion = holder.number if holder else None
        faults = _chain_faults(store, use_case, entries, head, has_model)
        if not faults:
            faults = _alias_faults(read(store, use_case), champion)
    except (LakeAway, RegistryAway, RegistryError, LedgerBroken) as error:
        return Audit(use_case, 0, None, (str(error),), checked=False)
    return Audit(use_case, entries, champion, tuple(faults))


def _chain_faults(
    store: Lake, use_case: str, entries: int, head: str | None, has_model: bool
) -> list[str]:
    if head is not None and not re.fullmatch(r"\d{1,8} [0-9a-f]{64}", head):
        return [
            f"MLflow's model says {head!r} in the tag {LEDGER_TAG}, which is no place and SHA-256",
            *find_tampering(store, use_case, None),
        ]
    faults = find_tampering(store, use_case, head)
    # Before the first version there is no model to note the head on.
    if head is None and has_model and entries:
        faults.append(f"MLflow's model has no tag {LEDGER_TAG}: nothing vouches for the last entry")
    return faults


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
