"""Completion in a shell."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from infra.console_script import script
from laurel.commands.completion import SCRIPTS, Shell, candidates
from laurel.table import COMMANDS


def test_the_first_word_becomes_a_command() -> None:
    assert candidates([""]) == list(COMMANDS)
    assert candidates(["compl"]) == ["completion"]
    assert candidates([]) == list(COMMANDS)


@pytest.mark.parametrize("words", [["nonsense", ""], ["up", ""], ["completion", "bash", ""]])
def test_nothing_is_proposed_where_nothing_is_known(words: list[str]) -> None:
    assert candidates(words) == []


def test_options_come_from_the_command_itself() -> None:
    assert candidates(["up", "--"]) == ["--help", "--json"]
    assert candidates(["completion", "z"]) == ["zsh"]


@pytest.fixture
def command(tmp_path: Path) -> Path:
    (tmp_path / "laurel").write_text(script(sys.executable, str(REPOSITORY)))
    (tmp_path / "laurel").chmod(0o755)
    return tmp_path / "laurel"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")
@pytest.mark.parametrize(
    ("line", "expected"), [("co", ["completion"]), ("completion ba", ["bash"]), ("nonsense ", [])]
)
def test_bash_completes(command: Path, line: str, expected: list[str]) -> None:
    words = ["laurel", *line.split(" ")]
    listed = " ".join(f"'{word}'" for word in words)
    program = (
        f'PATH="{command.parent}:$PATH"; eval "$(laurel completion bash)"; '
        f"COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _laurel; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    printed = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.split() == expected


@pytest.mark.parametrize("shell", Shell)
def test_each_script_is_valid_in_its_shell(shell: Shell) -> None:
    assert "--complete" in SCRIPTS[shell]
    if (program := shutil.which(shell.value)) is None:
        pytest.skip(f"{shell.value} is missing")
    subprocess.run([program, "-n", "/dev/stdin"], input=SCRIPTS[shell], text=True, check=True)
