"""The card of a rollout: the decision, the plan, what each stage found, and what was done when, by
whom. Markdown, from the ledger's entries alone, and without libraries that compute."""

from collections.abc import Iterator, Sequence

from serving.records.ledger import Decision
from serving.records.rollout import Findings, Rollout, Stage
from tasks.messages.wording import number
from tasks.rollouts.moves import stage_in_words


def card(entries: Sequence[Decision]) -> str:
    """The card of a rollout as it is after the last of its ``entries``, which are in order and
    begin with its first one, or are the last one alone."""
    last = entries[-1]
    rollout = rollout_of(last)
    parts = [
        f"# Version {last.version} against champion {last.champion}: {last.verdict}",
        f"At {stage_in_words(rollout)}, since {_minute(rollout.since)}.",
        "\n".join(f"- {reason}" for reason in last.reasons),
        "## Plan",
        "\n".join(_plan(entries[0], rollout)),
    ]
    for findings in all_findings(rollout):
        if lines := list(_table(findings)):
            parts += [f"## {_title(findings.kind)}", "\n".join(lines)]
    if len(entries) > 1:
        parts += ["## What happened", "\n".join(_steps(entries))]
    return "\n\n".join(parts) + "\n"


def rollout_of(entry: Decision) -> Rollout:
    assert entry.rollout is not None
    return entry.rollout


def all_findings(rollout: Rollout) -> list[Findings]:
    """Of the stages that are over, and of the one that it is at."""
    return [*rollout.earlier, rollout.findings]


def _plan(first: Decision, rollout: Rollout) -> Iterator[str]:
    for stage in rollout.stages:
        yield f"- {_terms(stage)}"
    if first.verdict == "began":
        yield from (f"- {reason}" for reason in first.reasons[1:])


def _terms(stage: Stage) -> str:
    """A stage in a line, as it was planned."""
    key = f" of {stage.header or stage.field}" if stage.header or stage.field else ""
    if stage.kind == "canary":
        steps = ", ".join(f"{100 * share:g}" for share in stage.steps)
        return (
            f"Canary: {steps} % of the callers{key}, each step for {stage.minimum_requests:,} rows "
            f"and {stage.minimum_minutes:g} minutes at least"
        )
    share = f" of {100 * stage.share:g} % of the callers{key}" if stage.kind == "ab" else ""
    days = "without a planned end" if stage.days is None else f"over {stage.days} days"
    cap = f", each cut off at {stage.reward_cap:g}" if stage.reward_cap is not None else ""
    return (
        f"{_title(stage.kind)}{share}: {stage.metric}{cap}, "
        f"{days} of event time that are older than {stage.label_days} days; without a label: "
        f"{stage.missing_label}"
    )


def _table(findings: Findings) -> Iterator[str]:
    if findings.shift is not None:
        yield (
            "Since the contest the challenger's mean answer has moved against the champion's by "
            f"{number(findings.shift, signed=True)} standard deviations.\n"
        )
    if findings.requests is not None:
        yield f"{findings.requests:,} rows were answered in the last step.\n"
    if not findings.blocks:
        return
    low, high = (number(end, signed=True) for end in (findings.low, findings.high))
    yield f"Gain {number(findings.gain, signed=True)}, interval {low} – {high}.\n"
    yield "| days | rows | labelled | gain |"
    yield "|---|---:|---:|---:|"
    for block in findings.blocks:
        yield (
            f"| {block.first} – {block.last} | {block.rows:,} | {block.labelled:,} | "
            f"{number(block.gain, signed=True)} |"
        )


def _steps(entries: Sequence[Decision]) -> Iterator[str]:
    for entry in entries:
        yield f"- {_minute(entry.time)}, **{entry.verdict}**: {'; '.join(entry.reasons)}"


def _title(kind: str) -> str:
    return "A/B" if kind == "ab" else kind.capitalize()


def _minute(time: str) -> str:
    """A time of the ledger (UTC) to the minute."""
    return f"{time[:16].replace('T', ' ')} UTC"
