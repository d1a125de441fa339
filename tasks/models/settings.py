"""What a use case's file says, and what changed in it from one version to another, for people.

A version's tag ``laurel.settings`` has each setting that is not Laurel's default, as the file
writes it: ``{"gate.threshold": "0.75", "columns.group": "kind='category'"}``. What is too long for
that or nobody's business, such as code or a source's path, is a digest."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from serving.records.ledger import Change
from tasks.models.fingerprint import code_of, digest_of
from usecases.definition import Candidate, Frozen, Metric, UseCase

TAG = "laurel.settings"
# Characters: the service reads a champion's tags every two seconds.
_LONGEST, _LONGEST_VALUE = 20_000, 500
_DIGEST = "#"
# Titles and names change no model; a source is told by its own lines.
_LEFT_OUT = {"name", "title", "question", "description", "source"}
_CODE = ("build", "export", "vectorizers")


def settings_of(case: UseCase) -> str:
    """Return the tag. Of so many columns that it would be too long, each is a digest."""
    settings = {
        name: value if len(value) <= _LONGEST_VALUE else _digest(value)
        for name, value in _settings(case)
    }
    text = json.dumps(settings, ensure_ascii=False)
    if len(text) <= _LONGEST:
        return text
    short = {
        name: _digest(value) if name.startswith("columns.") else value
        for name, value in settings.items()
    }
    return json.dumps(short, ensure_ascii=False)


def changes_between(champion: str | None, challenger: str | None) -> list[Change]:
    """Return what differs between two versions' tags, in the order of the challenger's file; one
    change without a name if a version is from before the tag."""
    if champion is None or challenger is None:
        return [Change(name="", before=None, after=None)]
    before, after = json.loads(champion), json.loads(challenger)
    return [
        Change(name=name, before=_shown(before.get(name)), after=_shown(after.get(name)))
        for name in {**after, **before}
        if before.get(name) != after.get(name)
    ]


def changes_in_words(changes: Sequence[Change]) -> list[str]:
    """Return the changes as a line of Markdown; none if there are none."""
    listed = "; ".join(map(_in_words, changes))
    return [f"**Changed in the definition:** {listed}."] if listed else []


def _in_words(change: Change) -> str:
    if not change.name:
        return "not known, since the champion is from before definitions were recorded"
    for value, word in ((change.before, "is new"), (change.after, "is gone")):
        if value is None:
            other = change.after or change.before
            return f"`{change.name}` {word}{f': `{other}`' if other else ''}"
    if change.before and change.after:
        return f"`{change.name}`: `{change.before}` → `{change.after}`"
    return f"`{change.name}` has changed"


def _settings(case: UseCase) -> Iterator[tuple[str, str]]:
    yield "source", type(case.source).__name__
    yield "source.details", _digest(_details(case.source))
    for field, value in _declared(case).items():
        match value:
            case Frozen():
                if field == "target":
                    yield field, type(value).__name__
                for part, own in _declared(value).items():
                    yield f"{field}.{part}", _written(own)
            case (Frozen(), *_):
                for part in value:
                    yield from _one_of_several(f"{field}.{part.name}", part)
            case _:
                yield field, _written(value)


def _one_of_several(name: str, part: Frozen) -> Iterator[tuple[str, str]]:
    """A column, a candidate or a behaviour."""
    if not isinstance(part, Candidate):
        yield name, _arguments(part)
        return
    yield name, _arguments(part.model_copy(update={"search": None}))
    if part.search:
        yield f"{name}.search", _arguments(part.search)
    functions = [part.build, *filter(None, [part.export]), *part.vectorizers.values()]
    yield f"{name}.code", _digest(list(map(code_of, functions)))


def _declared(part: Frozen) -> dict[str, Any]:
    """The fields that are not at their defaults."""
    fields = type(part).model_fields.items()
    declared = {name: getattr(part, name) for name, field in fields if name not in _LEFT_OUT}
    return {
        name: value
        for name, value in declared.items()
        if value != type(part).model_fields[name].get_default(call_default_factory=True)
    }


def _arguments(part: Frozen) -> str:
    declared = _declared(part).items()
    return ", ".join(f"{name}={_written(own)}" for name, own in declared if name not in _CODE)


def _written(value: Any) -> str:
    """As a use case's file would write it."""
    match value:
        case Metric():
            own = f" ({digest_of(code_of(value.function))})" if value.function else ""
            return f"{value.name.upper()}{own}"
        case Frozen():
            return f"{type(value).__name__}({_arguments(value)})"
        case tuple() | list():
            inside = ", ".join(map(_written, value))
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        case Mapping():
            return f"{{{', '.join(f'{name!r}: {_written(own)}' for name, own in value.items())}}}"
        case float():
            return repr(value).removesuffix(".0")
        case datetime():
            return repr(value.isoformat())
    return repr(value)


def _details(source: object) -> list[Any]:
    """The fields of a source, and the code of one that has any."""
    kept = vars(source) if hasattr(source, "__dict__") else {}
    fields = {
        name: code_of(value) if callable(value) else repr(value)
        for name, value in kept.items()
        if not name.startswith("_") and (callable(value) or isinstance(source, Frozen))
    }
    return [code_of(type(source)), fields]


def _digest(part: Any) -> str:
    return _DIGEST + digest_of(part)


def _shown(value: str | None) -> str | None:
    return "" if value is not None and value.startswith(_DIGEST) else value
