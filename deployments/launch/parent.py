"""The warm parent: a process that imports everything, waits, and is forked for each run.

    python -m deployments.launch.parent NAME PID

The worker's command starts it, and Linux kills it when the worker (``PID``) ends. A run that begins
while it imports waits for it. Runs outlive it: each has a keeper of its own
(``deployments/launch/keeper.py``). If code or packages have changed, it refuses the run, which
begins as a fresh interpreter, and starts itself anew."""

import gc
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from deployments.launch import wire
from deployments.launch.imports import Sources, import_all, strange_threads
from deployments.launch.keeper import Keeper
from deployments.launch.lifeline import die_with

HOME = Path(__file__).resolve().parents[2]
WAITING = 128


def start(environment: Mapping[str, str]) -> dict[str, str]:
    """Start the warm parent of the worker that this process becomes. Returns the variable by which
    its runs find it; nothing where there is no Linux.
    """
    if sys.platform != "linux":
        return {}
    named = {wire.PARENT: secrets.token_hex(8)}
    subprocess.Popen(
        [sys.executable, "-m", "deployments.launch.parent", named[wire.PARENT], str(os.getpid())],
        cwd=HOME,
        env={**environment, **named},
        stdin=subprocess.DEVNULL,
    )
    return named


def main() -> NoReturn:
    name, worker = sys.argv[1], int(sys.argv[2])
    die_with(worker)
    # Ctrl-C in a terminal is for the worker, whose end is the end of this process.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    environment = dict(os.environ)
    with _listen(wire.importing(name)):  # it answers by its end
        began, sources = time.monotonic(), Sources(HOME)
        fault = _warm_up(sources)
        keeper = None if fault else Keeper(environment, interrupt)
        listener = _listen(wire.address(name))
    with listener:
        state = f"every run begins as a fresh interpreter: {fault}" if fault else "ready"
        _say(f"{state} ({time.monotonic() - began:.1f} s)")
        changed = _serve(listener, sources, keeper)
    _say(f"{changed} has changed, starting anew")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    line = [sys.executable, "-m", "deployments.launch.parent", name, str(worker)]
    os.execve(sys.executable, line, environment)  # noqa: S606


def _say(text: str) -> None:
    print(f"Warm parent of runs: {text}", flush=True)


def _warm_up(sources: Sources) -> str | None:
    """Import everything. Returns why no run may be forked, if that is so."""
    try:
        import_all()
    except Exception as error:  # noqa: BLE001 - whatever the code that was imported raises
        traceback.print_exc()
        return f"an import failed ({type(error).__name__})"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        return f"its keeper could not wait for it ({error})"
    if strange := strange_threads():
        return f"importing started threads ({', '.join(strange)})"
    sources.keep_imported()
    gc.collect()
    gc.freeze()
    # Python 3.12 warns of the threads that were found harmless.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    return None


def _listen(address: bytes) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(WAITING)
    return listener


def _serve(listener: socket.socket, sources: Sources, keeper: Keeper | None) -> Path:
    """Fork a keeper for each launcher that calls, until a file has changed. Returns that file.
    Without ``keeper`` each launcher is refused.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Linux reaps the keepers.
    while True:
        connection, _ = listener.accept()
        with connection:
            if not wire.is_same_user(connection):
                continue
            if changed := sources.changed():
                return changed
            if keeper is not None and _fork() == 0:
                listener.close()
                keeper.keep(connection)


def _fork() -> int | None:
    """As ``os.fork``; ``None`` if the machine has no room for another process."""
    try:
        return os.fork()
    except OSError as error:
        _say(f"a run begins as a fresh interpreter: {error}")
        return None


if __name__ == "__main__":
    main()
