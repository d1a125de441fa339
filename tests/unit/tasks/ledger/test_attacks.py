"""Attacks on the ledger, with rights on the lake alone, on MLflow alone, and on both: what the
audit says at once, what Laurel's next entry meets, and what the audit says after it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from blocks.lake import Lake
from blocks.registry import RegistryAway
from serving.records.chain import digest, path_of
from serving.records.heads import announcement_key, head_key, head_of
from serving.records.ledger import Decision, Entry
from tasks.ledger import accepting, witness
from tasks.ledger.audits import Audit, audit_ledger
from tasks.ledger.entries import LedgerBroken, add_entry, find_tampering, read
from tasks.ledger.witness import LedgerTampered
from tests.fakes.heads import HeadRegistry
from tests.fixtures.ledgers import append_in_lake

TAG = "laurel.ledger"


@dataclass
class Place:
    """A ledger of six entries that Laurel wrote."""

    lake: Lake
    mlflow: HeadRegistry

    @property
    def last(self) -> int:
        return len(self.lake.list("decisions/toy"))

    def file(self, sequence: int) -> Path:
        return Path(self.lake.url.removeprefix("file://")) / path_of("toy", sequence)

    def head(self, sequence: int) -> str:
        return head_of(sequence, digest(self.lake.read(path_of("toy", sequence))))

    def write(self, number: int, **changes: object) -> Entry:
        return add_entry(self.lake, self.mlflow, decision(number, **changes))  # type: ignore[arg-type]

    def audit(self, every_head: bool = False) -> Audit:
        return audit_ledger(self.lake, self.mlflow, "toy", every_head)  # type: ignore[arg-type]


def decision(number: int, **changes: object) -> Decision:
    return replace(
        Decision(
            use_case="toy",
            time=f"2026-11-21T10:{number:02d}:00.000+00:00",
            kind="drift",
            verdict="stable",
            reasons=[f"reason {number}"],
            by="check",
            run=str(number),
        ),
        **changes,  # type: ignore[arg-type]
    )


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tasks.ledger.witness", "tasks.ledger.audits"):
        monkeypatch.setattr(f"{module}.SETTLE_SECONDS", 0.1)
    monkeypatch.setattr("tasks.ledger.audits._LOOK_SECONDS", 0.01)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(Lake(url=f"file://{tmp_path}/lake"), HeadRegistry())
    for number in range(6):
        place.write(number)
    assert place.audit().faults == ()
    yield place


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"stable"', '"broken"'))


def rewrite_tail(place: Place, first: int = 3) -> None:
    """Write the entries from ``first`` on anew, each with the SHA-256 of the one before it."""
    entries = read(place.lake, "toy")[first - 1 :]
    for entry in entries:
        place.file(entry.sequence).unlink()
    for entry in entries:
        append_in_lake(place.lake, decision(int(entry.run or 0), verdict="drifted"))


def swap(place: Place, first: int, second: int) -> None:
    one, other = place.file(first).read_bytes(), place.file(second).read_bytes()
    place.file(first).write_bytes(other)
    place.file(second).write_bytes(one)


def forge(place: Place, entries: int = 1) -> None:
    for number in range(90, 90 + entries):
        append_in_lake(place.lake, decision(number, kind="approval", verdict="approved"))


def forge_with_head_run(place: Place) -> None:
    """An entry that looks as Laurel's do, with the run that has the head of the last one."""
    last = read(place.lake, "toy")[-1]
    data = place.file(last.sequence).read_text()
    data = data.replace(f'"sequence": {last.sequence}', f'"sequence": {last.sequence + 1}')
    data = data.replace(last.previous, digest(place.file(last.sequence).read_bytes()))
    place.file(last.sequence + 1).write_text(data.replace('"stable"', '"drifted"'))


Attack = Callable[[Place], object]
LAKE: dict[str, Attack] = {
    "edit the last": lambda place: edit(place.file(6)),
    "remove the last": lambda place: place.file(6).unlink(),
    "remove the newest two": lambda place: [place.file(n).unlink() for n in (5, 6)],
    "remove the newest three": lambda place: [place.file(n).unlink() for n in (4, 5, 6)],
    "remove all": lambda place: [place.file(n).unlink() for n in range(1, 7)],
    "rewrite the tail consistently": rewrite_tail,
    "rewrite all consistently": lambda place: rewrite_tail(place, 1),
    "forge an entry at the end": forge,
    "forge three entries at the end": lambda place: forge(place, 3),
    "forge an entry with the run of the last": forge_with_head_run,
}
LAKE_IN_THE_MIDDLE: dict[str, Attack] = {
    "edit in the middle": lambda place: edit(place.file(3)),
    "remove the first": lambda place: place.file(1).unlink(),
    "remove in the middle": lambda place: place.file(3).unlink(),
    "swap two": lambda place: swap(place, 2, 4),
}


def delete_runs(place: Place) -> None:
    for run in list(place.mlflow.runs):
        place.mlflow.delete_run(run)


def move_heads_to_another_run(place: Place) -> None:
    """Hide the runs, as a renamed experiment does, and write heads up to entry 4 alone."""
    place.mlflow.runs.clear()
    run = place.mlflow.open_head_run("toy", 0, place.head(3))
    place.mlflow.log_head(run, *_head(place, 4))
    place.mlflow.tags[TAG] = place.head(4)


def _head(place: Place, sequence: int) -> tuple[str, str]:
    return head_key(sequence), place.head(sequence).partition(" ")[2]


def second_head(place: Place) -> None:
    run = place.mlflow.open_head_run("toy", 0, place.head(6))
    place.mlflow.log_head(run, head_key(5), "1" * 64)


def add_head(place: Place) -> None:
    (run,) = place.mlflow.runs
    place.mlflow.log_head(run, head_key(7), "1" * 64)


MLFLOW: dict[str, Attack] = {
    "move the tag back by one": lambda place: place.mlflow.tags.update({TAG: place.head(5)}),
    "move the tag back by three": lambda place: place.mlflow.tags.update({TAG: place.head(3)}),
    "another SHA-256 in the tag": lambda place: place.mlflow.tags.update({TAG: f"6 {'1' * 64}"}),
    "words in the tag": lambda place: place.mlflow.tags.update({TAG: "all is well"}),
    "delete the runs": delete_runs,
    "delete the runs and the tag": lambda place: (delete_runs(place), place.mlflow.tags.clear()),
    "hide the runs": lambda place: place.mlflow.runs.clear(),
    "hide the runs and the tag": lambda place: (
        place.mlflow.runs.clear(),
        place.mlflow.tags.clear(),
    ),
    "move the heads to another run": move_heads_to_another_run,
    "a second head of an entry": second_head,
    "a head of no entry": add_head,
    "a later generation": lambda place: place.mlflow.open_head_run("toy", 9, ""),
}
BOTH: dict[str, Attack] = {
    "rewrite the tail and move the tag": lambda place: (
        rewrite_tail(place),
        place.mlflow.tags.update({TAG: place.head(6)}),
    ),
    "remove the last and move the tag": lambda place: (
        place.file(6).unlink(),
        place.mlflow.tags.update({TAG: place.head(5)}),
    ),
    "rewrite the tail and delete the runs": lambda place: (
        delete_runs(place),
        rewrite_tail(place),
        place.mlflow.tags.update({TAG: place.head(6)}),
    ),
}


ATTACKS = {**LAKE, **MLFLOW, **BOTH}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_attack_is_noticed_at_once_and_the_next_entry_is_refused(
    place: Place, attack: Attack
) -> None:
    attack(place)
    assert place.audit().faults != ()
    before = place.last, dict(place.mlflow.tags), dict(place.mlflow.runs)
    with pytest.raises(LedgerTampered, match="accept_ledger/toy"):
        place.write(7)
    assert (place.last, place.mlflow.tags, place.mlflow.runs) == before
    assert place.audit().faults != ()


@pytest.mark.parametrize("attack", LAKE_IN_THE_MIDDLE.values(), ids=LAKE_IN_THE_MIDDLE)
def test_attack_in_the_middle_is_noticed_by_the_audit_before_and_after_the_next_entry(
    place: Place, attack: Attack
) -> None:
    attack(place)
    faults = place.audit().faults
    assert faults != ()
    place.write(7)
    assert place.audit().faults == faults


def test_tag_that_was_removed_is_a_fault_until_the_next_entry_and_heads_vouch_meanwhile(
    place: Place,
) -> None:
    place.mlflow.tags.clear()
    place.mlflow.versions = lambda use_case: ["1"]  # type: ignore[method-assign]
    assert "no tag laurel.ledger: it was removed, or the model is new" in place.audit().faults[0]
    edit(place.file(6))
    with pytest.raises(LedgerTampered):
        place.write(7)


def test_entry_of_a_killed_writer_can_be_removed_unseen_until_the_tag_moves(
    place: Place,
) -> None:
    """The limit of rights on the lake alone: docs/ledger.md says so."""
    place.mlflow.break_at = "tag"
    with pytest.raises(RegistryAway):
        place.write(6)
    place.file(7).unlink()
    assert place.audit().faults == ()
    assert place.write(7).sequence == 7 and place.audit().faults == ()


def test_whoever_writes_to_both_with_care_is_not_noticed(place: Place) -> None:
    """The limit: docs/ledger.md names the third copy that shows this one."""
    forged = Place(Lake(url=f"{place.lake.url}-forged"), HeadRegistry())
    for number in range(6):
        forged.write(number, verdict="drifted")
    for sequence in range(1, 7):
        place.file(sequence).write_bytes(forged.file(sequence).read_bytes())
    place.mlflow.runs, place.mlflow.tags = forged.mlflow.runs, forged.mlflow.tags
    assert place.audit(every_head=True).faults == ()


@pytest.mark.parametrize("part", ["announcement", "tag", "head"])
def test_writer_that_was_killed_anywhere_leaves_a_ledger_that_the_next_one_continues(
    place: Place, part: str
) -> None:
    place.mlflow.break_at = part
    with pytest.raises(RegistryAway):
        place.write(6)
    audit = place.audit()
    assert audit.faults == ()
    assert bool(audit.notes) == (part != "announcement")
    following = place.write(7)
    assert following.sequence == (7 if part == "announcement" else 8)
    assert place.audit().faults == () and place.audit().notes == ()
    assert place.mlflow.tags[TAG] == place.head(following.sequence)


def test_step_that_is_tried_again_after_it_was_killed_finds_its_entry(place: Place) -> None:
    place.mlflow.break_at = "head"
    with pytest.raises(RegistryAway):
        place.write(6)
    assert place.write(6, time="2026-11-21T10:09:00.000+00:00").sequence == 7
    assert place.last == 7 and place.audit().faults == ()


def test_step_that_is_tried_again_does_not_move_the_head_back(place: Place) -> None:
    assert place.write(2, time="2026-11-21T10:09:00.000+00:00").sequence == 3
    assert place.mlflow.tags[TAG] == place.head(6) and place.audit().faults == ()


def test_entry_whose_writer_was_killed_and_that_was_forged_over_is_noticed(place: Place) -> None:
    place.mlflow.break_at = "head"
    with pytest.raises(RegistryAway):
        place.write(6)
    edit(place.file(7))
    assert place.audit().faults != ()
    with pytest.raises(LedgerTampered):
        place.write(7)


def test_writers_at_the_same_time_each_get_a_place_and_a_head(tmp_path: Path) -> None:
    place = Place(Lake(url=f"file://{tmp_path}/lake"), HeadRegistry())
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(place.write, range(24)))
    assert sorted(int(entry.run or -1) for entry in read(place.lake, "toy")) == list(range(24))
    assert place.audit(every_head=True).faults == ()
    assert place.mlflow.tags[TAG] == place.head(24)


def test_heads_are_in_runs_of_some_entries_and_each_is_compared_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.records.heads._ENTRIES_OF_A_RUN", 10)
    place = Place(Lake(url=f"file://{tmp_path}/lake"), HeadRegistry())
    for number in range(42):
        place.write(number)
    assert len(place.mlflow.runs) == 5
    assert place.audit().faults == () and place.audit(every_head=True).faults == ()
    run = next(iter(place.mlflow.runs.values()))
    assert head_key(7) in run.params and announcement_key(*_announced(place, 7)) in run.params
    place.mlflow.runs[run.id] = replace(run, params={**run.params, head_key(7): "1" * 64})
    assert place.audit().faults == ()
    assert place.audit(every_head=True).faults == (
        f"{path_of('toy', 7)} was changed: its SHA-256 is not the head that MLflow has",
    )


def _announced(place: Place, sequence: int) -> tuple[int, str]:
    return sequence, digest(place.file(sequence).read_bytes())


def accept(place: Place) -> Entry | None:
    stamp = {"time": "2026-11-22T10:00:00.000+00:00", "by": "accept_ledger", "run": "r"}
    return accepting.accept(place.lake, place.mlflow, "toy", "Kim", "a test", stamp)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "attack",
    {**ATTACKS, **LAKE_IN_THE_MIDDLE}.values(),
    ids={**ATTACKS, **LAKE_IN_THE_MIDDLE},
)
def test_person_accepts_a_ledger_as_it_stands_and_the_ledger_says_so(
    place: Place, attack: Attack
) -> None:
    attack(place)
    faults = place.audit().faults
    entry = accept(place)
    assert entry is not None and (entry.kind, entry.verdict) == ("ledger", "accepted")
    assert entry.reasons == ["accepted by Kim: a test", *faults]
    assert (entry.facts["by"], entry.facts["why"]) == ("Kim", "a test")
    assert place.audit().faults == ()
    assert "accepted as it stood by Kim" in place.audit().notes[0]
    place.write(8)
    assert place.audit(every_head=True).faults == ()
    if entry.sequence > 2:
        edited = place.file(entry.sequence - 2)
        edited.write_text(f"{edited.read_text()} ")
        assert place.audit().faults != ()


def test_nothing_is_accepted_where_nothing_is_wrong(place: Place) -> None:
    assert accept(place) is None and place.last == 6


def test_acceptance_that_was_forged_in_the_lake_accepts_nothing(place: Place) -> None:
    edit(place.file(3))
    assert accept(place) is not None
    data = place.file(7).read_text()
    place.file(7).unlink()
    edit(place.file(4))
    place.file(7).write_text(data.replace("Kim", "Ann"))
    assert place.audit().faults != ()
    with pytest.raises(LedgerTampered):
        place.write(8)


def test_acceptance_that_was_killed_is_not_an_attack_and_accepts_nothing_by_itself(
    place: Place,
) -> None:
    edit(place.file(6))
    place.mlflow.break_at = "head"
    with pytest.raises(RegistryAway):
        accept(place)
    assert place.audit().faults == ()
    place.write(8)
    assert place.audit().faults == () and place.last == 8


def test_last_entry_that_cannot_be_read_is_restored_and_not_accepted(place: Place) -> None:
    place.file(6).write_text("{")
    with pytest.raises(LedgerBroken, match=r"00000006\.json cannot be read"):
        accept(place)


def old(tmp_path: Path, has_model: bool = True) -> Place:
    """A ledger from before heads: its model has the last one."""
    place = Place(Lake(url=f"file://{tmp_path}/old"), HeadRegistry(has_model))
    for number in range(3):
        append_in_lake(place.lake, decision(number))
    if has_model:
        place.mlflow.tags[TAG] = place.head(3)
    return place


@pytest.mark.parametrize("has_model", [True, False])
def test_ledger_from_before_heads_gets_them_with_its_next_entry(
    tmp_path: Path, has_model: bool
) -> None:
    place = old(tmp_path, has_model)
    assert place.audit().faults == ()
    assert place.write(7).sequence == 4
    assert place.audit(every_head=True).faults == ()
    edit(place.file(3))
    assert place.audit().faults != ()


@pytest.mark.parametrize(
    "attack",
    [forge, lambda place: edit(place.file(3)), lambda place: place.file(3).unlink()],
    ids=["forge", "edit", "remove"],
)
def test_ledger_from_before_heads_that_differs_from_its_tag_is_refused(
    tmp_path: Path, attack: Attack
) -> None:
    place = old(tmp_path)
    attack(place)
    assert place.audit().faults != ()
    with pytest.raises(LedgerTampered):
        place.write(7)


def test_ledger_without_a_model_has_heads_too(tmp_path: Path) -> None:
    place = Place(Lake(url=f"file://{tmp_path}/lake"), HeadRegistry(has_model=False))
    place.write(1)
    place.write(2)
    place.file(2).unlink()
    assert place.audit().faults == (f"{path_of('toy', 2)} is missing: MLflow has its head",)
    assert witness.find_end(place.lake, "toy").place == 1
    assert find_tampering(place.lake, "toy", None) == []
