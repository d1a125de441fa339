"""The governor, on planted ledgers: each rule says no and yes, and neither a restart nor a wrong
clock misleads it."""

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.lake import Lake
from serving.records.chain import FIRST, path_of
from serving.records.ledger import Decision, Entry, Kind
from serving.records.record import encode, fields_of
from serving.records.rollout import Rollout, Stage
from tasks.ledger.entries import read_back
from tasks.ledger.governor import (
    Refusal,
    breaker_of,
    is_enough,
    may_retrain,
    open_starts,
    trusted_times,
)
from usecases.definition import RetrainPolicy

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FREE = RetrainPolicy(cooldown_hours=0, runs_per_day=1000, breaker_rejections=1000)
_runs = count(1)


def entry(kind: Kind, verdict: str, hours_ago: float = 10, **changes: object) -> Decision:
    time = (NOON - hours_ago * HOUR).isoformat(timespec="milliseconds")
    fields = {
        "use_case": "toy",
        "time": time,
        "kind": kind,
        "verdict": verdict,
        "reasons": [],
        "by": "a test",
        "run": None,
    }
    return Decision(**(fields | changes))


def start(hours_ago: float, run: str | None = None) -> Decision:
    return entry("retrain", "started", hours_ago, run=run or f"run {next(_runs)}")


def rejection(challenger: int, hours_ago: float = 10, verdict: str = "keep") -> Decision:
    return entry("contest", verdict, hours_ago, challenger=str(challenger), champion="1")


def refused(refusal: Refusal | None) -> str | None:
    return refusal.verdict if refusal else None


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ([], "running"),
        ([("judged", "rollout"), ("drifted", "drift")], "running"),
        ([("won", "rollout")], "running"),
        ([("won", "rollout"), ("crowned", "crown")], None),
        ([("won", "rollout"), ("failed", "crown")], "running"),
        ([("lost", "rollout")], None),
        ([("reverted", "rollout")], None),
    ],
)
def test_no_retrain_starts_by_itself_while_a_rollout_runs(
    after: list[tuple[str, Kind]], verdict: str | None
) -> None:
    at = Rollout(id="4-a", stages=[Stage(kind="shadow")], since=NOON.isoformat())
    entries = [entry("rollout", "began", version="4", champion="2", rollout=at)]
    entries += [
        entry(kind, word, version="4", rollout=at if kind == "rollout" else None)
        for word, kind in after
    ]
    refusal = may_retrain(FREE, entries, NOON)
    assert refused(refusal) == verdict
    assert refusal is None or "laurel run rollout toy --param do=revert" in refusal.reason


def test_a_challenger_that_lost_its_rollout_is_a_rejection() -> None:
    policy = RetrainPolicy(cooldown_hours=0, runs_per_day=1000, breaker_rejections=2)
    lost = [entry("rollout", "lost", challenger=str(number)) for number in (3, 4)]
    assert refused(may_retrain(policy, lost[:1], NOON)) is None
    assert refused(may_retrain(policy, lost, NOON)) == "breaker"


def test_an_empty_ledger_lets_the_first_retrain_start() -> None:
    assert may_retrain(RetrainPolicy(), [], NOON) is None


def test_within_the_cooldown_none_starts_and_after_it_one_does() -> None:
    policy = FREE.model_copy(update={"cooldown_hours": 2})
    refusal = may_retrain(policy, [start(1.5)], NOON)
    assert refusal == Refusal(
        "cooldown",
        "the last retrain started at 2026-11-21 10:30 UTC, and the next may start 2 h after "
        "it, at 2026-11-21 12:30 UTC",
        NOON + 0.5 * HOUR,
    )
    assert may_retrain(policy, [start(1.5)], NOON + 0.5 * HOUR) is None


def test_a_run_that_never_ended_counts_for_cooldown_and_budget() -> None:
    """A killed run: there is a start, and nothing after it."""
    killed = [start(0.5), start(0.1)]
    assert (
        refused(may_retrain(FREE.model_copy(update={"cooldown_hours": 1}), killed, NOON))
        == "cooldown"
    )
    assert (
        refused(may_retrain(FREE.model_copy(update={"runs_per_day": 2}), killed, NOON)) == "budget"
    )


def test_the_budget_is_of_any_24_hours_and_says_when_the_oldest_start_leaves_it() -> None:
    policy = FREE.model_copy(update={"runs_per_day": 3})
    starts = [start(23.5), start(12), start(1)]
    refusal = may_retrain(policy, starts, NOON)
    assert refusal is not None and (refusal.verdict, refusal.until) == ("budget", NOON + 0.5 * HOUR)
    assert (
        refusal.reason
        == "3 retrains started within 24 h, and 3 are allowed a day; the next may start at "
        "2026-11-21 12:30 UTC"
    )
    assert may_retrain(policy, starts[1:], NOON) is None
    assert may_retrain(policy, starts, NOON + 0.5 * HOUR) is None
    # By hand two more were started: the budget is free when only two of the five are left.
    more = may_retrain(policy, [*starts, start(0.5), start(0.2)], NOON)
    assert more is not None and more.until == NOON + 23 * HOUR


def test_a_run_that_found_nothing_to_do_uses_the_cooldown_and_not_the_budget() -> None:
    policy = FREE.model_copy(update={"runs_per_day": 1})
    idle = [start(0.5, "idle"), entry("retrain", "nothing to do", 0.5, run="idle")]
    assert may_retrain(policy, idle, NOON) is None
    assert refused(may_retrain(policy, [*idle, start(0.4)], NOON)) == "budget"
    assert (
        refused(may_retrain(FREE.model_copy(update={"cooldown_hours": 1}), idle, NOON))
        == "cooldown"
    )


def test_a_crashed_run_uses_the_cooldown_and_not_the_budget_and_a_cancelled_one_neither() -> None:
    policy = FREE.model_copy(update={"cooldown_hours": 1, "runs_per_day": 2})
    cancelled = [
        decision
        for run in "abcd"
        for decision in (start(0.5, run), entry("retrain", "cancelled", 0.4, run=run))
    ]
    assert may_retrain(policy, cancelled, NOON) is None
    crashed = [
        decision
        for run in "abcd"
        for decision in (start(0.5, run), entry("retrain", "crashed", 0.4, run=run))
    ]
    assert refused(may_retrain(policy, crashed, NOON)) == "cooldown"
    assert may_retrain(policy, crashed, NOON + HOUR) is None


def test_runs_that_crash_again_and_again_open_the_breaker() -> None:
    policy = FREE.model_copy(update={"breaker_rejections": 3, "breaker_hours": 72})
    crashes = [
        decision
        for run in "abc"
        for decision in (start(5, run), entry("retrain", "crashed", 4, run=run))
    ]
    refusal = may_retrain(policy, crashes, NOON)
    assert refusal is not None and refusal.reason.startswith(
        "the breaker is open: 3 runs crashed. It closes at "
    )
    mixed = [rejection(1), rejection(2), *crashes[:2]]
    refusal = may_retrain(policy, mixed, NOON)
    assert (
        refusal is not None
        and "2 challengers in a row were not promoted and 1 run crashed" in refusal.reason
    )
    assert (
        may_retrain(policy, [*crashes, start(3, "c"), entry("retrain", "kept", 2, run="c")], NOON)
        is None
    )
    assert may_retrain(policy, [*crashes, entry("breaker", "closed", 1)], NOON) is None


def test_a_start_is_open_until_its_run_has_an_end() -> None:
    ledger = [start(3, "a"), start(2, "b"), entry("retrain", "crashed", 1, run="a")]
    assert [start_entry.run for start_entry in open_starts(ledger)] == ["b"]
    assert [start_entry.run for start_entry in open_starts([*ledger, start(0.5, "a")])] == [
        "b",
        "a",
    ]


def test_a_run_that_was_lost_and_noted_its_start_again_counts_once() -> None:
    policy = FREE.model_copy(update={"runs_per_day": 2})
    assert may_retrain(policy, [start(2, "lost"), start(1, "lost")], NOON) is None


BREAKER = FREE.model_copy(update={"breaker_rejections": 3, "breaker_hours": 24})


def test_the_breaker_opens_after_so_many_rejections_in_a_row_and_closes_after_its_time() -> None:
    rejections = [rejection(2, 30), rejection(3, 20), rejection(4, 10)]
    assert may_retrain(BREAKER, rejections[:2], NOON) is None
    refusal = may_retrain(BREAKER, rejections, NOON)
    assert refusal is not None and (refusal.verdict, refusal.until) == ("breaker", NOON + 14 * HOUR)
    assert (
        "3 challengers in a row were not promoted" in refusal.reason
        and "laurel run close-breaker toy" in refusal.reason
    )
    assert may_retrain(BREAKER, rejections, NOON + 14 * HOUR) is None


def test_after_its_time_one_rejection_opens_the_breaker_again() -> None:
    old = [rejection(number, 100 - number) for number in (2, 3, 4)]
    assert may_retrain(BREAKER, old, NOON) is None
    assert refused(may_retrain(BREAKER, [*old, rejection(5, 1)], NOON)) == "breaker"


@pytest.mark.parametrize(
    "closing",
    [
        entry("crown", "crowned", version="9"),
        entry("retrain", "promoted", run="a run"),
        entry("breaker", "closed"),
    ],
    ids=["crowned", "promoted", "closed by hand"],
)
def test_a_promotion_and_a_hand_each_begin_the_count_again(closing: Decision) -> None:
    rejections = [rejection(2, 12), rejection(3, 11), rejection(4, 10.5)]
    assert refused(may_retrain(BREAKER, rejections, NOON)) == "breaker"
    assert may_retrain(BREAKER, [*rejections, closing, rejection(5), rejection(6)], NOON) is None
    assert (
        refused(
            may_retrain(
                BREAKER, [*rejections, closing, rejection(5), rejection(6), rejection(7)], NOON
            )
        )
        == "breaker"
    )


@pytest.mark.parametrize(
    ("decision", "rejections"),
    [
        (rejection(2, verdict="keep"), 1),
        (rejection(2, verdict="suspicious"), 1),
        (rejection(2, verdict="unfair"), 1),
        (rejection(2, verdict="inconclusive"), 1),
        (rejection(2, verdict="promote"), 0),
        (entry("approval", "rejected", challenger="2"), 1),
        (entry("approval", "expired", challenger="2"), 1),
        (entry("approval", "approved", challenger="2"), 0),
        (entry("crown", "failed", version="3", challenger="2"), 1),
        (entry("retrain", "below the gate", run="a run"), 1),
        (entry("retrain", "failed", run="a run"), 0),
        (entry("retrain", "nothing to do", run="a run"), 0),
        (entry("retrain", "kept", run="a run"), 0),
        (entry("rollback", "rollback", version="1"), 0),
        (entry("drift", "drifted"), 0),
        (entry("refusal", "cooldown"), 0),
    ],
    ids=lambda value: f"{value.kind} {value.verdict}" if isinstance(value, Decision) else None,
)
def test_what_counts_as_a_rejected_challenger(decision: Decision, rejections: int) -> None:
    assert breaker_of(FREE, [decision], NOON).rejections == rejections


def test_one_challenger_is_rejected_once_however_often_the_ledger_says_so() -> None:
    """The contest kept the champion, somebody held the contest again, and the challenger's run
    ended as kept."""
    entries = [rejection(2), rejection(2), entry("retrain", "kept", run="a run", challenger="2")]
    assert breaker_of(FREE, entries, NOON).rejections == 1


def test_a_suspicious_challenger_is_no_rejection_until_the_person_says_no() -> None:
    question = entry(
        "approval", "asked", challenger="2", run="asker", facts={"until": (NOON - HOUR).isoformat()}
    )
    entries = [rejection(2, verdict="suspicious"), question]
    assert breaker_of(FREE, entries, NOON).rejections == 0
    assert (
        breaker_of(
            FREE, [*entries, entry("approval", "rejected", challenger="2", run="asker")], NOON
        ).rejections
        == 1
    )


def test_while_a_challenger_waits_for_approval_none_starts_until_the_answer_or_the_time_limit() -> (
    None
):
    question = entry(
        "approval", "asked", challenger="2", run="asker", facts={"until": (NOON + HOUR).isoformat()}
    )
    refusal = may_retrain(FREE, [question], NOON)
    assert refusal is not None and (refusal.verdict, refusal.until) == ("running", NOON + HOUR)
    assert refusal.reason == "challenger 2 waits for approval until 2026-11-21 13:00 UTC: run asker"
    assert (
        may_retrain(
            FREE, [question, entry("approval", "approved", challenger="2", run="asker")], NOON
        )
        is None
    )
    assert may_retrain(FREE, [question], NOON + HOUR) is None


def test_of_several_reasons_the_one_that_lasts_longest_is_told() -> None:
    policy = RetrainPolicy(cooldown_hours=1, runs_per_day=1, breaker_rejections=1, breaker_hours=2)
    entries = [start(0.5), rejection(2, 0.4)]
    assert refused(may_retrain(policy, entries, NOON)) == "budget"
    assert (
        refused(may_retrain(policy.model_copy(update={"breaker_hours": 48}), entries, NOON))
        == "breaker"
    )
    assert (
        refused(may_retrain(policy.model_copy(update={"cooldown_hours": 30}), entries, NOON))
        == "cooldown"
    )


def test_a_clock_that_was_ahead_holds_a_retrain_back_for_one_cooldown_and_not_for_ever() -> None:
    policy = FREE.model_copy(update={"cooldown_hours": 1})
    ahead = [start(-24 * 365)]
    first = may_retrain(policy, ahead, NOON)
    assert first is not None and first.until == NOON + HOUR
    recorded = [*ahead, entry("refusal", "cooldown", 0)]
    later = may_retrain(policy, recorded, NOON + 0.9 * HOUR)
    assert later is not None and later.until == NOON + HOUR
    assert may_retrain(policy, recorded, NOON + HOUR) is None


def test_a_clock_that_was_behind_lets_none_through() -> None:
    """The start claims to be a month old, and comes after an entry of half an hour ago."""
    policy = FREE.model_copy(update={"cooldown_hours": 1})
    behind = [entry("drift", "drifted", 0.5), start(24 * 30)]
    assert refused(may_retrain(policy, behind, NOON)) == "cooldown"
    assert (
        refused(may_retrain(policy, [start(0.5), entry("drift", "stable", 24 * 30)], NOON))
        == "cooldown"
    )


@pytest.mark.parametrize("time", ["yesterday", "2026-11-21T10:00:00"])
def test_a_time_that_says_no_zone_is_an_error_that_names_it(time: str) -> None:
    with pytest.raises(ValueError, match=time):
        may_retrain(RetrainPolicy(), [entry("retrain", "started", run="a run", time=time)], NOON)
    with pytest.raises(ValueError, match="has no time zone"):
        may_retrain(RetrainPolicy(), [], datetime(2026, 11, 21))  # noqa: DTZ001 - what is refused


hours = st.floats(-1000, 1000)


@given(st.lists(hours, max_size=12))
def test_trusted_times_are_in_the_order_of_the_ledger_and_none_is_to_come(ago: list[float]) -> None:
    times = trusted_times([start(hours_ago) for hours_ago in ago], NOON)
    assert times == sorted(times) and all(time <= NOON for time in times)


@given(st.lists(st.tuples(st.sampled_from(["start", "reject", "crown"]), hours), max_size=12))
def test_whatever_stands_there_who_asks_again_when_told_to_is_let_through_in_the_end(
    events: list[tuple[str, float]],
) -> None:
    """Each refusal is recorded, as in the flow: each rule refuses at most once more."""
    policy = RetrainPolicy(cooldown_hours=3, runs_per_day=2, breaker_rejections=2, breaker_hours=30)
    makers = {
        "start": lambda ago: start(ago),
        "reject": lambda ago: rejection(next(_runs), ago),
        "crown": lambda ago: entry("crown", "crowned", ago),
    }
    entries, at = [makers[event](ago) for event, ago in events], NOON
    for _ in range(8):
        refusal = may_retrain(policy, entries, at)
        if refusal is None:
            return
        assert refusal.until is not None and at < refusal.until <= at + 30 * HOUR
        entries.append(entry("refusal", refusal.verdict, 0, time=at.isoformat()))
        at = refusal.until
    raise AssertionError(f"still refused at {at}: {refusal}")


def lived(seed: int, entries: int = 400, skew_hours: float = 2) -> list[Decision]:
    """A ledger as flows write it, one retrain at a time, by machines whose clocks differ."""
    chance, decisions, now = Random(seed), list[Decision](), float(entries * 4)
    open_run, challenger = "", 0

    def add(kind: Kind, verdict: str, **changes: object) -> None:
        ago = max(0.0, now + chance.uniform(-skew_hours, skew_hours))
        decisions.append(entry(kind, verdict, ago, **changes))

    while len(decisions) < entries:
        now -= chance.choice([0.1, 1, 6])
        if open_run:
            challenger += 1
            end = chance.choice(["promoted", "kept", "kept", "crashed", "cancelled", "failed"])
            if end == "kept":
                add("contest", "keep", challenger=str(challenger))
            elif end == "promoted":
                add("crown", "crowned", version=str(challenger))
            add("retrain", end, run=open_run)
            open_run = ""
        elif chance.random() < 0.25:
            open_run = f"run {len(decisions)}"
            add("retrain", "started", run=open_run)
        else:
            add(*chance.choice([("drift", "stable"), ("drift", "drifted"), ("refusal", "budget")]))
    return decisions


@pytest.mark.parametrize("seed", range(60))
def test_governor_says_the_same_of_the_entries_that_are_enough(seed: int) -> None:
    policy = RetrainPolicy(cooldown_hours=3, runs_per_day=3, breaker_rejections=2 + seed % 4)
    decisions = lived(seed)
    for end in range(40, len(decisions) + 1, 30):
        ledger = decisions[:end]
        at = datetime.fromisoformat(ledger[-1].time) + HOUR
        first = next((n for n in range(end - 1, -1, -1) if is_enough(policy, ledger[n:], at)), 0)
        whole, latest = (may_retrain(policy, part, at) for part in (ledger, ledger[first:]))
        assert open_starts(ledger[first:]) == open_starts(ledger)
        if whole is None or latest is None:
            assert whole == latest
        else:
            assert (whole.verdict, whole.until) == (latest.verdict, latest.until)
            assert whole.verdict == "breaker" or whole == latest


def test_governor_reads_a_part_of_a_long_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, read_paths, read = Lake(url=f"file://{tmp_path}"), list[str](), Lake.read

    def counted(self: Lake, path: str) -> bytes:
        read_paths.append(path)
        return read(self, path)

    monkeypatch.setattr(Lake, "read", counted)
    decisions = lived(7, 2000)
    for number, decision in enumerate(decisions, 1):
        placed = Entry(**fields_of(decision), sequence=number, previous=FIRST)
        lake.write(path_of("toy", number), encode(placed))
    at = datetime.fromisoformat(decisions[-1].time) + HOUR
    entries = read_back(lake, "toy", lambda part: is_enough(RetrainPolicy(), part, at))
    assert len(read_paths) == len(entries) <= 128
    assert may_retrain(RetrainPolicy(), entries, at) == may_retrain(RetrainPolicy(), decisions, at)
