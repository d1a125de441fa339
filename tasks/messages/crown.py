"""What people are told of the crown: contest, approval, deployment and the way back."""

from dataclasses import replace

from blocks.message import Button, Confirm, Message, Picture
from serving.records.contest import Contest
from serving.records.ledger import Decision
from tasks.messages.links import NO_LINKS, Links
from tasks.messages.wording import Say, spoken

_CONTEST = {
    "promote": ":crown:",
    "keep": ":shield:",
    "suspicious": ":rotating_light:",
    "unfair": ":no_entry:",
    "inconclusive": ":grey_question:",
}
_ANSWERS = {"approved": ":white_check_mark:", "rejected": ":no_entry:", "expired": ":hourglass:"}


@spoken
def first_champion(
    say: Say,
    use_case: str,
    *,
    version: str,
    candidate: str,
    metric: str,
    score: float,
    gate: float,
    rows: int | None = None,
    provisional: str = "",
    links: Links = NO_LINKS,
) -> Message:
    """There was nobody to contest: the gate alone decided. ``provisional``: on too little evidence,
    and why.
    """
    values = {
        "version": version,
        "candidate": candidate,
        "metric": say.metric(metric),
        "score": say.number(score),
        "gate": gate,
    }
    return Message(
        headline=say("first.provisional" if provisional else "first", use_case=use_case, **values),
        facts={} if rows is None else {say("judged on"): say("rows", rows=rows)},
        details=(provisional,) if provisional else (),
        links=links,
        emoji=":crown:",
        steps=(
            say.step(
                "contest",
                "done",
                say("first.provisional.step" if provisional else "first.step", version=version),
            ),
        ),
        broadcast=True,
    )


@spoken
def contest_decided(
    say: Say,
    decision: Decision,
    *,
    metric: str,
    gate: float | None = None,
    asks: bool = False,
    picture: bytes | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """What was decided by the use case's ``metric``, with both scores, and the gain where there was
    a contest.

    ``gate`` is the threshold of the metric. ``asks``: a person is asked before anything follows.
    ``picture`` is a PNG of the interval. Where nobody is champion, ``first_champion`` tells of the
    one that becomes it. Raises ``ValueError`` for a verdict that is none of promote, keep,
    suspicious, unfair, inconclusive."""
    verdict = decision.verdict
    if verdict not in _CONTEST:
        raise ValueError(f"Unknown contest verdict {verdict!r}; known: {', '.join(_CONTEST)}.")
    next_step = decision.facts.get("next")
    step = say.step("contest", "done", _contest_step(say, verdict, decision))
    return Message(
        headline=say(
            f"contest.{verdict}.asks" if asks else f"contest.{verdict}",
            use_case=decision.use_case,
            metric=say.metric(metric),
            scores=_scores(say, decision),
            challenger=decision.challenger,
            champion=decision.champion,
            kept=_kept(say, decision.champion),
        ),
        facts=_contest_facts(say, decision, say.metric(metric), gate),
        details=[*decision.reasons, *([str(next_step)] if next_step else [])],
        links=links,
        emoji=_CONTEST[verdict],
        pictures=_contest_pictures(say, decision, picture),
        steps=(step,) if asks or verdict == "promote" else (step, say.step("deploy", "skipped")),
        broadcast=True,
    )


def _contest_step(say: Say, verdict: str, decision: Decision) -> str:
    return say(f"contest.{verdict}.step", challenger=decision.challenger)


def _contest_facts(say: Say, decision: Decision, metric: str, gate: float | None) -> dict[str, str]:
    """Scores, gain, gate and rows, as far as they are known."""
    challenger, champion = _both_scores(decision)
    facts = {
        say("challenger", challenger=decision.challenger): f"{metric} {say.number(challenger)}"
    }
    if decision.champion:
        facts[say("champion", champion=decision.champion)] = f"{metric} {say.number(champion)}"
        facts[say("gain")] = _gain(say, decision.contest)
    if gate is not None:
        facts[say("stage.gate")] = f"{gate:g}"
    if rows := _judged_on(say, decision):
        facts[say("judged on")] = rows
    return facts


def _judged_on(say: Say, decision: Decision) -> str:
    """Empty where nobody counted the rows."""
    if contest := decision.contest:
        return say("rows.blocks", rows=contest.main.rows, blocks=contest.blocks)
    rows = decision.facts.get("rows")
    return say("rows", rows=int(rows)) if isinstance(rows, float) else ""


def _contest_pictures(say: Say, decision: Decision, picture: bytes | None) -> tuple[Picture, ...]:
    if picture is None:
        return ()
    words = say("contest.picture.alt", gain=_gain(say, decision.contest))
    return (Picture(picture, say("contest.picture"), words),)


def _gain(say: Say, contest: Contest | None) -> str:
    if contest is None or contest.main.gain is None:
        return say.number(None)
    main = contest.main
    return say(
        "gain.within",
        gain=say.number(main.gain, signed=True),
        confidence=200 * contest.confidence - 100,
        interval=say.interval(main.low, main.high),
    )


def _both_scores(decision: Decision) -> tuple[float | None, float | None]:
    """Of challenger and champion. Without a contest the challenger has the score of its gate."""
    if decision.contest is None:
        return decision.gate_score, None
    return decision.contest.main.challenger, decision.contest.main.champion


def _scores(say: Say, decision: Decision) -> str:
    challenger, champion = _both_scores(decision)
    if decision.champion is None:
        return say("score alone", challenger=say.number(challenger))
    return say("scores", challenger=say.number(challenger), champion=say.number(champion))


def _kept(say: Say, champion_version: str | None) -> str:
    return say("kept", champion=champion_version) if champion_version else say("no champion")


@spoken
def approval_asked(
    say: Say, question: Decision, *, metric: str, hours: float, links: Links = NO_LINKS
) -> Message:
    """``question`` is the ledger's entry; its ``run`` is the one of ``approve`` that waits."""
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
        say("approval.contest"): _contest_step(say, str(question.facts["contest"]), question),
        say("approval.crown"): say("champion", champion=champion)
        if champion
        else say("approval.nobody"),
        say.metric(metric): _scores(say, question),
    }
    main = question.contest.main if question.contest else None
    if main and main.low is not None and main.high is not None:
        facts[say("gain")] = say.interval(main.low, main.high)
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
    """``verdict`` is approved, rejected or expired; ``reason`` says who answered and why, or why
    the answer counts for nothing.

    Raises ``ValueError`` for another verdict.
    """
    if verdict not in _ANSWERS:
        raise ValueError(f"Unknown answer {verdict!r}; known: {', '.join(_ANSWERS)}.")
    approved, kept = verdict == "approved", _kept(say, champion_version)
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


@spoken
def deployed(
    say: Say,
    use_case: str,
    *,
    version: str,
    seconds: float,
    smoke_rows: int,
    champion_before: str | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """``seconds`` from the alias to the service's own word that it serves ``version``.

    ``champion_before`` is the version that a press of the button goes back to; ``None``: there was
    none, and there is no button."""
    message = Message(
        headline=say(
            "deployed", use_case=use_case, version=version, seconds=seconds, smoke_rows=smoke_rows
        ),
        links=links,
        emoji=":rocket:",
        steps=(say.step("deploy", "done", say("deployed.step", version=version, seconds=seconds)),),
    )
    return (
        _with_way_back(say, message, use_case, version, champion_before)
        if champion_before
        else message
    )


@spoken
def rolled_back(
    say: Say,
    use_case: str,
    *,
    version: str,
    from_version: str,
    reason: str,
    seconds: float | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """``seconds`` from the alias to the service's word that it serves ``version``; ``None``: not
    measured.
    """
    message = say("rolled back", use_case=use_case, from_version=from_version, version=version)
    return Message(
        headline=message
        if seconds is None
        else say("rolled back.after", sentence=message, seconds=seconds),
        details=(reason,) if reason else (),
        links=links,
        emoji=":rewind:",
        broadcast=True,
    )


@spoken
def adopted(
    say: Say,
    use_case: str,
    *,
    version: str,
    champion_before: str | None,
    reason: str,
    seconds: float | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """A crown without a contest. ``seconds`` from the alias to the service's word; ``None``: the
    version had the alias already.
    """
    message = say(
        "adopted", use_case=use_case, version=version, before=champion_before or say("none")
    )
    return Message(
        headline=message
        if seconds is None
        else say("rolled back.after", sentence=message, seconds=seconds),
        details=(reason,),
        links=links,
        emoji=":crown:",
        broadcast=True,
    )


@spoken
def crown_vacated(
    say: Say,
    use_case: str,
    *,
    champion_before: str | None,
    by: str,
    why: str,
    links: Links = NO_LINKS,
) -> Message:
    """``by`` took the crown from whoever had it: the next first champion is judged by the gate
    alone.
    """
    message = say("vacated", use_case=use_case, by=by, before=champion_before or say("none"))
    return Message(headline=message, details=(why,), links=links, emoji=":crown:", broadcast=True)


@spoken
def alias_restored(say: Say, use_case: str, *, version: str, links: Links = NO_LINKS) -> Message:
    """Somebody deleted the alias of a champion that is whole."""
    return Message(
        headline=say("restored", use_case=use_case, version=version),
        links=links,
        emoji=":adhesive_bandage:",
        broadcast=True,
    )


@spoken
def deployment_failed(
    say: Say,
    use_case: str,
    *,
    version: str,
    reason: str,
    restored_version: str | None,
    links: Links = NO_LINKS,
) -> Message:
    """``restored_version`` has the champion alias again; ``None`` where there was no champion
    before.
    """
    key = "deployment.failed" if restored_version else "deployment.failed.first"
    return Message(
        headline=say(key, use_case=use_case, version=version, restored=restored_version),
        details=(reason,),
        links=links,
        emoji=":rotating_light:",
        steps=(say.step("deploy", "failed", say("deployment.failed.step", version=version)),),
        broadcast=True,
    )


def _with_way_back(say: Say, message: Message, use_case: str, version: str, before: str) -> Message:
    sure = Confirm(
        say("rollback.sure", champion=before),
        say("rollback.sure.text", champion=before, version=version, use_case=use_case),
        say("rollback.button"),
        say("not now"),
    )
    value = {"use_case": use_case, "version": before, "from": version}
    button = Button(say("rollback.button"), "laurel.rollback", value, "danger", sure)
    return replace(
        message,
        buttons=(button,),
        otherwise=say("deployed.otherwise", use_case=use_case, champion=before),
    )
