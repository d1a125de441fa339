"""The local stack, real servers under supervisor: Prefect, SeaweedFS, MLflow, the model service and a worker.

    python -m deployments.local up|down|status

Everything that it keeps is in ``settings.state`` (``.laurel/``), with a log a program in ``.laurel/logs/``.
"""

import argparse
import fcntl
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from xmlrpc.client import Fault

from pydantic import ValidationError

from blocks.settings import Settings
from deployments import local_ports, local_storage, local_webhook, server_passwords
from deployments.environment import environment
from deployments.local_errors import StackError
from deployments.local_programs import Program, programs
from deployments.local_supervisor import Supervisor, fingerprint

__all__ = ["StackError", "Status", "down", "environment", "status", "up"]

READY_SECONDS = 120
POLL_SECONDS = 0.1
LOG_LINES = 15
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ALIVE = ("STARTING", "RUNNING")
FOLDERS = ("logs", "prefect", "mlflow", "seaweedfs")


@dataclass(frozen=True)
class Status:
    """One program as supervisord sees it, ``state`` being ``RUNNING``, ``STARTING``, ``BACKOFF``, ``FATAL``, ``STOPPED``..."""

    name: str
    state: str
    pid: int | None
    url: str
    memory_bytes: int


def up(
    settings: Settings,
    on_ready: Callable[[str, float], None] = lambda name, seconds: None,
    say: Callable[[str], None] = lambda text: None,
) -> Settings:
    """Start what is not running, wait until all of it is ready, and give the settings in force, made secrets included.

    ``on_ready`` is told each program and how many seconds it took, ``say`` what a person should know. Where a start fails
    or is interrupted, everything is stopped again. Raises ``StackError``.
    """
    settings = settings.model_copy(update={"state": settings.state.resolve()})
    with _alone(settings.state):
        settings = local_webhook.prepare(local_storage.prepare(settings, local_storage.find_weed(), say))
        settings = server_passwords.prepare(settings, say)
        supervisor, wanted, given = Supervisor(settings.state), programs(settings), environment(settings)
        states = supervisor.states()
        if states and supervisor.settings_fingerprint() != fingerprint(given):
            raise StackError(f"The stack in {settings.state} is up with other settings; stop it first: make down")
        if states and all(info["statename"] == "RUNNING" for info in states.values()):
            say("The stack is already up.")
            return settings
        if not states:
            # A supervisord that was killed leaves its programs behind, and those hold the ports.
            _stop(supervisor, settings)
            local_ports.check(settings)
        try:
            if not states:
                _lay_out(settings)
                supervisor.start(wanted, given)
            _bring_up(supervisor, wanted, on_ready, say)
        except BaseException:
            _stop(supervisor, settings)
            raise
    return settings


def down(settings: Settings) -> bool:
    """Stop everything, flow runs too, also what a killed supervisord left behind. False where nothing ran."""
    settings = settings.model_copy(update={"state": settings.state.resolve()})
    if not settings.state.is_dir():
        return False
    with _alone(settings.state):
        supervisor = Supervisor(settings.state)
        ran = bool(supervisor.leftovers())
        _stop(supervisor, settings)
    return ran


def status(settings: Settings) -> list[Status]:
    """Each program of the stack, running or not."""
    states = Supervisor(settings.state.resolve()).states()
    found = []
    for program in programs(settings):
        info = states.get(program.name, {"statename": "STOPPED", "pid": 0})
        pid = info["pid"] or None
        found.append(Status(program.name, info["statename"], pid, program.url, _memory_bytes(pid) if pid else 0))
    return found


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"Another `up` or `down` is at work on {state}; wait for it.") from error
        yield


def _lay_out(settings: Settings) -> None:
    for name in FOLDERS:
        (settings.state / name).mkdir(exist_ok=True)
    for log in (settings.state / "logs").glob("*.log"):
        log.replace(log.with_name(f"{log.name}.1"))
    if local_storage.is_local(settings):
        local_storage.write_keys(settings)


def _stop(supervisor: Supervisor, settings: Settings) -> None:
    supervisor.shut_down()
    local_storage.remove_sockets(settings)


def _bring_up(supervisor: Supervisor, wanted: list[Program], on_ready: Callable[[str, float], None], say: Callable[[str], None]) -> None:
    """Start each program as soon as what it waits for is ready, and watch all of them until the last one is."""
    waiting = {program.name: program for program in wanted}
    started: dict[str, tuple[float, dict[str, Any]]] = {}
    while waiting:
        states = supervisor.states()
        for _, info in started.values():
            _check_alive(supervisor, info, states)
        for name, program in list(waiting.items()):
            if program.after in waiting:
                continue
            if name not in started:
                if obstacle := program.obstacle():
                    say(obstacle)
                    del waiting[name]
                    continue
                started[name] = time.monotonic(), _start(supervisor, name, states)
            since, info = started[name]
            if program.ready(info["start"]):
                del waiting[name]
                on_ready(name, time.monotonic() - since)
            elif time.monotonic() - since > READY_SECONDS:
                raise _failure(supervisor, name, f"was not ready after {READY_SECONDS} s")
        time.sleep(POLL_SECONDS)


def _start(supervisor: Supervisor, name: str, states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if states[name]["statename"] in ALIVE:
        return states[name]
    try:
        supervisor.run(name)
    except Fault as error:
        raise _failure(supervisor, name, f"could not be started ({error.faultString})") from error
    return supervisor.states()[name]


def _check_alive(supervisor: Supervisor, then: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
    """A program that has another process now than ``then`` died as well: supervisord starts it again at once."""
    name = then["name"]
    if name not in states:
        raise _failure(supervisor, "supervisord", "died")
    if states[name]["statename"] not in ALIVE or states[name]["pid"] != then["pid"]:
        raise _failure(supervisor, name, "died")


def _failure(supervisor: Supervisor, name: str, what: str) -> StackError:
    log = supervisor.state / "logs" / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
    said = f"The last lines of {log}:\n" + "\n".join(f"    {line}" for line in lines) if lines else f"It left nothing in {log}."
    return StackError(f"{name} {what}; everything was stopped. {said}")


def _memory_bytes(pid: int) -> int:
    import psutil

    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 0: done, or all running; 1: failed; 3: not (all) running; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=["up", "down", "status"])
    command = parser.parse_args(arguments).command
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)
    try:
        settings = Settings.read()
        return {"up": _print_up, "down": _print_down, "status": _print_status}[command](settings)
    except (StackError, ValidationError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing was left half-started.", file=sys.stderr)
        return 130


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # A second one would cut the clean-up short.
    for other in INTERRUPTS:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def _print_up(settings: Settings) -> int:
    since = time.monotonic()
    urls = {program.name: program.url for program in programs(settings)}
    settings = up(settings, lambda name, seconds: print(f"{name:10} ready in {seconds:4.1f} s   {urls[name]}", flush=True), print)
    print(f"All ready after {time.monotonic() - since:.1f} s. Logs: {settings.state / 'logs'}. Stop it: make down")
    start_run = f"PREFECT_API_URL={settings.prefect_api_url} .venv/bin/prefect deployment run retrain/flights"
    if settings.prefect_auth:
        start_run = f'PREFECT_API_AUTH_STRING="$LAUREL_PREFECT_AUTH" {start_run}'
    print(f"Start a run in the UI, or so: {start_run}")
    return 0


def _print_down(settings: Settings) -> int:
    print("Everything is stopped." if down(settings) else "Nothing is running.")
    return 0


def _print_status(settings: Settings) -> int:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "state", "pid", "URL", "memory", title=str(settings.state))
    found = status(settings)
    for one in found:
        colour = "green" if one.state == "RUNNING" else "red"
        memory = f"{one.memory_bytes / 1e6:.0f} MB" if one.memory_bytes else ""
        table.add_row(one.name, f"[{colour}]{one.state.lower()}[/]", str(one.pid or ""), one.url, memory)
    Console().print(table)
    return 0 if all(one.state == "RUNNING" for one in found) else 3


if __name__ == "__main__":
    sys.exit(main())
