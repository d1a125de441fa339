"""What identifies a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tasks.drafts.inference.targets import Target
from tasks.drafts.inference.times import Timing
from tasks.drafts.reading.facts import Facts
from tasks.drafts.reading.tables import NoDraft

_MOST_DUPLICATES = 0.05


@dataclass(frozen=True)
class Key:
    """The columns of the key, none if a row is known by its content, and why those. ``repeated``
    is the share of rows (0-1) that have the key of another one."""

    columns: tuple[str, ...]
    why: str
    repeated: float = 0.0


def key_of(
    facts: Mapping[str, Facts],
    timing: Timing,
    target: Target,
    inputs: Sequence[str],
    asked: Sequence[str] = (),
) -> Key:
    """What identifies a row: ids and the event time; its content if they do not. Raises
    ``NoDraft`` for a key that is ``asked`` for and does not.
    """
    time = [timing.column] if timing.column else []
    if asked:
        return _asked(facts, target, asked)
    ids = [
        name
        for name, one in facts.items()
        if one.is_id and one.why != "numbers the rows" and not one.nulls and name != target.name
    ]
    ways: list[tuple[str, ...]] = [(name,) for name in ids]
    if time:
        ways += [(*time, name) for name in ids] + ([(*time, *ids)] if ids else []) + [(*time,)]
    for way in ways:
        if not (repeated := _repeated(facts, way)):
            return Key(way, "another in each row")
    if time and ids and (repeated := _repeated(facts, (*time, *ids))) < _MOST_DUPLICATES:
        return Key((*time, *ids), "another in nearly each row", repeated)
    if not time:
        return Key((), "no column is an id: a row is known by its inputs")
    whole = [name for name in inputs if not facts[name].nulls and facts[name].kind != "text"]
    repeated = _repeated(facts, (*time, *whole))
    return Key((*time, *whole), "no column is an id: the time and all full columns", repeated)


def _asked(facts: Mapping[str, Facts], target: Target, asked: Sequence[str]) -> Key:
    if strangers := [name for name in asked if name not in facts]:
        raise NoDraft(f"--key names {strangers}; the table has {', '.join(facts)}.")
    if target.name in asked:
        raise NoDraft("--key names the target, which comes late and changes.")
    if (repeated := _repeated(facts, asked)) > 0.2:
        raise NoDraft(
            f"--key: {repeated:.0%} of the rows have the same {', '.join(asked)} as another row, "
            "and would go to quarantine. Name more columns, or leave --key out."
        )
    return Key(tuple(asked), "as asked", repeated)


def _repeated(facts: Mapping[str, Facts], names: Sequence[str]) -> float:
    rows = pl.DataFrame([facts[name].values.alias(str(at)) for at, name in enumerate(names)])
    return 1 - rows.n_unique() / max(1, len(rows))
