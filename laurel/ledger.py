"""The ledger of a use case: from the service, and from the lake itself if the service is
silent."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from laurel.servers import ledger_entries, service_api

if TYPE_CHECKING:
    from blocks.settings import Settings

ENTRIES = 200


class Ledger(NamedTuple):
    """``entries``, the latest first. ``source`` is ``service`` or ``lake``; ``served`` and
    ``alias`` are versions by the service, ``None`` if it is silent."""

    entries: list[dict[str, Any]]
    source: str
    served: str | None = None
    alias: str | None = None


def read_ledger(settings: "Settings", use_case: str) -> Ledger:
    """Raises ``ServiceRefuses`` if the service needs another key, ``LakeAway`` and ``LedgerBroken``
    if the lake has to be read and cannot."""
    from blocks.clients.service import ServiceAway

    service = service_api(settings)
    path = f"/v1/{use_case}"
    try:
        described = service.ask("GET", path)
        entries = ledger_entries(service, use_case, f"limit={ENTRIES}")
        if len(entries) >= ENTRIES and not any(_moves_crown(entry) for entry in entries):
            for kind in ("crown", "rollback"):
                entries += ledger_entries(service, use_case, f"limit=1&kind={kind}")
            entries.sort(key=lambda entry: entry["sequence"], reverse=True)
    except ServiceAway as error:
        if error.status not in (0, 404, 503):
            raise
        return Ledger(_from_lake(settings, use_case), "lake")
    return Ledger(entries, "service", described["version"], described["alias"]["version"])


def _from_lake(settings: "Settings", use_case: str) -> list[dict[str, Any]]:
    from blocks.lake import Lake
    from tasks.ledger.entries import read

    return [asdict(entry) for entry in reversed(read(Lake.of(settings), use_case))]


def _moves_crown(entry: dict[str, Any]) -> bool:
    from laurel.fleet import MOVES

    return (entry["kind"], entry["verdict"]) in MOVES
