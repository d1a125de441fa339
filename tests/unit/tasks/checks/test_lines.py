"""Columns are written in many ways, and the line of each is found."""

from pathlib import Path

import pytest

import usecases
from tasks.checks.lines import Lines

TEXT = """from usecases.definition import Column, Gate, UseCase
import ours

AGE = Column(
    name="age",
    kind="number",
)


def number(name, low):
    return Column(name=name, kind="number", low=low)


WORDS = {
    "city": "where",
}
USE_CASE = UseCase(
    name="x",
    columns=(AGE, number("price", 0), *ours.columns),
    gate=ours.GATE,
)
"""


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lines:
    monkeypatch.setattr(usecases, "__path__", [*usecases.__path__, str(tmp_path)])
    (tmp_path / "shapes.py").write_text(TEXT)
    return Lines("shapes")


@pytest.mark.parametrize(
    ("name", "line"), [("age", 4), ("price", 19), ("city", 15), ("elsewhere", 19)]
)
def test_the_line_of_a_column(lines: Lines, name: str, line: int) -> None:
    assert lines.named(name) == f"usecases/shapes.py:{line}"
    assert lines.named(f"{name}.length") == f"usecases/shapes.py:{line}"


def test_the_line_of_a_field_or_of_the_first_that_is_written(lines: Lines) -> None:
    assert lines.field("promotion", "gate") == "usecases/shapes.py:20"
    assert lines.field("promotion") == "usecases/shapes.py:17"


def test_the_place_at_the_beginning_of_a_message(lines: Lines) -> None:
    assert lines.of_message("usecases/x.py line 3: bad") == ("usecases/x.py:3", "bad")
    assert lines.of_message("usecases/x.py: bad") == ("usecases/x.py", "bad")
    assert lines.of_message("bad") == ("usecases/shapes.py", "bad")


def test_a_file_that_is_not_there_or_not_python_has_no_lines(lines: Lines, tmp_path: Path) -> None:
    assert Lines("nobody").named("age") == ""
    (tmp_path / "broken.py").write_bytes(b"\xff(")
    assert Lines("broken").named("age") == "usecases/broken.py"
