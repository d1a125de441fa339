"""Decisions about the crown: their record, and who is told."""

import math

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from blocks.registry import ModelVersion
from serving.records.chain import path_of
from serving.records.contest import Contest
from serving.records.ledger import Decision
from tasks.ledger.entries import record
from tasks.ledger.outcomes import against_gate, in_a_sentence
from tasks.measures import plots
from tasks.messages.announcements import contest_decided, first_champion, number
from tasks.models.settings import changes_in_words
from tasks.outside.blocks_of_run import RESUMED, artifact_key, registry, tell
from tasks.steps.approve.ask import asks_person
from tasks.steps.pictures import show_picture
from usecases.definition import load


@task(**RESUMED)
def record_decision(decision: Decision, challenger: ModelVersion) -> None:
    """Record the decision in the ledger, the version's tags and the run's artifacts, and tell
    people."""
    use_case = decision.use_case
    entry = record(decision)
    values = {
        "laurel.verdict": decision.verdict,
        "laurel.reasons": "; ".join(decision.reasons)[:4000],
    }
    registry().tag(challenger, {**values, "laurel.decision": path_of(use_case, entry.sequence)})
    create_markdown_artifact(
        _in_words(decision),
        key=artifact_key(use_case, "contest"),
        description=in_a_sentence(decision),
    )
    contest, metric = decision.contest, load(use_case).gate.metric.name
    picture = None
    if contest is not None:
        picture = plots.png(
            plots.contest_interval(contest.main.low, contest.main.gain, contest.main.high, metric)
        )
        show_picture(
            use_case, "contest-interval", picture, "Right of the line the challenger is better"
        )
    message = "contest use_case=%s challenger=%s verdict=%s: %s"
    get_run_logger().info(
        message, use_case, challenger.number, decision.verdict, "; ".join(decision.reasons)
    )
    gate, row_count = load(use_case).gate.threshold, decision.facts.get("rows")
    rows = int(row_count) if isinstance(row_count, float) else None
    links = {"MLflow version": registry().version_url(challenger)}
    if decision.champion is None and decision.promoted:
        tell(
            first_champion(
                use_case,
                version=challenger.number,
                candidate=challenger.tags.get("laurel.recipe", "?"),
                metric=metric,
                score=math.nan if decision.gate_score is None else decision.gate_score,
                gate=gate,
                rows=rows,
                provisional=str(decision.facts.get("provisional") or ""),
                links=links,
            )
        )
        return
    tell(
        contest_decided(
            decision,
            metric=metric,
            gate=gate,
            asks=asks_person(decision),
            picture=picture,
            links=links,
        )
    )


def _in_words(decision: Decision) -> str:
    against = f"champion {decision.champion}" if decision.champion else "no champion"
    lines = [
        (
            f"# {decision.verdict.capitalize()}: challenger {decision.challenger} against "
            f"{against}, on {decision.holdout}"
        ),
        *[f"- {reason}" for reason in decision.reasons],
        *([f"\n**What to do:** {step}"] if (step := decision.facts.get("next")) else []),
        f"\n{_judged(decision)}",
        *(f"\n{line}" for line in changes_in_words(decision.changes)),
    ]
    if decision.contest is None:
        return "\n".join([*lines, *_of_the_package(decision)])
    contest = decision.contest
    lines += [
        "",
        "| | metric | champion | challenger | gain | interval | rows |",
        "|---|---|---:|---:|---:|---|---:|",
    ]
    named = [
        ("hold-out", contest.main),
        *(("guard", guard) for guard in contest.guards),
        *contest.slices.items(),
    ]
    for name, comparison in named:
        scores = (
            f"{number(comparison.champion)} | {number(comparison.challenger)} | "
            f"{number(comparison.gain, signed=True)}"
        )
        interval = (
            "not known"
            if comparison.low is None
            else f"[{number(comparison.low, signed=True)}, {number(comparison.high, signed=True)}]"
        )
        lines.append(
            f"| {name} | {comparison.metric} | {scores} | {interval} | {comparison.rows:,} |"
        )
    if contest.unjudged:
        lines += [
            "",
            "Too small to be judged: "
            + ", ".join(f"{name} ({rows:,} rows)" for name, rows in contest.unjudged.items()),
        ]
    return "\n".join([*lines, "", _of_the_intervals(contest), *_of_the_package(decision)])


def _of_the_intervals(contest: Contest) -> str:
    """Return what the intervals hold and rest on."""
    joint = contest.joint_confidence or contest.confidence
    sentences = [
        f"The gain's interval holds {_two_sided(contest.confidence)}, those of guards and slices "
        f"together {_two_sided(joint)}: by the influence of each of {contest.blocks} blocks, and "
        f"{contest.replicates:,} simulated worlds, seed {contest.seed}."
    ]
    if contest.dependence is not None:
        sentences.append(f"From block to block the gain correlates by {contest.dependence:+.2f}.")
    return " ".join(sentences)


def _two_sided(confidence: float) -> str:
    return f"{200 * confidence - 100:.4g}%"


def _judged(decision: Decision) -> str:
    """Return score, gate and rows, with or without a table of scores."""
    gate, rows = load(decision.use_case).gate, decision.facts.get("rows")
    counts = f"{rows:,.0f} rows" if isinstance(rows, float) else "an unknown number of rows"
    if isinstance(positives := decision.facts.get("positives"), float):
        counts += f" ({positives:,.0f} positive)"
    return (
        f"{gate.metric.name} {number(decision.gate_score)}, "
        f"{against_gate(gate, decision.gate_score)}; judged on {counts}."
    )


def _of_the_package(decision: Decision) -> list[str]:
    """Return how the challenger's package behaves, and how long it takes beside the champion's."""
    lines = []
    if decision.behaviours:
        lines += ["", "| behaviour | | rows | rows that pass |", "|---|---|---:|---:|"]
        lines += [
            (
                f"| {behaviour.name} | {'passes' if behaviour.passed else 'fails'} | "
                f"{behaviour.rows:,} | {behaviour.held:,} |"
            )
            for behaviour in decision.behaviours
        ]
    if decision.latency:
        lines += ["", "| rows of a request | champion | challenger |", "|---:|---:|---:|"]
        lines += [
            (
                f"| {timing.rows} | {timing.champion_milliseconds:.2f} ms | "
                f"{timing.challenger_milliseconds:.2f} ms |"
            )
            for timing in decision.latency
        ]
    return lines
