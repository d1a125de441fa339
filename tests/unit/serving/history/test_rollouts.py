from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from serving.history.checks import History
from serving.history.fleet import read_records
from serving.history.rollouts import LatestRollout, latest_rollout
from serving.outside.lake import FolderLake
from tests.fixtures.lake_history import NOTHING, at
from tests.fixtures.lake_records import write_decision
from tests.fixtures.rollout_ledger import CANARY, SHADOW, began, judged, write_rollout, write_shadow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def latest(root: Path, now: str | None = None) -> LatestRollout | None:
    placed = History(FolderLake(root), listing_seconds=0).entries("toy", 300)
    return latest_rollout(placed, datetime.fromisoformat(now) if now else None)


def test_a_use_case_without_a_rollout_has_none(root: Path) -> None:
    write_decision(root, at(1))
    assert latest(root) is None
    assert read_records(History(FolderLake(root)), "toy").rollout is None


def test_the_estimate_narrows_from_look_to_look(root: Path) -> None:
    write_decision(root, at(1))
    rollout = write_shadow(root)
    held = replace(rollout, held=True)
    write_rollout(root, 250, "held", held, "Kim holds it: freeze")
    shown = latest(root)
    assert shown is not None and shown.is_running and shown.held
    assert (shown.verdict, shown.decision) == ("held", "2")
    assert [look.blocks for look in shown.looks] == [4, 5, 6]
    widths = [look.high - look.low for look in shown.looks if look.high and look.low]
    assert widths == sorted(widths, reverse=True) and len(widths) == 3
    assert (shown.looks[-1].gain, len(shown.blocks)) == (rollout.gain, 6)
    assert shown.days_left == 28 - 12 + 7  # the days that are not judged, and the last one's labels
    assert shown.minutes_left is None
    assert len(shown.plan) == 1 and "eight of ten" in shown.plan[0]


def test_a_canary_waits_for_its_minutes(root: Path) -> None:
    canary = replace(began(since=at(60)), stage=1, step=1)
    write_rollout(root, 60, "stepped", canary)
    now = datetime.fromisoformat(at(60)) + timedelta(minutes=10)
    shown = latest(root, now.isoformat())
    assert shown is not None and shown.minutes_left == pytest.approx(20)
    assert (shown.share, shown.days_left, shown.looks) == (0.05, None, [])
    brief = read_records(History(FolderLake(root)), "toy").rollout
    assert brief is not None and (brief.kind, brief.share, brief.version) == ("canary", 0.05, "2")


def test_no_planned_end_has_no_days_left(root: Path) -> None:
    write_rollout(root, 50, "judged", judged(began(replace(SHADOW, days=None)), 4))
    shown = latest(root)
    assert shown is not None and shown.days_left is None


def test_an_ended_one_is_shown_until_the_next_contest(root: Path) -> None:
    write_rollout(root, 50, "began", began(CANARY))
    write_rollout(root, 51, "reverted", began(CANARY), "it failed")
    shown = latest(root)
    assert shown is not None and not shown.is_running
    assert (shown.verdict, shown.reasons, shown.minutes_left) == ("reverted", ["it failed"], None)
    write_decision(root, at(60), "keep")
    assert latest(root) is None


def test_a_running_one_is_shown_whatever_contest_was_held(root: Path) -> None:
    write_rollout(root, 50, "began", began())
    write_decision(root, at(60), "keep")
    shown = latest(root)
    assert shown is not None and shown.is_running


@pytest.mark.parametrize(("kind", "verdict"), [("crown", "crowned"), ("rollback", "rollback")])
def test_a_winner_runs_until_the_crown_moves(root: Path, kind: str, verdict: str) -> None:
    write_rollout(root, 50, "began", began())
    write_rollout(root, 51, "won", judged(began(), 6))
    shown = latest(root)
    assert shown is not None and shown.is_running
    write_decision(root, at(52), verdict, **NOTHING | {"kind": kind, "version": "2"})
    shown = latest(root)
    assert shown is not None and not shown.is_running and shown.verdict == "won"


@pytest.mark.parametrize("changed", [{"stage": 7}, {"stage": -1}, {"stage": 1, "step": 9}])
def test_a_rollout_at_no_stage_of_its_own_is_none(root: Path, changed: dict[str, int]) -> None:
    write_rollout(root, 50, "began", replace(began(), **changed))
    assert latest(root) is None
