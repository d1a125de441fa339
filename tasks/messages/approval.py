"""What people are told of an approval: the question, and its answer."""

from blocks.message import Button, Confirm, Message
from serving.records.ledger import Decision
from tasks.messages.contest import (
    champion_stays,
    contest_step,
    gain_in_words,
    scores_in_words,
)
from tasks.messages.links import NO_LINKS, Links
from tasks.messages.wording import Say, spoken

_ANSWERS = {"approved": ":white_check_mark:", "rejected": ":no_entry:", "expired": ":hourglass:"}


@spoken
def approval_asked(
    say: Say, question: Decision, *, metric: str, hours: float, links: Links = NO_LINKS
) -> Message:
    """Ask for an answer to ``question``, the ledger's entry; its ``run`` is the waiting ``approve``
    run."""
    use_case, challenger = question.use_case, question.challenger
    value = {"use_case": use_case, "run": str(question.run)}
    sure = Confirm(
        say("approval.sure", challenger=challenger),
        say("approval.sure.text", use_case=use_case),
        say("approval.approve"),
        say("not now"),
    )
    return Message(
        headline=say("approval.asked", use_case=use_case, challenger=challenger, hours=hours),
        facts=_approval_facts(say, question, metric),
        details=question.reasons,
        links=links,
        emoji=":raised_hand:",
        buttons=(
            Button(say("approval.approve"), "laurel.approve", value, "primary", sure),
            Button(say("approval.reject"), "laurel.reject", value, "danger"),
        ),
        otherwise=say("approval.otherwise"),
        steps=(say.step("contest", "running", say("approval.waits.step")),),
        broadcast=True,
    )


def _approval_facts(say: Say, question: Decision, metric: str) -> dict[str, str]:
    champion = question.champion
    facts = {
        say("approval.contest"): contest_step(say, str(question.facts["contest"]), question),
        say("approval.crown"): say("champion", champion=champion)
        if champion
        else say("approval.nobody"),
        say.metric(metric): scores_in_words(say, question),
    }
    if question.contest and question.contest.main.gain is not None:
        facts[say("gain")] = gain_in_words(say, question.contest)
    return facts


@spoken
def approval_answered(
    say: Say,
    use_case: str,
    *,
    challenger_version: str,
    champion_version: str | None,
    verdict: str,
    by: str,
    reason: str,
    links: Links = NO_LINKS,
) -> Message:
    """Tell that ``verdict`` is approved, rejected or expired.

    ``reason`` says who answered and why, or why the answer does not count. Raises ``ValueError``
    for another verdict."""
    if verdict not in _ANSWERS:
        raise ValueError(f"Unknown answer {verdict!r}; known: {', '.join(_ANSWERS)}.")
    approved, kept = verdict == "approved", champion_stays(say, champion_version)
    step = say.step(
        "contest", "done" if approved else "failed", say(f"approval.{verdict}.step", by=by)
    )
    return Message(
        headline=say(
            f"approval.{verdict}",
            use_case=use_case,
            challenger=challenger_version,
            by=by,
            kept=kept,
        ),
        details=(reason,),
        links=links,
        emoji=_ANSWERS[verdict],
        steps=(step,) if approved else (step, say.step("deploy", "skipped")),
        answers=True,
        broadcast=True,
    )
