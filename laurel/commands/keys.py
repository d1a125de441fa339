"""``laurel key``: API keys of the model service."""

import contextlib
import io
from typing import Annotated

import typer

from laurel.output import CommandFailed, Json, print_json


def key(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Who calls: letters, digits, . _ -")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="predict (default), feedback, operate or decide."),
    ] = None,
    days: Annotated[float | None, typer.Option(help="Days until it expires.")] = None,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="A second key; the first ends in a day.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Revoke all keys of NAME now.")] = False,
    as_json: Json = False,
) -> None:
    """Make an API key for the service, shown once; without a name, list the keys.

    Only the key goes to the standard output, so that it can be piped to its store.

    Example: laurel key web --scope predict --scope feedback
    """
    if rotate and remove:
        raise CommandFailed("--rotate and --remove exclude each other.", 2)
    if name is None and (scope or days or rotate or remove):
        raise CommandFailed("Name the key: laurel key NAME ...", 2)
    from serving.keys.file import SCOPES

    wrong = [one for one in scope or () if one not in SCOPES]
    if wrong:
        raise CommandFailed(f"There is no scope {wrong[0]}. There are: {', '.join(SCOPES)}.", 2)
    printed = _call(_arguments(name, scope or ["predict"], days, rotate, remove))
    if not as_json:
        typer.echo(printed, nl=False)
    elif name is None:
        print_json({"keys": printed.splitlines()})
    else:
        print_json({"name": name, "key": printed.strip() or None, "removed": remove})


def _arguments(
    name: str | None, scopes: list[str], days: float | None, rotate: bool, remove: bool
) -> list[str]:
    if name is None:
        return ["list"]
    lifetime = [] if days is None else ["--days", f"{days:g}"]
    if remove:
        return ["remove", "--", name]
    if rotate:
        return ["rotate", *lifetime, "--", name]
    named = [word for scope in scopes for word in ("--scope", scope)]
    return ["add", *named, *lifetime, "--", name]


def _call(arguments: list[str]) -> str:
    """What ``python -m serving.keys`` prints; its words for people go to the standard error."""
    from serving.keys.command import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            main(arguments)
        except SystemExit as ended:
            raise typer.Exit(ended.code if isinstance(ended.code, int) else 1) from None
    return printed.getvalue()
