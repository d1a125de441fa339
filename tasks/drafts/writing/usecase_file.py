"""The file of a draft: short enough to read, with a comment only where a person should choose."""

from typing import Any

from tasks.drafts.inference.draft import Draft
from tasks.drafts.inference.limits import is_long_ago
from tasks.drafts.reading.words import words_of
from tasks.drafts.writing.recipes import candidates, functions
from tasks.drafts.writing.source_code import Call, Name, Parts, comment, literal, source, width_of

CHOOSE = "Choose:"
_USUAL_ROWS = 500
_USUAL_TRAINING_ROWS = 200
_USUAL_DRIFT_ROWS = 1000
_LEAST_HOLDOUT = 100
_LEAST_WINDOW = 50
_USUAL_PAST_DAYS = 7305
_NEARLY_PERFECT = 0.96
_WEEK = {"day": 7, "hour": 168}


def write(draft: Draft) -> str:
    """The file's text, laid out as ``ruff format`` does."""
    case = _use_case(draft)
    imported = [draft.metric, "UseCase", *_functions_in(case)]
    constants = sorted(name for name in imported if name.isupper())
    names = list(dict.fromkeys([*constants, *sorted(set(imported) - set(constants))]))
    question = literal(_question(draft))[1:-1].replace('\\"', '"').replace('"', "'")
    doc = "\n".join(line.removeprefix("# ") for line in comment([_drafted(draft)], 0))
    return (
        f'"""{question}\n\n{doc}\n"""\n\n{_import(names)}\n\n\n'
        f"{functions(draft.target.kind, bool(draft.texts))}\n\n"
        f"USE_CASE = {source(case, 0, len('USE_CASE = '))}\n"
    )


def title_of(name: str) -> str:
    return " ".join(words_of(name)).capitalize()


def _drafted(draft: Draft) -> str:
    return (
        "Drafted by `laurel new` from a table: read it once, and change what is wrong. A comment "
        f'that begins with "{CHOOSE}" is a decision for you.'
    )


def _question(draft: Draft) -> str:
    target = draft.target
    words = " ".join(target.name.split())
    match target.kind:
        case "binary":
            yes = "true" if target.positive is None else target.positive
            return f"Is {words} {yes}?"
        case "classes":
            return f"Which {words} is it?"
        case "count":
            return f"How many: {words}?"
    return f"What is {words}?"


def _use_case(draft: Draft) -> Call:
    timing, gate = draft.timing, draft.baseline
    made: dict[str, Any] = {
        "name": draft.name,
        "title": title_of(draft.name),
        "question": _question(draft),
        "source": _source(draft),
    }
    notes: dict[str, list[str]] = {}
    if timing.column is None:
        made["arrival"] = True
    made |= {"columns": _columns(draft), "target": _target(draft)}
    if draft.target.rare:
        few = ", ".join(f"{word} ({count} rows)" for word, count in draft.target.rare.items())
        notes["target"] = [f"{CHOOSE} too few rows to learn, their rows go to quarantine: {few}."]
    if timing.column is not None:
        made |= {"event_time": draft.named(timing.column)}
    if draft.key.columns:
        made["key"] = tuple(map(draft.named, draft.key.columns))
        if len(draft.key.columns) > 1 and draft.key.why.startswith("no column"):
            notes["key"] = [f"{CHOOSE} {draft.key.why}. Name the columns that identify a row."]
    if timing.column is not None and timing.period != "month":
        made["period"] = timing.period
    made["candidates"] = candidates(bool(draft.texts), draft.training_rows)
    threshold = gate.threshold if gate else 0.0
    made["gate"] = Call("Gate", {"metric": Name(draft.metric), "threshold": threshold})
    if gate and gate.no_better:
        notes["gate"] = [
            f"{CHOOSE} {gate.model} reached {gate.mean:.3g}, hardly more than chance. Has the "
            "table what decides the target?"
        ]
    made |= _policies(draft)
    if gate and _is_nearly_perfect(draft):
        notes["promotion"] = [
            f"{CHOOSE} {gate.model} is nearly perfect ({gate.mean:.3f}). Is "
            "each column known when you predict? If not, remove it, and suspicious_score too."
        ]
    return Call("UseCase", made, notes)


def _source(draft: Draft) -> Call:
    if draft.table.query is not None:
        return Call("SqlSource", {"query": draft.table.query})
    made: dict[str, Any] = {"path": draft.path}
    notes: dict[str, list[str]] = {}
    if draft.table.assumed:
        made["encoding"] = draft.table.encoding
        notes["encoding"] = [f"{CHOOSE} the bytes do not prove it. Are these right: "]
        notes["encoding"][0] += f"{draft.table.assumed.partition(': ')[2] or 'no such letters'}?"
    if draft.decimal == ",":
        made["decimal"] = ","
    event = draft.event
    if event is not None and event.ambiguous:
        made["date_format"] = event.date_format
        notes["date_format"] = [
            f"{CHOOSE} the dates of {event.name} can be read with the day or the month first."
        ]
    if event is not None and event.parts:
        made["date_parts"] = event.parts
    used = [*draft.inputs, *([event] if event else [])]
    if any(column.zoned for column in used):
        made["time_zone"] = "UTC"
        notes["time_zone"] = [f"{CHOOSE} the zone in which a day begins."]
    marks = {mark for column in draft.facts.values() for mark in column.marks}
    if nulls := (*draft.nulls, *sorted(marks)):
        made["nulls"] = nulls
    if draft.renamed:
        made["rename"] = dict(draft.renamed)
    return Call("FileSource", made, notes)


def _columns(draft: Draft) -> Parts:
    parts = []
    for column in draft.inputs:
        name = draft.named(column.name)
        limits = draft.limits[column.name]
        call = Call("Column", {"name": name, "kind": column.kind, **limits})
        parts.append((_suspicion(draft, column.name), call))
    after = [f"Left out: {name}: {why}." for name, why in draft.left_out.items()]
    return Parts(parts, after)


def _suspicion(draft: Draft, name: str) -> list[str]:
    leaks = draft.leaks
    if name not in leaks.suspects:
        return []
    alone = f"{leaks.score} {leaks.suspects[name]:.2f} alone, the next column {leaks.next:.2f}"
    return [
        f"{CHOOSE} {alone}. Known when you predict? Write trusted=True. If not, remove the column."
    ]


def _target(draft: Draft) -> Call:
    target = draft.target
    label = {"label": draft.named(target.name)}
    match target.kind:
        case "binary":
            yes = {} if target.positive is None else {"positive": target.positive}
            return Call("Binary", {**label, **yes})
        case "classes":
            return Call("Classes", {**label, "classes": target.classes})
    low = float(target.labels.min() or 0)  # type: ignore[arg-type]
    return Call("Number", {**label, "low": 0} if low >= 0 else label)


def _policies(draft: Draft) -> dict[str, Any]:
    """What the defaults are too strict for, with so few rows."""
    timing, made = draft.timing, dict[str, Any]()
    promotion: dict[str, Any] = {}
    if timing.holdout_periods != 1:
        promotion["holdout_periods"] = timing.holdout_periods
    if timing.block != "day":
        promotion["block"] = timing.block
    if _LEAST_HOLDOUT <= timing.holdout_rows < _USUAL_ROWS * 1.25:
        promotion["minimum_rows"] = _most(timing.holdout_rows)
    if _is_nearly_perfect(draft):
        promotion["suspicious_score"] = 1.0
    if promotion:
        made["promotion"] = Call("Promotion", promotion)
    window = timing.rows * _WEEK.get(timing.period, 1)
    drift: dict[str, Any] = {}
    if timing.period in _WEEK:
        drift["window"] = "7d"
    if window < _USUAL_DRIFT_ROWS * 1.25:
        drift["minimum_rows"] = max(_LEAST_WINDOW, _most(window))
    if drift:
        made["drift"] = Call("DriftPolicy", drift)
    if window < _USUAL_ROWS * 1.25:
        made["labels"] = Call("LabelPolicy", {"rows": max(_LEAST_WINDOW, _most(window))})
    newest = draft.event.values.max() if draft.event else None
    if newest is not None and is_long_ago(newest, _USUAL_PAST_DAYS):  # type: ignore[arg-type]
        made["event_times"] = Call("EventTimePolicy", {"past_days": None})
    if draft.training_rows < _USUAL_TRAINING_ROWS * 1.25:
        made["minimum_training_rows"] = max(20, _most(draft.training_rows))
    return made


def _is_nearly_perfect(draft: Draft) -> bool:
    """Whether a contest would take the score for a leak."""
    gate = draft.baseline
    return draft.metric == "ROC_AUC" and gate is not None and gate.mean > _NEARLY_PERFECT


def _most(rows: int) -> int:
    """Four fifths, in tens."""
    return int(rows * 0.8) // 10 * 10


def _functions_in(value: Any) -> set[str]:
    match value:
        case Call():
            return {value.function} | _functions_in(list(value.arguments.values()))
        case Parts():
            return _functions_in([part for _, part in value.parts])
        case dict():
            return _functions_in(list(value.values()))
        case list() | tuple():
            return {name for part in value for name in _functions_in(part)}
    return set()


def _import(names: list[str]) -> str:
    line = f"from usecases.definition import {', '.join(names)}"
    if width_of(line) <= 100:
        return line
    return "\n".join(
        ["from usecases.definition import (", *(f"    {name}," for name in names), ")"]
    )
