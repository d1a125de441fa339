"""``laurel check``: everything that can fail in a retrain, in seconds and without servers."""

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from laurel.output import CommandFailed, Json, print_json

if TYPE_CHECKING:
    from tasks.checks.finding import Finding

WIDTH = 80
_SIGNS = {"ok": "✓ ok", "look": "! look", "wrong": "✗ wrong", "not checked": "? not checked"}
_STATE, _NAME = 8, 10


def check(
    name: Annotated[str, typer.Argument(help="The use case, as usecases/NAME.py is named.")],
    rows: Annotated[
        int, typer.Option(min=200, help="Fit each candidate on at most so many rows.")
    ] = 20_000,
    limit: Annotated[float, typer.Option(min=1, help="End a check after so many seconds.")] = 60.0,
    json: Json = False,
) -> None:
    """Try a use case on a sample: data, candidates, gate, leaks, and what a retrain will cost.

    Exit code 1 if anything is wrong.

    Example: laurel check flights
    """
    import time

    from tasks.checks.watched import watch_checks

    _must_exist(name)
    start, findings = time.monotonic(), []
    for finding in watch_checks(name, rows, limit):
        findings.append(finding)
        if not json:
            typer.echo(in_lines(finding))
    wrong = [finding for finding in findings if finding.state == "wrong"]
    seconds, follows = time.monotonic() - start, next_step(name, bool(wrong))
    if json:
        content = [asdict(finding) for finding in findings]
        print_json(
            {"use_case": name, "ok": not wrong, "findings": content, "seconds": round(seconds, 2)}
            | {"next": follows}
        )
    else:
        looks = sum(finding.state == "look" for finding in findings)
        typer.echo(f"{len(wrong)} ✗ wrong, {looks} ! look   {seconds:.1f} s")
        typer.echo(follows)
    if wrong:
        raise typer.Exit(1)


def _must_exist(name: str) -> None:
    from laurel.names import unknown
    from usecases.definition import known

    if name not in (names := known()):
        raise CommandFailed(unknown("use case", name, names), exit_code=2)


def next_step(name: str, is_wrong: bool) -> str:
    """What to do now."""
    if is_wrong:
        return f"Next: change what is ✗ wrong, then laurel check {name}"
    return f"Next: laurel run retrain {name}"


def in_lines(finding: "Finding") -> str:
    """A finding in lines of at most 80 columns: state, check and sentence, then place and
    remedy."""
    sign = _SIGNS[finding.state]
    head = f"{sign:{_STATE}}{finding.check:{_NAME}}"
    if len(sign) >= _STATE:
        head = f"{sign} {finding.check:{_NAME}}"
    indent = " " * (_STATE + _NAME)
    lines = textwrap.wrap(
        finding.sentence, WIDTH, initial_indent=head, subsequent_indent=indent
    ) or [head]
    if finding.state != "ok":
        if finding.place and len(lines[-1]) + 2 + len(finding.place) <= WIDTH:
            lines[-1] += finding.place.rjust(WIDTH - len(lines[-1]))
        elif finding.place:
            lines.append(f"{indent}{finding.place}")
        lines += textwrap.wrap(
            finding.remedy, WIDTH, initial_indent=indent, subsequent_indent=indent
        )
    return "\n".join(line.rstrip() for line in lines)
