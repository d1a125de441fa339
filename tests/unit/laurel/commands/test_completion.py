"""Completion in real shells."""

import os
import pty
import re
import shutil
import subprocess
import sys
import time
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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--param", "x=1", "retrai"], ["retrain"]),
        (["run", "--json", "retrain", "fligh"], ["flights"]),
        (["run", "retrain", "--param", ""], []),
        (["logs", "flights", "--flow", "retrai"], ["retrain"]),
    ],
)
def test_the_value_of_an_option_is_no_argument(words: list[str], expected: list[str]) -> None:
    assert candidates(words) == expected


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


CASES = [
    ("laurel compl", "laurel completion "),
    ("laurel run --param x=1 retrai", "laurel run --param x=1 retrain "),
    ("laurel nonsense oth", "laurel nonsense other.csv "),
    ("~/laurel compl", "~/laurel completion "),
]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is missing")
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish_completes(command: Path, line: str, expected: str) -> None:
    program = f"laurel completion fish | source; complete -C '{line}'"
    printed = subprocess.run(
        ["fish", "--no-config", "-c", program],
        env=of_shell(command),
        cwd=folder_with(expected, command),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.split() == [expected.split()[-1]]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is missing")
@pytest.mark.parametrize(("line", "expected"), [*CASES, ("laurel nonsense ", "laurel nonsense ")])
def test_zsh_completes_without_any_set_up_of_its_own(
    command: Path, line: str, expected: str
) -> None:
    """A key of the test prints the line as it stands, once the one before it is done."""
    folder = folder_with(expected, command)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], of_shell(command))
    shown = 'show() { print -r -- "<$BUFFER>" }; zle -N show; bindkey "^X" show; unsetopt beep'
    os.write(terminal, f'eval "$(laurel completion zsh)"; {shown}; echo on""ce\n'.encode())
    read_until(terminal, r"\nonce")
    os.write(terminal, f"{line}\t\x18".encode())
    found = read_until(terminal, r"<(~?/?laurel [^>$]*)>")
    os.close(terminal)
    os.waitpid(pid, 0)
    assert found == expected


def folder_with(expected: str, command: Path) -> Path:
    """A folder with the file that the line is ``expected`` to name, if it is one."""
    folder = command.parent / "folder"
    folder.mkdir()
    if expected.endswith("other.csv "):
        (folder / "other.csv").touch()
    return folder


def of_shell(command: Path) -> dict[str, str]:
    """The variables of a shell that knows the command, in the home of nobody."""
    path = f"{command.parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(command.parent), "TERM": "dumb", "LANG": "C.UTF-8"}


def read_until(terminal: int, words: str, seconds: float = 60) -> str:
    """Wait until the terminal shows ``words``, and return what their group holds."""
    shown, until = "", time.monotonic() + seconds
    while (found := re.search(words, shown)) is None:
        assert time.monotonic() < until, shown
        shown += os.read(terminal, 4096).decode(errors="replace")
    return found.group(1) if found.groups() else ""


@pytest.mark.parametrize("shell", Shell)
def test_each_script_is_valid_in_its_shell(shell: Shell) -> None:
    assert "--complete" in SCRIPTS[shell]
    if (program := shutil.which(shell.value)) is None:
        pytest.skip(f"{shell.value} is missing")
    subprocess.run([program, "-n", "/dev/stdin"], input=SCRIPTS[shell], text=True, check=True)
