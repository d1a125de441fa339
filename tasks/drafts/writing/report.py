"""What a draft assumed and why, for a terminal of 80 columns."""

import re
from collections.abc import Sequence

from tasks.drafts.inference.draft import Draft
from tasks.drafts.inference.targets import Target
from tasks.drafts.writing.source_code import literal, width_of

_COLUMNS = 80
_MARGIN = 11
_NAME = 14
_MOST_LINES = 8
_SMALL_HOLDOUT, _JUDGED = 100, 500
_KINDS = {"number": "numbers", "category": "categories", "boolean": "booleans"}


def report_of(draft: Draft, text: str) -> list[str]:
    """Lines of at most 80 columns; ``text`` is the file's."""
    table, timing = draft.table, draft.timing
    form = f"{table.form}, decimal comma" if draft.decimal == "," else table.form
    head = f"{table.place}   {table.rows:,} rows, {len(draft.facts)} columns   {form}"
    lines = [line.removeprefix(" " * _MARGIN) for line in _wrapped("", head)]
    for note in [*([table.assumed] if table.assumed else []), *table.notes]:
        lines += _wrapped("note", note)
    lines += _wrapped("target", f"{_padded(draft.target.name)}{_target(draft.target)}")
    lines += _wrapped("time", _time(draft))
    lines += _wrapped("key", ", ".join(draft.key.columns) or draft.key.why)
    if draft.key.columns and (draft.key.why.startswith("no ") or draft.key.repeated):
        lines += _wrapped("", draft.key.why + _repeated(draft.key.repeated))
    lines += _wrapped("inputs", _inputs(draft), _MOST_LINES)
    lines += _left_out(draft)
    for name, alone in draft.leaks.suspects.items():
        line = _line_of(text, draft.named(name))
        why = f"{draft.leaks.score} {alone:.2f} alone: known when you predict?  line {line}"
        lines += _wrapped("! look", f"{_padded(name)}{why}")
    lines += _wrapped("gate", _gate(draft))
    if draft.baseline and draft.baseline.no_better:
        lines += _wrapped("! look", "hardly more than chance: has the table what decides?")
    lines += [line for note in _of_few_rows(draft) for line in _wrapped("! small", note)]
    if timing.column is None and timing.why.count(":"):
        lines += _wrapped("", timing.why)
    return lines


def _target(target: Target) -> str:
    labels = target.labels.drop_nulls().to_numpy()
    match target.kind:
        case "binary":
            yes = "1" if target.positive is None else literal(target.positive)
            return f"yes or no, {yes} is yes ({target.share_of_yes:.0%})"
        case "classes":
            return f"{len(target.classes)} classes: {', '.join(target.classes)}"
        case "count":
            return f"a count, mean {labels.mean():.3g}"
    return f"a number, {labels.min():.4g} … {labels.max():.4g}"


def _time(draft: Draft) -> str:
    timing, event = draft.timing, draft.event
    if event is None:
        return "none: rows arrive, and are dealt over ten weeks"
    first, last = (str(moment)[:10] for moment in (event.values.min(), event.values.max()))
    order = f", {event.order}" if event.order and "first" in event.order else ""
    order = f", of {' + '.join(event.parts)}" if event.parts else order
    assumed = " (assumed)" if event.ambiguous else ""
    return (
        f"{_padded(event.name)}{first} … {last}{order}{assumed}   "
        f"period: {timing.period} ({timing.periods})"
    )


def _inputs(draft: Draft) -> str:
    """By kind, with what a column is called in the use case if its name is taken."""
    groups: dict[str, list[str]] = {}
    for column in draft.inputs:
        new = draft.renamed.get(column.name)
        groups.setdefault(column.kind, []).append(f"{column.name} as {new}" if new else column.name)
    return " · ".join(
        f"{len(names)} {_KINDS.get(kind, kind)}: {', '.join(names)}"
        for kind, names in groups.items()
    )


def _left_out(draft: Draft) -> list[str]:
    lines: list[str] = []
    for at, (name, why) in enumerate(draft.left_out.items()):
        lines += _wrapped("" if at else "left out", f"{_padded(name)}{why}")
    return lines


def _gate(draft: Draft) -> str:
    gate = draft.baseline
    assert gate is not None
    words = draft.metric.replace("ROC_AUC", "ROC AUC").replace("RMSE", "rmse").replace("_", " ")
    words = words if words == "ROC AUC" else words.capitalize() if words != "rmse" else "RMSE"
    sign = "≤" if draft.target.is_number else "≥"
    return (
        f"{words} {sign} {gate.threshold:.4g}  ({gate.model}: {gate.mean:.3g} ± {gate.spread:.2g})"
    )


def _of_few_rows(draft: Draft) -> list[str]:
    """What cannot be decided with so few rows."""
    rows = draft.timing.holdout_rows
    if rows >= _SMALL_HOLDOUT:
        return []
    needed = draft.table.rows * _JUDGED // max(1, rows)
    return [
        f"a hold-out of {rows} rows: a first champion can be made, and a contest stays "
        f"inconclusive until there are about {needed:,} rows"
    ]


def _repeated(share: float) -> str:
    return f"; {share:.1%} of the rows repeat it, and go to quarantine" if share else ""


def _line_of(text: str, name: str) -> int:
    lines = text.splitlines()
    return next(
        (at for at, line in enumerate(lines, start=1) if f"name={literal(name)}" in line), 0
    )


def _padded(name: str) -> str:
    return name + " " * max(1, _NAME - width_of(name))


def _wrapped(margin: str, text: str, most: int | None = None) -> list[str]:
    """``text`` behind the margin, on lines of 80 columns; after ``most`` lines it is cut."""
    indent = f"  {margin:<{_MARGIN - 2}}" if margin else " " * _MARGIN
    lines, current = list[str](), indent
    for word in _words(text):
        if width_of(current + word.rstrip()) > _COLUMNS and current.strip():
            lines.append(current.rstrip())
            current = " " * _MARGIN
        current += word
    lines.append(current.rstrip())
    if most is not None and len(lines) > most:
        return [*lines[:most], " " * _MARGIN + "… all of them are in the file"]
    return lines


def _words(text: str) -> Sequence[str]:
    """With the blanks behind each; a word longer than a line is cut."""
    longest = _COLUMNS - _MARGIN
    words = []
    for word in re.findall(r"\S+\s*|\s+", text):
        while width_of(word.rstrip()) > longest:
            words.append(word[: longest // 2])
            word = word[longest // 2 :]
        words.append(word)
    return words
