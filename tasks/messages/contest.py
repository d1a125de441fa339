"""What people are told of a contest: the first champion, or the verdict on a challenger."""

from blocks.message import Message, Picture
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
    """Tell that the gate alone made the first champion. ``provisional`` says why the evidence is
    thin."""
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
    """Tell the verdict by the use case's ``metric``: both scores, and the gain if there was a
    contest.

    ``gate`` is the threshold of the metric. ``asks``: a person must decide before anything follows.
    ``picture`` is a PNG of the interval. If there is no champion, ``first_champion`` announces the
    new one. Raises ``ValueError`` for a verdict other than promote, keep, suspicious, unfair,
    inconclusive."""
    verdict = decision.verdict
    if verdict not in _CONTEST:
        raise ValueError(f"Unknown contest verdict {verdict!r}; known: {', '.join(_CONTEST)}.")
    next_step = decision.facts.get("next")
    step = say.step("contest", "done", contest_step(say, verdict, decision))
    return Message(
        headline=say(
            f"contest.{verdict}.asks" if asks else f"contest.{verdict}",
            use_case=decision.use_case,
            metric=say.metric(metric),
            scores=scores_in_words(say, decision),
            challenger=decision.challenger,
            champion=decision.champion,
            kept=champion_stays(say, decision.champion),
        ),
        facts=_contest_facts(say, decision, say.metric(metric), gate),
        details=[*decision.reasons, *([str(next_step)] if next_step else [])],
        links=links,
        emoji=_CONTEST[verdict],
        pictures=_contest_pictures(say, decision, picture),
        steps=(step,) if asks or verdict == "promote" else (step, say.step("deploy", "skipped")),
        broadcast=True,
    )


def contest_step(say: Say, verdict: str, decision: Decision) -> str:
    return say(f"contest.{verdict}.step", challenger=decision.challenger)


def _contest_facts(say: Say, decision: Decision, metric: str, gate: float | None) -> dict[str, str]:
    """Return scores, gain, gate and rows as far as they are known."""
    challenger, champion = _both_scores(decision)
    facts = {
        say("challenger", challenger=decision.challenger): f"{metric} {say.number(challenger)}"
    }
    if decision.champion:
        facts[say("champion", champion=decision.champion)] = f"{metric} {say.number(champion)}"
        facts[say("gain")] = gain_in_words(say, decision.contest)
        if decision.verdict == "inconclusive" and decision.contest and decision.contest.decidable:
            facts[say("decidable")] = say.number(decision.contest.decidable)
    if gate is not None:
        facts[say("stage.gate")] = f"{gate:g}"
    if rows := _judged_on(say, decision):
        facts[say("judged on")] = rows
    return facts


def _judged_on(say: Say, decision: Decision) -> str:
    """Return the rows in words; empty if nobody counted them."""
    if contest := decision.contest:
        return say("rows.blocks", rows=contest.main.rows, blocks=contest.blocks)
    rows = decision.facts.get("rows")
    return say("rows", rows=int(rows)) if isinstance(rows, float) else ""


def _contest_pictures(say: Say, decision: Decision, picture: bytes | None) -> tuple[Picture, ...]:
    if picture is None:
        return ()
    words = say("contest.picture.alt", gain=gain_in_words(say, decision.contest))
    return (Picture(picture, say("contest.picture"), words),)


def gain_in_words(say: Say, contest: Contest | None) -> str:
    """Return the gain with its bounds, each at the contest's confidence."""
    if contest is None or contest.main.gain is None:
        return say.number(None)
    main = contest.main
    return say(
        "gain.within",
        gain=say.number(main.gain, signed=True),
        confidence=100 * contest.confidence,
        interval=say.interval(main.low, main.high, signed=True),
    )


def _both_scores(decision: Decision) -> tuple[float | None, float | None]:
    """Return challenger's and champion's scores; without a contest, the gate score alone."""
    if decision.contest is None:
        return decision.gate_score, None
    return decision.contest.main.challenger, decision.contest.main.champion


def scores_in_words(say: Say, decision: Decision) -> str:
    challenger, champion = _both_scores(decision)
    if decision.champion is None:
        return say("score alone", challenger=say.number(challenger))
    return say("scores", challenger=say.number(challenger), champion=say.number(champion))


def champion_stays(say: Say, champion_version: str | None) -> str:
    return say("kept", champion=champion_version) if champion_version else say("no champion")
