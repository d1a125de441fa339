"""The process between a launcher and its run, forked from the warm parent: it starts the run,
passes signals on, kills it if the launcher is killed, and says how it ended.

The run is killed if its keeper is. The parent's end concerns neither."""

import importlib
import multiprocessing.process
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from atexit import _run_exitfuncs as run_exit_functions
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from deployments.launch import wire
from deployments.launch.lifeline import die_with

# What may differ between runs. Libraries read others as they are imported, Prefect's settings among
# them, so a run with others begins as a fresh interpreter.
OF_A_RUN = ("PREFECT__", "LAUREL_")
RELAYED = {signal.SIGTERM, signal.SIGINT}


class Keeper:
    """``environment`` is that of the warm parent before its imports, ``interrupt`` what it did
    on SIGINT.
    """

    def __init__(self, environment: Mapping[str, str], interrupt: Any) -> None:
        from prefect.settings import get_current_settings

        self._environment = environment
        # The worker gives its runs all of Prefect's settings as variables.
        self._settings = get_current_settings().to_environment_variables(exclude_unset=True)
        self._set_by_imports = {
            name: value for name, value in os.environ.items() if environment.get(name) != value
        }
        self._interrupt = interrupt

    def keep(self, connection: socket.socket) -> NoReturn:
        """Start the run of this launcher, stay until it ends, and end this process."""
        try:
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with suppress(EOFError, OSError):  # the launcher has gone
                self._start(connection)
        finally:
            os._exit(0)

    def _start(self, connection: socket.socket) -> None:
        connection.sendall(wire.HELLO)
        order, descriptors = wire.receive_order(connection)
        if differing := self.differing(order):
            print(f"A run begins as a fresh interpreter: {differing}", flush=True)
            return
        connection.sendall(wire.READY)
        keeper = os.getpid()
        # A signal that comes before the run has its own way with it waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, RELAYED)
        run = os.fork()
        if run == 0:
            try:
                connection.close()
                die_with(keeper)
                self._become(order, descriptors)
                end_process(run_module(order.arguments[0]))
            except BaseException:  # noqa: BLE001 - it must not go on as a keeper
                traceback.print_exc()
                os._exit(1)
        for descriptor in descriptors:
            os.close(descriptor)
        wire.send_code(connection, _wait(run, connection))

    def differing(self, order: wire.Order) -> str | None:
        """What of the order differs from this process, and cannot be changed after the imports.
        Variables are named without their values.
        """
        own = os.path.dirname(sys.executable)  # noqa: PTH120
        if order.interpreter != own:
            return f"its Python is in {order.interpreter}, the worker's in {own}"
        names = sorted(
            name
            for name in self._environment.keys() | order.environment.keys()
            if not name.startswith(OF_A_RUN)
            and order.environment.get(name) not in self._known(name)
        )
        return f"{', '.join(names)} differ from the worker's" if names else None

    def _known(self, name: str) -> tuple[str | None, ...]:
        """The values of a variable that make no difference: a worker that has run a hook of a flow
        has what the imports set.
        """
        return self._environment.get(name), self._settings.get(name), self._set_by_imports.get(name)

    def _become(self, order: wire.Order, descriptors: list[int]) -> None:
        """Turn this process into what ``python -m`` with this order would be."""
        os.setsid()
        for target, descriptor in zip(wire.STDIO, descriptors, strict=True):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.umask(order.umask)
        os.chdir(order.folder)
        multiprocessing.process.ORIGINAL_DIR = order.folder  # type: ignore[attr-defined]
        os.environ.clear()
        os.environ.update({**self._set_by_imports, **order.environment})
        _sow()
        importlib.invalidate_caches()
        sys.path[0] = order.folder
        sys.argv = list(order.arguments)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, RELAYED)


def _wait(run: int, connection: socket.socket) -> int:
    """The run's exit code, negative for a signal, when it has ended; until then pass on what the
    launcher sends.
    """
    process = os.pidfd_open(run)
    sources: list[Any] = [process, connection]
    while process not in (ready := select.select(sources, [], [])[0]):
        if connection in ready:
            numbers = connection.recv(16)
            if not numbers:
                sources.remove(connection)
            for number in numbers or [signal.SIGKILL]:
                os.kill(run, number)
    return os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])


def _sow() -> None:
    """Children of one parent must not draw the same numbers."""
    import numpy as np

    random.seed()
    np.random.seed()


def run_module(module: str) -> int:
    """Run the module as ``python -m`` does. Returns the exit code."""
    sys.modules.pop(module, None)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        return -signal.SIGINT
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def end_process(code: int) -> NoReturn:
    """End this process as the interpreter does, without tearing down what it inherited: some
    libraries wait there for threads that a fork leaves behind.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    run_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
