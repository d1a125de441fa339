"""``python -m deployments.local``: start or stop the stack, show its state, or remove its data.

    python -m deployments.local up|down|status|exports|reset [--forget]

``exports`` prints the variables that point ``prefect`` and ``mlflow`` in a shell at the running
stack."""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pydantic import ValidationError

from blocks.settings import PLACES, Settings, demo_state, own_state
from deployments.local import stack as local
from deployments.local.settings import read_stack_settings, running_settings
from deployments.local.state_folder import contents, forget, take_over
from deployments.servers.environment import environment
from deployments.servers.errors import StackError, in_a_line
from deployments.supervision.programs import programs

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXPORTED = (
    "LAUREL_STATE",
    "PREFECT_API_URL",
    "PREFECT_API_AUTH_STRING",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 0: done, or everything is running; 1: failed; 3: not everything
    is running; 130: interrupted.
    """
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m deployments.local", description=description)
    parser.add_argument("command", choices=["up", "down", "status", "exports", "reset"])
    parser.add_argument(
        "--forget",
        action="store_true",
        help="reset: remove the stack's data without asking",
    )
    options = parser.parse_args(arguments)
    raise_on_interrupts()
    commands: dict[str, Callable[[], int]] = {
        "up": _print_up,
        "down": _print_down,
        "status": _print_status,
        "exports": _print_exports,
        "reset": lambda: _reset(options.forget),
    }
    try:
        return commands[options.command]()
    except (StackError, ValidationError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(in_a_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing is left half-started.", file=sys.stderr)
        return 130


def raise_on_interrupts() -> None:
    """Any signal that asks this process to end raises ``KeyboardInterrupt``, once, so that it
    cleans up.
    """
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # A second signal would cut the clean-up short.
    for other in INTERRUPTS:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def _print_up() -> int:
    since = time.monotonic()
    settings = _settings_for_start(own_state())
    usual = [
        name for name in PLACES if name.endswith("_port") and name not in settings.model_fields_set
    ]
    settings = local.up(
        settings,
        lambda name, seconds: print(f"{name:10} ready in {seconds:4.1f} s", flush=True),
        lambda line: print(line, flush=True),
        moves=usual,
    )
    for program in programs(settings):
        print(f"{program.name:10} {program.url}")
    print(
        f"All ready after {time.monotonic() - since:.1f} s. Logs: {settings.state / 'logs'}. "
        "Stop it: laurel down"
    )
    print("Train a use case and let it compete: laurel run retrain flights")
    return 0


def _settings_for_start(state: Path) -> Settings:
    """A running stack keeps the settings of its start; if this shell's settings differ, the start
    is refused later.
    """
    if local.is_up(state):
        return running_settings(state, fixed=())
    if take_over(state):
        print(
            f"The demo made {state}. From now on it is yours: the demo will remove nothing from it."
        )
    return Settings.read(state)


def _print_down() -> int:
    settings = read_stack_settings()
    was_up = local.down(settings)
    print(
        f"Everything in {settings.state} is stopped."
        if was_up
        else f"Nothing is running in {settings.state}."
    )
    if demo := other_demo(settings):
        print(
            f"The demo's stack in {demo} is up. Stop it: "
            f"LAUREL_STATE={shlex.quote(str(demo))} make down"
        )
    return 0


def _print_status() -> int:
    settings = read_stack_settings()
    all_run = _print_table(settings)
    if demo := other_demo(settings):
        _print_table(running_settings(demo))
        print(
            f"Commands for the demo's stack: LAUREL_STATE={shlex.quote(str(demo))} make status, "
            "and so on."
        )
    return 0 if all_run else 3


def _print_table(settings: Settings) -> bool:
    """Print the programs' states. Returns whether all of them run."""
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "state", "pid", "URL", "memory", title=str(settings.state))
    statuses = local.status(settings)
    for program in statuses:
        colour = "green" if program.state == "RUNNING" else "red"
        memory = f"{program.memory_bytes / 1e6:.0f} MB" if program.memory_bytes else ""
        state = f"[{colour}]{program.state.lower()}[/]"
        table.add_row(program.name, state, str(program.pid or ""), program.url, memory)
    Console().print(table)
    return all(program.state == "RUNNING" for program in statuses)


def other_demo(settings: Settings) -> Path | None:
    """The folder of the demo's stack, if that runs beside the stack of these settings."""
    demo = demo_state(own_state())
    return demo if demo.resolve() != settings.state.resolve() and local.is_up(demo) else None


def _print_exports() -> int:
    settings = read_stack_settings()
    settings = settings.model_copy(update={"state": settings.state.resolve()})
    variables = environment(settings)
    for name in EXPORTED:
        if name in variables:
            print(f"export {name}={shlex.quote(variables[name])}")
    return 0


def _reset(without_question: bool) -> int:
    """Stop the stack and remove its data, after a confirmation."""
    settings = read_stack_settings()
    paths = contents(settings.state)
    if not paths:
        print(f"There is no stack in {settings.state}.")
        return 0
    if not without_question:
        names = ", ".join(path.name for path in paths)
        print(
            f"This stops the stack in {settings.state} and permanently removes its models, "
            f"ledger, lake and keys: {names}"
        )
        if not sys.stdin.isatty():
            print(
                "Nothing was removed. To remove them without a question: make reset FORGET=1",
                file=sys.stderr,
            )
            return 1
        if input("Type yes to remove them: ").strip() != "yes":
            print("Nothing was removed.")
            return 1
    local.down(settings)
    forget(settings.state)
    print(f"The stack's data in {settings.state} are removed.")
    return 0
