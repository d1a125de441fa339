"""``laurel tidy``: what nobody needs any more, shown first and removed once a person agrees."""

import asyncio
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from laurel.disk import size
from laurel.flow_runs import Request, finish, start
from laurel.outcome import Outcome
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
    use_case: Annotated[
        str | None,
        typer.Argument(metavar="USE_CASE", help="Its lake, MLflow and Prefect; default: this disk"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: Json = False,
) -> None:
    """List what nobody needs any more, and remove it if you agree: old logs, temporary files of
    stacks that ended, the demo's stack if it is down, and deployments of use cases whose file is
    gone. Models, data and ledgers stay.

    Of a USE_CASE, what the flow tidy removes, now and not a day after it was announced: what is
    older than the settings and the use case's file say. The flow runs daily by itself.

    --json only lists, unless --yes is given too.

    Example: laurel tidy flights
    """
    if use_case is not None:
        _tidy_use_case(use_case, yes, as_json)
        return
    settings = stack_settings()
    found, notes = find_leftovers(settings)
    if not as_json:
        for leftover in found:
            typer.echo(f"  {size(leftover.bytes):>9}  {leftover.what}")
        for note in notes:
            typer.echo(f"? {note}")
        if not found:
            typer.echo("Nothing to remove.")
    removing = bool(found) and (yes or (not as_json and _agreed("laurel tidy --yes")))
    if removing:
        for leftover in found:
            leftover.remove()
    if as_json:
        listed = [{"what": one.what, "bytes": one.bytes} for one in found]
        print_json({"found": listed, "unknown": notes, "removed": removing})
    elif removing:
        total = sum(one.bytes or 0 for one in found)
        typer.echo(f"Removed, {size(total)}.")


def _tidy_use_case(use_case: str, yes: bool, as_json: bool) -> None:
    """Run the flow: to list, and again to remove."""
    ended = None
    if not yes:
        ended = _run_flow(use_case, {"dry_run": True}, as_json)
        if not as_json:
            typer.echo(ended.line)
        goes = ended.exit_code == 0 and "to be removed later" in ended.line
        if as_json or not goes or not _agreed(f"laurel tidy {use_case} --yes"):
            _end(ended, as_json)
    _end(_run_flow(use_case, {"at_once": True}, as_json), as_json, tell=True)


def _run_flow(use_case: str, values: dict[str, Any], as_json: bool) -> Outcome:
    with start(Request("tidy", use_case, values=values)) as started:
        return finish(started, quiet=as_json)


def _end(ended: Outcome, as_json: bool, tell: bool = False) -> None:
    if as_json:
        print_json(asdict(ended))
    elif tell:
        typer.echo(ended.line)
    raise typer.Exit(ended.exit_code)


def _agreed(without_question: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandFailed(
            f"Nothing was removed. To remove it without a question: {without_question}"
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
