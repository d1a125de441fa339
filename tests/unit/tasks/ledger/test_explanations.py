"""Answers from the ledger, on planted entries: who was champion when and why, and why nothing was
retrained.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.lake import Lake
from serving.records.contest import Comparison, Contest
from serving.records.ledger import Change, Decision, Entry, Kind
from serving.records.rollout import Rollout, Stage
from tasks.ledger.entries import read
from tasks.ledger.explanations import alias_in_words, champion_in_words, retrain_in_words, until
from tasks.ledger.reign import last_crowned
from tests.fixtures.ledgers import append_in_lake
from usecases.definition import RetrainPolicy

MORNING = datetime(2026, 11, 21, 8, tzinfo=UTC)
MAIN = Comparison(
    metric="roc_auc", rows=1680, champion=0.81, challenger=0.9, gain=0.09, low=0.07, high=0.11
)
CONTEST = Contest(
    verdict="suspicious",
    reasons=["a leak?"],
    blocks=28,
    replicates=400,
    confidence=0.95,
    seed=0,
    main=MAIN,
)


def clock(hours: float) -> str:
    return (MORNING + timedelta(hours=hours)).isoformat(timespec="milliseconds")


def entry_at(hours: float, kind: Kind, verdict: str, *reasons: str, **changes: object) -> Decision:
    fields = {
        "use_case": "toy",
        "time": clock(hours),
        "kind": kind,
        "verdict": verdict,
        "reasons": list(reasons),
        "by": "http://p/run",
        "run": None,
    }
    return Decision(**(fields | changes))


def test_a_rollout_is_told_step_by_step(tmp_path: Path) -> None:
    stages = [Stage(kind="canary", steps=[0.1, 1.0])]
    at = Rollout(id="4-a", stages=stages, since=clock(5))
    steps = [
        entry_at(5, "rollout", "began", "a plan", version="4", champion="2", rollout=at),
        entry_at(6, "rollout", "stepped", "1,000 rows", version="4", champion="2", rollout=at),
    ]
    entries = ledger(tmp_path, *HISTORY[:2], *steps)
    text = champion_in_words("toy", entries, MORNING + timedelta(hours=9))
    assert "**Rollout** of version 4 beside champion 2" in text
    assert "*began*: a plan" in text and "*stepped*: 1,000 rows" in text
    won = entry_at(
        7, "rollout", "won", "done", version="4", champion="2", challenger="3", rollout=at
    )
    crown = entry_at(7, "crown", "crowned", "done", version="4", champion="2", challenger="3")
    crowned = ledger(tmp_path, won, crown)
    assert "*won*: done" in champion_in_words("toy", crowned, MORNING + timedelta(hours=9))


def ledger(folder: Path, *decisions: Decision) -> list[Entry]:
    store = Lake(url=f"file://{folder}/lake")
    for decision in decisions:
        append_in_lake(store, decision)
    return read(store, "toy")


HISTORY = (
    entry_at(
        0,
        "contest",
        "promote",
        "no champion yet",
        challenger="1",
        holdout="2024-03",
        dataset_version="d1",
        gate_score=0.95,
    ),
    entry_at(
        0.1,
        "crown",
        "crowned",
        "no champion yet",
        version="2",
        challenger="1",
        holdout="2024-03",
        dataset_version="d1",
    ),
    entry_at(
        1,
        "contest",
        "suspicious",
        "a leak?",
        challenger="3",
        champion="2",
        holdout="2024-05",
        dataset_version="d2",
        contest=CONTEST,
    ),
    entry_at(1.1, "approval", "asked", challenger="3", run="asker", facts={"until": clock(25)}),
    entry_at(
        2,
        "approval",
        "approved",
        challenger="3",
        run="asker",
        facts={"by": "Kim", "why": "the new sensor"},
    ),
    entry_at(
        2.1,
        "crown",
        "crowned",
        "approved by Kim",
        version="4",
        challenger="3",
        champion="2",
        holdout="2024-05",
        dataset_version="d2",
    ),
    entry_at(3, "rollback", "rollback", "too many complaints", version="2", champion="4"),
)


def champion_at(entries: list[Entry], hours: float) -> str:
    moment = MORNING + timedelta(hours=hours)
    return champion_in_words("toy", until(entries, moment, MORNING + timedelta(days=30)), moment)


def test_before_the_first_champion_there_was_nobody_and_that_is_said(tmp_path: Path) -> None:
    entries = ledger(tmp_path, *HISTORY)
    assert "Nobody: no contest was held before that. The ledger had 0 entries." in champion_at(
        entries, -1
    )
    assert "Nobody: no challenger was crowned before that." in champion_at(entries, 0.05)


def test_the_first_champion_with_its_contest_and_its_data(tmp_path: Path) -> None:
    text = champion_at(ledger(tmp_path, *HISTORY), 0.5)
    assert (
        "# Who was champion of toy at 2026-11-21 08:30 UTC" in text
        and "**Version 2**, since 2026-11-21 08:06 UTC." in text
    )
    assert (
        "as the first champion: no champion yet. (`decisions/toy/00000002.json`, [its "
        "run](http://p/run))"
    ) in text
    assert (
        "challenger 1 against no champion on 2024-03: *promote*" in text
        and "It scored 0.9500" in text
    )
    assert "dataset version `d1`, judged on 2024-03" in text and "Approval" not in text


def test_a_champion_that_a_person_approved_with_scores_interval_and_who_and_why(
    tmp_path: Path,
) -> None:
    text = champion_at(ledger(tmp_path, *HISTORY), 2.5)
    assert "**Version 4**" in text and "after version 2" in text
    assert (
        "roc_auc 0.9000 against 0.8100, gain +0.0900, interval +0.0700 – +0.1100, each "
        "bound at 95 %, on 1,680 rows in 28 blocks."
    ) in text
    assert "**Approval** was requested at 2026-11-21 09:06 UTC" in text
    assert "**Approval:** approved by Kim at 2026-11-21 10:00 UTC: the new sensor." in text
    assert "(`decisions/toy/00000005.json`" in text


def test_after_a_rollback_it_is_the_earlier_one_with_the_reason_and_how_it_got_the_crown_first(
    tmp_path: Path,
) -> None:
    text = champion_at(ledger(tmp_path, *HISTORY), 3)
    assert "**Version 2**, since 2026-11-21 11:00 UTC." in text
    assert "It got the crown back from version 4 by a rollback: too many complaints." in text
    assert (
        "It was first crowned at 2026-11-21 08:06 UTC." in text
        and "challenger 1 against no champion" in text
    )


def test_a_crowning_that_failed_changes_no_champion(tmp_path: Path) -> None:
    failed = entry_at(4, "crown", "failed", "not served", version="6", challenger="5", champion="2")
    assert "**Version 2**" in champion_at(ledger(tmp_path, *HISTORY, failed), 5)


def test_a_champion_without_a_contest_in_the_ledger_is_told_as_such(tmp_path: Path) -> None:
    text = champion_at(ledger(tmp_path, entry_at(0, "crown", "crowned", version="7")), 1)
    assert (
        "The ledger has no contest that led to it." in text
        and "dataset version `not known`" in text
    )


def test_what_the_challenger_changed_in_the_definition_is_told_also_if_it_lost(
    tmp_path: Path,
) -> None:
    changes = [
        Change(name="gate.threshold", before="0.75", after="0.8"),
        Change(name="columns.wind", before=None, after="kind='number'"),
    ]
    lost = entry_at(
        4, "contest", "keep", "no gain", challenger="5", champion="2", holdout="2024-06",
        contest=CONTEST, changes=changes,
    )  # fmt: skip
    entries = ledger(tmp_path, *HISTORY, lost)
    text = champion_at(entries, 5)
    assert "Since then: **Contest:** challenger 5 against champion 2 on 2024-06: *keep*" in text
    assert text.endswith(
        "**Changed in the definition:** `gate.threshold`: `0.75` → `0.8`; `columns.wind` is new: "
        "`kind='number'`."
    )
    assert "Changed in the definition" not in champion_at(entries, 3)


def test_an_alias_that_was_moved_by_hand_is_told(tmp_path: Path) -> None:
    crowned = last_crowned(ledger(tmp_path, *HISTORY))
    assert alias_in_words(crowned, "2") == alias_in_words(None, None) == []
    assert (
        "alias `champion` is at version 9, and the ledger crowned version 2 last"
        in alias_in_words(crowned, "9")[0]
    )
    assert (
        "alias `champion` is gone, and the ledger crowned version 2 last"
        in alias_in_words(crowned, None)[0]
    )
    assert "is at version 9, and the ledger crowned nobody" in alias_in_words(None, "9")[0]


START = entry_at(0, "retrain", "started", "drift in 2024-05: first", run="r1")


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ([], "Nothing requested a retrain: the ledger has no drift check and no retrain."),
        (
            [entry_at(0, "drift", "stable", "all well", window="2024-05")],
            "The last check found no drift, and nothing else starts an automatic retrain",
        ),
        (
            [entry_at(0, "drift", "broken", "unit jump", window="2024-05")],
            "something other than drift, which never starts a retrain: *broken* in 2024-05: "
            "unit jump",
        ),
        (
            [entry_at(0, "drift", "silent", window="2024-05")],
            "something other than drift, which never starts a retrain: *silent* in 2024-05",
        ),
        (
            [entry_at(0, "drift", "drifted", window="2024-05")],
            "look at the automation `retrain toy on drift` and at the worker",
        ),
        ([START], "and has not ended: it is running, or it was killed"),
        (
            [START, entry_at(0, "retrain", "nothing to do", "no later labels", run="r1")],
            "with this result at 2026-11-21 08:00 UTC: *nothing to do*: no later",
        ),
        (
            [START, entry_at(0.2, "refusal", "cooldown", "too soon")],
            "A retrain was requested at 2026-11-21 08:12 UTC and refused: too soon",
        ),
    ],
    ids=lambda value: (
        None
        if isinstance(value, str)
        else " ".join(f"{decision.kind} {decision.verdict}" for decision in value) or "empty"
    ),
)
def test_why_it_did_not_retrain_is_the_last_word_of_check_refusal_or_run(
    tmp_path: Path, last: list[Decision], words: str
) -> None:
    assert words in retrain_in_words(
        "toy", RetrainPolicy(), ledger(tmp_path, *last), MORNING + timedelta(hours=1)
    )


def test_the_answer_lists_what_happened_and_says_how_far_the_breaker_is(tmp_path: Path) -> None:
    policy = RetrainPolicy(cooldown_hours=1, breaker_rejections=2, breaker_hours=10)
    contests = [
        entry_at(hour, "contest", "keep", "no better", challenger=str(hour + 2), champion="1")
        for hour in (1, 2)
    ]
    entries = ledger(
        tmp_path, entry_at(0.9, "drift", "drifted", "share 0.5", window="2024-05"), START, *contests
    )
    text = retrain_in_words("toy", policy, entries, MORNING + timedelta(hours=3))
    assert "**Breaker:** open until 2026-11-21 20:00 UTC; 2 of 2 rejections in a row." in text
    assert "**An automatic retrain** could start at that time: no, the breaker is open" in text
    assert (
        "- 2026-11-21 08:54 UTC: *drifted* in 2024-05: share 0.5" in text
        and "**Refusals:** the ledger has none." in text
    )
    crashed = ledger(
        tmp_path / "crashed",
        START,
        entry_at(1, "retrain", "crashed", "killed", run=START.run),
        contests[1],
    )
    assert "2 of 2 rejections in a row, 1 of them crashed runs." in retrain_in_words(
        "toy", policy, crashed, MORNING + timedelta(hours=3)
    )
    later = retrain_in_words("toy", policy, entries, MORNING + timedelta(hours=12))
    assert "**Breaker:** closed; 2 of 2" in later and "could start at that time: yes." in later


def test_an_entry_whose_clock_was_ahead_is_not_left_out_for_ever(tmp_path: Path) -> None:
    entries = ledger(
        tmp_path,
        entry_at(24 * 365, "crown", "crowned", version="2"),
        entry_at(1, "drift", "stable", window="2024-05"),
    )
    assert "**Version 2**" in champion_at(entries, 1)
    assert "Nobody" in champion_at(entries, 0.5)
