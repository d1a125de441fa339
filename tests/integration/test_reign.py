"""Who is champion, when somebody had a hand in MLflow: healed, refused by name, adopted. On the
real stack, in the order of the file.
"""

from collections.abc import Iterator

import pytest

from blocks.clients.registry import CHAMPION
from blocks.registry import ModelVersion
from flows.adopt import adopt
from flows.drift_check import drift_check
from flows.explain import explain
from flows.promote import promote
from flows.rollback import rollback
from tasks.ledger.audits import audit_ledger
from tests.integration.planting import Loop

CASE = "toy_reign"
TO_MAY = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


@pytest.fixture(scope="module")
def first(loop: Loop) -> Iterator[ModelVersion]:
    with loop.first_champion(CASE, through="2024-06") as version:
        yield version


@pytest.fixture(scope="module")
def second(loop: Loop, first: ModelVersion) -> ModelVersion:
    """It contests a champion whose alias somebody deleted."""
    loop.registry.remove_alias(CASE, CHAMPION)
    loop.plant(CASE, "2024-06", TO_MAY)
    return loop.run(promote, CASE).result


def delete(version: ModelVersion) -> None:
    from mlflow import MlflowClient

    MlflowClient().delete_model_version(CASE, version.number)


def test_contest_after_the_alias_was_deleted_is_held_against_the_champion(
    loop: Loop, first: ModelVersion, second: ModelVersion
) -> None:
    contest = loop.decisions(CASE, "contest")[-1]
    assert (contest["champion"], contest["verdict"]) == (first.number, "promote")
    restored = next(
        entry for entry in loop.decisions(CASE, "crown") if entry["verdict"] == "restored"
    )
    assert restored["version"] == first.number and restored["sequence"] < contest["sequence"]
    assert any(
        f"the alias of champion {first.number} was deleted by hand" in text
        for text in loop.told(CASE)
    )
    assert (loop.crowned(CASE), loop.served(CASE)) == (second.number, second.number)


@pytest.fixture(scope="module")
def moved(loop: Loop, first: ModelVersion, second: ModelVersion) -> ModelVersion:
    """A version that somebody gave the alias by hand."""
    third = loop.plant(CASE, "2024-06", TO_MAY, params={"max_iter": 10}, watched=True)
    loop.registry.set_alias(third, CHAMPION)
    return third


def test_alias_that_was_moved_by_hand_is_refused_by_each_flow(
    loop: Loop, second: ModelVersion, moved: ModelVersion
) -> None:
    entries = len(loop.decisions(CASE))
    loop.plant_predictions(CASE, "2024-06", loop_rows())
    for outcome in (
        loop.run(promote, CASE),
        loop.run(drift_check, CASE, window="2024-06"),
        loop.run(rollback, CASE),
    ):
        assert outcome.name == "Failed"
        assert (
            f"is at version {moved.number}, and the ledger crowned version {second.number} last"
            in outcome.message
        )
        assert "laurel run adopt toy_reign" in outcome.told[0]
    assert len(loop.decisions(CASE)) == entries and loop.crowned(CASE) == moved.number


def loop_rows():
    from usecases.toy import toy_rows

    return toy_rows("2024-06")


def test_adoption_settles_who_is_champion_and_the_ledger_says_who_said_so(
    loop: Loop, second: ModelVersion, moved: ModelVersion
) -> None:
    outcome = loop.run(
        adopt, CASE, version=moved.number, by="Ana", why="the contest cannot see what I see"
    )
    assert (
        outcome.name == "Completed"
        and f"Version {moved.number} is champion of {CASE} after {second.number}" in outcome.message
    )
    assert (loop.crowned(CASE), loop.served(CASE), outcome.result.number) == (moved.number,) * 3
    entry = loop.decisions(CASE)[-1]
    assert (entry["kind"], entry["verdict"], entry["version"], entry["champion"]) == (
        "crown",
        "adopted",
        moved.number,
        second.number,
    )
    assert (entry["facts"]["by"], entry["facts"]["why"]) == (
        "Ana",
        "the contest cannot see what I see",
    )
    assert (
        f"version {moved.number} was made champion by hand, without a contest (before: "
        f"{second.number})"
    ) in outcome.told[0]
    assert audit_ledger(loop.lake, loop.registry, CASE).faults == ()
    words = loop.run(explain, CASE, question="champion").result
    assert words.champion == moved.number and "It got the crown by hand" in words.text
    again = loop.run(adopt, CASE, version=moved.number, by="Ana", why="again")
    assert again.name == "Failed" and "is already the champion" in again.message


def test_adoption_of_what_cannot_serve_changes_nothing(
    loop: Loop, second: ModelVersion, moved: ModelVersion
) -> None:
    from mlflow import MlflowClient

    bare = (
        MlflowClient()
        .create_model_version(CASE, f"runs:/{second.run_id}/model", run_id=second.run_id)
        .version
    )
    for version, said in (
        (str(bare), "has no model package"),
        ("999", "version 999 of 'toy_reign'"),
    ):
        outcome = loop.run(adopt, CASE, version=version, by="Ana", why="a try")
        assert outcome.name == "Failed" and said in outcome.message
    assert (
        loop.run(adopt, CASE, version=second.number, by=" ", why="nobody says so").name == "Failed"
    )
    assert loop.crowned(CASE) == moved.number


def test_champion_that_was_deleted_is_rolled_back_from(
    loop: Loop, second: ModelVersion, moved: ModelVersion
) -> None:
    delete(moved)
    refused = loop.run(promote, CASE, version=second.number)
    assert refused.name == "Failed" and f"Champion {moved.number} of '{CASE}'" in refused.message
    assert loop.served(CASE) == moved.number
    outcome = loop.run(rollback, CASE, reason="the champion was deleted")
    assert outcome.name == "Completed" and f"Version {second.number} serves" in outcome.message
    assert (loop.crowned(CASE), loop.served(CASE)) == (second.number, second.number)


def test_crown_that_is_given_to_nobody_makes_room_for_a_first_champion(
    loop: Loop, first: ModelVersion, second: ModelVersion
) -> None:
    outcome = loop.run(adopt, CASE, version="none", by="Ana", why="another question is asked now")
    assert (
        outcome.name == "Completed"
        and loop.crowned(CASE) is None
        and loop.served(CASE) == second.number
    )
    assert "left the crown vacant" in outcome.told[0]
    challenger = loop.plant(CASE, "2024-03", TO_MAY[:2])
    won = loop.run(promote, CASE)
    assert won.name == "Completed" and "the first champion of" in won.message
    contest = loop.decisions(CASE, "contest")[-1]
    assert (contest["champion"], contest["challenger"], contest["verdict"]) == (
        None,
        challenger.number,
        "promote",
    )
