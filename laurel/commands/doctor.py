"""``laurel doctor``: is everything as it should be, and what to do if not."""

from collections import Counter
from dataclasses import asdict

import typer

from laurel.checkup import Check, Finding, check_everything
from laurel.output import FINE, LOOK, UNKNOWN, WRONG, Json, print_json
from laurel.servers import stack_settings

GLYPHS: dict[Finding, str] = {"fine": FINE, "look": LOOK, "wrong": WRONG, "unknown": UNKNOWN}
SUBJECT_WIDTH = 12


def doctor(as_json: Json = False) -> None:
    """Check ports, disk, clock, versions, certificates, blocks, deployments, the worker, and that
    ledger, alias and service agree. Each fault has its remedy.

    Exit code 1: something is wrong, or could not be checked.

    Example: laurel doctor
    """
    checks = []
    for check in check_everything(stack_settings()):
        checks.append(check)
        if not as_json:
            typer.echo("\n".join(in_words(check)))
    counts = Counter(check.finding for check in checks)
    failed = counts["wrong"] + counts["unknown"] > 0
    if as_json:
        listed = [asdict(check) for check in checks]
        print_json({"checks": listed, "counts": dict(counts), "fine": not failed})
    else:
        words = (f"{counts[finding]} {finding}" for finding in GLYPHS if counts[finding])
        typer.echo(", ".join(words))
    if failed:
        raise typer.Exit(1)


def in_words(check: Check) -> list[str]:
    """Glyph and word, what was found, and the remedy on a line of its own."""
    word = "" if check.finding == "fine" else f"{check.finding}: "
    line = f"{GLYPHS[check.finding]} {check.subject:{SUBJECT_WIDTH}} {word}{check.sentence}"
    return [line, f"  → {check.remedy}"] if check.remedy else [line]
