"""The parent of several workers: it holds the socket on which they answer, and replaces each worker
that dies.

    python -m serving.server.supervisor <listening socket> <workers> <leave seconds> [further
        arguments of ``python -m serving``]

``python -m serving`` becomes this program for more than one worker, after it has read the settings.
It imports nothing that answers requests, so it takes little more memory than an empty Python. All
workers inherit the one listening socket: no worker loses the connections that wait in it, and a
free worker takes them before a busy one does."""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from types import FrameType
from typing import NoReturn

from serving.edge.log_output import begin_log

DRAIN_SECONDS = 8.0  # for a worker's last answers
# its last upload (8), and the rest of the twenty seconds after which process managers kill
_UPLOAD_SECONDS = 11.0
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0  # a worker that lived this long did not fail at its start
_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
READY = b"1"

logger = logging.getLogger("serving.server.supervisor")


class Worker:
    """One worker process. On its line it reports that it serves; the end of the line tells each
    side that the other is gone.
    """

    def __init__(self, listener: socket.socket, arguments: list[str]) -> None:
        self.line, worker_end = socket.socketpair()
        with worker_end:
            inherited = (listener.fileno(), worker_end.fileno())
            # Ctrl-C reaches the whole process group; the parent tells the workers, once, with
            # SIGTERM.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "serving", *arguments, *map(str, inherited)],
                    pass_fds=inherited,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})
        self.started = time.monotonic()
        self.serves = False

    def read_line(self) -> int | None:
        """Read the line: the exit code of a dead worker, ``None`` for a living one."""
        if self.line.recv(1) == READY:
            self.serves = True
            return None
        self.line.close()
        return self.process.wait()


class Supervisor:
    """Keeps ``count`` workers alive until a signal ends it. ``arguments`` are for each of them."""

    def __init__(
        self, listener: socket.socket, count: int, leave_seconds: float, arguments: list[str]
    ) -> None:
        self._listener = listener
        self._arguments = arguments
        self._count = count
        self._end_seconds = max(DRAIN_SECONDS, leave_seconds) + _UPLOAD_SECONDS
        self._workers: list[Worker] = []
        self._stops: list[int] = []
        self._pause = 0.0
        self._next_start = 0.0
        self._has_served = False
        self._signals, write = socket.socketpair()
        write.setblocking(False)
        signal.set_wakeup_fd(write.detach(), warn_on_full_buffer=False)
        for number in _STOPS:
            signal.signal(number, self._stop)

    def run(self) -> int:
        """Run until a signal. Return 0 then, or the first worker's exit code if no worker could
        ever serve.
        """
        while True:
            self._start_missing()
            # Before the first one serves, wait for it alone.
            missing = self._has_served and len(self._workers) < self._count
            dead = self._wait(self._next_start - time.monotonic() if missing else None)
            if self._stops:
                return self._end()
            for worker, code in dead:
                if not self._has_served:
                    return abs(code) or 1  # it has reported why
                self._replace(worker, code)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stops.append(number)

    def _start_missing(self) -> None:
        """Start missing workers; the first alone: what stops it stops all, and is reported once."""
        if time.monotonic() >= self._next_start:
            while len(self._workers) < (self._count if self._has_served else 1):
                self._workers.append(Worker(self._listener, self._arguments))

    def _wait(self, seconds: float | None) -> list[tuple[Worker, int]]:
        """Wait for a signal or a worker, at most ``seconds``. Return the dead workers and their
        exit codes.
        """
        lines = {worker.line: worker for worker in self._workers}
        ready, _, _ = select.select(
            [self._signals, *lines], [], [], None if seconds is None else max(0.0, seconds)
        )
        if self._signals in ready:
            self._signals.recv(4096)
        codes = [(worker, worker.read_line()) for line, worker in lines.items() if line in ready]
        dead = [(worker, code) for worker, code in codes if code is not None]
        dead_workers = [worker for worker, _ in dead]
        self._workers = [worker for worker in self._workers if worker not in dead_workers]
        self._has_served |= any(worker.serves for worker, _ in codes)
        return dead

    def _replace(self, worker: Worker, code: int) -> None:
        """Start another worker: at once for one that served for long, otherwise later each time."""
        steady = time.monotonic() - worker.started >= _STEADY_SECONDS
        self._pause = 0.0 if steady else min(max(2 * self._pause, 0.5), _LONGEST_PAUSE_SECONDS)
        self._next_start = time.monotonic() + self._pause
        logger.error(
            "worker died pid=%d code=%d next_in_seconds=%g", worker.process.pid, code, self._pause
        )

    def _end(self) -> int:
        """Let all workers finish. A second Ctrl-C, or too long a wait, kills the rest."""
        logger.info("stopping workers=%d", len(self._workers))
        self._listener.close()
        end, earlier_stops = time.monotonic() + self._end_seconds, len(self._stops)
        for worker in self._workers:
            worker.process.terminate()
        while (
            self._workers
            and time.monotonic() < end
            and signal.SIGINT not in self._stops[earlier_stops:]
        ):
            self._wait(end - time.monotonic())
        for worker in self._workers:
            logger.error("worker killed pid=%d", worker.process.pid)
            worker.process.kill()
            worker.process.wait()
        return 0


def become_parent(
    listener: socket.socket, workers: int, leave_seconds: float, arguments: list[str]
) -> NoReturn:
    """Continue as the parent of ``workers`` workers: the same process, without the memory that
    reading the settings took.
    """
    listener.set_inheritable(True)
    command = [
        sys.executable,
        "-m",
        "serving.server.supervisor",
        str(listener.fileno()),
        str(workers),
        str(leave_seconds),
        *arguments,
    ]
    os.execv(sys.executable, command)  # noqa: S606 - this very program


def main() -> int:
    begin_log()
    listener, count, leave_seconds, *arguments = sys.argv[1:]
    return Supervisor(
        socket.socket(fileno=int(listener)), int(count), float(leave_seconds), arguments
    ).run()


if __name__ == "__main__":
    sys.exit(main())
