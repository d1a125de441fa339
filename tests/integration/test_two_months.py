"""A hold-out of two months goes through the whole loop. On the real stack, in the order of the
file."""

from typing import Any

import pytest

from flows.explain import explain
from flows.retrain import retrain
from tasks.packages.registered import read_manifest
from tests.integration.planting import Loop, Outcome

pytestmark = pytest.mark.nightly("three retrains")

CASE = "toy_two_months"
FIRST, SECOND = "2024-03 + 2024-04", "2024-05 + 2024-06"


def run(loop: Loop, through: str, **more: Any) -> Outcome:
    return loop.run(retrain, CASE, through=through, **more)


def test_the_first_champion_is_judged_on_both_and_learns_both_in_its_refit(loop: Loop) -> None:
    outcome = run(loop, "2024-04")
    assert outcome.name == "Completed", outcome.message
    assert f"of {FIRST}" in outcome.message
    assert any(f"judged on {FIRST}" in text for text in outcome.told), outcome.told
    contest = loop.decisions(CASE, "contest")[-1]
    assert (contest["holdout"], contest["facts"]["rows"]) == (FIRST, 2 * 28 * 60)
    champion = loop.registry.version(CASE, loop.crowned(CASE) or "")
    manifest = read_manifest(loop.registry, champion)
    assert sorted(manifest.trained_on) == ["2024-01", "2024-02", "2024-03", "2024-04"]
    assert (manifest.holdout, champion.tags["laurel.holdout"]) == (FIRST, FIRST)
    assert manifest.parity.rows >= 2 * 28 * 60
    assert loop.served(CASE) == champion.number
    assert f"on {FIRST}" in loop.run(explain, CASE).result.text
    assert FIRST in loop.service.get(f"/v1/{CASE}/decisions").text


def test_one_new_month_is_too_few_and_the_run_says_which_there_is(loop: Loop) -> None:
    outcome = run(loop, "2024-05")
    assert outcome.name == "Nothing to do"
    assert "a hold-out needs 2 later periods with labels, and there is only 2024-05" in (
        outcome.message
    )


def test_a_rematch_is_held_on_both_months_against_the_version_before_the_refit(
    loop: Loop,
) -> None:
    outcome = run(loop, "2024-05", again=True)
    assert outcome.name == "Champion stays", outcome.message
    contest = loop.decisions(CASE, "contest")[-1]
    assert (contest["holdout"], contest["facts"]["stand_in"]) == (FIRST, "1")
    assert any(
        f"The champion has learned {FIRST} in its refit" in why for why in contest["reasons"]
    )


def test_two_new_months_are_one_hold_out_of_both_their_days(loop: Loop) -> None:
    outcome = run(loop, "2024-06")
    assert outcome.name in ("Completed", "Champion stays"), outcome.message
    contest = loop.decisions(CASE, "contest")[-1]
    assert contest["holdout"] == SECOND and contest["verdict"] in ("promote", "keep")
    days = contest["contest"]["days"]
    assert (days[0][:10], days[-1][:10], len(days)) == ("2024-05-01", "2024-06-28", 56)
    assert contest["contest"]["spending"]["tries"] == 1
    assert contest["contest"]["main"]["rows"] == 2 * 28 * 60
