"""Parameters of a flow as a person types them: ``--param window=2013-04``."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from laurel.names import unknown
from laurel.output import CommandFailed

USAGE_ERROR = 2
SIMPLE = {"integer": int, "number": float}
YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse(
    flow: str, pairs: Sequence[str], schema: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of ``NAME=VALUE``, each of the type that the flow's ``schema`` (as a deployment
    holds it) wants; a text stays a text, so that version 3 is ``"3"``.

    ``given`` are those that need not be named. Raises ``CommandFailed`` for a name that the flow
    does not have, a value that it cannot take, and one that is missing."""
    properties = {
        name: kinds for name, kinds in schema.get("properties", {}).items() if name != "use_case"
    }
    values: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise _wrong(f'"{pair}" is not NAME=VALUE.')
        if name not in properties:
            raise _wrong(unknown(f"parameter of {flow}", name, properties))
        if name in values:
            raise _wrong(f"{name} is given twice.")
        values[name] = _value(name, text, properties[name])
    missing = [
        name
        for name in schema.get("required", [])
        if name in properties and name not in values and given.get(name) is None
    ]
    if missing:
        example = " ".join(f"--param {name}=..." for name in missing)
        raise _wrong(f"The flow {flow} needs {', '.join(missing)}: {example}")
    return values


def _value(name: str, text: str, kind: Mapping[str, Any]) -> Any:
    kinds = [kind, *kind.get("anyOf", [])]
    types = [one["type"] for one in kinds if "type" in one]
    if "null" in types and text in ("", "null", "none") and "string" not in types:
        return None
    if "string" in types or any("enum" in one or "$ref" in one for one in kinds):
        return text
    if "boolean" in types:
        if text.lower() not in YES_NO:
            raise _wrong(f'{name} is yes or no, not "{text}".')
        return YES_NO[text.lower()]
    for word, convert in SIMPLE.items():
        if word in types:
            try:
                return convert(text)
            except ValueError:
                raise _wrong(f'{name} is a number, not "{text}".') from None
    try:
        return json.loads(text)
    except ValueError:
        raise _wrong(f'{name} is JSON, such as \'{{"key": 1}}\', not "{text}".') from None


def _wrong(sentence: str) -> CommandFailed:
    return CommandFailed(sentence, USAGE_ERROR)
