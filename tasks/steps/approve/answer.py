"""The effect of the answer to an approval: approved, rejected, or expired. It goes to the ledger,
and to people."""

import time
from dataclasses import replace
from datetime import UTC, datetime

from prefect import get_run_logger, task

from blocks.clients.registry import CHALLENGER
from serving.records.ledger import Decision
from serving.records.reasons import Reason, because
from tasks.ledger.entries import author, decision_of, now, read, record
from tasks.ledger.reign import find_champion, look
from tasks.messages.announcements import approval_answered
from tasks.outside.blocks_of_run import PATIENT, RESUMED, lake, registry, tell
from tasks.steps.approve.ask import newer_question, pending, time_limit
from tasks.steps.approve.runs import answered_at, call_off, ended_as, say_no

TIME_LIMIT = "the time limit"


@task(**RESUMED)
def judge_answer(question: Decision, approved: bool, by: str, why: str) -> Decision:
    """Judge the answer as approved, rejected, or expired, and record and tell it.

    A yes does not count after the time limit, when a newer challenger asks, or when the champion is
    no longer the one that the challenger contested. A run that is started again finds its answer in
    the ledger."""
    entries = read(lake(), question.use_case)
    questions = [
        entry
        for entry in entries
        if entry.kind == "approval" and entry.run == question.run and entry.verdict != "asked"
    ]
    if questions:  # the rest is repeated: nobody knows how far the previous try came
        decision = decision_of(questions[-1])
    else:
        verdict, reason = _judge(question, approved, by, why)
        decision = replace(
            question,
            verdict=verdict,
            reasons=[reason],
            by=author(),
            time=now(),
            facts={"by": by, "why": why},
            contest=None,
        )
        record(decision)
    verdict, recorded = decision.verdict, decision.reasons[0]
    store = registry()
    store.tag(
        store.version(decision.use_case, str(decision.challenger)),
        {"laurel.approval": f"{verdict}: {recorded}"[:4000]},
    )
    for limit in str(question.facts["time_limit"]).split():
        call_off(limit, f"{verdict}: {recorded}")
    _tell(decision)
    return decision


def _judge(question: Decision, approved: bool, by: str, why: str) -> tuple[str, Reason]:
    if newer := newer_question(question):
        return "rejected", because("withdrawn", challenger=newer.challenger)
    if is_expired(question, by, answered_at(str(question.run))):
        return "expired", because("nobody_answered", hours=question.facts["hours"])
    if not approved:
        return "rejected", _said_no(by, why)
    reign = look(lake(), registry(), question.use_case)
    # A deleted alias is set again, or the run fails with the reason: no alias does not mean no
    # champion.
    champion = find_champion(question.use_case) if reign.holder is None else reign.holder
    if (champion.number if champion else None) != question.champion:
        return "rejected", because(
            "approved_too_late",
            by=by,
            contested=question.champion or because("none"),
            holder=because("version_named", version=champion.number)
            if champion
            else because("nobody"),
        )
    return "approved", _said_yes(by, why)


def _said_yes(by: str, why: str) -> Reason:
    return because("approved_because", by=by, why=why) if why else because("approved", by=by)


def _said_no(by: str, why: str) -> Reason:
    return because("rejected_because", by=by, why=why) if why else because("rejected", by=by)


def is_expired(question: Decision, by: str, moment: datetime) -> bool:
    """Return whether an answer came at the time limit or later, or is the time limit's own."""
    return by == TIME_LIMIT or moment >= time_limit(question)


def seconds_early(question: Decision, at: datetime) -> float:
    """Return how long the time limit's run has to wait yet: Prefect rounds to seconds, and begins a
    run up to half a second early.

    At most a second: whoever starts that run by hand wants it over now."""
    return min(max((time_limit(question) - at).total_seconds(), 0.0), 1.0)


@task(**PATIENT)
def end_waiting(use_case: str, run: str) -> str:
    """Reject the waiting run at the time limit. Returns what came of it.

    If the run is over without an answer (cancelled in Prefect, or crashed), the ledger gets its
    *expired* here."""
    waiting = [
        question
        for question in pending([decision_of(entry) for entry in read(lake(), use_case)])
        if question.run == run
    ]
    if not waiting:
        return "It was already answered."
    time.sleep(seconds_early(waiting[0], datetime.now(UTC)))
    state = say_no(run, TIME_LIMIT, "nobody answered")
    if state is None:
        return "Nobody answered: it is rejected."
    end = ended_as(run)
    if end is None:
        return f"The waiting run is {state}: it will find that its time is over."
    question = next(
        (
            question
            for question in pending([decision_of(entry) for entry in read(lake(), use_case)])
            if question.run == run
        ),
        None,
    )
    if question is None:
        return "It was already answered."
    why = f"the run that waited ended as {end}"
    decision = replace(
        question,
        time=now(),
        verdict="expired",
        reasons=[because("waiting_run_ended", state=end)],
        contest=None,
        facts={"by": TIME_LIMIT, "why": why},
    )
    record(decision)
    store = registry()
    holder = store.at(use_case, CHALLENGER)
    if holder is not None and holder.number == question.challenger:
        store.remove_alias(use_case, CHALLENGER)
    _tell(decision)
    return f"Nobody answered, and the run that waited ended as {end}."


def _tell(decision: Decision) -> None:
    tell(
        approval_answered(
            decision.use_case,
            challenger_version=str(decision.challenger),
            champion_version=decision.champion,
            verdict=decision.verdict,
            by=str(decision.facts["by"]),
            reason=decision.reasons[0],
        )
    )
    get_run_logger().info(
        "approval use_case=%s challenger=%s %s: %s",
        decision.use_case,
        decision.challenger,
        decision.verdict,
        decision.reasons[0],
    )
