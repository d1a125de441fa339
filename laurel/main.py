"""The command line: ``main`` lists the commands without importing one, or runs one."""

import importlib
import sys
from collections.abc import Sequence

from laurel.place import settle
from laurel.table import COMMANDS, GROUPS, Command

PROGRAM = "laurel"
USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 for success, 2 for a wrong call, and what the command says otherwise."""
    settle()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
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


def run(command: Command, arguments: list[str]) -> int:
    import typer

    from laurel.output import CommandFailed

    module = importlib.import_module(f"laurel.commands.{command.module}")
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command(command.name)(getattr(module, command.function))
    try:
        application(arguments, prog_name=f"{PROGRAM} {command.name}", standalone_mode=True)
    except CommandFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _unknown(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f' Did you mean "{close[0]}"?' if close else f" {PROGRAM} --help lists them."
    return f'There is no command "{name}".{hint}'
