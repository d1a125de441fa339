from pathlib import Path
from typing import Any

import pytest

from serving.history.checks import History
from serving.outside.lake import FolderLake
from tests.fixtures.lake_history import NOTHING, at, write_retrain
from tests.fixtures.lake_records import write_decision


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def history(root: Path) -> History:
    return History(FolderLake(root), listing_seconds=0)


def crown(root: Path, hours: float, verdict: str, version: str | None, kind: str = "crown") -> None:
    fields: dict[str, Any] = {**NOTHING, "version": version, "kind": kind}
    write_decision(root, at(hours), verdict, **fields)


def test_champions_have_the_score_that_won_and_when_they_reigned(
    root: Path, history: History
) -> None:
    write_retrain(root, 0, "2013-05", 1, None, by_drift=False)
    write_retrain(root, 24, "2013-06", 4, 2)
    second, first = history.reigns("toy")
    assert (second.version, second.since, second.until) == ("5", at(24.3), None)
    assert (second.metric, second.score, second.gain) == ("roc_auc", 0.7714, 0.0214)
    assert (first.version, first.until, first.decision) == ("2", at(24.3), "3")
    assert (first.metric, first.score, first.holdout) == (None, 0.7714, "2013-05")


def test_a_champion_that_returns_keeps_its_score(root: Path, history: History) -> None:
    write_retrain(root, 0, "2013-05", 1, None, by_drift=False)
    write_retrain(root, 24, "2013-06", 4, 2)
    crown(root, 48, "rollback", "2", kind="rollback")
    latest, *_ = history.reigns("toy")
    assert (latest.version, latest.how, latest.score) == ("2", "rollback", 0.7714)
    assert [reign.version for reign in history.reigns("toy")] == ["2", "5", "2"]


def test_what_failed_or_changed_nothing_is_no_reign(root: Path, history: History) -> None:
    crown(root, 0, "failed", "2")
    crown(root, 1, "restored", "2")
    crown(root, 2, "failed", "2", kind="rollback")
    assert history.reigns("toy") == []


def test_an_adopted_version_has_no_score_and_a_vacant_crown_no_version(
    root: Path, history: History
) -> None:
    crown(root, 0, "adopted", "9")
    crown(root, 1, "vacated", None)
    vacant, adopted = history.reigns("toy")
    assert (adopted.version, adopted.score, adopted.until) == ("9", None, at(1))
    assert (vacant.version, vacant.how) == (None, "vacated")
