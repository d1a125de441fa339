"""A lake from before the records stood in one place: tests/fixtures/lake_before_records, with an
entry of each kind, was written by the pydantic models that tasks had then.

Entries are chained by the SHA-256 of their bytes, so none may be spelled in another way."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from blocks.clients.registry import LEDGER_TAG
from blocks.lake import Lake
from serving.history.checks import History
from serving.outside.lake import FolderLake
from serving.records.chain import digest, path_of
from serving.records.contest import Contest
from serving.records.drift import Checked
from serving.records.ledger import Entry, Kind
from serving.records.record import decode, encode
from tasks.ledger.entries import add_entry, decision_of, find_tampering, read
from tests.fakes.heads import HeadRegistry

BEFORE = Path(__file__).parents[3] / "fixtures" / "lake_before_records"
LATER = {"ledger", "rollout"}
HEAD = (BEFORE / "head").read_text().strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BEFORE, tmp_path / "lake"))


def test_every_entry_is_spelled_as_it_was() -> None:
    paths = sorted((BEFORE / "decisions" / "toy").iterdir())
    entries = [decode(Entry, path.read_bytes()) for path in paths]
    assert {entry.kind for entry in entries} == {*get_args(Kind)} - LATER
    for path, entry in zip(paths, entries, strict=True):
        assert encode(entry) == path.read_bytes(), path.name


def test_a_report_is_spelled_as_it_was() -> None:
    data = (BEFORE / "reports" / "toy" / "2013-06" / "comparison-2-3.json").read_bytes()
    assert encode(decode(Contest, data)) == data


def test_a_drift_check_is_spelled_as_it_was_but_for_fields_that_came_since() -> None:
    data = (BEFORE / "reports" / "toy" / "2013-06" / "verdict.json").read_bytes()
    content = json.loads(encode(decode(Checked, data)))
    came = {name: content["verdict"].pop(name) for name in ("findings", "retrain", "sequence")}
    assert came == {"findings": [], "retrain": True, "sequence": 0.0}
    assert content["performance"].pop("held") == ""
    assert json.dumps(content) == json.dumps(json.loads(data))


def test_the_chain_holds_and_goes_on(root: Path) -> None:
    lake = Lake(url=f"file://{root}")
    assert find_tampering(lake, "toy", HEAD) == []
    entries = read(lake, "toy")
    mlflow: Any = HeadRegistry()
    mlflow.tags[LEDGER_TAG] = HEAD
    assert add_entry(lake, mlflow, decision_of(entries[-1])) == entries[-1], (
        "the same event is known"
    )
    added = add_entry(lake, mlflow, replace(decision_of(entries[0]), run="another run"))
    assert (added.sequence, added.previous) == (10, HEAD.split()[1])
    head = f"10 {digest(lake.read(path_of('toy', 10)))}"
    assert find_tampering(lake, "toy", head) == []


def test_the_service_tells_all_of_it(root: Path) -> None:
    history = History(FolderLake(root), listing_seconds=0)
    entries = [each.entry for each in history.entries("toy", 50)][::-1]
    assert [entry.sequence for entry in entries] == list(range(9, 0, -1))
    assert not any(entry.tampered for entry in entries)
    contest = entries[-1].contest
    assert contest is not None and contest.guards[0].low == -3.5e-12
    (check,) = history.drift("toy", 50)
    assert (check.outcome, check.cause) == ("drifted", "data and performance")
    assert check.performance is not None
    assert check.performance.holdout["roc_auc"].bounds == (0.75, 0.77)
