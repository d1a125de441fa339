"""``laurel status``: what needs a person, each use case, and the parts of the stack."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from laurel import figures
from laurel.disk import in_words as rooms_in_words
from laurel.disk import read_rooms
from laurel.fleet import Need, Row, read_fleet
from laurel.names import PAGES
from laurel.output import FINE, LOOK, UNKNOWN, WRONG, Json, print_json
from laurel.parts import StackPart, read_parts
from laurel.servers import service_api, stack_settings

if TYPE_CHECKING:
    from blocks.settings import Settings

NOT_ALL_RUNS = 3
HEADER = ("USE CASE", "CHAMPION", "LIVE (LABELS)", "HOLD-OUT", "DRIFT", "RPS", "P99", "LAST")
GLYPHS = {True: FINE, False: WRONG, None: UNKNOWN}
DRIFT_GLYPHS = {"stable": FINE, "drifted": LOOK, "broken": WRONG}
SHORT = {"promoted": "promoted", "nothing to do": "nothing new", "kept": "kept"}


def status(
    programs: Annotated[
        bool, typer.Option("--programs", help="Only the programs: pid, address, memory.")
    ] = False,
    disk: Annotated[
        bool, typer.Option("--disk", help="Also a large lake, and one elsewhere: takes longer.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what needs you, each use case, whether the parts of the stack answer, and what takes
    how much room.

    Exit code 3: a part does not answer.

    Example: laurel status
    """
    if programs and not as_json:
        from deployments.local import command as local

        raise typer.Exit(local.main(["status"]))
    from blocks.clients.service import ServiceAway

    settings = stack_settings()
    parts = read_parts(settings)
    rows, silence = list[Row](), ""
    if all(part.answers is False for part in parts if part.name in ("prefect", "service")):
        silence = "The stack is down. Start it: laurel up"
    else:
        try:
            rows = read_fleet(service_api(settings))
        except ServiceAway as error:
            silence = f"Use cases: unknown. {error}"
    now = datetime.now().astimezone()
    rooms = read_rooms(settings, disk)
    if as_json:
        print_json(
            {
                "as_of": now.isoformat(timespec="seconds"),
                "use_cases": [asdict(row) for row in rows],
                "parts": [asdict(part) for part in parts],
                "disk": [asdict(room) for room in rooms],
                "unknown": silence or None,
            }
        )
    else:
        lines = in_words(rows, parts, silence, now)
        typer.echo("\n".join([*lines[:-1], *rooms_in_words(rooms, settings.state), lines[-1]]))
        _tell_of_demo(settings)
    if any(part.answers is False for part in parts):
        raise typer.Exit(NOT_ALL_RUNS)


def _tell_of_demo(settings: "Settings") -> None:
    from deployments.local.command import other_demo

    if (demo := other_demo(settings)) is not None:
        state = shlex.quote(str(demo))
        typer.echo(f"The demo's stack is up too: LAUREL_STATE={state} laurel status")


def in_words(
    rows: Sequence[Row], parts: Sequence[StackPart], silence: str, now: datetime
) -> list[str]:
    """What a terminal shows."""
    needs = [need for row in rows for need in row.needs]
    lines = [line for need in needs for line in _need(need)]
    trained = [row for row in rows if row.champion or row.last or row.needs or row.unknown]
    if trained:
        lines += figures.table(HEADER, [_cells(row, now) for row in trained])
    lines += [f"{row.use_case}: unknown: {row.unknown}" for row in trained if row.unknown]
    untrained = [row.use_case for row in rows if row not in trained]
    if untrained:
        lines += _untrained(untrained)
    if silence:
        lines.append(f"{WRONG} {silence}")
    return [*lines, *_parts(parts, now)]


def _need(need: Need) -> list[str]:
    line = f"NEEDS YOU  {need.use_case}  {need.sentence}"
    if len(line) + len(need.command) + 2 <= figures.WIDTH:
        return [f"{line:<{figures.WIDTH - len(need.command)}}{need.command}"]
    return [line, f"           {need.command}"]


def _cells(row: Row, now: datetime) -> list[str]:
    champion = f"v{row.champion}  {figures.age(row.since, now)}".strip() if row.champion else "none"
    live = figures.score(row.live)
    if row.coverage is not None:
        live += f" ({figures.percent(row.coverage)})"
    rps = figures.NONE if row.requests_per_second is None else f"{row.requests_per_second:.0f}"
    last = SHORT.get(row.last or "", row.last or figures.NONE)
    return [
        row.use_case,
        champion,
        live,
        figures.score(row.holdout),
        _drift(row),
        rps,
        figures.milliseconds(row.seconds_p99),
        last,
    ]


def _drift(row: Row) -> str:
    if row.drift is None:
        return figures.NONE
    share = f" {figures.percent(row.share)}" if row.share is not None else ""
    word = "" if row.drift in DRIFT_GLYPHS and share else f" {row.drift}"
    return f"{DRIFT_GLYPHS.get(row.drift, UNKNOWN)} {row.window}{word}{share}"


def _untrained(names: Sequence[str]) -> list[str]:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"Not trained yet: {shown}", f"  laurel run retrain {names[0]}"]


def _parts(parts: Sequence[StackPart], now: datetime) -> list[str]:
    words = [
        f"{part.name} {GLYPHS[part.answers]} {part.port if part.name in PAGES else ''}".strip()
        for part in parts
    ]
    notes = [
        f"{GLYPHS[part.answers]} {part.name}: {part.note} ({part.url})"
        for part in parts
        if part.note
    ]
    return [*notes, f"{'  '.join(words)}   as of {now:%H:%M:%S}"]
