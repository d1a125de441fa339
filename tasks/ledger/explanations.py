"""Answers from the ledger, in words: who was champion and why, and why no retrain ran. Pure, except
for the thin task at the top."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from prefect import get_run_logger, task

from blocks.clients.registry import CHAMPION
from serving.records.chain import path_of
from serving.records.ledger import Decision, Entry
from tasks.ledger.entries import latest, read
from tasks.ledger.governor import breaker_of, may_retrain, short, trusted_times
from tasks.ledger.reign import last_crowned
from tasks.messages.announcements import interval, number
from tasks.models.settings import changes_in_words
from tasks.outside.artifacts import show_text
from tasks.outside.blocks_of_run import PATIENT, lake, registry
from usecases.definition import RetrainPolicy, load

Question = Literal["champion", "retrain"]
RECENT = 5


@dataclass(frozen=True)
class Explanation:
    """``champion`` is the version that had the crown at ``at``, ``None`` if there was none;
    ``text`` is Markdown."""

    use_case: str
    at: datetime
    champion: str | None
    text: str

    @property
    def in_short(self) -> str:
        """Say who was champion; the rest is on the run's page."""
        subject = f"Version {self.champion} was" if self.champion else "Nobody was"
        return (
            f"{subject} champion of {self.use_case} at {short(self.at)}. The full answer is this "
            "run's artifact."
        )


@task(**PATIENT)
def explain_ledger(use_case: str, at: datetime | None, question: Question | None) -> Explanation:
    """Answer from the ledger for the moment ``at`` (UTC if it names no zone; default: now), as an
    artifact too.

    Raises ``UseCaseError`` that names the known use cases, ``LedgerBroken`` for an unreadable
    entry."""
    case, now = load(use_case), datetime.now(UTC)
    moment = now if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    entries = until(read(lake(), use_case), moment, now)
    crowned = last_crowned(entries)
    parts = []
    if question != "retrain":
        parts.append(champion_in_words(use_case, entries, moment))
        if moment >= now:
            holder = registry().at(use_case, CHAMPION)
            parts += alias_in_words(crowned, holder.number if holder else None)
    if question != "champion":
        parts.append(retrain_in_words(use_case, case.retrain, entries, moment))
    explanation = Explanation(
        use_case, moment, crowned.version if crowned else None, "\n\n".join(parts)
    )
    show_text(use_case, "explanation", explanation.text, f"explained at {short(moment)}")
    get_run_logger().info(
        "explained use_case=%s at=%s champion=%s",
        use_case,
        moment.isoformat(),
        explanation.champion,
    )
    return explanation


def until(entries: Sequence[Entry], moment: datetime, now: datetime) -> list[Entry]:
    """Return the entries that were in the ledger at ``moment``. Clocks are trusted only as far as
    the governor trusts them."""
    return [
        entry
        for entry, time in zip(entries, trusted_times(entries, now), strict=True)
        if time <= moment
    ]


def champion_in_words(use_case: str, entries: Sequence[Entry], moment: datetime) -> str:
    """Say who had the crown after the last of ``entries``, since when, from whom, and what led to
    it."""
    title = f"# Who was champion of {use_case} at {short(moment)}"
    crowned = last_crowned(entries)
    if crowned is None:
        why = (
            "no contest was held"
            if not any(entry.kind == "contest" for entry in entries)
            else "no challenger was crowned"
        )
        return f"{title}\n\nNobody: {why} before that. The ledger had {len(entries)} entries."
    if crowned.version is None:
        return f"{title}\n\nNobody, since {_when(crowned)}: {_reasons(crowned)}. {_where(crowned)}"
    lines = [title, f"**Version {crowned.version}**, since {_when(crowned)}."]
    if crowned.verdict == "adopted":
        before = (
            f"after version {crowned.champion}" if crowned.champion else "with nobody before it"
        )
        lines.append(
            f"It got the crown by hand, without a contest, {before}: {_reasons(crowned)}. "
            f"{_where(crowned)}"
        )
        lines += _how_it_was_crowned_first(entries, crowned)
    elif crowned.kind == "rollback":
        lines.append(
            f"It got the crown back from version {crowned.champion} by a rollback: "
            f"{_reasons(crowned)}. {_where(crowned)}"
        )
        lines += _how_it_was_crowned_first(entries, crowned)
    else:
        lines += _how_it_was_crowned(entries, crowned)
    last = latest(entries, "contest")
    if last and last.sequence > crowned.sequence:
        lines.append(f"Since then: {_contest_in_words(last)}")
    since = [entry for entry in entries if entry.sequence > crowned.sequence]
    return "\n\n".join([*lines, *_rollout_in_words(since)])


def _rollout_in_words(entries: Sequence[Entry]) -> list[str]:
    """Tell the latest rollout among ``entries``, each step of it, if there is one."""
    last = latest(entries, "rollout")
    if last is None or last.rollout is None:
        return []
    steps = [
        entry
        for entry in entries
        if entry.rollout is not None and entry.rollout.id == last.rollout.id
    ]
    listed = "\n".join(f"- {_when(entry)}: {_in_a_line(entry)} {_where(entry)}" for entry in steps)
    return [f"**Rollout** of version {last.version} beside champion {last.champion}:\n\n{listed}"]


def _how_it_was_crowned_first(entries: Sequence[Entry], rollback: Entry) -> list[str]:
    before = [entry for entry in entries if entry.sequence < rollback.sequence]
    crowns = [
        entry
        for entry in before
        if (entry.kind, entry.verdict, entry.version) == ("crown", "crowned", rollback.version)
    ]
    return (
        [f"It was first crowned at {_when(crowns[-1])}.", *_how_it_was_crowned(before, crowns[-1])]
        if crowns
        else []
    )


def _how_it_was_crowned(entries: Sequence[Entry], crowned: Entry) -> list[str]:
    before = [
        entry
        for entry in entries
        if entry.sequence < crowned.sequence
        and entry.challenger == (crowned.challenger or crowned.version)
    ]
    came = f"after version {crowned.champion}" if crowned.champion else "as the first champion"
    lines = [f"It took the crown {came}: {_reasons(crowned)}. {_where(crowned)}"]
    contest = next((entry for entry in reversed(before) if entry.kind == "contest"), None)
    lines.append(
        _contest_in_words(contest) if contest else "The ledger has no contest that led to it."
    )
    version = contest.dataset_version if contest else crowned.dataset_version
    lines.append(
        f"**Data:** dataset version `{version or 'not known'}`, judged on "
        f"{crowned.holdout or 'an unknown hold-out'}."
    )
    lines += [
        _answer_in_words(entry)
        for entry in before
        if entry.kind == "approval" and contest and entry.sequence > contest.sequence
    ]
    return [*lines, *_rollout_in_words([entry for entry in before if entry.kind == "rollout"])]


def _contest_in_words(entry: Entry) -> str:
    against = f"champion {entry.champion}" if entry.champion else "no champion"
    sentence = (
        f"**Contest:** challenger {entry.challenger} against {against} on {entry.holdout}: "
        f"*{entry.verdict}*, {_reasons(entry)}."
    )
    if entry.contest is not None:
        main = entry.contest.main
        scores = (
            f"{main.metric} {number(main.challenger)} against {number(main.champion)}, gain "
            f"{number(main.gain, signed=True)}"
        )
        bounds = interval(main.low, main.high, signed=True)
        sentence += (
            f" {scores}, interval {bounds}, each bound at {100 * entry.contest.confidence:.4g} %, "
            f"on {main.rows:,} rows in {entry.contest.blocks} blocks."
        )
    elif entry.gate_score is not None:
        sentence += f" It scored {number(entry.gate_score)} on the hold-out."
    return "\n\n".join([f"{sentence} {_where(entry)}", *changes_in_words(entry.changes)])


def _answer_in_words(entry: Entry) -> str:
    person, why = entry.facts.get("by"), entry.facts.get("why")
    if entry.verdict == "asked":
        return f"**Approval** was requested at {_when(entry)}. {_where(entry)}"
    return (
        f"**Approval:** {entry.verdict} by {person or 'nobody'} at "
        f"{_when(entry)}{f': {why}' if why else ''}. {_where(entry)}"
    )


def alias_in_words(crowned: Entry | None, holder: str | None) -> list[str]:
    """Warn if MLflow's alias ``champion``, at ``holder``, is not where the ledger put it."""
    expected = crowned.version if crowned else None
    if expected == holder:
        return []
    ledger = (
        f"the ledger crowned version {expected} last" if expected else "the ledger crowned nobody"
    )
    alias = f"is at version {holder}" if holder else "is gone"
    change = "gone" if holder is None else "moved"
    way = (
        "The next flow sets it again."
        if holder is None
        else "The flow `adopt` settles who is champion."
    )
    return [
        (
            f"**The alias was {change} by hand:** MLflow's alias `champion` {alias}, and "
            f"{ledger}. {way}"
        )
    ]


def retrain_in_words(
    use_case: str, policy: RetrainPolicy, entries: Sequence[Entry], moment: datetime
) -> str:
    """Say what the latest request for a retrain led to, what recently prevented one, and whether
    one could start at ``moment``."""
    lines = [f"# Why did {use_case} not retrain, at {short(moment)}", _last_word(use_case, entries)]
    for title, kind in (
        ("Retrains", "retrain"),
        ("Refusals", "refusal"),
        ("Drift checks", "drift"),
    ):
        recent = [entry for entry in entries if entry.kind == kind][-RECENT:]
        listed = "\n".join(f"- {_when(entry)}: {_in_a_line(entry)}" for entry in reversed(recent))
        lines.append(
            f"**{title}**, the latest first:\n\n{listed}"
            if recent
            else f"**{title}:** the ledger has none."
        )
    breaker = breaker_of(policy, entries, moment)
    state = f"open until {short(breaker.open_until)}" if breaker.open_until else "closed"
    crashes = f", {breaker.crashes} of them crashed runs" if breaker.crashes else ""
    lines.append(
        f"**Breaker:** {state}; {breaker.rejections} of {policy.breaker_rejections} rejections in "
        f"a row{crashes}."
    )
    refusal = may_retrain(policy, entries, moment)
    lines.append(
        "**An automatic retrain** could start at that time: "
        f"{f'no, {refusal.reason}' if refusal else 'yes'}."
    )
    return "\n\n".join(lines)


def _last_word(use_case: str, entries: Sequence[Entry]) -> str:
    last = next(
        (entry for entry in reversed(entries) if entry.kind in ("drift", "refusal", "retrain")),
        None,
    )
    if last is None:
        return (
            "Nothing requested a retrain: the ledger has no drift check and no retrain. Check: "
            f"`drift_check/{use_case}`."
        )
    line = _in_a_line(last)
    match last.kind, last.verdict:
        case "retrain", "started":
            text = (
                f"It started at {_when(last)} ({line}) and has not ended: it is running, or it "
                f"was killed. {_where(last)}"
            )
        case "retrain", _:
            text = f"It did, with this result at {_when(last)}: {line}. {_where(last)}"
        case "refusal", _:
            text = (
                f"A retrain was requested at {_when(last)} and refused: {_reasons(last)}. "
                f"{_where(last)}"
            )
        case _, "drifted":
            text = (
                f"The check of {last.window} found drift at {_when(last)}, and no retrain has "
                f"started or been refused since: look at the automation `retrain {use_case} on "
                f"drift` and at the worker. {_where(last)}"
            )
        case _, "stable":
            text = (
                "The last check found no drift, and nothing else starts an automatic retrain: "
                f"{line}. {_where(last)}"
            )
        case _:
            text = (
                "The last check found something other than drift, which never starts a retrain: "
                f"{line}. {_where(last)}"
            )
    return text


def _in_a_line(entry: Entry) -> str:
    window = f" in {entry.window}" if entry.window else ""
    return f"*{entry.verdict}*{window}{f': {_reasons(entry)}' if entry.reasons else ''}"


def _reasons(entry: Decision) -> str:
    return "; ".join(entry.reasons).removesuffix(".") or "no reason was given"


def _when(entry: Entry) -> str:
    return short(datetime.fromisoformat(entry.time))


def _where(entry: Entry) -> str:
    by = f", [its run]({entry.by})" if entry.by.startswith("http") else ""
    return f"(`{path_of(entry.use_case, entry.sequence)}`{by})"
