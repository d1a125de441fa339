"""Decisions about the crown: their record, and who is told."""

import math

from prefect import get_run_logger, task

from blocks.registry import ModelVersion
from serving.records.chain import path_of
from serving.records.contest import Contest
from serving.records.ledger import Decision
from tasks.contest.behaviour import in_words
from tasks.ledger.entries import record
from tasks.ledger.outcomes import against_gate, in_a_sentence
from tasks.measures import plots
from tasks.messages.announcements import contest_decided, first_champion, interval, number
from tasks.models.settings import changes_in_words
from tasks.outside.artifacts import linked, show_picture, show_text
from tasks.outside.blocks_of_run import RESUMED, registry, service, tell
from tasks.steps.approve.ask import asks_person
from tasks.steps.provenance import DECISION
from usecases.definition import load

_PICTURE = "plots/contest.png"


@task(**RESUMED)
def record_decision(decision: Decision, challenger: ModelVersion) -> None:
    """Record the decision in the ledger, the version's tags and the run's artifacts, and tell
    people."""
    use_case, case, store = decision.use_case, load(decision.use_case), registry()
    entry = record(decision)
    values = {
        "laurel.verdict": decision.verdict,
        "laurel.reasons": "; ".join(decision.reasons)[:4000],
    }
    store.tag(challenger, {**values, DECISION: path_of(use_case, entry.sequence)})
    page = service().page(use_case, entry.sequence)
    store.add_to_description(
        challenger, f"{in_a_sentence(decision)}\n\n{linked({'decision': page})}"
    )
    links = {"decision": page, f"challenger {challenger.number}": store.version_url(challenger)}
    if decision.champion:
        champion = ModelVersion(use_case, decision.champion, "", {})
        links[f"champion {champion.number}"] = store.version_url(champion)
    title = f"contest on {decision.holdout}: {decision.verdict}"
    show_text(use_case, "contest", _in_words(decision), title, links=links)
    contest, metric = decision.contest, case.gate.metric.name
    picture = None
    if contest is not None:
        main = contest.main
        figure = plots.contest_interval(main.low, main.gain, main.high, metric)
        picture = plots.png(figure)
        store.log_figure(challenger.run_id, figure, _PICTURE)
        words = (
            f"Gain {number(main.gain, signed=True)}, interval "
            f"{interval(main.low, main.high, signed=True)}: right of the line the challenger is "
            "better."
        )
        show_picture(use_case, "contest-interval", challenger.run_id, _PICTURE, title, words, links)
    message = "contest use_case=%s challenger=%s verdict=%s: %s"
    get_run_logger().info(
        message, use_case, challenger.number, decision.verdict, "; ".join(decision.reasons)
    )
    gate, row_count = case.gate.threshold, decision.facts.get("rows")
    rows = int(row_count) if isinstance(row_count, float) else None
    links = {"MLflow version": store.version_url(challenger), "decision": page}
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
        bounds = interval(comparison.low, comparison.high, signed=True)
        lines.append(
            f"| {name} | {comparison.metric} | {scores} | {bounds} | {comparison.rows:,} |"
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
        f"Each bound of the gain holds at {_percent(contest.confidence)}, those of guards and "
        f"slices together at {_percent(joint)}: by the influence of each of "
        f"{contest.blocks} blocks, and {contest.replicates:,} simulated worlds, seed "
        f"{contest.seed}."
    ]
    if contest.dependence is not None:
        sentences.append(f"From block to block the gain correlates by {contest.dependence:+.2f}.")
    return " ".join(sentences)


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.4g} %"


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
        limits = {
            test.name: in_words(test).replace("|", "\\|")
            for test in load(decision.use_case).behaviours
        }
        lines += [
            "",
            "| behaviour | must | | rows | rows that pass |",
            "|---|---|---|---:|---:|",
        ]
        lines += [
            (
                f"| {behaviour.name} | {limits.get(behaviour.name, 'not known')} | "
                f"{'passes' if behaviour.passed else 'fails'} | {behaviour.rows:,} | "
                f"{behaviour.held:,} |"
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
