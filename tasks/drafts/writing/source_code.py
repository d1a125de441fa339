"""Python source of calls and values, laid out as ``ruff format`` lays it out at 100 columns."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 100
_STEP = 4


@dataclass(frozen=True)
class Name:
    """A name, written as it is."""

    name: str


@dataclass(frozen=True)
class Call:
    """A call with its arguments in their order; ``comments`` stand above the arguments that they
    are named after.
    """

    function: str
    arguments: Mapping[str, Any]
    comments: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Parts:
    """A tuple of calls, one a line, with the lines of comment above each."""

    parts: Sequence[tuple[Sequence[str], Any]]
    after: Sequence[str] = ()


def source(value: Any, indent: int = 0, used: int = 0) -> str:
    """The source of ``value`` at ``indent``; ``used`` characters of the line are taken by what
    stands before and behind it.
    """
    if not _is_explained(value):
        line = _line(value)
        if indent + used + width_of(line) <= WIDTH:
            return line
    inner = indent + _STEP
    match value:
        case Call():
            items = []
            for name, argument in value.arguments.items():
                items += comment((value.comments or {}).get(name, ()), inner)
                items.append(f"{name}={source(argument, inner, len(name) + 2)},")
            return _exploded(f"{value.function}(", items, ")", indent)
        case Parts():
            items = []
            for lines, part in value.parts:
                items += comment(lines, inner)
                items.append(source(part, inner, 1) + ",")
            return _exploded("(", [*items, *comment(value.after, inner)], ")", indent)
        case dict() if value:
            items = [
                f"{literal(key)}: {source(item, inner, len(literal(key)) + 3)},"
                for key, item in value.items()
            ]
            return _exploded("{", items, "}", indent)
        case tuple() if len(value) > 1:
            return _exploded("(", [source(item, inner, 1) + "," for item in value], ")", indent)
    return _line(value)


def width_of(text: str) -> int:
    """Columns of a line: a letter of East Asia takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def comment(lines: Sequence[str], indent: int) -> list[str]:
    """The ``lines`` as comments that are wrapped at the width."""
    wrapped: list[str] = []
    for line in lines:
        current = "#"
        for word in " ".join(line.split()).split(" "):
            if width_of(current) + 1 + width_of(word) > WIDTH - indent and current != "#":
                wrapped.append(current)
                current = "#"
            current += f" {word}"
        wrapped.append(current)
    return wrapped


def literal(value: object) -> str:
    """As Python's own, with double quotes where that needs no more escapes."""
    if not isinstance(value, str):
        return repr(value)
    plain = repr(value)
    if plain.startswith('"') or '"' in value:
        return plain
    return '"' + plain[1:-1].replace("\\'", "'") + '"'


def _is_explained(value: Any) -> bool:
    """Whether a comment stands inside it, so that it needs several lines."""
    if isinstance(value, Parts):
        return True
    return isinstance(value, Call) and (
        any((value.comments or {}).values()) or any(map(_is_explained, value.arguments.values()))
    )


def _line(value: Any) -> str:
    match value:
        case Name():
            return value.name
        case Call():
            arguments = ", ".join(f"{name}={_line(own)}" for name, own in value.arguments.items())
            return f"{value.function}({arguments})"
        case tuple():
            inner = ", ".join(map(_line, value))
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case dict():
            return "{" + ", ".join(f"{literal(k)}: {_line(v)}" for k, v in value.items()) + "}"
    return literal(value)


def _exploded(opening: str, items: Sequence[str], closing: str, indent: int) -> str:
    inner = " " * (indent + _STEP)
    return "\n".join([opening, *(f"{inner}{item}" for item in items), f"{' ' * indent}{closing}"])
