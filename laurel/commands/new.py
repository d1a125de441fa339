"""``laurel new``: a table becomes the file of a use case."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from laurel.output import CommandFailed, Json, print_json

_SHOWN_CANDIDATES = 8


def new(
    table: Annotated[
        str, typer.Argument(help="A file, folder, pattern such as 'orders/*.csv', or SQL URL.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the use case.")] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with the time of the event.")] = None,
    key: Annotated[str | None, typer.Option(help="Columns that identify a row: a,b")] = None,
    query: Annotated[str | None, typer.Option(help="SELECT with all rows, for a SQL URL.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file, and keep a copy of it.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the file of a use case from a table, and say what was assumed and why.

    Example: laurel new orders.csv --target returned
    """
    from tasks.drafts.drafting import Wishes
    from tasks.drafts.file_of_draft import draft_file
    from tasks.drafts.reading.tables import NoDraft
    from usecases.definition import SourceError, UseCaseError

    keys = tuple(part.strip() for part in key.split(",") if part.strip()) if key else ()
    try:
        drafted = draft_file(
            table,
            home=Path.cwd(),
            name=name,
            query=query,
            wishes=Wishes(target, time, keys),
            force=force,
            ask=_refuse if json else _ask,
        )
    except (NoDraft, SourceError, UseCaseError) as error:
        raise CommandFailed(str(error)) from error
    if json:
        print_json(drafted.document())
    else:
        print("\n".join(drafted.report()))


def _ask(candidates: Sequence[str]) -> str:
    """The one question, on a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _refuse(candidates)
    usual = candidates[0] if candidates else None
    shown = ", ".join(candidates[:_SHOWN_CANDIDATES])
    print(f"Columns: {shown}{', …' if len(candidates) > _SHOWN_CANDIDATES else ''}")
    answer: str = typer.prompt("? Which column is to be predicted?", default=usual)
    return answer.strip()


def _refuse(candidates: Sequence[str]) -> str:
    shown = ", ".join(candidates[:_SHOWN_CANDIDATES])
    raise CommandFailed(
        f"No column's name says that it is to be predicted. Write --target COLUMN, such as {shown}."
    )
