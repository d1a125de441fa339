"""One rule finds the faults of the chain, for every reader."""

from collections.abc import Callable
from pathlib import Path

import pytest

from blocks.lake import Lake
from serving.history.checks import History
from serving.outside.lake import FolderLake
from serving.records.chain import FIRST, digest, find_fault, path_of, place_of
from serving.records.ledger import Entry
from serving.records.record import encode
from tasks.ledger.entries import find_tampering
from tests.fixtures.lake_records import write_decision


def entry(sequence: int, previous: str = FIRST) -> Entry:
    return Entry(
        use_case="toy",
        time="2026-11-21",
        kind="drift",
        verdict="stable",
        reasons=[],
        by="a test",
        run=None,
        sequence=sequence,
        previous=previous,
    )


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("decisions/toy/00000017.json", 17),
        (path_of("toy", 1), 1),
        ("00000003.json", 3),
        ("decisions/toy/17.json", 0),
        ("decisions/toy/00000017.html", 0),
        ("decisions/toy/00000017.json.json", 0),
        ("decisions/toy/2026-11-21.json", 0),
        ("decisions/toy/٠٠٠٠٠٠٠١.json", 0),
    ],
)
def test_a_place_is_eight_digits(path: str, place: int) -> None:
    assert place_of(path) == place


def test_an_entry_in_its_place_has_no_fault() -> None:
    first = entry(1)
    digests = {1: digest(encode(first))}
    assert find_fault(path_of("toy", 1), first, digests) == ""
    assert find_fault(path_of("toy", 2), entry(2, digests[1]), digests) == ""


def test_the_first_that_is_read_is_held_against_nothing() -> None:
    path, seventh = path_of("toy", 7), entry(7, "1" * 64)
    assert find_fault(path, seventh, {7: "2" * 64}, first_place=7) == ""
    assert find_fault(path, seventh, {7: "2" * 64}) == "decisions/toy/00000006.json is missing"


def test_one_whose_bytes_could_not_be_had_gives_nothing_away() -> None:
    assert find_fault(path_of("toy", 2), entry(2, "1" * 64), {1: None, 2: "2" * 64}) == ""


def edit(folder: Path) -> None:
    path = folder / "00000002.json"
    path.write_text(path.read_text().replace("keep for the test", "nothing happened"))


def remove(folder: Path) -> None:
    (folder / "00000002.json").unlink()


def move(folder: Path) -> None:
    (folder / "00000005.json").write_bytes((folder / "00000004.json").read_bytes())


def forge_first(folder: Path) -> None:
    path = folder / "00000001.json"
    path.write_text(path.read_text().replace(FIRST, "1" * 64))


def slip_in(folder: Path) -> None:
    (folder / "2026-11-21.json").write_text("{}")


@pytest.mark.parametrize("harm", [edit, remove, move, forge_first, slip_in])
def test_the_audit_and_the_service_find_the_same(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    for number in range(4):
        write_decision(tmp_path, f"2026-11-21T05:00:0{number}+00:00", "keep")
    harm(tmp_path / "decisions" / "toy")
    faults = find_tampering(Lake(url=f"file://{tmp_path}"), "toy", None)
    entries = History(FolderLake(tmp_path), listing_seconds=0).entries("toy", 50)
    told = {entry.fault for _, entry in entries if entry.tampered}
    assert faults and {f"{fault}." for fault in faults} == told
