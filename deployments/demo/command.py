"""The loop on a use case's own data, on an empty stack: what ``make demo`` runs.

The summary at the end shows measurements; if the data contradict the story, it says so, and the
exit code is 1. The stories are in ``stories/``; ``steps.py`` drives the stack, and ``story.py``
prints the summary."""

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from pydantic import ValidationError
from rich.console import Console

from blocks.registry import RegistryError
from blocks.settings import Settings, state_in_use
from deployments.apply.command import apply_now
from deployments.demo.folder import demo_folder, demo_settings
from deployments.demo.runs import DemoFailed, schedules_paused
from deployments.demo.stages import Stages
from deployments.demo.steps import Demo
from deployments.demo.stories import Play, story_of, told
from deployments.demo.story import Story, tell
from deployments.local import stack
from deployments.local.command import raise_on_interrupts
from deployments.local.settings import read_stack_settings
from deployments.local.watch import StackWatch
from deployments.servers.environment import prefect_auth
from deployments.servers.errors import in_a_line
from deployments.supervision.supervisor import Supervisor
from usecases.definition import known

# A server is unreachable: ``StackWatch`` says which one died.
AWAY = (httpx.HTTPError, ConnectionError, RegistryError)


def start_stack(settings: Settings, stages: Stages, use_case: str) -> tuple[Settings, Future[Any]]:
    """Start the servers and return the settings in force. The deployments of ``use_case`` are
    applied once Prefect and MLflow answer, while other servers start.

    The future is the same for the other use cases: it goes on while the story is played, which
    needs none of them."""
    with stages.stage("servers up, deployments applied") as stage:
        futures: list[Future[Any]] = []
        needed = {"prefect", "mlflow"}  # MLflow for its webhook

        def on_ready(name: str, seconds: float) -> None:
            stage.note(f"{stage.result}{name} {seconds:.0f} s  ")
            needed.discard(name)
            if not needed and not futures:
                futures.append(_begin(lambda: apply_now(settings, use_cases=[use_case])))

        settings = stack.up(settings, on_ready=on_ready, say=stages.tell)
        for future in futures:
            future.result()
    others = [name for name in known() if name != use_case]
    return settings, _begin(lambda: apply_now(settings, use_cases=others))


def _begin(work: Callable[[], Any]) -> Future[Any]:
    """Run ``work`` in a daemon thread: a client would go on asking a stopped server for another
    minute.
    """
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    Thread(target=run, name="apply", daemon=True).start()
    return future


def play_on(
    settings: Settings, stages: Stages, use_case: str, watch: StackWatch | None = None
) -> Story:
    """Play the story on running servers, with its schedules paused. Raises ``DemoFailed``."""
    with (
        SyncPrefectClient(settings.prefect_api_url, auth_string=prefect_auth(settings)) as prefect,
        schedules_paused(prefect, resume_after_errors=watch is None),
    ):
        return story_of(use_case).play(Demo(settings, stages, prefect, use_case, watch))


def keep_and_tell(story: Story, settings: Settings, console: Console) -> None:
    """Print the story, and save it in the state folder."""
    tell(story, settings, console)
    (settings.state / "demo.json").write_text(json.dumps(asdict(story), indent=1))


def run_against_running(use_case: str) -> int:
    """Run the demo on servers that others started, in Compose or elsewhere; it starts, stops and
    deletes none of them.
    """
    console, settings = Console(), read_stack_settings()
    try:
        if story_of(use_case).brings_servers:
            raise DemoFailed(
                f"The story of {use_case!r} brings a server of its own, so that it is played only "
                f"in the demo's own stack: make demo USE_CASE={use_case}"
            )
        with Stages(console) as stages:
            story = play_on(settings, stages, use_case)
    except (DemoFailed, *AWAY) as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted; the servers keep running.")
        return 130
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep_and_tell(story, settings, console)
    return 1 if story.departures() else 0


def run(use_case: str, keep: bool) -> int:
    """Run the demo; 0 only if the loop closed as expected. Its own stack stays up with ``keep``,
    but never after an error.
    """
    console = Console()
    try:
        play = story_of(use_case)
        with demo_folder() as folder:
            return _run_in(folder, use_case, play, keep, console)
    except (DemoFailed, ValidationError) as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except OSError as error:
        console.print(
            f"\n{in_a_line(error)}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted before anything was started.")
        return 130


def _run_in(folder: Path, use_case: str, play: Play, keep: bool, console: Console) -> int:
    succeeded, settings = False, Settings.read(folder)
    try:
        with Stages(console) as stages:
            settings = play.prepare(demo_settings(folder, stages.tell), stages.tell)
            settings, others = start_stack(settings, stages, use_case)
            with StackWatch(Supervisor(settings.state), stages.tell) as watch:
                story = play_on(settings, stages, use_case, watch)
                others.result()
        keep_and_tell(story, settings, console)
        succeeded = True
    except (DemoFailed, stack.StackError, *AWAY) as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        console.print(f"All logs: {folder / 'logs'}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted; stopping the demo's stack.")
        return 130
    finally:
        if not (succeeded and keep):
            stack.down(settings)
    console.print(
        _farewell(settings, use_case) if keep else "The demo's stack is down.",
        highlight=False,
        soft_wrap=True,
    )
    return 1 if story.departures() else 0


def _farewell(settings: Settings, use_case: str) -> str:
    """How to use the stack that stays up, from a fresh shell: three things to try."""
    first = ""
    if state_in_use().resolve() != settings.state.resolve():
        first = f"export LAUREL_STATE={shlex.quote(str(settings.state))}   # your own is up too\n  "
    return (
        "The demo's stack stays up. Three things to try, and how to stop it:\n"
        f"  {first}.venv/bin/laurel champion {use_case}   # who serves, since when and why\n"
        f"  .venv/bin/laurel predict {use_case} --example\n"
        "  .venv/bin/laurel new my.csv   # your own table: docs/new.md\n"
        "  make down"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 0: the loop closed as expected; 1: it did not, or a step failed;
    130: interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m deployments.demo", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument(
        "--use-case",
        default="flights",
        metavar="NAME",
        help=f"whose story is played: {', '.join(told())} (default: flights)",
    )
    parser.add_argument(
        "--down", action="store_true", help="stop the stack at the end, instead of leaving it up"
    )
    parser.add_argument(
        "--against-running",
        action="store_true",
        help="run on the servers that the settings name, and leave them running",
    )
    options = parser.parse_args(arguments)
    raise_on_interrupts()
    if options.down and options.against_running:
        parser.error(
            "--down stops the stack that the demo starts; with --against-running it starts none"
        )
    if options.against_running:
        return run_against_running(options.use_case)
    return run(options.use_case, keep=not options.down)
