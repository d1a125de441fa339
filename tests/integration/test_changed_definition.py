"""A changed definition contests without new data. On the real stack, in the order of the file."""

from typing import Any

import pytest
import usecases.toy_changed
from usecases.toy_changed import changed_toy

from flows.explain import explain
from flows.retrain import retrain
from flows.train import train
from tests.integration.planting import Loop, Outcome

pytestmark = pytest.mark.nightly("five retrains")

CASE = "toy_changed"
OLD = ("second", "steady", "group")
NEW = ("first", *OLD)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The use case got a column that the source has always had."""
    monkeypatch.setattr(usecases.toy_changed, "USE_CASE", changed_toy(*NEW, max_iter=20))


def run(loop: Loop, **more: Any) -> Outcome:
    return loop.run(retrain, CASE, through="2024-03", **more)


def test_without_a_change_there_is_nothing_to_do_and_the_way_is_named(loop: Loop) -> None:
    assert run(loop).name == "Completed"
    champion = loop.registry.version(CASE, loop.crowned(CASE) or "")
    assert (champion.number, champion.tags["laurel.refit_of"]) == ("2", "1")
    outcome = run(loop)
    assert outcome.name == "Nothing to do"
    assert "A changed definition (columns, recipes, search) contests without" in outcome.message
    assert "--param again=true" in outcome.message


def test_a_new_column_contests_with_the_champion_as_it_was_before_its_refit(
    loop: Loop, wide: None
) -> None:
    """Its end was *Nothing to do*, and no way led on but to forget everything."""
    outcome = run(loop)
    assert outcome.name == "Completed", outcome.message
    contest = loop.decisions(CASE, "contest")[-1]
    assert (contest["champion"], contest["challenger"], contest["holdout"]) == ("2", "3", "2024-03")
    assert (contest["verdict"], contest["facts"]["stand_in"]) == ("promote", "1")
    assert [change["name"] for change in contest["changes"]] == ["columns.first"]
    assert contest["changes"][0]["before"] is None
    main = contest["contest"]["main"]
    assert main["champion"] < 0.6 < 0.8 < main["challenger"]
    reason = (
        "The champion has learned 2024-03 in its refit, so version 1 stood in for it: the same "
        "recipe, fitted on the rows before."
    )
    assert contest["reasons"][-1] == reason and reason in outcome.message
    champion = loop.registry.version(CASE, loop.crowned(CASE) or "")
    assert (champion.number, champion.tags["laurel.refit_of"]) == ("4", "3")
    assert "laurel.definition" in champion.tags


def test_a_definition_contests_once_on_a_holdout_unless_it_is_asked_for(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usecases.toy_changed, "USE_CASE", changed_toy(*NEW, max_iter=1))
    trained = loop.run(train, CASE)
    assert "since champion 4 recipe boosting has changed: the opponent is version 3" in (
        trained.message
    )
    assert run(loop).name == "Champion stays"
    outcome = run(loop)
    assert outcome.name == "Nothing to do"
    assert "This definition has contested on 2024-03 already: keep" in outcome.message
    contests = len(loop.decisions(CASE, "contest"))
    assert run(loop, again=True).name == "Champion stays"
    before, after = "params={'max_iter': 20}", "params={'max_iter': 1}"
    assert loop.decisions(CASE, "contest")[-1]["changes"] == [
        {"name": "candidates.boosting", "before": before, "after": after}
    ]
    explained = loop.run(explain, CASE).result.text
    assert f"`candidates.boosting`: `{before}` → `{after}`" in explained
    assert len(loop.decisions(CASE, "contest")) == contests + 1
    assert loop.crowned(CASE) == "4"
