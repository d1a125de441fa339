"""The ledger: places are taken one by one, and any later change to an entry is named."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from blocks.clients.heads import ANNOUNCED
from blocks.lake import Lake
from serving.records.chain import FIRST, digest, path_of
from serving.records.heads import announcement_key
from serving.records.ledger import Decision, Entry
from serving.records.record import encode
from tasks.ledger.entries import LedgerBroken, Overtaken, add_entry, find_tampering, latest, read
from tests.fakes.heads import HeadRegistry


@pytest.fixture
def mlflow() -> HeadRegistry:
    return HeadRegistry()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}/lake")


def decision(number: int, time: str = "2026-11-21T10:00:00.000+00:00", **changes: str) -> Decision:
    parts = {"kind": "contest", "verdict": "keep"} | changes
    return Decision(
        **(
            {
                "use_case": "toy",
                "time": time,
                "reasons": [f"reason {number}"],
                "by": "a test",
                "run": None,
            }
            | parts
        )
    )


def filled(lake: Lake, mlflow: Any, entries: int = 4) -> list[Entry]:
    return [add_entry(lake, mlflow, decision(number)) for number in range(entries)]


def change(lake: Lake, sequence: int, **changes: object) -> None:
    path = path_of("toy", sequence)
    lake.write(path, json.dumps(json.loads(lake.read(path)) | changes, indent=1).encode())


def head_of(entry: Entry) -> str:
    return f"{entry.sequence} {digest(encode(entry))}"


def test_each_entry_holds_the_digest_of_the_one_before(lake: Lake, mlflow: Any) -> None:
    first, second, *_ = filled(lake, mlflow)
    assert (first.sequence, first.previous) == (1, FIRST)
    assert (second.sequence, second.previous) == (
        2,
        digest(lake.read("decisions/toy/00000001.json")),
    )
    assert [entry.reasons for entry in read(lake, "toy")] == [
        [f"reason {number}"] for number in range(4)
    ]
    assert [entry.sequence for entry in read(lake, "toy", last=2)] == [3, 4]


def test_a_step_that_is_tried_again_adds_its_decision_once(lake: Lake, mlflow: Any) -> None:
    assert add_entry(lake, mlflow, decision(1)) == add_entry(lake, mlflow, decision(1))
    assert len(read(lake, "toy")) == 1


def test_an_event_is_the_same_at_whatever_time_and_after_whatever_else_its_run_tells_it_again(
    lake: Lake,
    mlflow: Any,
) -> None:
    first = add_entry(lake, mlflow, decision(1, run="a run"))
    add_entry(lake, mlflow, decision(2, run="another"))
    assert (
        add_entry(lake, mlflow, decision(1, "2026-11-21T10:00:09.000+00:00", run="a run")) == first
    )
    add_entry(lake, mlflow, decision(1, "2026-11-21T10:00:09.000+00:00", run="another"))
    add_entry(
        lake, mlflow, decision(1, "2026-11-21T10:00:09.000+00:00", run="a run", verdict="promote")
    )
    assert [entry.run for entry in read(lake, "toy")] == ["a run", "another", "another", "a run"]


def test_whoever_decided_by_what_it_read_takes_the_next_place_or_none(
    lake: Lake, mlflow: Any
) -> None:
    assert add_entry(lake, mlflow, decision(1), after=0).sequence == 1
    with pytest.raises(Overtaken, match="Entry 1 of 'toy' was added after entry 0 was read"):
        add_entry(lake, mlflow, decision(2), after=0)

    def take(number: int) -> bool:
        try:
            add_entry(lake, mlflow, decision(number), after=1)
        except Overtaken:
            return False
        return True

    with ThreadPoolExecutor(8) as writers:
        assert sum(writers.map(take, range(8))) == 1
    assert len(read(lake, "toy")) == 2


def test_writers_at_the_same_time_each_get_a_place_of_their_own(lake: Lake, mlflow: Any) -> None:
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda number: add_entry(lake, mlflow, decision(number)), range(40)))
    entries = read(lake, "toy")
    assert [entry.sequence for entry in entries] == list(range(1, 41))
    assert {entry.reasons[0] for entry in entries} == {f"reason {number}" for number in range(40)}
    assert find_tampering(lake, "toy", head_of(entries[-1])) == []


def test_entry_is_found_behind_the_runs_that_other_writers_opened(lake: Lake, mlflow: Any) -> None:
    (entry,) = filled(lake, mlflow, 1)
    for number in range(8):
        run = mlflow.open_head_run("toy", 0, head_of(entry))
        mlflow.log_head(run, announcement_key(2, f"{number:064d}"), ANNOUNCED)
    assert [entry.sequence for entry in filled(lake, mlflow, 3)] == [1, 2, 3]


def test_the_order_is_that_of_the_places_whatever_the_clocks_say(lake: Lake, mlflow: Any) -> None:
    add_entry(lake, mlflow, decision(1, "2026-11-21T12:00:00.000+00:00"))
    add_entry(
        lake,
        mlflow,
        decision(2, "2026-11-21T09:00:00.000+00:00", kind="rollback", verdict="rollback"),
    )
    entry = latest(read(lake, "toy"), "contest", "rollback")
    assert entry is not None and entry.reasons == ["reason 2"]
    assert find_tampering(lake, "toy", None) == []


def test_an_entry_that_was_edited_is_named_by_the_one_after_it(lake: Lake, mlflow: Any) -> None:
    filled(lake, mlflow)
    change(lake, 2, verdict="promote")
    assert find_tampering(lake, "toy", None) == [
        "decisions/toy/00000002.json was changed: the entry after it has another SHA-256"
    ]


def test_the_last_entry_that_was_edited_or_removed_is_named_by_the_head_on_the_model(
    lake: Lake, mlflow: Any, tmp_path: Path
) -> None:
    head = head_of(filled(lake, mlflow)[-1])
    change(lake, 4, verdict="promote")
    assert find_tampering(lake, "toy", head) == [
        "decisions/toy/00000004.json was changed: its SHA-256 is not the one on MLflow's model"
    ]
    (tmp_path / "lake/decisions/toy/00000004.json").unlink()
    assert find_tampering(lake, "toy", head) == [
        "decisions/toy/00000004.json is missing: MLflow's model names it as the head"
    ]


def test_a_removed_entry_is_named(lake: Lake, mlflow: Any, tmp_path: Path) -> None:
    filled(lake, mlflow)
    (tmp_path / "lake/decisions/toy/00000002.json").unlink()
    assert find_tampering(lake, "toy", None) == ["decisions/toy/00000002.json is missing"]


def test_a_ledger_whose_beginning_was_cut_off_is_not_whole(
    lake: Lake, mlflow: Any, tmp_path: Path
) -> None:
    filled(lake, mlflow)
    (tmp_path / "lake/decisions/toy/00000001.json").unlink()
    assert find_tampering(lake, "toy", None) == ["decisions/toy/00000001.json is missing"]


def test_what_is_no_entry_or_lies_about_its_place_is_named(lake: Lake, mlflow: Any) -> None:
    filled(lake, mlflow, 2)
    lake.write("decisions/toy/2026-11-21.json", b"{}")
    lake.write("decisions/toy/00000003.json", lake.read("decisions/toy/00000002.json"))
    assert find_tampering(lake, "toy", None) == [
        "decisions/toy/2026-11-21.json is not an entry of the ledger",
        "decisions/toy/00000003.json claims to be entry 2",
    ]


def test_an_entry_that_cannot_be_read_is_named_and_stops_who_would_add_to_it(
    lake: Lake, mlflow: Any
) -> None:
    filled(lake, mlflow, 2)
    lake.write("decisions/toy/00000002.json", b'{"sequence": 2')
    assert "00000002.json cannot be read" in find_tampering(lake, "toy", None)[0]
    with pytest.raises(LedgerBroken, match=r"00000002\.json cannot be read"):
        add_entry(lake, mlflow, decision(3))


def test_a_run_that_is_started_again_and_ends_alike_has_another_end(
    lake: Lake, mlflow: Any
) -> None:
    start, end = (
        {"kind": "retrain", "verdict": verdict, "run": "a run"}
        for verdict in ("started", "crashed")
    )
    for after in (0, 2):
        add_entry(lake, mlflow, decision(1, **start), after=after)
        last = add_entry(lake, mlflow, decision(2, "2026-11-21T10:00:09.000+00:00", **end))
        assert add_entry(lake, mlflow, decision(2, "2026-11-21T10:00:19.000+00:00", **end)) == last
    assert [entry.verdict for entry in read(lake, "toy")] == [
        "started",
        "crashed",
        "started",
        "crashed",
    ]
