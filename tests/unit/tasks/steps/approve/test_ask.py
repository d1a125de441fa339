"""Approval: who is asked, which questions wait, and what the question contains."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from serving.records.ledger import Decision, Entry
from serving.records.record import fields_of
from tasks.ledger.entries import now
from tasks.steps.approve.answer import TIME_LIMIT, is_expired, seconds_early
from tasks.steps.approve.ask import in_words, needs_answer, pending
from tasks.steps.crown import stands
from usecases.definition import Approval


def approval(verdict: str, run: str, challenger: str = "3", **changes: object) -> Decision:
    fields = {
        "use_case": "toy",
        "time": now(),
        "kind": "approval",
        "verdict": verdict,
        "reasons": [],
        "by": "a test",
        "run": run,
        "challenger": challenger,
    }
    return Decision(**(fields | changes))


@pytest.mark.parametrize(
    ("ask", "verdicts"),
    [("never", set()), ("when_unsure", {"suspicious"}), ("always", {"suspicious", "promote"})],
)
def test_people_are_asked_of_what_the_use_case_wants_and_never_of_a_loser(
    ask: str, verdicts: set[str]
) -> None:
    policy = Approval.model_validate({"ask": ask})
    every = ("promote", "keep", "suspicious", "unfair", "inconclusive")
    assert {verdict for verdict in every if needs_answer(policy, verdict)} == verdicts


def test_a_champion_that_could_not_be_scored_is_for_a_person_to_judge() -> None:
    policies = {
        ask: Approval.model_validate({"ask": ask}) for ask in ("never", "when_unsure", "always")
    }
    needed = {
        ask: needs_answer(policy, "unfair", unscored=True) for ask, policy in policies.items()
    }
    assert needed == {"never": False, "when_unsure": True, "always": True}


def test_nobody_is_asked_where_the_use_case_says_nothing() -> None:
    assert not needs_answer(Approval(), "suspicious")


@pytest.mark.parametrize("hours", [0, -1, 145, float("nan")])
def test_time_limit_is_within_what_the_results_of_a_run_are_kept_for(hours: float) -> None:
    with pytest.raises(ValueError, match="hours"):
        Approval(ask="always", hours=hours)


def test_pending_are_the_questions_without_an_answer_oldest_first() -> None:
    entries = [
        approval("asked", "a"),
        approval("asked", "b"),
        approval("rejected", "a"),
        approval("asked", "c"),
        approval("asked", "d"),
        approval("expired", "c"),
    ]
    assert [question.run for question in pending(entries)] == ["b", "d"]
    assert pending([*entries, approval("approved", "b"), approval("rejected", "d")]) == []


def test_answers_to_other_runs_and_other_kinds_close_no_question() -> None:
    other = replace(approval("asked", "a"), kind="retrain", verdict="kept")
    assert [
        question.run
        for question in pending([approval("asked", "a"), other, approval("rejected", "z")])
    ] == ["a"]


def test_question_says_who_asks_and_until_when() -> None:
    facts = {"contest": "suspicious", "until": "2026-11-22T10:00:00.000+00:00"}
    words = in_words(
        approval("asked", "a", champion="2", holdout="2024-06", reasons=["too good"], facts=facts)
    )
    assert "May challenger 3 of toy take the crown from champion 2?" in words
    assert "The contest on 2024-06 says: suspicious." in words and "- too good" in words
    assert "No answer until 2026-11-22T10:00:00.000+00:00 counts as a no." in words


def test_an_answer_at_the_time_limit_or_by_it_is_no_answer() -> None:
    question, limit = (
        approval("asked", "a", facts={"until": "2026-11-22T10:00:00.000+00:00"}),
        datetime(2026, 11, 22, 10, tzinfo=UTC),
    )
    tick = timedelta(milliseconds=1)
    assert [is_expired(question, "Kim", at) for at in (limit - tick, limit, limit + tick)] == [
        False,
        True,
        True,
    ]
    assert is_expired(question, TIME_LIMIT, limit - tick)


@pytest.mark.parametrize(("early", "waits"), [(0.4, 0.4), (0, 0), (-5, 0), (3600, 1)])
def test_time_limit_that_begins_early_waits_for_its_time_and_one_by_hand_does_not(
    early: float, waits: float
) -> None:
    question, limit = (
        approval("asked", "a", facts={"until": "2026-11-22T10:00:00.000+00:00"}),
        datetime(2026, 11, 22, 10, tzinfo=UTC),
    )
    assert seconds_early(question, limit - timedelta(seconds=early)) == pytest.approx(waits)


def test_an_outcome_that_the_same_run_recorded_stands_already() -> None:
    crowned = approval("crowned", "a", kind="crown", version="4", champion="2")
    entry = Entry(**fields_of(crowned), sequence=1, previous="0" * 64)
    assert stands([entry], replace(crowned, time="later", reasons=["again"]))
    for change in (
        {"run": "b"},
        {"version": "5"},
        {"verdict": "failed"},
        {"kind": "rollback"},
        {"champion": "3"},
    ):
        assert not stands([entry], replace(crowned, **change)), change
    assert not stands([replace(entry, run=None)], replace(crowned, run=None)), (
        "direct calls are two events"
    )
