from pathlib import Path
from typing import Any

import pytest

from serving.history.checks import History
from serving.history.fleet import Records, read_records
from serving.outside.lake import FolderLake
from serving.records.reasons import told
from tests.fixtures.lake_history import (
    NOTHING,
    ask_for_approval,
    at,
    write_many,
    write_retrain,
    write_scored_check,
    write_year,
)
from tests.fixtures.lake_records import write_check, write_decision


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def records(root: Path) -> Records:
    return read_records(History(FolderLake(root), listing_seconds=0), "toy")


def needs(root: Path) -> dict[str, dict[str, Any]]:
    return {need.code: need.numbers for need in records(root).needs}


def decide(root: Path, hours: float, verdict: str, kind: str, **fields: Any) -> None:
    write_decision(root, at(hours), verdict, **NOTHING | {"kind": kind} | fields)


def test_a_year_in_brief(root: Path) -> None:
    write_year(root)
    brief = records(root)
    assert brief.reign is not None and brief.reign.version == "7"
    assert brief.live is not None and brief.live.window == "2013-11"  # 2013-12 has no labels yet
    assert brief.drift is not None and brief.drift.window == "2013-12"
    assert brief.scores[-2:] == [0.776, None] and len(brief.scores) == 12
    assert brief.retrain is not None
    assert (brief.retrain.verdict, brief.retrain.gain) == ("kept", 0.0007)
    assert brief.needs == [] and brief.unknown == {}


def test_nothing_known_is_told_as_such(root: Path) -> None:
    brief = records(root)
    assert brief.unknown == {"live": "no_check", "drift": "no_check", "retrain": "none_in_ledger"}
    assert (brief.reign, brief.live, brief.drift, brief.retrain) == (None, None, None, None)


def test_an_open_question_comes_with_its_numbers(root: Path) -> None:
    write_year(root)
    ask_for_approval(root)
    write_many(root, 3)
    assert needs(root) == {
        "approval": {
            "challenger": "9",
            "champion": "7",
            "until": at(548),
            "gain": 0.021,
            "low": pytest.approx(0.015),
            "high": pytest.approx(0.027),
        }
    }
    asked = records(root).needs[0]
    assert asked.href == "#toy&approvals"
    assert asked.sentence == "Approve v9 over v7? Gain +0.0210 (+0.0150 – +0.0270)"
    assert told(asked.sentence, "ko").endswith("승인할까요? 개선 폭 +0.0210(+0.0150 – +0.0270)")
    brief = records(root).retrain
    assert brief is not None and brief.verdict == "waits for approval"


def test_drift_needs_a_person_until_a_retrain_has_begun(root: Path) -> None:
    write_scored_check(root, "2013-06", "2", 0.75, 10, "drifted")
    assert needs(root) == {"drifted": {"window": "2013-06", "share": 2 / 3, "limit": 0.5}}
    write_retrain(root, 11, "2013-06", 4, 2)
    assert needs(root) == {}


@pytest.mark.parametrize("outcome", ["broken", "unreadable"])
def test_data_that_cannot_be_judged_need_a_person(root: Path, outcome: str) -> None:
    folder = write_check(root, "2013-06", "broken")
    if outcome == "unreadable":
        (folder / "verdict.json").write_text("{")
    assert list(needs(root)) == [outcome]


def test_silence_is_told_until_a_check_sees_predictions_again(root: Path) -> None:
    write_check(root, "2013-06")
    decide(root, 0, "silent", "drift")
    assert needs(root) == {"silent": {"time": at(0)}}
    decide(root, 1, "stable", "drift")
    assert needs(root) == {}


@pytest.mark.parametrize("verdict", ["failed", "crashed"])
def test_a_retrain_that_died_is_told_until_one_ends_well(root: Path, verdict: str) -> None:
    decide(root, 0, "started", "retrain", run="a")
    assert needs(root) == {}
    decide(root, 1, verdict, "retrain", run="a")
    assert needs(root) == {"retrain_failed": {"verdict": verdict, "time": at(1)}}
    decide(root, 2, "nothing to do", "retrain", run="b")
    assert needs(root) == {}


def test_an_open_breaker_is_told_until_somebody_closes_it(root: Path) -> None:
    decide(root, 0, "breaker", "refusal")
    assert needs(root) == {"breaker": {"time": at(0)}}
    decide(root, 1, "closed", "breaker")
    assert needs(root) == {}


def test_a_ledger_that_somebody_changed_is_told_with_the_place(root: Path) -> None:
    write_many(root, 3)
    second = root / "decisions/toy/00000002.json"
    second.write_text(second.read_text().replace("cooldown for", "nothing for"))
    assert needs(root)["tampered"]["place"] == 3


def test_a_champion_that_got_worse_is_told(root: Path) -> None:
    write_scored_check(root, "2013-06", "2", 0.7, 0)
    verdict = root / "reports/toy/2013-06/verdict.json"
    verdict.write_text(verdict.read_text().replace('"level"', '"worse"'))
    assert needs(root) == {"worse": {"window": "2013-06"}}
