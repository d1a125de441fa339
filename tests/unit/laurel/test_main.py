"""The list of commands, and what is said of a command that does not exist."""

import importlib
import subprocess
import sys

import pytest

from laurel.main import main
from laurel.table import COMMANDS


def test_help_lists_every_command_in_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for command in COMMANDS.values():
        assert any(line.split()[:1] == [command.name] for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_function_with_an_example(name: str) -> None:
    command = COMMANDS[name]
    module = importlib.import_module(f"laurel.commands.{command.module}")
    assert f"Example: laurel {name}" in getattr(module, command.function).__doc__


def test_an_unknown_command_is_told_with_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upp"]) == 2
    assert 'Did you mean "up"?' in capsys.readouterr().err


def test_help_imports_no_command_and_none_of_its_libraries() -> None:
    program = (
        "import sys; from laurel.main import main; main(['--help']); "
        "sys.exit(str([name for name in ('typer', 'rich', 'prefect', 'polars', 'pydantic') "
        "if name in sys.modules]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.stderr.strip() == "[]"
