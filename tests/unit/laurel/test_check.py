"""What ``laurel check`` prints: lines of eighty columns, or one document, and its exit code."""

import json
from collections.abc import Iterator

import pytest

from laurel.commands.check import in_lines
from laurel.main import main
from tasks.checks import watched
from tasks.checks.finding import Finding

LEAK = Finding(
    "leak",
    "wrong",
    "support_calls: ROC AUC 0.93 alone, next 0.65",
    "usecases/orders.py:31",
    "Known only after 'returned'? Remove the column. Known when a model is asked? trusted=True.",
    {"column": "support_calls"},
)
FINE = Finding("load", "ok", "9 columns, 2 candidates, gate ROC AUC >= 0.67", "usecases/x.py", "")
SKIPPED = Finding("cost", "not checked", "since score failed")


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    made: list[Finding] = []

    def watch(name: str, rows: int, limit: float) -> Iterator[Finding]:
        assert (name, rows, limit) == ("flights", 300, 5.0)
        yield from made

    monkeypatch.setattr(watched, "watch_checks", watch)
    return made


def check(*words: str) -> int:
    return main(["check", "flights", "--rows", "300", "--limit", "5", *words])


def test_each_finding_has_glyph_and_word_place_and_remedy(findings, capsys) -> None:
    findings += [FINE, LEAK, SKIPPED]
    assert check() == 1
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "✓ ok    load      9 columns, 2 candidates, gate ROC AUC >= 0.67"
    assert lines[1] == "✗ wrong leak      support_calls: ROC AUC 0.93 alone, next 0.65"
    assert lines[2].strip() == "usecases/orders.py:31"
    assert lines[-3] == "? not checked cost      since score failed"
    assert lines[-2].startswith("1 ✗ wrong, 0 ! look   ")
    assert lines[-1] == "Next: change what is ✗ wrong, then laurel check flights"


def test_nothing_wrong_is_exit_code_0_and_the_next_command(findings, capsys) -> None:
    findings += [FINE, Finding("drift", "look", "about 44 rows a week, 200 needed", "", "Wait.")]
    assert check() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Next: laurel run retrain flights"


def test_json_has_the_same_facts(findings, capsys) -> None:
    findings += [FINE, LEAK]
    assert check("--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False and document["use_case"] == "flights"
    assert document["next"] == "Next: change what is ✗ wrong, then laurel check flights"
    assert [each["state"] for each in document["findings"]] == ["ok", "wrong"]
    assert document["findings"][1]["numbers"] == {"column": "support_calls"}


def test_an_unknown_use_case_is_told_with_the_closest(capsys) -> None:
    assert main(["check", "flihgts"]) == 2
    told = 'error: There is no use case "flihgts". Did you mean "flights"?\n'
    assert capsys.readouterr().err == told


def test_a_place_stands_at_the_end_of_a_line_that_has_room() -> None:
    short = Finding("drift", "look", "44 rows", "usecases/orders.py:31", "")
    assert in_lines(short).endswith(" usecases/orders.py:31") and len(in_lines(short)) == 80
    long = Finding("drift", "look", "x" * 200, "usecases/" + "y" * 90, "z" * 100)
    assert all(line.strip() for line in in_lines(long).splitlines())
