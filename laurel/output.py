"""What a command prints: text for people, or one JSON document with ``--json``."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

FINE, LOOK, WRONG, UNKNOWN = "✓", "!", "✗", "?"


class CommandFailed(Exception):
    """The message is a sentence that says what is wrong and what to do; ``exit_code`` is what the
    command ends with."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def print_json(document: Any) -> None:
    """One line of JSON on the standard output."""
    json.dump(document, sys.stdout, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


@contextlib.contextmanager
def text_aside(as_json: bool) -> Iterator[None]:
    """With ``--json``, what is printed inside goes to the standard error."""
    if not as_json:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield
