"""What a use case's models are made of, so that a changed definition is noticed: its columns, each
recipe and each search.

A version's package names its columns; its tag ``laurel.definition`` has a digest of each recipe and
search, of what the code says and not of how it is laid out. Code that ``build`` calls elsewhere,
and what the columns hold, are not seen."""

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from serving.package.manifest import Feature, Manifest
from serving.records.reasons import because
from usecases.definition import Candidate, Column, UseCase

TAG = "laurel.definition"
_SEARCH = "the search of "


def recipes_of(case: UseCase) -> str:
    """Return the tag: JSON with a digest for each recipe and search."""
    parts: dict[str, Any] = {
        f"recipe {candidate.name}": _recipe(candidate) for candidate in case.candidates
    }
    parts |= {
        f"{_SEARCH}{candidate.name}": candidate.search.model_dump(mode="json", exclude={"at_once"})
        for candidate in case.candidates
        if candidate.search
    }
    if case.half_life_days is not None:
        parts["half_life_days"] = case.half_life_days
    if case.sample is not None:
        parts["sample"] = case.sample.model_dump(mode="json")
    return json.dumps({name: digest_of(part) for name, part in sorted(parts.items())})


def changes_since(case: UseCase, manifest: Manifest, recipes: str | None) -> tuple[str, ...]:
    """Return what has changed since the version with that manifest and tag was made, in words.

    A version from before the tag is compared by its columns alone."""
    learned = {f"column {feature.name}": seen_as(feature) for feature in manifest.features}
    declared = {f"column {column.name}": seen_as(column) for column in case.columns}
    changes = _differences(learned, declared)
    if recipes is not None:
        changes += _differences(json.loads(recipes), json.loads(recipes_of(case)))
    return tuple(changes)


def seen_as(column: Feature | Column) -> str:
    """Return the kind of a column, and what models see of it."""
    return " ".join([column.kind, *(column.parts or ())])


def other_answer(case: UseCase, manifest: Manifest) -> str:
    """Return what a package predicts that the use case does not ask for; empty if it predicts the
    same target."""
    if manifest.label != case.label:
        return because("other_label", label=manifest.label, wanted=case.label)
    # A set follows from the classes: with it or without it, the target is the same.
    answers = {
        output.name: (output.kind, output.categories or [])
        for output in manifest.outputs
        if output.kind != "set"
    }
    outputs = {
        output.name: (output.kind, [*output.categories])
        for output in case.outputs
        if output.kind != "set"
    }
    if answers == outputs:
        return ""
    return because("other_answers", answers=[*answers], label=case.label, wanted=[*outputs])


def has_new_search(changes: Iterable[str]) -> bool:
    """Whether HPO has something to find that it could not find before."""
    return any(change.startswith(_SEARCH) and not change.endswith("gone") for change in changes)


def definition_digest(columns: Iterable[tuple[str, str]], recipes: str | None) -> str:
    """Return one digest for columns, as (name, ``seen_as``), and the tag."""
    return digest_of([sorted(columns), recipes])


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        *(f"{name} is new" for name in now if name not in before),
        *(f"{name} is gone" for name in before if name not in now),
        *(f"{name} has changed" for name in now if before.get(name, now[name]) != now[name]),
    ]


def _recipe(candidate: Candidate) -> list[Any]:
    functions = [candidate.build, *([candidate.export] if candidate.export else [])]
    texts = {name: code_of(make) for name, make in sorted(candidate.vectorizers.items())}
    recipe = [dict(candidate.params), candidate.baseline, *map(code_of, functions)]
    batches = [candidate.batch_rows, candidate.passes] if candidate.batch_rows else []
    return [*recipe, *([texts] if texts else []), *batches]


def code_of(build: Any) -> str:
    """Return the source of a function without its comments and layout; the name of what has
    none."""
    try:
        source = textwrap.dedent(inspect.getsource(build))
    except (OSError, TypeError):
        return getattr(build, "__qualname__", type(build).__qualname__)
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:  # a lambda in the middle of an expression
        return source


def digest_of(part: Any) -> str:
    """Return a short digest of what JSON can hold."""
    text = json.dumps(part, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
