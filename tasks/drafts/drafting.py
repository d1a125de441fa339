"""A table becomes a draft: each decision after the one that it needs."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.drafts.inference.baseline import find_baseline
from tasks.drafts.inference.draft import Draft, taken_names
from tasks.drafts.inference.keys import Key, key_of
from tasks.drafts.inference.leaks import find_leaks
from tasks.drafts.inference.limits import arguments, periods_of
from tasks.drafts.inference.targets import Target, likely_targets, named_target, target_of
from tasks.drafts.inference.times import timing_of
from tasks.drafts.reading.columns import describe_columns
from tasks.drafts.reading.dates import date_in_parts
from tasks.drafts.reading.facts import Facts
from tasks.drafts.reading.tables import NoDraft, Table, repeated_in
from tasks.drafts.writing.usecase_file import write
from usecases.definition import UseCase

# Neither may stand in the name of a field of an answer.
_UNSPEAKABLE = re.compile(r'["\\\x00-\x1f]')
Ask = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Wishes:
    """What a person states: the columns of the target, the time and the key."""

    target: str | None = None
    time: str | None = None
    key: tuple[str, ...] = ()


def draft_of(table: Table, name: str, path: str, wishes: Wishes, ask: Ask) -> tuple[Draft, str]:
    """The draft and the text of its file. ``ask`` is called with the likely targets where no name
    decides. Raises ``NoDraft``, and what ``ask`` raises.
    """
    facts, decimal, nulls = describe_columns(table)
    if len(facts) < 2:
        raise NoDraft(
            f"{table.place} has the one column {next(iter(facts))!r} ({table.form}): a target and "
            "something to predict it from are needed. Is the separator one of , ; tab and |?"
        )
    if table.query is None and (date := date_in_parts(facts)):
        facts |= {date.name: date}
    chosen = wishes.target or named_target(facts)
    target = target_of(facts, chosen or ask(likely_targets(facts)))
    facts = {name: one for name, one in facts.items() if target.name not in one.parts}
    timing = timing_of(facts, target, table.step, wishes.time)
    event = facts[timing.column] if timing.column else None
    # A date of parts is there for the event time only.
    facts = {name: one for name, one in facts.items() if not one.parts or one is event}
    able, left_out = _inputs(facts, target.name, event)
    leaks = find_leaks(able, target, event)
    left_out |= leaks.sure
    inputs = [column for column in able if column.name not in leaks.sure]
    if not inputs:
        why = "; ".join(f"{column}: {reason}" for column, reason in left_out.items())
        raise NoDraft(f"No column is left to predict {target.name!r} from: {why}.")
    key = _checked(
        table,
        key_of(facts, timing, target, [column.name for column in inputs], wishes.key),
        wishes,
        facts,
    )
    left_out = {column: why for column, why in left_out.items() if column not in key.columns}
    periods = periods_of(timing, event)
    draft = Draft(
        name=name,
        table=table,
        path=path,
        facts=facts,
        decimal=decimal,
        nulls=nulls,
        target=target,
        timing=timing,
        key=key,
        leaks=leaks,
        inputs=inputs,
        left_out=left_out,
        limits={column.name: arguments(column, timing, periods) for column in inputs},
        renamed=_renamed(inputs, facts, target, table),
    )
    draft = replace(draft, baseline=find_baseline(draft, case_of(write(draft))))
    return draft, write(draft)


def case_of(text: str) -> UseCase:
    """The use case of a file's text. Raises ``ValidationError``."""
    names: dict[str, Any] = {}
    exec(compile(text, "<draft>", "exec"), names)  # noqa: S102 - written by us just now
    case: UseCase = names["USE_CASE"]
    return case


def _inputs(
    facts: Mapping[str, Facts], target: str, event: Facts | None
) -> tuple[list[Facts], dict[str, str]]:
    """The columns that a model can have, and those left out."""
    able, left_out = list[Facts](), dict[str, str]()
    for name, column in facts.items():
        if name == target or column is event:
            continue
        if event is not None and name in event.parts:
            left_out[name] = f"part of {event.name}"
        elif column.kind == "none":
            left_out[name] = column.why or "an id"
        elif column.kind == "datetime" and column.ambiguous and event is None:
            left_out[name] = "its dates can be read with the day or the month first"
        else:
            able.append(column)
    return able, left_out


def _renamed(
    inputs: Sequence[Facts], facts: Mapping[str, Facts], target: Target, table: Table
) -> dict[str, str]:
    """Names in the use case of the inputs and the target whose own cannot stand in an answer, or
    is taken there.
    """
    renamed: dict[str, str] = {}
    taken = taken_names(target)
    for own in [*(column.name for column in inputs), target.name]:
        name = _UNSPEAKABLE.sub("", own).strip() or "column"
        while (own != target.name and name in taken) or (
            name != own and (name in facts or name in renamed.values())
        ):
            name += "_"
        if name != own:
            renamed[own] = name
    if renamed and table.query is not None:
        raise NoDraft(
            f"The query has columns {sorted(renamed)}, whose names Laurel cannot use: rename them "
            f"in the query, such as {next(iter(renamed))} AS {next(iter(renamed.values()))}."
        )
    return renamed


def _checked(table: Table, key: Key, wishes: Wishes, facts: Mapping[str, Facts]) -> Key:
    """The key is looked at in all rows, where the sample has only some."""
    if table.step == 1 or not key.columns or wishes.key:
        return key
    columns = [own for name in key.columns for own in facts[name].parts or (name,)]
    return replace(key, repeated=repeated_in(table, columns))


def relative_path(path: str, home: Path, folder: Path) -> str:
    """How the file in ``folder`` names the table at ``path``, which begins at ``home``: below the
    folder's own project from there, elsewhere in full.
    """
    if "://" in path:
        return path
    whole = Path(path).expanduser()
    whole = whole if whole.is_absolute() else home / whole
    whole = Path(*(part for part in whole.parts if part != "."))
    project = folder.parent
    if whole.is_relative_to(folder):
        return whole.relative_to(folder).as_posix()
    if whole.is_relative_to(project):
        return f"../{whole.relative_to(project).as_posix()}"
    return str(whole)
