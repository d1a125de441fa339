"""Which champion came before, by the ledger."""

from typing import Literal

import pytest

from serving.records.ledger import Decision
from tasks.ledger.entries import now
from tasks.steps.rollback import predecessor

Kind = Literal["crown", "rollback", "contest"]


def crown_move(version: str | None, kind: Kind = "crown", verdict: str | None = None) -> Decision:
    outcome = verdict or {"crown": "crowned", "rollback": "rollback", "contest": "promote"}[kind]
    return Decision(
        use_case="toy",
        time=now(),
        kind=kind,
        verdict=outcome,
        reasons=[],
        by="a test",
        run=None,
        version=version,
    )


def history(*versions: str) -> list[Decision]:
    """Return the entries: ``"2"`` was crowned, ``"<2"`` was rolled back to."""
    return [
        crown_move(version.removeprefix("<"), "rollback" if version.startswith("<") else "crown")
        for version in versions
    ]


@pytest.mark.parametrize(
    ("versions", "champion", "expected"),
    [
        ([], "1", None),
        (["1"], "1", None),
        (["1", "2"], "2", "1"),
        (["1", "2", "3"], "3", "2"),
        (["1", "2", "3", "<2"], "2", "1"),
        (["1", "2", "<1"], "1", None),
        (["1", "2", "3", "<2", "<1"], "1", None),
        (["1", "2", "3", "<1"], "1", None),
        (["1", "2", "3", "<2", "4"], "4", "2"),
        (["1", "2", "<1", "<2"], "2", "1"),
        (["1", "2", "3", "<2", "<1", "<3"], "3", "1"),
        (["1", "2", "1"], "1", "2"),
    ],
)
def test_previous_is_the_champion_before_and_not_one_that_was_rolled_back_from(
    versions: list[str], champion: str, expected: str | None
) -> None:
    assert predecessor(history(*versions), champion) == expected


def test_champion_that_the_ledger_does_not_know_stands_on_top() -> None:
    assert predecessor(history("1", "2"), "9") == "2"


def test_what_failed_or_moved_no_crown_does_not_count() -> None:
    entries = [
        *history("1", "2"),
        crown_move("3", verdict="failed"),
        crown_move("1", "rollback", "failed"),
        crown_move("7", "contest"),
    ]
    assert predecessor(entries, "2") == "1"
