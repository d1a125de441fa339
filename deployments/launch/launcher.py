"""Run a module as ``python -m`` does, but in a process that the warm parent forks.

    python -P -S -m deployments.launch.launcher prefect.engine

The work pool's command. This process passes on its environment, folder, arguments and stdio, relays
the signals that end a run, and ends as the run ends. If it is killed, the run is killed. Without a
parent that answers, it becomes a fresh interpreter."""

import os
import signal
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from deployments.launch import wire

RELAYED = (signal.SIGTERM, signal.SIGINT)


def main() -> NoReturn:
    connection = _ask()
    if connection is None:
        os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])  # noqa: S606
    code = wire.receive_code(connection)
    if code is None:
        print("The process that kept this run was killed, and the run with it.", file=sys.stderr)
        code = -signal.SIGKILL
    _end_as(code)


def _ask() -> socket.socket | None:
    """A connection to the keeper of the run, which has begun; ``None`` without a warm parent."""
    name = os.environ.get(wire.PARENT)
    if name is None or sys.platform != "linux":
        return None
    _await_imports(name)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(wire.ANSWER_SECONDS)
    try:
        connection.connect(wire.address(name))
        if not wire.is_same_user(connection):
            return None
        if connection.recv(1) != wire.HELLO:
            return None
        connection.settimeout(None)
        wire.send_order(connection, _order())
        _relay_signals(connection)
        if connection.recv(1) != wire.READY:
            return None
    except OSError:
        return None
    return connection


def _await_imports(name: str) -> None:
    """Return when the warm parent does not import, or not any more."""
    with socket.socket(socket.AF_UNIX) as parent, suppress(OSError):
        parent.settimeout(wire.IMPORT_SECONDS)
        parent.connect(wire.importing(name))
        if wire.is_same_user(parent):
            parent.recv(1)


def _relay_signals(connection: socket.socket) -> None:
    def relay(number: int, _: object) -> None:
        with suppress(OSError):  # The keeper has ended, and so does this process.
            connection.sendall(bytes([number]))

    for number in RELAYED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, relay)


def _order() -> wire.Order:
    umask = os.umask(0o077)
    os.umask(umask)
    return wire.Order(
        os.path.dirname(sys.executable),  # noqa: PTH120 - pathlib takes 20 ms to import
        sys.argv[1:],
        os.getcwd(),  # noqa: PTH109
        umask,
        dict(os.environ),
    )


def _end_as(code: int) -> NoReturn:
    if code < 0:
        import resource

        # The run has left its core already.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
