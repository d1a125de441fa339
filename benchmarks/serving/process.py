"""A server's process tree: started in a session of its own, measured whole, ended whole."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

STOP_SECONDS = 0.5


class BenchmarkFailed(RuntimeError):
    """A server answered wrongly, or not at all: its figures would mean nothing."""


@dataclass(frozen=True)
class Memory:
    """Of a whole tree, in MB (10**6 bytes). RSS counts shared pages once a process, PSS shares them
    out (None: not readable).
    """

    rss_mb: float
    pss_mb: float | None


def start(
    command: list[str], environment: dict[str, str], folder: Path, output: Path
) -> subprocess.Popen[bytes]:
    """``environment`` is added to this process's own, without what would make one server differ
    from what a user has.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LAUREL_", "OMP_", "MLFLOW_", "PYTHON"))
    }
    with output.open("ab") as file:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=inherited | environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the first process; SIGKILL to what is left of its tree after half a second: nobody
    waits for a backlog here.
    """
    tree = _tree(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(tree, STOP_SECONDS)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()
    psutil.wait_procs(alive, STOP_SECONDS)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _living(pid: int) -> Iterator[psutil.Process]:
    yield from (process for process in _tree(pid) if process.status() != psutil.STATUS_ZOMBIE)


def memory(pid: int) -> Memory:
    """Of the process and all below it, now."""
    rss, pss = 0, 0
    readable = True
    for process in _living(pid):
        rss += process.memory_info().rss
        try:
            pss += _pss_bytes(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
        except OSError:
            readable = False
    return Memory(rss / 1e6, pss / 1e6 if readable else None)


def _pss_bytes(rollup: str) -> int:
    return next(
        int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")
    )


def cpu_seconds(pid: int) -> float:
    """User and system time that the process and all living below it have used."""
    return sum(
        times.user + times.system for times in (process.cpu_times() for process in _living(pid))
    )


def thread_seconds(pid: int) -> float:
    """User and system time of the process's first thread, the one that answers."""
    first = next(process for process in psutil.Process(pid).threads() if process.id == pid)
    return float(first.user_time + first.system_time)
