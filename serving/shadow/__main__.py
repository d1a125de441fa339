"""``python -m serving.shadow <task>``: started by ``serving/rollouts/shadow.py``, one for each
worker and rollout. It takes copies until its standard input ends, then uploads the rest.

It gives way to all else on this machine, and is the first that the system ends without memory."""

import logging
import os
import resource
import select
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from blocks.clients.registry import ROLLOUT
from blocks.settings import Settings
from serving.champions.champion import Champion
from serving.edge.log_output import begin_log, write_all
from serving.log.prediction_log import PredictionLog
from serving.package.model import load
from serving.rollouts.copies import MOST_DATAGRAM_BYTES, Report, Task, read_task
from serving.shadow.pairs import Pairs
from serving.upload.carrier import Carrier
from serving.upload.uploader import Uploader

_NICE, _WORK_NICE = 10, 19  # a busy machine must not keep it from its start
_REPORT_SECONDS = 1.0
_MOST_DATAGRAMS = 16  # between two looks at the clock
_CARRIER_IDLE_SECONDS = 5.0
_SHUTDOWN_SECONDS = 8.0
_INPUT, _OUTPUT = 0, 1

logger = logging.getLogger("serving.shadow")


def main(task: Task) -> None:
    """Score until the service ends the process. Raises ``PackageError``, ``OSError``."""
    give_way()
    settings = Settings.read()
    package = load(Path(task.package), task.sha256)
    challenger = Champion.crown(task.use_case, task.version, task.sha256, package, ROLLOUT)
    log = PredictionLog(
        settings.state / "serving" / "log",
        settings.log_flush_seconds,
        settings.log_flush_rows,
        settings.log_backlog_megabytes * 1_000_000,
        settings.log_durability,
    )
    log.start()
    uploader = Uploader(
        log,
        Carrier(_CARRIER_IDLE_SECONDS),
        tick_seconds=min(1.0, settings.log_flush_seconds / 4),
    )
    work_when_idle()
    uploader.start()
    logger.info("shadow scores use_case=%s version=%s", task.use_case, task.version)
    with socket.socket(fileno=task.socket) as source:
        _take_copies(source, Pairs(challenger, log, settings.serving_max_rows), log)
    uploader.stop(_SHUTDOWN_SECONDS)
    log.stop()


def give_way() -> None:
    """Let the processes that answer go first."""
    os.nice(max(0, _NICE - os.nice(0)))
    with suppress(OSError):  # no such file outside Linux
        Path("/proc/self/oom_score_adj").write_text("1000")


def work_when_idle() -> None:
    """Let this thread, and those and the programs that it starts from now on, run when nobody else
    wants a core: niced ones lengthen the p99 of the answers by a third."""
    os.nice(max(0, _WORK_NICE - os.nice(0)))
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):  # forbidden in some containers
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _take_copies(source: socket.socket, pairs: Pairs, log: PredictionLog) -> None:
    """Score what comes until the standard input ends, and what has come by then."""
    source.setblocking(False)
    buffer = memoryview(bytearray(MOST_DATAGRAM_BYTES))
    next_report = 0.0
    readable: list[Any] = []
    inputs: list[Any] = [source, _INPUT]
    while _INPUT not in readable:  # it is never written to: it ends
        if time.monotonic() >= next_report:
            next_report = time.monotonic() + _REPORT_SECONDS
            _report(pairs.report, log)
        readable, _, _ = select.select(inputs, [], [], _REPORT_SECONDS)
        pairs.add(_receive(source, buffer))
    while datagrams := _receive(source, buffer):
        pairs.add(datagrams)
    _report(pairs.report, log)


def _receive(source: socket.socket, buffer: memoryview) -> list[bytes]:
    """Some of what waits in the socket."""
    datagrams: list[bytes] = []
    with suppress(BlockingIOError):
        while len(datagrams) < _MOST_DATAGRAMS:
            datagrams.append(bytes(buffer[: source.recv_into(buffer)]))
    return datagrams


def _report(report: Report, log: PredictionLog) -> None:
    report.uploaded = sum(state.rows_uploaded for state in list(log.states.values()))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report.memory_bytes = most if sys.platform == "darwin" else most * 1024
    with suppress(BrokenPipeError):  # the service is gone: the input ends too
        write_all(_OUTPUT, msgspec.json.encode(report) + b"\n")


if __name__ == "__main__":
    begin_log()
    main(read_task(sys.argv[1]))
