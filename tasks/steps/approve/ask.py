"""The question of an approval: whether a person is asked, what is asked, and who is told. Answers:
``tasks/steps/approve/answer.py``."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prefect import get_run_logger, task

from blocks.registry import ModelVersion
from serving.records.ledger import Decision, Entry
from tasks.ledger.entries import decision_of, now, read, record, root_run
from tasks.messages.announcements import approval_asked, number
from tasks.outside.artifacts import show_text
from tasks.outside.blocks_of_run import RESUMED, lake, registry, run_page, tell
from tasks.steps.approve.runs import begin, open_runs, say_no
from tasks.steps.crown import stands
from usecases.definition import Approval, load

WITHDRAWN = "Laurel"


class NoQuestion(LookupError):
    """The run has no question in the ledger: it was not started by ``promote``."""


def needs_answer(policy: Approval, verdict: str, unscored: bool = False) -> bool:
    """Return whether a person must agree to the contest's verdict. Nobody is asked about a
    challenger that lost.

    ``unscored``: the champion has another schema and could not be scored, so that only a person can
    judge."""
    unsure = verdict == "suspicious" or unscored
    return (verdict == "promote" and policy.ask == "always") or (unsure and policy.ask != "never")


def asks_person(decision: Decision) -> bool:
    """Return whether the use case wants a person's answer to the contest."""
    return needs_answer(
        load(decision.use_case).approval, decision.verdict, bool(decision.facts.get("unscored"))
    )


def pending(entries: Sequence[Decision]) -> list[Decision]:
    """Return the questions without an answer, oldest first. ``entries``: those of one use case, in
    the ledger's order."""
    open_questions: dict[str | None, Decision] = {}
    for entry in entries:
        if entry.kind == "approval" and entry.verdict == "asked":
            open_questions[entry.run] = entry
        elif entry.kind == "approval":
            open_questions.pop(entry.run, None)
    return list(open_questions.values())


@task(**RESUMED)
def ask_for_approval(challenger: ModelVersion, contest: Decision, seed: int) -> str:
    """Put the question into the ledger and start the run that waits for its answer. Returns that
    run's id.

    A use case has one question: an older one is withdrawn, since its contest is no longer the
    latest."""
    use_case, before = challenger.use_case, read(lake(), challenger.use_case)
    hours = load(use_case).approval.hours
    until = datetime.now(UTC) + timedelta(hours=hours)
    asked_by = root_run() or "a direct call"
    waiting, limits = open_runs(use_case, challenger.number, asked_by, until)
    facts = {
        **contest.facts,
        "until": until.isoformat(timespec="milliseconds"),
        "hours": hours,
        "contest": contest.verdict,
        "seed": float(seed),
    }
    question = replace(
        contest,
        kind="approval",
        verdict="asked",
        run=waiting,
        time=now(),
        promoted=False,
        facts={**facts, "asked_by": asked_by, "time_limit": " ".join(limits)},
    )
    if not stands(before, question):
        record(question)
    begin(waiting)
    for older in pending(before):
        if older.run is not None and older.run != waiting:
            say_no(older.run, WITHDRAWN, f"challenger {challenger.number} asks now")
    get_run_logger().info(
        "asked use_case=%s challenger=%s run=%s until=%s",
        use_case,
        challenger.number,
        waiting,
        facts["until"],
    )
    return waiting


@task(**RESUMED)
def find_question(use_case: str, version: str) -> Decision:
    """Return the question of this waiting run. Raises ``NoQuestion`` for a run that no contest
    started."""
    for entry in read(lake(), use_case):
        if (
            entry.kind == "approval"
            and entry.verdict == "asked"
            and entry.run == root_run()
            and entry.challenger == version
        ):
            return decision_of(entry)
    way = f"laurel run promote {use_case} --param version={version}"
    raise NoQuestion(
        f"No contest of version {version} of {use_case!r} asks for approval in this run. "
        f"Hold one: {way}"
    )


def contest_of(question: Decision) -> Decision:
    """The contest that the question is about."""
    return replace(question, kind="contest", verdict=str(question.facts["contest"]))


@task(**RESUMED)
def ask_people(question: Decision) -> bool:
    """Show the question and tell people. False if there is nothing to wait for: its time is over,
    or a newer question replaced it."""
    if newer_question(question) or datetime.now(UTC) >= time_limit(question):
        return False
    use_case, challenger = question.use_case, str(question.challenger)
    store, asked_by = registry(), str(question.facts["asked_by"])
    pages = {
        "contest": run_page(asked_by),
        "MLflow version": store.version_url(store.version(use_case, challenger)),
    }
    title = f"approval of challenger {challenger}"
    show_text(use_case, "approval", in_words(question), title, links=pages)
    tell(
        approval_asked(
            question,
            metric=load(use_case).gate.metric.name,
            hours=load(use_case).approval.hours,
            links={label: page for label, page in pages.items() if page},
        )
    )
    return True


def in_words(question: Decision) -> str:
    """Return the question in Markdown, for the run's page and above its form."""
    lines = [
        (
            f"**May challenger {question.challenger} of {question.use_case} take the crown from "
            f"{_who(question.champion)}?**"
        ),
        f"The contest on {question.holdout} says: {question.facts['contest']}.",
        *[f"- {reason}" for reason in question.reasons],
    ]
    if question.contest is not None:
        main = question.contest.main
        lines.append(
            f"- {main.metric}: challenger {number(main.challenger)}, champion "
            f"{number(main.champion)}"
        )
    return "\n".join([*lines, "", f"No answer until {question.facts['until']} counts as a no."])


def _who(champion: str | None) -> str:
    return f"champion {champion}" if champion else "nobody (there is no champion)"


def time_limit(question: Decision) -> datetime:
    return datetime.fromisoformat(str(question.facts["until"]))


def newer_question(question: Decision) -> Decision | None:
    """Return the last question of the use case, if it is not this one."""
    questions: list[Entry] = [
        entry
        for entry in read(lake(), question.use_case)
        if entry.kind == "approval" and entry.verdict == "asked"
    ]
    return questions[-1] if questions and questions[-1].run != question.run else None
