"""The way out of a ledger that was tampered with: a person accepts it as it stands, and the ledger
says who did, why, and what was wrong."""

from collections.abc import Mapping

from blocks.clients.heads import LATEST_RUNS
from blocks.clients.registry import LEDGER_TAG
from blocks.lake import Lake
from blocks.registry import ModelRegistry
from serving.records.chain import digest, place_of
from serving.records.heads import read_heads
from serving.records.ledger import Decision, Entry
from serving.records.reasons import because
from tasks.ledger.audits import audit_ledger
from tasks.ledger.entries import (
    STORED_SHA256,
    Stamp,
    digest_of_all,
    find_tampering,
    write_entry,
)
from tasks.ledger.witness import Witness, find_end

_MOST_REASONS = 20


def accept(
    store: Lake, models: ModelRegistry, use_case: str, by: str, why: str, stamp: Stamp
) -> Entry | None:
    """Record that the ledger is accepted as it stands; ``None`` if there is nothing to accept.

    The entry holds the faults, and the SHA-256 of all that is there: what is changed later is a
    fault again. From it on, new runs in MLflow have the heads. Raises ``LedgerBroken`` if the last
    entry cannot be read."""
    while audit_ledger(store, models, use_case).faults:
        faults = _faults(store, models, use_case)
        if not faults:
            return None
        entry = _accept(store, models, use_case, faults, by, why, stamp)
        if entry is not None:
            return entry
    return None


def _faults(store: Lake, models: ModelRegistry, use_case: str) -> list[str]:
    """Return the faults of entries and heads. A foreign object is removed, and not accepted."""
    heads = read_heads(
        [*models.head_runs(use_case, LATEST_RUNS), *models.head_runs(use_case, deleted=True)]
    )
    tag = models.model_tags(use_case).get(LEDGER_TAG)
    faults = find_tampering(store, use_case, tag, heads)
    foreign = {path for path in store.list(f"decisions/{use_case}") if not place_of(path)}
    return [fault for fault in faults if fault.partition(" ")[0] not in foreign]


def _accept(
    store: Lake,
    models: ModelRegistry,
    use_case: str,
    faults: list[str],
    by: str,
    why: str,
    stamp: Stamp,
) -> Entry | None:
    """Return the entry; ``None`` if another writer took its place."""
    end, digests = find_end(store, use_case), _digests(store, use_case)
    more = len(faults) - _MOST_REASONS
    decision = Decision(
        use_case=use_case,
        kind="ledger",
        verdict="accepted",
        reasons=[
            because("ledger_accepted", by=by, why=why),
            *faults[:_MOST_REASONS],
            *([because("and_more", number=more)] if more > 0 else []),
        ],
        facts={"by": by, "why": why, STORED_SHA256: digest_of_all(digests, end.place + 1)},
        **stamp,
    )
    runs = [*models.head_runs(use_case, LATEST_RUNS), *models.head_runs(use_case, deleted=True)]
    generation = max([0, *(run.generation for run in runs)]) + 1
    run = models.open_head_run(use_case, generation, "")
    return write_entry(Witness(store, models, use_case), end, decision, run)


def _digests(store: Lake, use_case: str) -> Mapping[int, str]:
    return {
        place_of(path): digest(store.read(path))
        for path in store.list(f"decisions/{use_case}")
        if place_of(path)
    }
