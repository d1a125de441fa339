"""The ledger is a chain: each entry has a place and holds the SHA-256 of the one before it.

    decisions/<use case>/00000017.json

Every reader of a part of it finds the faults of its entries here."""

import hashlib
from collections.abc import Mapping

from serving.records.ledger import Entry

FIRST = "0" * 64
_DIGITS = 8


def path_of(use_case: str, sequence: int) -> str:
    return f"decisions/{use_case}/{_name(sequence)}"


def place_of(path: str) -> int:
    """The place of an entry; 0 for an object that is not an entry."""
    name, _, kind = path.rpartition("/")[2].partition(".")
    is_place = len(name) == _DIGITS and name.isascii() and name.isdecimal()
    return int(name) if kind == "json" and is_place else 0


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def find_fault(
    path: str, entry: Entry | None, digests: Mapping[int, str | None], first_place: int = 1
) -> str:
    """The fault of the object at ``path``, or of the one before it, as a sentence without its full
    stop; empty if the chain holds.

    ``entry`` is its content, ``None`` if it is unreadable: the next entry, which has its digest,
    then shows whether it was changed. ``digests`` are the SHA-256 by place of all objects read from
    ``first_place`` on, ``None`` for an object without one."""
    place, folder = place_of(path), path.rpartition("/")[0]
    if not place:
        return f"{path} is not an entry of the ledger"
    if entry is None:
        return ""
    if entry.sequence != place:
        return f"{path} claims to be entry {entry.sequence}"
    if place == 1:
        return (
            "" if entry.previous == FIRST else f"{path} is the first entry but names one before it"
        )
    if place == first_place and place - 1 not in digests:
        return ""
    before = f"{folder}/{_name(place - 1)}"
    if place - 1 not in digests:
        return f"{before} is missing"
    if digests[place - 1] not in (entry.previous, None):
        return f"{before} was changed: the entry after it has another SHA-256"
    return ""


def _name(place: int) -> str:
    return f"{place:0{_DIGITS}d}.json"
