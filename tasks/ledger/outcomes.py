"""How a run ended, in one sentence: the verdict, score, gate and rows, why, and what to do now.
Pure.

The state's message, the ledger's entry, Slack and the pages all use this sentence, or its parts. An
outcome is put into words nowhere else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from serving.records.ledger import Decision, Entry
from serving.records.reasons import Reason, because
from usecases.definition import Gate, UseCase, load

STAYS, NOBODY_YET, BELOW, CROWNED = (
    "Champion stays",
    "No champion yet",
    "Below the gate",
    "Completed",
)


@dataclass(frozen=True)
class Outcome:
    """``name`` is that of the completed state."""

    name: str
    message: str


def contest_ended(decision: Decision) -> Outcome:
    """Describe a contest that crowned no version."""
    name = STAYS if decision.champion else NOBODY_YET
    challenger, contest = decision.challenger, in_a_sentence(decision)
    if step := decision.facts.get("next"):
        return Outcome(
            name, because("not_crowned", challenger=challenger, contest=contest, next=step)
        )
    return Outcome(name, because("not_crowned_so_far", challenger=challenger, contest=contest))


def asks(decision: Decision, run: str) -> Outcome:
    """Describe a contest after which a person is asked, in ``run``."""
    contest = in_a_sentence(decision)
    message = because("waits_for_answer", challenger=decision.challenger, run=run, contest=contest)
    return Outcome("Waits for approval", message)


def crowned(decision: Decision, version: str, seconds: float) -> Outcome:
    """Describe that ``version``, the refitted winner, serves ``seconds`` after it got the alias."""
    case, challenger, contest = decision.use_case, decision.challenger, in_a_sentence(decision)
    if decision.champion is None:
        message = because(
            "crowned_first",
            version=version,
            use_case=case,
            seconds=seconds,
            challenger=challenger,
            contest=contest,
        )
    else:
        message = because(
            "crowned_after",
            version=version,
            use_case=case,
            champion=decision.champion,
            seconds=seconds,
            challenger=challenger,
            contest=contest,
        )
    return Outcome(CROWNED, message)


def refused(contest: Decision, answer: Decision) -> str:
    """Describe a challenger that a person, or the time limit, rejected after its ``contest``."""
    challenger, verdict, why = answer.challenger, in_a_word(answer.verdict), answer.reasons[0]
    held = in_a_sentence(contest)
    if answer.champion is None:
        return because(
            "answer_refused_first", challenger=challenger, verdict=verdict, why=why, contest=held
        )
    return because(
        "answer_refused",
        challenger=challenger,
        verdict=verdict,
        champion=answer.champion,
        why=why,
        contest=held,
    )


def in_a_sentence(decision: Decision) -> Reason:
    """Return verdict, scores, gate, rows and reasons of a contest."""
    gate = load(decision.use_case).gate
    return because(
        "contest_was",
        verdict=in_a_word(decision.verdict),
        scores=_scores(decision, gate),
        gate=against_gate(gate, decision.gate_score),
        ground=_ground(decision),
        reasons=decision.reasons,
    )


_WORDS: Mapping[str, Callable[[], Reason]] = {
    "promote": lambda: because("is_promote"),
    "keep": lambda: because("is_keep"),
    "suspicious": lambda: because("is_suspicious"),
    "unfair": lambda: because("is_unfair"),
    "inconclusive": lambda: because("is_inconclusive"),
    "approved": lambda: because("is_approved"),
    "rejected": lambda: because("is_rejected"),
    "expired": lambda: because("is_expired"),
}


def in_a_word(verdict: str) -> str:
    """Return the verdict on a challenger as a reason."""
    return _WORDS[verdict]() if verdict in _WORDS else verdict


def _ground(decision: Decision) -> Reason:
    rows, holdout, contest = decision.facts.get("rows"), decision.holdout, decision.contest
    if not isinstance(rows, float):
        return because("on_holdout", holdout=holdout)
    if contest is None:
        return because("on_rows", rows=int(rows), holdout=holdout)
    return because("on_rows_in_blocks", rows=int(rows), holdout=holdout, blocks=contest.blocks)


def _scores(decision: Decision, gate: Gate) -> Reason:
    name, champion = gate.metric.in_each_language, decision.champion
    if decision.contest is None:
        score = decision.gate_score
        if champion is None:
            return because("scored_without_champion", metric=name, score=score)
        return because("scored_alone", metric=name, score=score, champion=champion)
    main = decision.contest.main
    return because(
        "scored_against",
        metric=name,
        score=main.challenger,
        other=main.champion,
        champion=champion,
        gain=main.gain,
        low=main.low,
    )


def against_gate(gate: Gate, score: float | None) -> Reason:
    """Say whether the score passes, and which way is better."""
    better = because("higher") if gate.metric.higher_is_better else because("lower")
    if score is not None and gate.passes(score):
        return because("gate_passed", gate=gate.threshold, better=better)
    return because("gate_missed", gate=gate.threshold, better=better)


def below_the_gate(
    case: UseCase, candidate: str, score: float, rows: int, holdout: str, tuned: bool
) -> Outcome:
    """Describe that the best candidate does not pass."""
    message = because(
        "below_the_gate",
        candidate=candidate,
        metric=case.gate.metric.in_each_language,
        score=score,
        rows=rows,
        holdout=holdout,
        gate=against_gate(case.gate, score),
        search=because("after_search") if tuned else because("without_search"),
        use_case=case.name,
    )
    return Outcome(BELOW, message)


def next_step(case: UseCase, decision: Decision, asks_person: bool) -> Reason | None:
    """Say what a person can do about a verdict; ``None`` for a promotion."""
    adopt = (
        f"laurel run adopt {case.name} --param version={decision.challenger} "
        "--param by=<you> --param why=<why>"
    )
    if decision.verdict == "promote":
        return None
    if asks_person:
        return because("person_decides")
    if decision.facts.get("unscored"):
        return because("keep_old_columns", adopt=adopt)
    ways = {
        "keep": because("next_retrain_tries")
        if decision.champion
        else because("nothing_serves", use_case=case.name),
        "suspicious": because("look_for_leak", adopt=adopt),
        "inconclusive": because("wait_for_rows", use_case=case.name, adopt=adopt),
        "unfair": because("train_before_holdout", use_case=case.name),
    }
    return ways[decision.verdict]


def retold(entries: Sequence[Entry], message: str) -> str:
    """Return ``message``, which a subflow of this run ended with, as a reason: Prefect keeps only
    its text, and ``entries`` of the run say the same. The plain text if they do not."""
    contest = next((entry for entry in reversed(entries) if entry.kind == "contest"), None)
    crown = next((entry for entry in reversed(entries) if entry.kind == "crown"), None)
    seconds = crown.facts.get("seconds_to_served") if crown else None
    if contest is None or crown is None or not isinstance(seconds, float):
        return message
    said = crowned(contest, str(crown.version), seconds).message
    return said if said == message else message
