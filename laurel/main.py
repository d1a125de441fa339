"""The command line: ``main`` lists the commands without importing one, or runs one."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from laurel.place import settle, version
from laurel.table import COMMANDS, GROUPS, Command

PROGRAM = "laurel"
USAGE_ERROR, INTERRUPTED = 2, 130
# Prefect's and MLflow's libraries report to their makers, and print a notice, unless told not to.
NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# Errors whose message is a sentence for people. A class whose module was not imported was not
# raised.
SENTENCES = (
    ("deployments.servers.errors", "StackError"),
    ("deployments.runs.remote_run", "RunProblem"),
    ("usecases.definition.use_case", "UseCaseError"),
    ("blocks.registry", "RegistryError"),
    ("tasks.ledger.witness", "LedgerBroken"),
    ("deployments.checks.audit", "AuditRefused"),
    ("httpx", "HTTPError"),
    ("builtins", "ConnectionError"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 for success, 2 for a wrong call, 130 if it was interrupted, and what the
    command says otherwise."""
    settle()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without our letters shows their numbers
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _answer(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # `laurel logs flights | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    if words[0] in ("--version", "-V"):
        print(f"{PROGRAM} {version()}")
        return 0
    if words[0] == "--complete":
        from laurel.commands.completion import candidates

        for candidate in candidates(words[1:]):
            print(candidate)
        return 0
    if (command := COMMANDS.get(words[0])) is None:
        print(f"error: {_unknown(words[0])}", file=sys.stderr)
        return USAGE_ERROR
    return run(command, words[1:])


def overview() -> str:
    """What ``laurel --help`` prints: at most 80 columns."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"Usage: {PROGRAM} COMMAND [ARGUMENTS]"]
    for title, commands in GROUPS.items():
        lines += ["", title]
        lines += [f"  {command.name:{width}}{command.summary}" for command in commands]
    return "\n".join(
        [*lines, "", f"What a command takes, with an example: {PROGRAM} COMMAND --help"]
    )


def parser_of(command: Command) -> Any:
    """Typer's command for the function in the command's module."""
    import typer

    module = importlib.import_module(f"laurel.commands.{command.module}")
    application = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    application.command(command.name)(getattr(module, command.function))
    return typer.main.get_command(application)


def run(command: Command, arguments: list[str]) -> int:
    """The exit code. Errors that a person can mend are one sentence on the standard error."""
    from typer import Abort
    from typer.exceptions import TyperException

    from laurel.output import CommandFailed

    os.environ.update(NO_TELEMETRY)
    name = f"{PROGRAM} {command.name}"
    try:
        ended = parser_of(command).main(arguments, prog_name=name, standalone_mode=False)
    except CommandFailed as error:
        return _fail(str(error), error.exit_code)
    except Abort:
        return INTERRUPTED
    except TyperException as error:
        fault = _sentence(error.format_message())
        return _fail(f"{fault} What it takes: {name} --help", USAGE_ERROR)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if (sentence := _in_words(error)) is None:
            raise
        return _fail(sentence, 1)
    return ended if isinstance(ended, int) else 0


def _fail(sentence: str, code: int) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return code


def _in_words(error: Exception) -> str | None:
    """What is wrong, if that can be said in a sentence; ``None`` for a fault of Laurel's own."""
    for module, name in SENTENCES:
        if module in sys.modules and isinstance(error, getattr(sys.modules[module], name)):
            told = _sentence(str(error) or type(error).__name__)
            httpx = sys.modules.get("httpx")
            silent = httpx is not None and isinstance(error, httpx.TransportError)
            away = silent or isinstance(error, ConnectionError)
            return f"{told} Is the stack up? {PROGRAM} status" if away else told
    pydantic = sys.modules.get("pydantic")
    if pydantic and isinstance(error, pydantic.ValidationError) and error.title == "Settings":
        return _of_settings(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be used: {error.strerror}."
    return None


def _of_settings(error: Any) -> str:
    """Each wrong variable, without its value: that may be a secret."""
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        place = "_".join(map(str, fault["loc"]))
        # A variable that is not named LAUREL_... is the field's alias, in capitals.
        variable = place if place.isupper() or not place else f"LAUREL_{place.upper()}"
        faults.append(f"{variable}: {fault['msg']}".removeprefix(": "))
    return f"The settings are wrong. {'; '.join(faults)}. All of them: docs/settings.md"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "!", ")")) else f"{text}."


def _unknown(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f' Did you mean "{close[0]}"?' if close else f" {PROGRAM} --help lists them."
    return f'There is no command "{name}".{hint}'
