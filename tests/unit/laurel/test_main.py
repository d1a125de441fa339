"""The list of commands, what is said of a wrong call, and how errors are told."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import httpx
import pytest

from blocks.registry import RegistryAway
from blocks.settings import REPOSITORY, Settings
from deployments.servers.errors import PortError
from laurel import main as command_line
from laurel.main import main
from laurel.output import CommandFailed
from laurel.table import COMMANDS, Command
from usecases.definition import load


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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_json_and_its_help_fits_eighty_columns(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--json" in printed and f"Example: laurel {name}" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_every_command_is_on_the_page_of_the_command_line() -> None:
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    table = page.partition("| command | does |")[2].partition("\n## ")[0]
    lines = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = set(re.findall(r"[`](?:laurel )?([a-z-]+)", " ".join(lines)))
    assert documented == set(COMMANDS)


def test_a_terminal_without_our_letters_ends_no_command() -> None:
    program = "import sys; from laurel.main import main; main(['--help']); print('\u2713 fine')"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.endswith("\\u2713 fine\n")


def test_version_is_the_service_s() -> None:
    from serving import VERSION

    for words in (["--version"], ["-V"]):
        printed = subprocess.run(
            [sys.executable, "-m", "laurel", *words], capture_output=True, text=True, check=True
        ).stdout
        assert printed == f"laurel {VERSION}\n"


def test_an_unknown_command_is_told_with_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upp"]) == 2
    assert 'Did you mean "up"?' in capsys.readouterr().err


def test_a_wrong_option_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--jsno"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: No such option: --jsno") and "laurel up --help" in told


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


def _raise(error: Exception) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], int]:
    """The exit code of a command that does what it is given."""

    def run(function: Callable[[], None]) -> int:
        module = ModuleType("laurel.commands.failing")
        module.fail = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return command_line.run(Command("fail", "failing", ""), [])

    return run


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (CommandFailed("It is too late.", 4), 4, "It is too late."),
        (PortError("Port 5000 is taken."), 1, "Port 5000 is taken."),
        (RegistryAway("MLflow at x is away"), 1, "MLflow at x is away"),
        (httpx.ConnectError("All connection attempts failed"), 1, "All connection attempts"),
        (PermissionError(13, "Permission denied", "/x/env"), 1, "/x/env cannot be used: Perm"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(
    error: Exception,
    code: int,
    told: str,
    failing: Callable[[Callable[[], None]], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert failing(_raise(error)) == code
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {told}") and printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_fault_of_laurel_s_own_keeps_its_traceback(
    failing: Callable[[Callable[[], None]], int],
) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(_raise(ZeroDivisionError()))


def test_an_interrupt_ends_with_its_own_code(
    failing: Callable[[Callable[[], None]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(_raise(KeyboardInterrupt())) == 130  # type: ignore[arg-type]
    assert "Traceback" not in capsys.readouterr().err


def test_a_wrong_setting_is_named_without_its_value(
    failing: Callable[[Callable[[], None]], int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAUREL_PREFECT_PORT", "s3cret")
    assert failing(lambda: Settings.read() and None) == 1
    told = capsys.readouterr().err
    assert "LAUREL_PREFECT_PORT" in told and "s3cret" not in told and told.count("\n") == 1


def test_an_unknown_use_case_is_told_with_the_known_ones(
    failing: Callable[[Callable[[], None]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(lambda: load("flihgts") and None) == 1
    assert "Did you mean 'flights'?" in capsys.readouterr().err


def test_a_reader_that_ends_early_is_no_fault() -> None:
    program = "from laurel.main import main; import sys; sys.exit(main(['--help']))"
    ended = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$0" -c "{program}" | head -c 1', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("U", "")
