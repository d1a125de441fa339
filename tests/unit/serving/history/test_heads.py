"""The service compares the end of a ledger with MLflow's heads, as flows do."""

from pathlib import Path
from typing import Any

import pytest

from blocks.clients.heads import HeadRun
from blocks.lake import Lake
from serving.errors import RegistryAway
from serving.history.checks import History
from serving.history.heads import HeadReader
from serving.outside.lake import FolderLake
from serving.records.chain import path_of
from serving.records.ledger import Decision
from tasks.ledger.entries import add_entry
from tests.fakes.heads import HeadRegistry
from tests.fixtures.ledgers import append_in_lake


class Mlflow(HeadRegistry):
    """MLflow, which may be unreachable."""

    is_away, asked = False, 0

    def head_runs(self, *parts: Any, **options: Any) -> list[HeadRun]:
        self.asked += 1
        if self.is_away:
            raise RegistryAway("nobody answers")
        return super().head_runs(*parts, **options)


def decision(number: int) -> Decision:
    return Decision(
        use_case="toy",
        time=f"2026-11-21T10:00:0{number}.000+00:00",
        kind="approval",
        verdict="approved",
        reasons=[],
        by="a test",
        run=str(number),
    )


@pytest.fixture
def mlflow() -> Mlflow:
    return Mlflow()


@pytest.fixture
def lake(tmp_path: Path, mlflow: Mlflow) -> Lake:
    lake = Lake(url=f"file://{tmp_path}")
    for number in range(4):
        add_entry(lake, mlflow, decision(number))  # type: ignore[arg-type]
    return lake


@pytest.fixture
def history(tmp_path: Path, lake: Lake, mlflow: Mlflow) -> History:
    reader = HeadReader(mlflow)  # type: ignore[arg-type]
    return History(FolderLake(tmp_path), listing_seconds=60, heads=reader)


def faults(history: History) -> dict[int, str]:
    return {place: entry.fault for place, entry in history.entries("toy", 3) if entry.tampered}


def test_ledger_that_laurel_wrote_has_no_fault(
    history: History, lake: Lake, mlflow: Mlflow
) -> None:
    assert faults(history) == {}
    add_entry(lake, mlflow, decision(5))  # type: ignore[arg-type]
    assert faults(history) == {}, "a listing from before the entry proves nothing"


def test_entry_that_was_forged_at_the_end_is_marked(history: History, lake: Lake) -> None:
    append_in_lake(lake, decision(9))
    place = path_of("toy", 5)
    assert faults(history) == {5: f"{place}: not announced in MLflow, which has no head for it."}
    assert faults(history) == {5: f"{place}: not announced in MLflow, which has no head for it."}


def test_entry_before_one_that_was_removed_is_marked(
    history: History, lake: Lake, tmp_path: Path
) -> None:
    (tmp_path / path_of("toy", 4)).unlink()
    assert faults(history) == {3: f"{path_of('toy', 4)} is missing: MLflow has its head."}


def test_entry_without_its_head_is_no_fault_if_it_was_announced(
    history: History, lake: Lake, mlflow: Mlflow
) -> None:
    mlflow.break_at = "head"
    with pytest.raises(ConnectionError):
        add_entry(lake, mlflow, decision(5))  # type: ignore[arg-type]
    assert faults(history) == {}


def test_unreachable_mlflow_is_left_alone_and_nothing_is_said(
    history: History, lake: Lake, mlflow: Mlflow
) -> None:
    mlflow.is_away, mlflow.asked = True, 0
    append_in_lake(lake, decision(9))
    assert faults(history) == {} == faults(history) and mlflow.asked == 1
