"""``laurel tidy``: what nobody needs any more, shown first and removed once a person agrees."""

import asyncio
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from laurel.output import CommandFailed, Json, print_json
from laurel.servers import check_prefect, stack_settings

if TYPE_CHECKING:
    from blocks.settings import Settings


@dataclass(frozen=True)
class Leftover:
    """``what`` it is and why nobody needs it; ``bytes`` on this disk, ``None`` if it has none."""

    what: str
    bytes: int | None
    remove: Callable[[], Any]


def tidy(
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: Json = False,
) -> None:
    """List what nobody needs any more, and remove it if you agree: old logs, temporary files of
    stacks that ended, the demo's stack if it is down, and deployments of use cases whose file is
    gone. Models, data and ledgers stay.

    --json only lists, unless --yes is given too.

    Example: laurel tidy
    """
    settings = stack_settings()
    found, notes = find_leftovers(settings)
    if not as_json:
        for leftover in found:
            typer.echo(f"  {size(leftover.bytes):>9}  {leftover.what}")
        for note in notes:
            typer.echo(f"? {note}")
        if not found:
            typer.echo("Nothing to remove.")
    removing = bool(found) and (yes or (not as_json and _agreed()))
    if removing:
        for leftover in found:
            leftover.remove()
    if as_json:
        listed = [{"what": one.what, "bytes": one.bytes} for one in found]
        print_json({"found": listed, "unknown": notes, "removed": removing})
    elif removing:
        total = sum(one.bytes or 0 for one in found)
        typer.echo(f"Removed, {size(total)}.")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise CommandFailed(
            "Nothing was removed. To remove it without a question: laurel tidy --yes"
        )
    return typer.confirm("Remove it?", default=False)


def find_leftovers(settings: "Settings") -> tuple[list[Leftover], list[str]]:
    """What may go, and what could not be looked at."""
    found = [*_old_logs(settings.state), *_temporary(settings.state), *_demo(settings)]
    notes = []
    try:
        found += _deployments(settings)
    except (CommandFailed, OSError) as error:
        notes.append(f"Deployments without a file: unknown. {error}")
    return found, notes


def _old_logs(state: Path) -> list[Leftover]:
    """Logs of the starts before this one; a running program's is among those that stay."""
    logs = sorted((state / "logs").glob("*.log.*"))
    if not logs:
        return []
    total = sum(path.stat().st_size for path in logs)
    what = f"{len(logs)} old logs in {state / 'logs'}"
    return [Leftover(what, total, lambda: _unlink(logs))]


def _temporary(state: Path) -> list[Leftover]:
    """Temporary folders of stacks that are no longer running; none while one runs, whose folder
    only it knows."""
    from deployments.local.stack import is_up

    folders = sorted((state / "tmp").glob("laurel-*"))
    if not folders or is_up(state):
        return []
    total = sum(_bytes_of(folder) for folder in folders)
    what = f"temporary files of a stack that ended, in {state / 'tmp'}"
    return [Leftover(what, total, lambda: _remove_folders(folders))]


def _demo(settings: "Settings") -> list[Leftover]:
    """The demo's folder, unless its stack runs or a person has made it their own."""
    from blocks.settings import demo_state, own_state
    from deployments.local.stack import is_up
    from deployments.local.state_folder import contents, forget, is_demos

    demo = demo_state(own_state()).resolve()
    if demo == settings.state.resolve() or not is_demos(demo) or is_up(demo):
        return []
    total = sum(_bytes_of(path) for path in contents(demo))
    what = f"the demo's stack in {demo}, which is down"
    return [Leftover(what, total, lambda: forget(demo))]


def _deployments(settings: "Settings") -> list[Leftover]:
    """Deployments and automations in Prefect of use cases without a file. Raises
    ``CommandFailed``."""
    check_prefect(settings)
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    from deployments.apply.command import remove_now
    from deployments.apply.removed_use_cases import find_removed
    from deployments.servers.environment import prefect_auth
    from usecases.definition import known

    async def look() -> dict[str, int]:
        async with get_client() as client:
            return await find_removed(client, known())

    url, auth = settings.prefect_api_url, prefect_auth(settings)
    with temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: auth}):
        removed = asyncio.run(look())
    return [
        Leftover(
            f"{count} deployments of {name}, which has no file any more (its data stay)",
            None,
            lambda name=name: remove_now(settings, name),  # type: ignore[misc]
        )
        for name, count in removed.items()
    ]


def _unlink(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _remove_folders(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _bytes_of(path: Path) -> int:
    total = 0
    for one in [path, *path.rglob("*")]:
        with suppress(OSError):
            total += one.lstat().st_size
    return total


def size(count: int | None) -> str:
    """``1.2 GB``; empty for what takes no place on this disk."""
    if count is None:
        return ""
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"
