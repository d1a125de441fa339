"""The ledger of a use case: from the service, and from the lake itself if the service is
silent."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from laurel.servers import service_api

if TYPE_CHECKING:
    from blocks.clients.service import ServiceApi
    from blocks.settings import Settings

DECISIONS = 50
MOVES = {("crown", "crowned"), ("crown", "adopted"), ("crown", "vacated"), ("rollback", "rollback")}


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
        entries = read_entries(service, use_case, DECISIONS)
        if not any(_moves_crown(entry) for entry in entries):
            for kind in ("crown", "rollback"):
                entries += read_entries(service, use_case, DECISIONS, kind)
            entries.sort(key=_place, reverse=True)
    except ServiceAway as error:
        if error.status not in (0, 404, 503):
            raise
        return Ledger(_from_lake(settings, use_case), "lake")
    return Ledger(entries, "service", described["version"], described["alias"]["version"])


def read_entries(
    service: "ServiceApi", use_case: str, decisions: int, kind: str | None = None
) -> list[dict[str, Any]]:
    """The entries of the last ``decisions`` (those of which one entry is of ``kind``), the latest
    entry first. Raises ``ServiceAway``."""
    of_kind = f"&kind={kind}" if kind else ""
    items = service.ask("GET", f"/v1/{use_case}/decisions?limit={decisions}{of_kind}")["items"]
    return sorted((part for item in items for part in item["parts"]), key=_place, reverse=True)


def _place(entry: Mapping[str, Any]) -> int:
    return int(entry.get("sequence") or 0)


def _from_lake(settings: "Settings", use_case: str) -> list[dict[str, Any]]:
    from blocks.lake import Lake
    from tasks.ledger.entries import read

    return [asdict(entry) for entry in reversed(read(Lake.of(settings), use_case))]


def last_move(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The entry by which the crown last moved; ``entries`` have the latest first."""
    return next((entry for entry in entries if _moves_crown(entry)), None)


def _moves_crown(entry: Mapping[str, Any]) -> bool:
    return (entry["kind"], entry["verdict"]) in MOVES
