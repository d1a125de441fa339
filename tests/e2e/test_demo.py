"""The story of the last ``make demo``, from the file that it leaves: CI runs the demo before the
tests, and no test runs it again.
"""

import json
from typing import Any

import pytest

from blocks.settings import REPOSITORY, demo_state

STORY = demo_state(REPOSITORY / ".laurel") / "demo.json"
CODE = ("blocks", "deployments", "flows", "serving", "tasks", "usecases")


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """The story that this code told. A story of older code proves nothing about this one."""
    newest = max(
        path.stat().st_mtime for folder in CODE for path in (REPOSITORY / folder).rglob("*.py")
    )
    if not STORY.exists() or STORY.stat().st_mtime < newest:
        pytest.skip("make demo has not run with this code: run it first")
    return json.loads(STORY.read_text())


def test_only_the_third_month_drifts(story: dict[str, Any]) -> None:
    verdicts = {month: drift["verdict"] for month, drift in story["drift"].items()}
    assert verdicts.items() >= {
        ("2013-04", "stable"),
        ("2013-05", "stable"),
        ("2013-06", "drifted"),
    }


def test_the_second_champion_knows_more_months_and_won_its_contest(story: dict[str, Any]) -> None:
    first, second = story["champions"]
    assert (first["trained_through"], second["trained_through"]) == ("2013-03", "2013-06")
    assert int(second["version"]) > int(first["version"])
    assert first["roc_auc"] >= 0.75
    contest = story["contest"]
    assert contest["verdict"] == "promote"
    assert 0 < contest["low"] <= contest["difference"] <= contest["high"]
    assert story["later_rows"]["champion_2"] > story["later_rows"]["champion_1"]


def test_the_second_champion_was_a_shadow_and_a_canary_before_the_crown(
    story: dict[str, Any],
) -> None:
    shadow, canary, (first, second) = story["shadow"], story["canary"], story["champions"]
    for part in (shadow, canary):
        assert (part["champion"], part["version"]) == (first["version"], second["version"])
    assert (shadow["verdict"], canary["verdict"]) == ("stepped", "won")
    assert "not worse by more than 0.01" in shadow["reasons"][0]
    assert shadow["scored"] > 0.9 * (shadow["scored"] + shadow["dropped"])
    assert "no guard reverted it" in canary["reasons"][0]
    # What judged neither of them is a later month.
    assert shadow["month"] < story["later_rows"]["window"]


def test_a_sick_canary_is_reverted_by_the_service_and_no_caller_notices(
    story: dict[str, Any],
) -> None:
    sick = story["sick"]
    assert sick["verdict"] == "reverted" and sick["champion"] == story["champions"][1]["version"]
    assert int(sick["version"]) > int(sick["champion"])
    assert "failed" in sick["reasons"][0]
    assert 2 <= sick["failed"] < sick["requests"] < 1000
    assert sick["seconds"] < 10 and story["failed_requests"] == 0


def test_a_retrain_by_hand_is_refused_and_the_crown_goes_back_and_forth(
    story: dict[str, Any],
) -> None:
    first, second = story["champions"]
    assert (story["rejection"]["verdict"], story["rejection"]["holdout"]) == ("keep", "2013-04")
    assert [rollback["to"] for rollback in story["rollbacks"]] == [
        first["version"],
        second["version"],
    ]


def test_no_request_failed_while_champions_changed(story: dict[str, Any]) -> None:
    assert story["requests"] > 1000
    assert story["failed_requests"] == 0
    assert story["swap_gap_ms"] > 0


def test_each_stage_is_timed(story: dict[str, Any]) -> None:
    assert {
        "servers up, deployments applied",
        "champion 1: evaluate",
        "champion 2: promote",
        "2013-12-31: no weather",
    } <= set(story["stages"])
