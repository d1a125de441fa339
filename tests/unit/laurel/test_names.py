"""Names as they are typed."""

import pytest

from blocks.settings import REPOSITORY
from laurel import names
from laurel.output import CommandFailed


def test_flows_are_those_with_a_deployment() -> None:
    files = {path.stem for path in (REPOSITORY / "flows").glob("*.py")} - {"__init__", "runs"}
    assert set(names.flows()) == files and len(names.flows()) == len(files)


@pytest.mark.parametrize("word", ["drift-check", "drift_check"])
def test_a_flow_is_found_with_a_dash_or_an_underscore(word: str) -> None:
    assert names.flow_named(word) == "drift_check"


def test_an_unknown_flow_is_told_with_the_closest() -> None:
    with pytest.raises(CommandFailed, match='no flow "retrian". Did you mean "retrain"?') as told:
        names.flow_named("retrian")
    assert told.value.exit_code == 2


def test_use_cases_are_listed_without_being_imported() -> None:
    assert {"flights", "diabetes"} <= set(names.use_cases())


@pytest.mark.parametrize(
    ("typed", "version"),
    [("7", "7"), ("v7", "7"), ("none", "none"), ("vacant", "vacant"), (None, None)],
)
def test_a_version_may_be_typed_as_it_is_shown(typed: str | None, version: str | None) -> None:
    assert names.number(typed) == version
