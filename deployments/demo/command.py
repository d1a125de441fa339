"""The loop on real flights, from an empty stack to the second champion: what ``make demo`` runs.

Every step is a run of a deployment on the work pool, and only the automation starts the second
retrain. The summary at the end shows measurements; if the data contradict the story, it says so,
and the exit code is 1. The story is ``play``; ``steps.py`` drives the stack, and ``story.py``
prints the summary."""

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import polars as pl
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from pydantic import ValidationError
from rich.console import Console

from blocks.registry import RegistryError
from blocks.settings import Settings, state_in_use
from deployments.apply.command import apply_now
from deployments.demo.folder import demo_folder, demo_settings
from deployments.demo.replay import Traffic
from deployments.demo.runs import DemoFailed, schedules_paused
from deployments.demo.stages import Stages
from deployments.demo.steps import Demo
from deployments.demo.story import FIRST, LATER, WATCHED, Story, tell
from deployments.local import stack
from deployments.local.command import raise_on_interrupts
from deployments.local.settings import read_stack_settings
from deployments.local.watch import StackWatch
from deployments.servers.environment import prefect_auth
from deployments.servers.errors import in_a_line
from deployments.supervision.supervisor import Supervisor

# A server is unreachable: ``StackWatch`` says which one died.
AWAY = (httpx.HTTPError, ConnectionError, RegistryError)


def play(demo: Demo) -> Story:
    """Run the whole story on a running stack. Raises ``DemoFailed`` if a step does not end as
    expected.
    """
    with ThreadPoolExecutor(1) as aside:
        demo.refuse_models()
        first = demo.runs.start("retrain", through=FIRST, reason="the first champion")
        months: Future[dict[str, pl.DataFrame]] = aside.submit(
            lambda: {m: demo.source.read(m) for m in (*WATCHED, LATER)}
        )
        demo.watch_retrain(first, "champion 1")
        frames = months.result()
        with demo.steady_traffic(frames[WATCHED[0]]) as traffic:
            retrains = live_until_drift(demo, frames, traffic)
            with demo.stages.stage("drift event to retrain, by the automation"):
                run = demo.runs.await_automatic_retrain(retrains)
            if run is not None:
                demo.watch_retrain(run, "champion 2")
                demo.read_contest()
            if len(demo.story.champions) == 2:
                traffic.rows = demo.some_rows(frames[LATER])
                comparison = aside.submit(demo.compare_champions)
                demo.send_month(LATER, frames[LATER])
                demo.roll_back()
                demo.read_comparison(comparison.result())
    return demo.ended()


def live_until_drift(demo: Demo, frames: dict[str, pl.DataFrame], traffic: Traffic) -> set[Any]:
    """Send one month after the other, and check each as soon as it is in the lake. Meanwhile
    somebody retrains by hand.

    The last month is checked after that retrain, since only one runs at a time. Returns the
    retrains so far, without the automation's."""
    checks: list[tuple[str, Future[tuple[FlowRun, float]]]] = []
    by_hand: FlowRun | None = None
    with ThreadPoolExecutor(len(WATCHED)) as aside:
        for month in WATCHED:
            traffic.rows = demo.some_rows(frames[month])
            demo.send_month(month, frames[month])
            if by_hand is None:
                by_hand = demo.runs.start("retrain", through=month, reason="somebody asks for one")
            elif month == WATCHED[-1]:
                demo.watch_rejection(by_hand)
            retrains = demo.runs.known_retrains()
            checks.append((month, aside.submit(demo.start_check, month, demo.rows_logged())))
        for month, check in checks:
            demo.judge_month(month, *check.result())
    return retrains


def start_stack(settings: Settings, stages: Stages) -> Settings:
    """Start the servers and return the settings in force; deployments are applied once Prefect
    answers, while other servers start.
    """
    with stages.stage("servers up, deployments applied") as stage:
        futures: list[Future[Any]] = []

        def on_ready(name: str, seconds: float) -> None:
            stage.note(f"{stage.result}{name} {seconds:.0f} s  ")
            if name == "prefect":
                futures.append(_begin(lambda: apply_now(settings)))

        settings = stack.up(settings, on_ready=on_ready, say=stages.tell)
        for future in futures:
            future.result()
    return settings


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


def play_on(settings: Settings, stages: Stages, watch: StackWatch | None = None) -> Story:
    """Run the story on running servers, with schedules paused. Raises ``DemoFailed``."""
    with (
        SyncPrefectClient(settings.prefect_api_url, auth_string=prefect_auth(settings)) as prefect,
        schedules_paused(prefect, resume_after_errors=watch is None),
    ):
        return play(Demo(settings, stages, prefect, watch))


def keep_and_tell(story: Story, settings: Settings, console: Console) -> None:
    """Print the story, and save it in the state folder."""
    tell(story, settings, console)
    (settings.state / "demo.json").write_text(json.dumps(asdict(story), indent=1))


def run_against_running() -> int:
    """Run the demo on servers that others started, in Compose or elsewhere; it starts, stops and
    deletes none of them.
    """
    console, settings = Console(), read_stack_settings()
    try:
        with Stages(console) as stages:
            story = play_on(settings, stages)
    except (DemoFailed, *AWAY) as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted; the servers keep running.")
        return 130
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep_and_tell(story, settings, console)
    return 1 if story.departures() else 0


def run(keep: bool) -> int:
    """Run the demo; 0 only if the loop closed as expected. Its own stack stays up with ``keep``,
    but never after an error.
    """
    console = Console()
    try:
        with demo_folder() as folder:
            return _run_in(folder, keep, console)
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


def _run_in(folder: Path, keep: bool, console: Console) -> int:
    succeeded, settings = False, Settings.read(folder)
    try:
        with Stages(console) as stages:
            settings = start_stack(demo_settings(folder, stages.tell), stages)
            with StackWatch(Supervisor(settings.state), stages.tell) as watch:
                story = play_on(settings, stages, watch)
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
        _farewell(settings) if keep else "The demo's stack is down.",
        highlight=False,
        soft_wrap=True,
    )
    return 1 if story.departures() else 0


def _farewell(settings: Settings) -> str:
    """How to use the stack that stays up, from a fresh shell."""
    if state_in_use().resolve() == settings.state.resolve():
        return (
            "The demo's stack stays up: `make status`, `make down`. For prefect's commands: "
            'eval "$(make -s exports)"'
        )
    state = shlex.quote(str(settings.state))
    return f"The demo's stack stays up beside yours: LAUREL_STATE={state} make status, and so on."


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 0: the loop closed as expected; 1: it did not, or a step failed;
    130: interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m deployments.demo", description=__doc__.splitlines()[0] if __doc__ else None
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
    return run_against_running() if options.against_running else run(keep=not options.down)
