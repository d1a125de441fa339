"""Parameters as they are typed, by the schema of a deployment."""

from typing import Any

import pytest

from laurel.output import CommandFailed
from laurel.parameters import parse

SCHEMA = {
    "properties": {
        "use_case": {"type": "string"},
        "version": {"type": "string"},
        "through": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "seed": {"type": "integer", "default": 0},
        "hours": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "again": {"type": "boolean", "default": False},
        "policy": {"anyOf": [{"type": "object"}, {"type": "null"}], "default": None},
        "question": {"anyOf": [{"enum": ["champion", "retrain"]}, {"type": "null"}]},
        "by": {"type": "string"},
    },
    "required": ["use_case", "version", "by"],
}
GIVEN = {"by": "ann", "version": "1"}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("version=3", "3"),
        ("through=2013-06", "2013-06"),
        ("through=a=b", "a=b"),
        ("seed=7", 7),
        ("hours=1.5", 1.5),
        ("hours=none", None),
        ("again=True", True),
        ("again=no", False),
        ('policy={"drift": {"share": 0.2}}', {"drift": {"share": 0.2}}),
        ("question=retrain", "retrain"),
        ("by=안나", "안나"),
    ],
)
def test_a_value_has_the_flow_s_own_type(pair: str, value: Any) -> None:
    assert parse("f", [pair], SCHEMA, GIVEN) == {pair.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (["version"], '"version" is not NAME=VALUE'),
        (["=3"], "is not NAME=VALUE"),
        (["sed=3"], 'Did you mean "seed"?'),
        (["use_case=other"], "no parameter of f"),
        (["seed=three"], "seed is a number"),
        (["again=perhaps"], "again is yes or no"),
        (["policy={oops"], "policy is JSON"),
        (["seed=1", "seed=2"], "given twice"),
    ],
)
def test_a_wrong_value_is_told_before_anything_starts(pairs: list[str], told: str) -> None:
    with pytest.raises(CommandFailed, match=told.replace("?", r"\?")) as error:
        parse("f", pairs, SCHEMA, GIVEN)
    assert error.value.exit_code == 2


def test_a_missing_parameter_is_named_with_what_to_type() -> None:
    with pytest.raises(CommandFailed, match="needs version: --param version=..."):
        parse("f", [], SCHEMA, {"by": "ann"})
    assert parse("f", [], SCHEMA, GIVEN) == {}
