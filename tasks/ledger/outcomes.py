"""How a run ended, in one sentence: the verdict, score, gate and rows, why, and what to do now.
Pure.

The state's message, the ledger's entry, Slack and the pages all use this sentence, or its parts. An
outcome is put into words nowhere else."""

from dataclasses import dataclass

from serving.records.ledger import Decision
from tasks.messages.wording import metric_name, number
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
    return Outcome(
        name,
        (
            f"Challenger {decision.challenger}: {in_a_sentence(decision)} "
            f"{decision.facts.get('next') or ''}"
        ).strip(),
    )


def asks(decision: Decision, run: str) -> Outcome:
    """Describe a contest after which a person is asked, in ``run``."""
    sentence = (
        f"Challenger {decision.challenger} waits for an answer in run {run}. "
        f"{in_a_sentence(decision)}"
    )
    return Outcome("Waits for approval", sentence)


def crowned(decision: Decision, version: str, seconds: float) -> Outcome:
    """Describe that ``version``, the refitted winner, serves ``seconds`` after it got the alias."""
    case, before = decision.use_case, decision.champion
    reigns = (
        f"champion of {case} after version {before}" if before else f"the first champion of {case}"
    )
    sentence = f"Version {version} is {reigns}, in service {seconds:.1f} s after it was crowned."
    return Outcome(
        CROWNED, f"{sentence} Challenger {decision.challenger}: {in_a_sentence(decision)}"
    )


def refused(contest: Decision, answer: Decision) -> str:
    """Describe a challenger that a person, or the time limit, rejected after its ``contest``."""
    serves = (
        f"champion {answer.champion} stays" if answer.champion else "there is still no champion"
    )
    sentence = (
        f"Challenger {answer.challenger} is {answer.verdict}, and {serves}: {answer.reasons[0]}."
    )
    return f"{sentence} The contest was {in_a_sentence(contest)}"


def in_a_sentence(decision: Decision) -> str:
    """Return verdict, scores, gate, rows and reasons of a contest."""
    gate, rows = load(decision.use_case).gate, decision.facts.get("rows")
    verdict = (
        f" on {_count(rows)} of {decision.holdout}"
        if isinstance(rows, float)
        else f" on {decision.holdout}"
    )
    blocks = f" in {decision.contest.blocks} blocks" if decision.contest else ""
    reasons = " ".join(
        f"{reason[:1].upper()}{reason[1:].removesuffix('.')}." for reason in decision.reasons
    )
    return (
        f"{decision.verdict}: {_scores(decision, gate)}, "
        f"{against_gate(gate, decision.gate_score)},{verdict}{blocks}. {reasons}"
    )


def _scores(decision: Decision, gate: Gate) -> str:
    name = metric_name(gate.metric.name)
    if decision.contest is None:
        other = (
            f"champion {decision.champion} was not scored"
            if decision.champion
            else "there is no champion"
        )
        return f"{name} {number(decision.gate_score)} ({other})"
    main = decision.contest.main
    gain = f"gain {number(main.gain, signed=True)}, at least {number(main.low, signed=True)}"
    return (
        f"{name} {number(main.challenger)} against {number(main.champion)} of champion "
        f"{decision.champion} ({gain})"
    )


def against_gate(gate: Gate, score: float | None) -> str:
    """Say whether the score passes, and which way is better."""
    passed = "passed" if score is not None and gate.passes(score) else "missed"
    return (
        f"gate {gate.threshold:g} {passed} "
        f"({'higher' if gate.metric.higher_is_better else 'lower'} is better)"
    )


def below_the_gate(
    case: UseCase, candidate: str, score: float, rows: int, holdout: str, tuned: bool
) -> Outcome:
    """Describe that the best candidate does not pass."""
    metric, searched = (
        metric_name(case.gate.metric.name),
        "also after HPO" if tuned else "and no candidate has a search space",
    )
    sentence = (
        f"{candidate} scores {metric} {number(score)} on {_count(rows)} of {holdout}, "
        f"{against_gate(case.gate, score)}, {searched}"
    )
    way = (
        f"Give it more {case.period_kind.plural}, better columns or candidates, or set another "
        f"gate in usecases/{case.name}.py"
    )
    return Outcome(
        BELOW,
        f"{sentence}: no challenger is registered, and the champion, if any, keeps serving. {way}.",
    )


def next_step(case: UseCase, decision: Decision, asks_person: bool) -> str | None:
    """Say what a person can do about a verdict; ``None`` for a promotion."""
    adopt = (
        f"laurel run adopt {case.name} --param version={decision.challenger} "
        "--param by=<you> --param why=<why>"
    )
    ways = {
        "keep": "Nothing is broken: the next retrain tries again."
        if decision.champion
        else (
            "No version serves yet: fix what is named, and start again: laurel run "
            f"retrain {case.name}."
        ),
        "suspicious": (
            "Look for a column that was written after the label was known. If there is none, "
            f"crown it by hand: {adopt}"
        ),
        "inconclusive": (
            "Wait for more labelled rows, or set Promotion.minimum_rows in "
            f"usecases/{case.name}.py, or crown it: {adopt}"
        ),
        "unfair": (f"Train on rows from before the hold-out: laurel run retrain {case.name}."),
    }
    if decision.verdict == "promote":
        return None
    if asks_person:
        return "A person must decide: see the approve run."
    if decision.facts.get("unscored"):
        return (
            "Let the source keep the old columns until the next crowning (docs/renaming.md), "
            f"or crown without a contest: {adopt}"
        )
    return ways[decision.verdict]


def _count(rows: float) -> str:
    return f"{rows:,.0f} row{'s' * (rows != 1)}"
