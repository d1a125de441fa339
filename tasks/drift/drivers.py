"""What drives a drift verdict: the columns that are beyond their threshold, and which count."""

import math

from serving.records.drift import DriftVerdict, Finding
from tasks.messages import watch


def drifted_columns(verdict: DriftVerdict) -> list[str]:
    """What drives the share: the weightiest first, then the furthest beyond its own threshold."""
    ratios = {name: times(verdict, name) for name in verdict.distances if weight(verdict, name) > 0}
    return sorted(
        (name for name, ratio in ratios.items() if ratio >= 1),
        key=lambda name: (-weight(verdict, name), -ratios[name]),
    )


def starts_retrain(verdict: DriftVerdict) -> bool:
    """Whether the window emits the event of drift. The presence of categories alone does not, and
    broken data never do.
    """
    return verdict.outcome == "drifted" and verdict.retrain


def notes_of(verdict: DriftVerdict) -> list[Finding]:
    """What people are told of a window that stays stable. What too few training periods were
    behind, to decide, stands in the record alone.
    """
    provisional = ("within", "over")
    return [
        finding
        for finding in verdict.findings
        if finding.word == "said" and finding.check not in provisional
    ]


def advice(verdict: DriftVerdict) -> str:
    """In one sentence, what a person should do."""
    noted = bool(notes_of(verdict))
    return watch.advice(verdict.outcome, retrain=verdict.retrain, noted=noted)


def reasons_and_advice(verdict: DriftVerdict) -> str:
    """The reasons as sentences, and what a person should do."""
    ends = (".", "?", "!")
    sentences = (reason if reason.endswith(ends) else f"{reason}." for reason in verdict.reasons)
    return " ".join([*sentences, advice(verdict)])


def by_word(verdict: DriftVerdict) -> dict[str, list[str]]:
    """The checks beside the distances that do not decide, by what they mean, each with its column:
    ``{"said": ["nulls wind"], "unjudged": ["integrity"]}``.
    """
    words: dict[str, list[str]] = {}
    for finding in verdict.findings:
        if finding.word in ("said", "unjudged", "uncalibrated"):
            named = f"{finding.check} {finding.column or ''}".strip()
            words.setdefault(finding.word, []).append(named)
    return words


def list_drifted(verdict: DriftVerdict) -> str:
    """The drifted columns in that order, each with its distance as a multiple of its threshold:
    ``first 6.1×, group 2.0×``.
    """
    return ", ".join(f"{name} {times(verdict, name):.1f}×" for name in drifted_columns(verdict))


def ordered_columns(verdict: DriftVerdict) -> list[str]:
    """All measured columns: the drifted ones as above, then the others by weight and distance."""
    drifted = drifted_columns(verdict)

    def place(name: str) -> tuple[float, float, str]:
        ratio = times(verdict, name)
        return -weight(verdict, name), -(0.0 if math.isnan(ratio) else ratio), name

    return [*drifted, *sorted(set(verdict.distances) - set(drifted), key=place)]


def times(verdict: DriftVerdict, name: str) -> float:
    """The column's distance as a multiple of its threshold; NaN if it is not known."""
    distance = verdict.distances[name]
    return math.nan if distance is None else distance / verdict.thresholds[name]


def weight(verdict: DriftVerdict, name: str) -> float:
    """0 for a column that does not count. A verdict without weights counts each column alike."""
    if verdict.importance:
        return verdict.importance.get(name, 0.0)
    return float(name not in verdict.described)


def explain(verdict: DriftVerdict, name: str) -> str:
    """The column's result in words: a distance beyond the threshold alone does not make it
    count.
    """
    if verdict.distances[name] is None:
        return "its distance is unknown"
    if times(verdict, name) < 1:
        return "within its threshold"
    if name in verdict.described:
        return "beyond its threshold, but does not count: the policy only describes it"
    if weight(verdict, name) <= 0:
        return "beyond its threshold, but does not count: the model does not use it"
    return f"beyond its threshold: it drifted, and counts with {weight(verdict, name):.1%}"
